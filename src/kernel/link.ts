import type { EndIntent, LinkIntent, ObservedEnd, ObservedLink } from '../schemas/link.ts';
import { ownInterface, observedInterface, parseOwnRoutes, showOwnRoutes } from './interface.ts';
import type { Answer, Read } from './sessions.ts';

/** What is read of a link: each end in its namespace, with the routes of ours that leave by it. */
export function readsOfLink(link: LinkIntent): Read[] {
  return [readOfEnd(link), readOfEnd(link.peer)];
}

/** The link as the kernel has it; `null` stands for an answer that there was none. */
export function parseLink(link: LinkIntent, [own, peer]: readonly (Answer | null)[]): ObservedLink {
  return { ...parseEnd(link, own ?? null), peer: parseEnd(link.peer, peer ?? null) };
}

function readOfEnd({ namespace, interface: name }: EndIntent): Read {
  return { namespace, lines: [`address show dev ${name}`, showOwnRoutes(name)], sysctls: [] };
}

function parseEnd({ interface: name }: EndIntent, answer: Answer | null): ObservedEnd {
  const found = ownInterface(name, answer?.shown[0] ?? []);
  const [, routes = []] = found === undefined ? [] : (answer?.shown ?? []);
  return {
    ...observedInterface(found),
    bridge: found?.bridge ?? null,
    routes: parseOwnRoutes(routes),
    options: found?.options ?? null,
  };
}
