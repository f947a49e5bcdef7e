import type { Ties } from '../db/resources.ts';
import {
  parseFound,
  parseNamespaceId,
  readOfFound,
  readOfNamespaceIds,
  type FoundDevice,
} from '../kernel/adoption.ts';
import { observedInterface } from '../kernel/interface.ts';
import {
  asWritten,
  optionsOfEnd,
  parseLink,
  readExtrasOfLink,
  readsOfLink,
  type ExtrasByNamespace,
} from '../kernel/link.ts';
import type { Answer } from '../kernel/sessions.ts';
import { answerFrom } from '../kernel/snapshot.ts';
import { endKey } from '../plan/end.ts';
import { resolvedLink, usesAuto } from '../plan/ipam.ts';
import { differencesOfLink } from '../plan/link.ts';
import type { Processes } from '../kernel/processes.ts';
import { shownOptions, sysctlsOfEnd } from '../schemas/end.ts';
import { HOST, refText, type Difference, type Ref } from '../schemas/common.ts';
import type { EndAssigned } from '../schemas/ipam.ts';
import {
  endsOf,
  type EndIntent,
  type LinkAssigned,
  type LinkIntent,
  type LinkPeerSpec,
  type ObservedEnd,
  type ObservedLink,
  type VethIntent,
  type VethSpec,
} from '../schemas/link.ts';
import type { Draft } from './draft.ts';
import { checkQueues, checkSysctlsOfEnd, completeOptions } from './end.ts';
import {
  checkClaims,
  checkReference,
  chooseMac,
  claimsOfInterface,
  completeInterface,
  completeInterfaceName,
  routesOf,
} from './interface.ts';
import { assignEnds, checkFixed, leaseTiesOf } from './ipam.ts';
import type { Found, KindService } from './kind.ts';
import {
  assignSingle,
  checkSingle,
  checkType,
  completeSingle,
  findSingle,
  tiesOfSingle,
} from './link-types.ts';
import { lookAt } from './look.ts';
import { Problem } from './problem.ts';

/** BR_MAX_PORTS of the kernel is 1,023; below it there is room for ports that others attach. */
const MOST_PORTS = 1_000;

export const linkKind: KindService<'link'> = {
  kind: 'link',
  complete: (spec) => {
    const intent = spec.type === 'veth' ? completeVeth(spec) : completeSingle(spec);
    checkQueues(intent);
    return intent;
  },
  check: (intent, draft, before) => {
    const owner: Ref = { kind: 'link', name: intent.name };
    if (before !== null) checkType(before.intent, intent.type);
    checkEnd('', intent, owner, draft);
    if (intent.type !== 'veth') {
      checkSingle(intent, draft);
      checkClaims(tiesOfSingle(intent).claims, owner, draft);
      return;
    }
    checkEnd('/peer', intent.peer, owner, draft);
    if (intent.bridge !== null && intent.bridge === intent.peer.bridge)
      throw new Problem(
        'unprocessable',
        `both ends on the bridge ${intent.bridge} would make a loop; leave one of them off`,
      );
    checkClaims(tiesOfLink(intent).claims, owner, draft);
    checkFixed(intent, draft);
  },
  assign: (intent, before, choosing) =>
    intent.type === 'veth'
      ? {
          ...assignEnds(intent, before, choosing),
          mac: intent.mac ?? before?.assigned.mac ?? chooseMac(),
          peerMac: intent.peer.mac ?? before?.assigned.peerMac ?? chooseMac(),
        }
      : assignSingle(intent, before?.assigned),
  ties: (intent, assigned) => (intent.type === 'veth' ? tiesOfLink(intent, assigned) : tiesOfSingle(intent)),
  usesIpam: (intent) => endsOf(intent).some(usesAuto),
  // What was written is not read again.
  reads: (intent) => readsOfLink(intent).map((read) => ({ ...read, sysctls: [] })),
  result: ({ intent, assigned: { mac, peerMac, ends } }, answers) => {
    const observed = asWritten(intent, parseLink(intent, answers));
    const { index } = observed;
    const peerIndex = 'peer' in observed ? observed.peer.index : null;
    const indexes = {
      ...(index === null ? {} : { index }),
      ...(peerIndex === null ? {} : { peerIndex }),
    };
    const own = {
      mac,
      ...(peerMac === undefined ? {} : { peerMac }),
      ...(ends === undefined ? {} : { ends }),
    };
    return { observed, assigned: { ...own, ...indexes } };
  },
  seen: (intent, snapshot) =>
    parseLink(
      intent,
      readsOfLink(intent).map((read) => answerFrom(snapshot, read)),
      new Map([...snapshot.inside].map(([namespace, { extras }]) => [namespace, extras])),
    ),
  look: lookAtLink,
  find: async (intent, processes) =>
    intent.type === 'veth' ? findLink(intent, processes) : findSingle(intent, processes),
  differences: ({ intent, assigned }, observed, draft) =>
    differencesOfLink(resolvedLink(intent, assigned), assigned, observed, {
      own: interfaceOfBridge(intent.bridge, draft),
      peer: intent.type === 'veth' ? interfaceOfBridge(intent.peer.bridge, draft) : null,
    }),
  shown: (intent) => ({
    ...intent,
    ...shownOptions(intent),
    ...(intent.type === 'veth' ? { peer: { ...intent.peer, ...shownOptions(intent.peer) } } : {}),
  }),
  status: (_intent, observed, { ends }) => ({
    ...statusOfEnd(observed, ends?.own),
    ...('peer' in observed ? { peer: statusOfEnd(observed.peer, ends?.peer) } : {}),
  }),
};

