import type { EndIntent, LinkIntent, ObservedEnd, ObservedLink } from '../schemas/link.ts';
import { observedInterface, parseInterfaces, parseOwnRoutes, showOwnRoutes } from './interface.ts';
import type { Answer, Read } from './sessions.ts';

/** What is read of a link: each end in its namespace, with the routes of ours that leave by it. */
export function readsOfLink(link: LinkIntent): Read[] {
  return [readOfEnd(link), readOfEnd(link.peer)];
}

/** The link as the kernel has it; `null` stands for an answer that there was none. */
export function parseLink([own, peer]: readonly (Answer | null)[]): ObservedLink {
  return { ...parseEnd(own ?? null), peer: parseEnd(peer ?? null) };
}

function readOfEnd({ namespace, interface: name }: EndIntent): Read {
  return { namespace, lines: [`address show dev ${name}`, showOwnRoutes(name)], sysctls: [] };
}

function parseEnd(answer: Answer | null): ObservedEnd {
  const [addresses = [], routes = []] = answer?.shown ?? [];
  const found = parseInterfaces(addresses)[0];
  return { ...observedInterface(found), bridge: found?.bridge ?? null, routes: parseOwnRoutes(routes) };
}
