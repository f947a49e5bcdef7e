import {
  parseFound,
  parseNamespaceId,
  readOfFound,
  readOfNamespaceIds,
  type FoundDevice,
} from '../kernel/adoption.ts';
import { observedInterface } from '../kernel/interface.ts';
import { optionsOfEnd, readExtrasOfLink, type ExtrasByNamespace } from '../kernel/link.ts';
import type { Processes } from '../kernel/processes.ts';
import type { Answer } from '../kernel/sessions.ts';
import { endKey } from '../plan/end.ts';
import { HOST, type Difference, type Ref } from '../schemas/common.ts';
import { sysctlsOfEnd } from '../schemas/end.ts';
import type { EndIntent, ObservedEnd, VethIntent } from '../schemas/link.ts';
import { routesOf } from './interface.ts';
import type { Found } from './kind.ts';
import { lookAt } from './look.ts';

/** Looks for a veth pair to be adopted; null if there is nothing at either place. */
export async function findLink(intent: VethIntent, processes: Processes): Promise<Found<'link'> | null> {
  const ends = [intent, intent.peer];
  const answers = await lookAt(
    processes,
    ends.map((end) => ({
      ...readOfFound(end.namespace, end.interface, routesOf(end)),
      sysctls: sysctlsOfEnd(end),
    })),
  );
  const own = parseFound(intent.interface, routesOf(intent), answers[0]);
  const peer = parseFound(intent.peer.interface, routesOf(intent.peer), answers[1]);
  if (own === null && peer === null) return null;
  const extras =
    own === null || peer === null ? new Map<never, never>() : await readExtrasOfLink(processes, intent);
  const link: Ref = { kind: 'link', name: intent.name };
  return {
    observed: {
      ...observedEnd(intent, own, answers[0] ?? null, extras),
      peer: observedEnd(intent.peer, peer, answers[1] ?? null, extras),
    },
    assigned: {
      mac: intent.mac ?? own?.entry.mac ?? '',
      peerMac: intent.peer.mac ?? peer?.entry.mac ?? '',
    },
    mismatches: await mismatchesOf(intent, own, peer, processes),
    devices: {
      ...(own === null ? {} : { [endKey(link, 'own')]: own.marks }),
      ...(peer === null ? {} : { [endKey(link, 'peer')]: peer.marks }),
    },
    inode: null,
  };
}

function observedEnd(
  end: EndIntent,
  found: FoundDevice | null,
  answer: Answer | null,
  extras: ExtrasByNamespace,
): ObservedEnd {
  const entry = found?.entry;
  return {
    ...observedInterface(entry),
    bridge: entry?.bridge ?? null,
    routes: found?.routes ?? [],
    options: optionsOfEnd(end, entry, answer, extras),
  };
}

/** Why the two are not the ends of one veth pair. */
async function mismatchesOf(
  intent: VethIntent,
  own: FoundDevice | null,
  peer: FoundDevice | null,
  processes: Processes,
): Promise<Difference[]> {
  const mismatches = [typeMismatch('', own), typeMismatch('/peer', peer)].flat();
  if (mismatches.length > 0 || own === null || peer === null) return mismatches;
  if (await arePeers(intent, own, peer, processes)) return [];
  const observed = `${intent.interface} and ${intent.peer.interface} are of two pairs`;
  return [{ path: '/peer', intended: 'the other end of the same pair', observed }];
}

function typeMismatch(path: string, found: FoundDevice | null): Difference[] {
  if (found === null) return [{ path, intended: 'veth', observed: null }];
  const { type } = found.entry;
  return type === 'veth' ? [] : [{ path, intended: 'veth', observed: type }];
}

/** An index says which interface it is only together with the namespace, and that has an id as seen from each other. */
async function arePeers(
  { namespace, peer: { namespace: peerNamespace } }: VethIntent,
  { entry: own }: FoundDevice,
  { entry: peer }: FoundDevice,
  processes: Processes,
): Promise<boolean> {
  if (namespace === peerNamespace) return own.peerName === peer.name && peer.peerName === own.name;
  if (own.peerIndex !== peer.index || peer.peerIndex !== own.index) return false;
  // Seen from where the other one has a name: the daemon's own namespace has none.
  const [from, to, id] =
    peerNamespace === HOST
      ? [peerNamespace, namespace, peer.peerNamespaceId]
      : [namespace, peerNamespace, own.peerNamespaceId];
  const [answer] = await lookAt(processes, [readOfNamespaceIds(from)]);
  return id !== null && parseNamespaceId(to, answer) === id;
}