function completeVeth(spec: VethSpec): VethIntent {
  const own = completeEnd('', completeInterfaceName(spec.interface, spec.name), spec);
  const peer = completeEnd('/peer', spec.peer.interface, spec.peer);
  return { name: spec.name, type: spec.type, ...own, peer, labels: spec.labels ?? {} };
}

function completeEnd(at: string, name: string, spec: VethSpec | LinkPeerSpec): EndIntent {
  const { namespace = HOST, bridge = null } = spec;
  const { addresses, routes, mtu, mac, up } = completeInterface(at, spec, true);
  const options = completeOptions(at, spec, { bridge, mtu });
  return { interface: name, namespace, bridge, addresses, routes, mtu, mac, up, ...options };
}

async function lookAtLink(intent: LinkIntent, processes: Processes): Promise<ObservedLink> {
  const answers = await lookAt(processes, readsOfLink(intent));
  const observed = parseLink(intent, answers);
  // What is not there has nothing to be asked about, and its namespace need not be there either.
  if (observed.index === null || ('peer' in observed && observed.peer.index === null)) return observed;
  return parseLink(intent, answers, await readExtrasOfLink(processes, intent));
}

function checkEnd(at: string, end: EndIntent, owner: Ref, draft: Draft): void {
  const { namespace, bridge } = end;
  checkReference(`${at}/namespace`, 'namespace', namespace, draft);
  checkSysctlsOfEnd(at, end, draft);
  if (bridge === null) return;
  checkReference(`${at}/bridge`, 'bridge', bridge, draft);
  const found = draft.get('bridge', bridge)?.intent.namespace;
  if (found !== namespace)
    throw new Problem(
      'unprocessable',
      `${at}/bridge: ${bridge} is in the namespace ${String(found)}, and this end is in ${namespace}; a port is where its bridge is`,
    );
  const others = draft
    .referrers({ kind: 'bridge', name: bridge })
    .filter((ref) => refText(ref) !== refText(owner));
  if (others.length >= MOST_PORTS)
    throw new Problem(
      'limit-reached',
      `${at}/bridge: ${bridge} has ${others.length} ports, and ${MOST_PORTS} is the most`,
    );
}

function tiesOfLink(given: VethIntent, assigned: Pick<LinkAssigned, 'ends'> = {}): Ties {
  const intent = resolvedLink(given, assigned);
  const ends = [intent, intent.peer];
  const leases = leaseTiesOf(given, assigned);
  return {
    references: ends.flatMap(({ namespace, bridge }): Ref[] => [
      { kind: 'namespace', name: namespace },
      ...(bridge === null ? [] : [{ kind: 'bridge', name: bridge } as const]),
    ]),
    claims: [
      ...ends.flatMap((end) => claimsOfInterface(end.namespace, end.interface, end)),
      ...leases.claims,
    ],
    needs: leases.needs,
  };
}

function interfaceOfBridge(bridge: string | null, draft: Draft): string | null {
  return bridge === null ? null : (draft.get('bridge', bridge)?.intent.interface ?? null);
}

function statusOfEnd(
  { index, mac, mtu, up, operstate, addresses, statistics }: ObservedEnd,
  chosen: EndAssigned | undefined,
): object {
  const { leases, gateways } = chosen ?? {};
  const auto = leases === undefined ? {} : { leases, gateways };
  return { index, mac, mtu, up, operstate, addresses, statistics, ...auto };
}

async function findLink(intent: VethIntent, processes: Processes): Promise<Found<'link'> | null> {
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
