import { sysctlOfInterface, sysctlsOfEnd, type ObservedOptions } from '../schemas/end.ts';
import {
  namedEnds,
  policedKbit,
  shapingOf,
  type EndIntent,
  type EndName,
  type LinkIntent,
  type ObservedEnd,
  type ObservedLink,
} from '../schemas/link.ts';
import { extrasOf, withExtras } from './end.ts';
import {
  ownInterface,
  observedInterface,
  parseOwnRoutes,
  showOwnRoutes,
  type KernelInterface,
} from './interface.ts';
import { parseKindFields, readsOfBase } from './link-types.ts';
import type { Processes } from './processes.ts';
import type { Answer, Read } from './sessions.ts';
import { readExtras, type Extras, type ExtrasRequest } from './tools.ts';

/** What is read of a link: each end in its namespace, with the routes of ours that leave by it. */
export function readsOfLink(link: LinkIntent): Read[] {
  if (link.type !== 'veth') return [readOfEnd(link), ...readsOfBase(link)];
  return [readOfEnd(link), readOfEnd(link.peer)];
}

/** What other tools than `ip` tell, by namespace. */
export type ExtrasByNamespace = ReadonlyMap<string, Extras | undefined>;

/**
 * Asks them what a link needs of it: no process for one that has none of those options.
 *
 * @throws CommandFailed
 */
export async function readExtrasOfLink(processes: Processes, link: LinkIntent): Promise<ExtrasByNamespace> {
  const wanted = extrasOf(
    namedEnds(link).map(({ name, end: { namespace, offload } }) => ({
      namespace,
      isShaped: shapingOf(link, name) !== null,
      isPoliced: policedKbit(link) !== null,
      offload,
    })),
  );
  const read = async ([namespace, request]: [string, ExtrasRequest]) =>
    [namespace, await readExtras(processes, namespace, request)] as const;
  return new Map(await Promise.all([...wanted].map(read)));
}

/** The link as the kernel has it; `null` stands for an answer that there was none. */
export function parseLink(
  link: LinkIntent,
  [own, peer]: readonly (Answer | null)[],
  extras: ExtrasByNamespace = new Map(),
): ObservedLink {
  const end = parseEnd(link, own ?? null, extras);
  if (link.type === 'veth') return { ...end, peer: parseEnd(link.peer, peer ?? null, extras) };
  const found = ownInterface(link.interface, own?.shown[0] ?? []);
  return { ...end, kindFields: parseKindFields(link, found, peer ?? null) };
}

/** What was seen of a link that was just made as asked: what is not read again is as it was written. */
export function asWritten(link: LinkIntent, observed: ObservedLink): ObservedLink {
  const written = (name: EndName, { sysctls = {}, offload }: EndIntent, end: ObservedEnd): ObservedEnd => {
    const { options } = end;
    if (options === null || options === undefined) return end;
    const egressKbit = shapingOf(link, name)?.egressKbit ?? null;
    const ingressKbit = policedKbit(link);
    const policing = ingressKbit === null ? null : { ingressKbit };
    const unread = { sysctls, egressKbit, policing, checksum: offload?.checksum ?? null };
    return { ...end, options: { ...options, ...unread } };
  };
  const end = { ...observed, ...written('own', link, observed) };
  return link.type === 'veth' && 'peer' in observed
    ? { ...end, peer: written('peer', link.peer, observed.peer) }
    : end;
}

/** All that was seen of the options of an end; null if it is not there. */
export function optionsOfEnd(
  end: EndIntent,
  found: KernelInterface | undefined,
  answer: Answer | null,
  extras: ExtrasByNamespace,
): ObservedOptions | null {
  if (found === undefined) return null;
  const options = withExtras(end.interface, found.options, extras.get(end.namespace));
  return { ...options, sysctls: sysctlsIn(end, answer) };
}

/** What stands in the sysctls of an end, by the keys of its intent. */
function sysctlsIn(
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

function parseEnd(end: EndIntent, answer: Answer | null, extras: ExtrasByNamespace): ObservedEnd {
  const found = ownInterface(end.interface, answer?.shown[0] ?? []);
  const [, routes = []] = found === undefined ? [] : (answer?.shown ?? []);
  return {
    ...observedInterface(found),
    bridge: found?.bridge ?? null,
    routes: parseOwnRoutes(routes),
    options: optionsOfEnd(end, found, answer, extras),
  };
}
