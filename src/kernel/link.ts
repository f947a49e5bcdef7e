import { sysctlOfInterface, sysctlsOfEnd } from '../schemas/end.ts';
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

/** What was seen of a link that was just made as asked: what is not read again is as it was written. */
export function asWritten(link: LinkIntent, observed: ObservedLink): ObservedLink {
  const written = ({ sysctls = {} }: EndIntent, end: ObservedEnd): ObservedEnd => {
    const { options } = end;
    return options === null || options === undefined ? end : { ...end, options: { ...options, sysctls } };
  };
  return { ...observed, ...written(link, observed), peer: written(link.peer, observed.peer) };
}

/** What stands in the sysctls of an end, by the keys of its intent. */
export function sysctlsIn(
  { interface: name, sysctls = {} }: EndIntent,
  answer: Answer | null,
): Record<string, string> {
  const value = (key: string): string => answer?.sysctls[sysctlOfInterface(name, key)] ?? '';
  return Object.fromEntries(Object.keys(sysctls).map((key) => [key, value(key)]));
}

function readOfEnd(end: EndIntent): Read {
  const { namespace, interface: name } = end;
  return { namespace, lines: [`address show dev ${name}`, showOwnRoutes(name)], sysctls: sysctlsOfEnd(end) };
}

function parseEnd(end: EndIntent, answer: Answer | null): ObservedEnd {
  const found = ownInterface(end.interface, answer?.shown[0] ?? []);
  const [, routes = []] = found === undefined ? [] : (answer?.shown ?? []);
  return {
    ...observedInterface(found),
    bridge: found?.bridge ?? null,
    routes: parseOwnRoutes(routes),
    options: found === undefined ? null : { ...found.options, sysctls: sysctlsIn(end, answer) },
  };
}
