import type { EndIntent, LinkIntent, ObservedEnd, ObservedLink } from '../schemas/link.ts';
import { ownInterface, observedInterface, parseOwnRoutes, showOwnRoutes } from './interface.ts';
import { parseOptions, readsOfBase } from './link-types.ts';
import type { Answer, Read } from './sessions.ts';

/** What is read of a link: each end in its namespace, with the routes of ours that leave by it. */
export function readsOfLink(link: LinkIntent): Read[] {
  if (link.type !== 'veth') return [readOfEnd(link), ...readsOfBase(link)];
  return [readOfEnd(link), readOfEnd(link.peer)];
}

/** The link as the kernel has it; `null` stands for an answer that there was none. */
export function parseLink(link: LinkIntent, [own, peer]: readonly (Answer | null)[]): ObservedLink {
  if (link.type !== 'veth') {
    const found = ownInterface(link.interface, own?.shown[0] ?? []);
    return { ...parseEnd(link, own ?? null), options: parseOptions(link, found, peer ?? null) };
  }
  return { ...parseEnd(link, own ?? null), peer: parseEnd(link.peer, peer ?? null) };
}

type Place = Pick<EndIntent, 'namespace' | 'interface'>;

function readOfEnd({ namespace, interface: name }: Place): Read {
  return { namespace, lines: [`address show dev ${name}`, showOwnRoutes(name)], sysctls: [] };
}

function parseEnd({ interface: name }: Place, answer: Answer | null): ObservedEnd {
  const found = ownInterface(name, answer?.shown[0] ?? []);
  const [, routes = []] = found === undefined ? [] : (answer?.shown ?? []);
  return { ...observedInterface(found), bridge: found?.bridge ?? null, routes: parseOwnRoutes(routes) };
}
