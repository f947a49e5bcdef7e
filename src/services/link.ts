import type { Ties } from '../db/resources.ts';
import { asWritten, parseLink, readExtrasOfLink, readsOfLink } from '../kernel/link.ts';
import { answerFrom } from '../kernel/snapshot.ts';
import { asPort } from '../plan/bridge-firewall.ts';
import { endKey } from '../plan/end.ts';
import { resolvedLink, usesAuto } from '../plan/ipam.ts';
import { differencesOfLink } from '../plan/link.ts';
import type { Processes } from '../kernel/processes.ts';
import { PORTS_PER_BRIDGE } from '../schemas/bridge.ts';
import { shownOptions } from '../schemas/end.ts';
import { HOST, refText, type Ref } from '../schemas/common.ts';
import type { EndAssigned } from '../schemas/ipam.ts';
import {
  endsOf,
  type EndIntent,
  type EndName,
  type LinkAssigned,
  type LinkIntent,
  type LinkPeerSpec,
  type ObservedEnd,
  type ObservedLink,
  type VethIntent,
  type VethSpec,
} from '../schemas/link.ts';
import { refusingEnds, withoutThoseOfNamespaces } from './advertisement.ts';
import type { Draft } from './draft.ts';
import { checkQueues, checkSysctlsOfEnd, completeOptions } from './end.ts';
import {
  checkClaims,
  checkReference,
  chooseMac,
  claimsOfInterface,
  completeInterface,
  completeInterfaceName,
} from './interface.ts';
import { checkFixed, leaseTiesOf } from './held.ts';
import { assignEnds } from './ipam.ts';
import { checkIpv6 } from './ipv6.ts';
import type { KindService } from './kind.ts';
import { findLink } from './link-adoption.ts';
import {
  assignSingle,
  checkSingle,
  checkType,
  completeSingle,
  findSingle,
  tiesOfSingle,
} from './link-types.ts';
import { lookAt } from './look.ts';
import { checkBesideSubnets, laidByLink } from './overlap.ts';
import { Problem } from './problem.ts';
import { reflectingEnds } from './reflecting.ts';

export const linkKind: KindService<'link'> = {
  complete: (spec) => {
    const intent = spec.type === 'veth' ? completeVeth(spec) : completeSingle(spec);
    checkQueues(intent);
    return intent;
  },
  check: (intent, draft, before) => {
    const owner: Ref = { kind: 'link', name: intent.name };
    if (before !== null) checkType(before.intent, intent.type);
    checkEnd('', intent, owner, draft);
    const had = before === null ? null : laidByLink(before.intent, draft);
    checkBesideSubnets(laidByLink(intent, draft), had, draft);
    if (intent.type !== 'veth') {
      checkSingle(intent, draft);
      checkClaims(tiesOfSingle(intent).claims, owner, draft);
      checkFixed(intent, before?.intent ?? null, draft);
      return;
    }
    checkEnd('/peer', intent.peer, owner, draft);
    if (intent.bridge !== null && intent.bridge === intent.peer.bridge)
      throw new Problem(
        'unprocessable',
        `both ends on the bridge ${intent.bridge} would make a loop; leave one of them off`,
      );
    checkClaims(tiesOfLink(intent).claims, owner, draft);
    checkFixed(intent, before?.intent ?? null, draft);
  },
  assign: (intent, before, choosing) =>
    intent.type === 'veth'
      ? {
          ...assignEnds(intent, before, choosing),
          ...refusingEnds(intent, choosing.draft),
          mac: intent.mac ?? before?.assigned.mac ?? chooseMac(),
          peerMac: intent.peer.mac ?? before?.assigned.peerMac ?? chooseMac(),
        }
      : {
          ...assignEnds(intent, before, choosing),
          ...refusingEnds(intent, choosing.draft),
          ...assignSingle(intent, before?.assigned),
        },
  ties: (intent, assigned) =>
    intent.type === 'veth' ? tiesOfLink(intent, assigned) : tiesOfSingle(intent, assigned),
  usesIpam: (intent) => endsOf(intent).some(usesAuto),
  // What was written is not read again.
  reads: (intent) => readsOfLink(intent).map((read) => ({ ...read, sysctls: [] })),
  result: ({ intent: given, assigned }, answers) => {
    const { index: _index, peerIndex: _peerIndex, ...chosen } = assigned;
    const intent = resolvedLink(given, assigned);
    const observed = asWritten(intent, parseLink(intent, answers));
    const { index } = observed;
    const peerIndex = 'peer' in observed ? observed.peer.index : null;
    const indexes = {
      ...(index === null ? {} : { index }),
      ...(peerIndex === null ? {} : { peerIndex }),
    };
    return { observed, assigned: { ...chosen, ...indexes } };
  },
  seen: (given, snapshot, assigned) => {
    const intent = resolvedLink(given, assigned);
    return parseLink(
      intent,
      readsOfLink(intent).map((read) => answerFrom(snapshot, read)),
      new Map([...snapshot.inside].map(([namespace, { extras }]) => [namespace, extras])),
    );
  },
  look: async (intent, processes, assigned) => lookAtLink(resolvedLink(intent, assigned), processes),
  find: async (intent, processes) =>
    intent.type === 'veth' ? findLink(intent, processes) : findSingle(intent, processes),
  adopted: (intent, assigned, draft) => ({ ...assigned, ...refusingEnds(intent, draft) }),
  differences: ({ intent, assigned }, observed, draft) =>
    differencesOfLink(effective(resolvedLink(intent, assigned), draft), assigned, observed, {
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
  checkIpv6(at, end, draft);
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
    .filter((ref) => ref.kind === 'link' && refText(ref) !== refText(owner));
  if (others.length >= PORTS_PER_BRIDGE)
    throw new Problem(
      'limit-reached',
      `${at}/bridge: ${bridge} has ${others.length} ports, and ${PORTS_PER_BRIDGE} is the most`,
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

/** A link as its bridges, its namespaces and the rules that lead to it have it. */
function effective(intent: LinkIntent, draft: Draft): LinkIntent {
  // What is only about to be adopted has nothing of ours yet.
  const isOurs = draft.recorded('link', intent.name) !== null;
  const reflecting = isOurs ? reflectingEnds([intent], (tie) => draft.needing(tie).length > 0) : new Map();
  return withPorts(withoutThoseOfNamespaces(intent, draft), draft, reflecting);
}

function withPorts(intent: LinkIntent, draft: Draft, reflecting: ReadonlyMap<string, boolean>): LinkIntent {
  const link: Ref = { kind: 'link', name: intent.name };
  const port = <E extends EndIntent>(end: E, name: EndName): E =>
    asPort(
      end,
      end.bridge === null ? null : (draft.get('bridge', end.bridge)?.intent ?? null),
      reflecting.get(endKey(link, name)),
    );
  return intent.type === 'veth'
    ? { ...port(intent, 'own'), peer: port(intent.peer, 'peer') }
    : port(intent, 'own');
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
