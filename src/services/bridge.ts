import type { Stored, Ties } from '../db/resources.ts';
import { parseBridge, readsOfBridge } from '../kernel/bridge.ts';
import { parseFound, readOfFound } from '../kernel/adoption.ts';
import { observedInterface } from '../kernel/interface.ts';
import { answerFrom } from '../kernel/snapshot.ts';
import { ACCEPT_RA } from '../plan/advertisement.ts';
import { differencesOfBridge } from '../plan/bridge.ts';
import { resolvedBridge } from '../plan/ipam.ts';
import type { BridgeAssigned, BridgeIntent } from '../schemas/bridge.ts';
import { HOST, refText } from '../schemas/common.ts';
import { sysctlOfInterface } from '../schemas/end.ts';
import { leaseTie } from '../schemas/ipam.ts';
import { isSetByNamespace } from './advertisement.ts';
import type { Draft } from './draft.ts';
import {
  checkClaims,
  checkReference,
  chooseMac,
  claimsOfInterface,
  completeInterface,
  completeInterfaceName,
  routesOf,
} from './interface.ts';
import type { KindService } from './kind.ts';
import { lookAt } from './look.ts';
import { Problem } from './problem.ts';
import { assignSubnets, checkSubnets } from './subnets.ts';

const DEFAULT_AGEING_SECONDS = 300;

export const bridgeKind: KindService<'bridge'> = {
  kind: 'bridge',
  complete: (spec) => {
    const { name, namespace = HOST, stp = false, ageingSeconds = DEFAULT_AGEING_SECONDS, labels = {} } = spec;
    const { subnets = [], reserved = [] } = spec;
    const { addresses, routes, mtu, mac, up } = completeInterface('', spec);
    const interfaceName = completeInterfaceName(spec.interface, name);
    const intent = {
      name,
      interface: interfaceName,
      namespace,
      addresses,
      routes,
      stp,
      ageingSeconds,
      subnets,
      reserved,
      mtu,
      mac,
      up,
      labels,
    };
    checkSubnets(intent);
    return intent;
  },
  check: (intent, draft, before) => {
    checkReference('/namespace', 'namespace', intent.namespace, draft);
    checkClaims(tiesOfBridge(intent).claims, { kind: 'bridge', name: intent.name }, draft);
    if (before !== null && before.intent.namespace !== intent.namespace) checkUnused(before, draft);
  },
  assign: (intent, before, choosing) => ({
    mac: intent.mac ?? before?.assigned.mac ?? chooseMac(),
    ...assignSubnets(intent, before, choosing),
  }),
  ties: (intent, assigned) => tiesOfBridge(intent, assigned),
  usesIpam: ({ subnets }) => subnets.length > 0,
  // What was written is not read again.
  reads: (intent) => readsOfBridge(intent).map((read) => ({ ...read, sysctls: [] })),
  result: ({ intent, assigned: { index: _index, ...chosen } }, answers) => {
    const observed = parseBridge(intent, answers);
    return {
      observed,
      assigned: { ...chosen, ...(observed.index === null ? {} : { index: observed.index }) },
    };
  },
  seen: (intent, snapshot) =>
    parseBridge(
      intent,
      readsOfBridge(intent).map((read) => answerFrom(snapshot, read)),
    ),
  look: async (intent, processes) => parseBridge(intent, await lookAt(processes, readsOfBridge(intent))),
  find: async (intent, processes) => {
    const { namespace, interface: name } = intent;
    const [answer] = await lookAt(processes, [readOfFound(namespace, name, routesOf(intent))]);
    const found = parseFound(name, routesOf(intent), answer);
    if (found === null) return null;
    const { entry, routes, marks } = found;
    const { bridgeId, stp, ageingSeconds, type } = entry;
    return {
      observed: { ...observedInterface(entry), bridgeId, stp, ageingSeconds, ports: [], routes },
      assigned: { mac: intent.mac ?? entry.mac ?? '' },
      mismatches: type === 'bridge' ? [] : [{ path: '', intended: 'bridge', observed: type }],
      devices: { [refText({ kind: 'bridge', name: intent.name })]: marks },
      inode: null,
    };
  },
  differences: ({ intent, assigned }, observed, draft) => {
    const key = sysctlOfInterface(intent.interface, ACCEPT_RA);
    const { acceptRa: _acceptRa, ...rest } = observed;
    const seen = isSetByNamespace(key, intent.namespace, draft) ? rest : observed;
    return differencesOfBridge(resolvedBridge(intent, assigned), assigned, seen);
  },
  status: (
    _intent,
    { index, mac, mtu, up, operstate, addresses, statistics, bridgeId, stp, ports },
    { subnets },
  ) => ({
    ...(subnets === undefined
      ? {}
      : { subnets: subnets.map(({ subnet, gateway }) => ({ subnet, gateway })) }),
    index,
    mac,
    mtu,
    up,
    operstate,
    addresses,
    statistics,
    bridgeId,
    stp,
    ports,
  }),
};

function tiesOfBridge(given: BridgeIntent, assigned: BridgeAssigned = { mac: '' }): Ties {
  const intent = resolvedBridge(given, assigned);
  return {
    references: [{ kind: 'namespace', name: intent.namespace }],
    claims: [
      ...claimsOfInterface(intent.namespace, intent.interface, intent),
      ...(assigned.subnets ?? []).map(({ gateway }) => leaseTie(intent.name, gateway)),
    ],
    needs: [],
  };
}

/** A bridge can't move (ip-link(8)): in another namespace it is another bridge, and its ports would be lost. */
function checkUnused({ name }: Stored<'bridge'>, draft: Draft): void {
  const references = draft.referrers({ kind: 'bridge', name });
  if (references.length > 0)
    throw new Problem(
      'in-use',
      `/namespace: a bridge with ports can't change its namespace; detach them first`,
      { references },
    );
}
