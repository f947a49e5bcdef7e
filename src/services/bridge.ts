import type { Stored, Ties } from '../db/resources.ts';
import { parseBridge, readsOfBridge } from '../kernel/bridge.ts';
import { parseFound, readOfFound } from '../kernel/adoption.ts';
import { observedInterface } from '../kernel/interface.ts';
import { answerFrom } from '../kernel/snapshot.ts';
import { differencesOfBridge } from '../plan/bridge.ts';
import { resolvedBridge } from '../plan/ipam.ts';
import type { BridgeAssigned, BridgeIntent, ObservedBridge } from '../schemas/bridge.ts';
import { HOST, refText } from '../schemas/common.ts';
import { sysctlOfInterface } from '../schemas/end.ts';
import { leaseTie, subnetTie } from '../schemas/ipam.ts';
import { isSetByNamespace, refusingBridge } from './advertisement.ts';
import {
  checkFirewall,
  completeFirewall,
  differencesIn,
  lookAtFirewall,
  seenFirewall,
  tiesOfFirewall,
  writtenFirewall,
} from './bridge-firewall.ts';
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
import { checkOwn, fixedOf } from './held.ts';
import { checkIpv6 } from './ipv6.ts';
import type { KindService } from './kind.ts';
import { checkDns } from './dns.ts';
import { lookAt } from './look.ts';
import { checkBesideSubnets, laidByBridge } from './overlap.ts';
import { Problem } from './problem.ts';
import { assignSubnets, checkSubnets } from './subnets.ts';

const DEFAULT_AGEING_SECONDS = 300;

export const bridgeKind: KindService<'bridge'> = {
  complete: (spec) => {
    const { name, namespace = HOST, stp = false, ageingSeconds = DEFAULT_AGEING_SECONDS, labels = {} } = spec;
    const { subnets = [], reserved = [], dns = [] } = spec;
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
      ...(dns.length === 0 ? {} : { dns }),
      mtu,
      mac,
      up,
      firewall: completeFirewall(name, spec.firewall, subnets.length > 0),
      labels,
    };
    checkSubnets(intent);
    checkDns(intent);
    return intent;
  },
  check: (intent, draft, before) => {
    checkReference('/namespace', 'namespace', intent.namespace, draft);
    checkFirewall(intent, draft);
    checkIpv6('', intent, draft);
    checkClaims(tiesOfBridge(intent).claims, { kind: 'bridge', name: intent.name }, draft);
    checkBesideSubnets(laidByBridge(intent), before === null ? null : laidByBridge(before.intent), draft);
    checkOwn(intent, before?.intent ?? null, draft);
    if (before !== null && before.intent.namespace !== intent.namespace) checkUnused(before, draft);
  },
  assign: (intent, before, choosing) => ({
    mac: intent.mac ?? before?.assigned.mac ?? chooseMac(),
    ...assignSubnets(intent, before, choosing),
    ...refusingBridge(intent),
  }),
  ties: (intent, assigned) => tiesOfBridge(intent, assigned),
  usesIpam: ({ subnets }) => subnets.length > 0,
  // What was written is not read again.
  reads: (intent) => readsOfBridge(intent).map((read) => ({ ...read, sysctls: [] })),
  result: (stored, answers, draft) => {
    const { index: _index, ...chosen } = stored.assigned;
    const observed = {
      ...parseBridge(stored.intent, answers),
      firewall: writtenFirewall(stored, draft),
    };
    return {
      observed,
      assigned: { ...chosen, ...(observed.index === null ? {} : { index: observed.index }) },
    };
  },
  seen: (intent, snapshot) => ({
    ...parseBridge(
      intent,
      readsOfBridge(intent).map((read) => answerFrom(snapshot, read)),
    ),
    firewall: seenFirewall(intent, snapshot),
  }),
  look: async (intent, processes) => {
    const [answers, firewall] = await Promise.all([
      lookAt(processes, readsOfBridge(intent)),
      lookAtFirewall(intent, processes),
    ]);
    return { ...parseBridge(intent, answers), firewall };
  },
  find: async (intent, processes) => {
    const { namespace, interface: name } = intent;
    const [answer] = await lookAt(processes, [readOfFound(namespace, name, routesOf(intent))]);
    const found = parseFound(name, routesOf(intent), answer);
    if (found === null) return null;
    const { entry, routes, marks } = found;
    const { bridgeId, stp, ageingSeconds, type } = entry;
    return {
      observed: { ...observedInterface(entry), bridgeId, stp, ageingSeconds, ports: [], routes },
      assigned: { mac: intent.mac ?? entry.mac ?? '', ...refusingBridge(intent) },
      mismatches: type === 'bridge' ? [] : [{ path: '', intended: 'bridge', observed: type }],
      devices: { [refText({ kind: 'bridge', name: intent.name })]: marks },
      inode: null,
    };
  },
  differences: (stored, observed, draft) => {
    const { intent, assigned } = stored;
    // What the namespace says of its sysctls counts more.
    const own = Object.entries(observed.sysctls ?? {}).filter(
      ([field]) => !isSetByNamespace(sysctlOfInterface(intent.interface, field), intent.namespace, draft),
    );
    const seen = { ...observed, sysctls: Object.fromEntries(own) };
    return [
      ...differencesOfBridge(resolvedBridge(intent, assigned), assigned, seen),
      ...differencesIn(stored, observed.firewall, draft),
    ];
  },
  shown: (intent) => ({ ...intent, dns: intent.dns ?? [] }),
  status: ({ firewall }, observed, { subnets }) => ({
    ...(subnets === undefined
      ? {}
      : { subnets: subnets.map(({ subnet, gateway }) => ({ subnet, gateway })) }),
    ...statusOfBridge(observed),
    ...(firewall === null || observed.firewall === null || observed.firewall === undefined
      ? {}
      : { rules: [...observed.firewall.ipv4.rules, ...observed.firewall.ipv6.rules] }),
  }),
};

function statusOfBridge(observed: ObservedBridge): object {
  const { index, mac, mtu, up, operstate, addresses, statistics, bridgeId, stp, ports } = observed;
  return {
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
  };
}

function tiesOfBridge(given: BridgeIntent, assigned: BridgeAssigned = { mac: '' }): Ties {
  const intent = resolvedBridge(given, assigned);
  const { subnets = [] } = assigned;
  const gateways = new Set(subnets.map(({ gateway }) => gateway));
  const { references, needs } = tiesOfFirewall(intent);
  return {
    references: [{ kind: 'namespace', name: intent.namespace }, ...references],
    claims: [
      ...claimsOfInterface(intent.namespace, intent.interface, intent),
      ...subnets.map(({ gateway }) => leaseTie(intent.name, gateway)),
    ],
    needs: [
      ...needs,
      ...fixedOf(intent)
        .filter((address) => !gateways.has(address))
        .map((address) => leaseTie(intent.name, address)),
      ...subnets.map(({ subnet }) => subnetTie(intent.namespace, subnet)),
    ],
  };
}

/** A bridge can't move (ip-link(8)): in another namespace it is another bridge, and its ports would be lost. */
function checkUnused({ name }: Stored<'bridge'>, draft: Draft): void {
  const references = draft.referrers({ kind: 'bridge', name });
  if (references.length > 0)
    throw new Problem(
      'in-use',
      `/namespace: a bridge with ports, or that others name, can't change its namespace; detach them first`,
      { references },
    );
}
