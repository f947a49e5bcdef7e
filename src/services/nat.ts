import type { Stored, Ties } from '../db/resources.ts';
import { CommandFailed } from '../kernel/errors.ts';
import { saveFirewall, type SavedFirewall } from '../kernel/firewall.ts';
import { parseNat } from '../kernel/nat.ts';
import { firewallKey } from '../kernel/state.ts';
import type { Processes } from '../kernel/processes.ts';
import { readHostSysctls } from '../kernel/sysctl.ts';
import { chainMarksOf, differencesOfNat, rulesOfNat } from '../plan/nat.ts';
import { isLoopback, localnetOf, resolvedDnat } from '../plan/publish.ts';
import { explainUnroutable, familyOf, parsePrefix, type Family } from '../schemas/address.ts';
import { HOST, type Ref } from '../schemas/common.ts';
import { AUTO_PORT, parsePorts } from '../schemas/format.ts';
import {
  forwardingKey,
  localnetKey,
  natFamily,
  type DnatIntent,
  type DnatSpec,
  type MasqueradeIntent,
  type NatAssigned,
  type NatIntent,
  type NatSpec,
  type ObservedNat,
  type SnatIntent,
} from '../schemas/nat.ts';
import type { Draft } from './draft.ts';
import { checkForwarding } from './forwarding.ts';
import { checkReference, interfaceTie } from './interface.ts';
import type { KindService } from './kind.ts';
import { lookAt } from './look.ts';
import { resolveNames } from './nat-names.ts';
import { firewallTie, localnetTie } from './nat-ties.ts';
import { checkOverlap } from './outgoing.ts';
import { invalidField } from './problem.ts';
import { checkPublished, choosePort, publishedTie } from './published.ts';
import { targetOf } from './reflecting.ts';

export const natKind: KindService<'nat'> = {
  complete: (spec) => {
    const intent = completeNat(spec);
    if (intent.type === 'dnat') checkDnat(intent);
    else checkOutgoing(intent);
    return intent;
  },
  check: (intent, draft, before) => {
    checkReference('/namespace', 'namespace', intent.namespace, draft);
    if (intent.type !== 'dnat' && intent.bridge !== undefined)
      checkReference('/bridge', 'bridge', intent.bridge, draft);
    if (intent.type === 'dnat') checkTarget(intent, draft, before);
    else checkOthers(intent, draft, before);
    checkForwarding('a nat rule', intent.namespace, natFamily(intent), draft);
  },
  assign: (intent, before, { draft }) => {
    const port =
      intent.type === 'dnat' && intent.port === AUTO_PORT ? { port: choosePort(intent, before, draft) } : {};
    return resolveNames(intent, port, draft);
  },
  ties: (intent, assigned = {}) => tiesOfNat(intent, assigned),
  // iptables-restore prints nothing; each table is changed whole or not at all, so its success says what is there.
  reads: () => [],
  result: ({ intent, assigned }) => ({
    observed: {
      packets: 0,
      bytes: 0,
      rules: rulesOfNat(intent, assigned).map(({ chain, spec }) => `-A ${chain} ${spec}`),
      forwarding: '1',
      chainMarks: chainMarksOf(intent, assigned),
      strays: [],
    },
    assigned,
  }),
  seen: (intent, snapshot, assigned) => {
    const saved = snapshot.firewalls.get(firewallKey(intent.namespace, natFamily(intent)));
    const sysctls = snapshot.inside.get(intent.namespace)?.sysctls ?? {};
    return parseNat(intent.name, saved ?? { chains: [], rules: [] }, sysctlsIn(sysctls, intent, assigned));
  },
  look: async (intent, processes, assigned) => {
    const { namespace } = intent;
    const saved = await saveIfThere(processes, namespace, natFamily(intent));
    const sysctls = await readSysctls(processes, namespace, sysctlsOfNat(intent, assigned));
    return parseNat(intent.name, saved, sysctlsIn(sysctls, intent, assigned));
  },
  differences: ({ intent, assigned }, observed) => differencesOfNat(intent, assigned, observed),
  status: (intent, { packets, bytes, rules }, assigned) => ({
    packets,
    bytes,
    ...publishedBy(intent, assigned),
    rules,
  }),
};

/** All rules of a namespace; none if it is gone. */
export async function saveIfThere(
  processes: Processes,
  namespace: string,
  family: Family,
): Promise<SavedFirewall> {
  try {
    return await saveFirewall(processes, namespace, family);
  } catch (error) {
    if (error instanceof CommandFailed && error.failure.cause === 'assumption')
      return { chains: [], rules: [] };
    throw error;
  }
}

export async function readForwarding(
  processes: Processes,
  namespace: string,
  family: Family,
): Promise<string | null> {
  const key = forwardingKey(family);
  return (await readSysctls(processes, namespace, [key]))[key] ?? null;
}

async function readSysctls(
  processes: Processes,
  namespace: string,
  keys: readonly string[],
): Promise<Record<string, string>> {
  if (namespace === HOST) return readHostSysctls(keys);
  const [answer] = await lookAt(processes, [{ namespace, lines: [], sysctls: [...keys] }]);
  return answer?.sysctls ?? {};
}

function sysctlsOfNat(intent: NatIntent, assigned: NatAssigned): string[] {
  const device = localnetOf(intent, assigned);
  return [forwardingKey(natFamily(intent)), ...(device === null ? [] : [localnetKey(device)])];
}

function sysctlsIn(
  sysctls: Readonly<Record<string, string>>,
  intent: NatIntent,
  assigned: NatAssigned,
): Pick<ObservedNat, 'forwarding' | 'routeLocalnet'> {
  const [forwarding, localnet] = sysctlsOfNat(intent, assigned).map((key) => sysctls[key] ?? null);
  return { forwarding: forwarding ?? null, ...(localnet === undefined ? {} : { routeLocalnet: localnet }) };
}

function publishedBy(intent: NatIntent, assigned: NatAssigned): object {
  if (intent.type !== 'dnat') return {};
  const { port, to } = resolvedDnat(intent, assigned);
  return { port, address: to.address };
}

function checkTarget(intent: DnatIntent, draft: Draft, before: Stored<'nat'> | null): void {
  if (intent.to.link !== undefined) checkReference('/to/link', 'link', intent.to.link, draft);
  const assigned = resolveNames(intent, before?.assigned ?? {}, draft);
  checkPublished(intent, assigned, draft, before);
}

function checkOthers(
  intent: MasqueradeIntent | SnatIntent,
  draft: Draft,
  before: Stored<'nat'> | null,
): void {
  checkOverlap({ intent, assigned: resolveNames(intent, {}, draft) }, before, draft);
}

function completeNat(spec: NatSpec): NatIntent {
  const { name, namespace = HOST, labels = {} } = spec;
  if (spec.type === 'dnat') {
    const { type, protocol, port, address = null, inInterface = null, to } = spec;
    return {
      name,
      type,
      namespace,
      protocol,
      port,
      address,
      inInterface,
      to: completeTarget(to, port, address),
      labels,
    };
  }
  const { source = null, bridge, inInterface = null, outInterface = null, forward = 'established' } = spec;
  const byBridge = typeof bridge === 'string' ? { bridge, family: spec.family ?? 4 } : {};
  const common = { name, namespace, source, ...byBridge, inInterface, outInterface, forward, labels };
  return spec.type === 'snat'
    ? { ...common, type: 'snat', toAddress: spec.toAddress }
    : { ...common, type: 'masquerade' };
}

function completeTarget(
  { address, link, family, port: toPort }: DnatSpec['to'],
  port: string,
  published: string | null,
): DnatIntent['to'] {
  if (typeof address === 'string' && typeof link === 'string')
    throw invalidField('/to', 'has both address and link; give one of them');
  if (toPort === undefined && port === AUTO_PORT)
    throw invalidField('/to/port', `is needed, because /port is ${AUTO_PORT}`);
  const to = { port: toPort ?? port };
  if (typeof address === 'string') return { address, ...to };
  if (typeof link !== 'string') throw invalidField('/to/address', 'is needed, or /to/link in its place');
  return { link, family: family ?? (published === null ? 4 : familyOf(published)), ...to };
}

function checkOutgoing(nat: MasqueradeIntent | SnatIntent): void {
  if ((nat.source === null) === (nat.bridge === undefined))
    throw invalidField('/source', 'is needed, or /bridge in its place, and not both');
  if (nat.bridge !== undefined && nat.inInterface !== null)
    throw invalidField('/inInterface', 'is that of /bridge; leave it out');
  const family = natFamily(nat);
  if (nat.type === 'snat' && familyOf(nat.toAddress) !== family)
    throw invalidField(
      '/toAddress',
      `${nat.toAddress} is not of the family of what it translates (IPv${family})`,
    );
  if (nat.type === 'snat') checkRoutable('/toAddress', nat.toAddress);
  if (nat.inInterface !== null && nat.inInterface === nat.outInterface)
    throw invalidField('/outInterface', 'is the same as /inInterface; traffic must leave by another');
  if (nat.source === null) return;
  const { address, prefixLength } = parsePrefix(nat.source);
  checkRoutable('/source', address);
  if (prefixLength > 0) return;
  if (nat.forward === 'established')
    throw invalidField(
      '/source',
      `${nat.source} is everything, and \`forward: established\` would drop all that is sent to it; name a network, or use \`any\` or \`none\``,
    );
  if (nat.inInterface === null && nat.outInterface === null)
    throw invalidField(
      '/outInterface',
      `is needed, or /inInterface: ${nat.source} is everything, and what leaves it can be known by an interface alone`,
    );
}

function checkDnat(intent: DnatIntent): void {
  const { port, address, to } = intent;
  const published = port === AUTO_PORT ? { first: 1, last: 1 } : parsePorts(port);
  const target = parsePorts(to.port);
  const length = target.last - target.first;
  if (length !== 0 && length !== published.last - published.first)
    throw invalidField(
      '/to/port',
      `${to.port} has not as many ports as ${port}; give one port, or a range as long`,
    );
  if (address !== null && familyOf(address) !== natFamily(intent))
    throw invalidField('/address', `${address} is not of the family of /to (IPv${natFamily(intent)})`);
  // 127.0.0.1 can be published; for ::1 the kernel has no route_localnet.
  if (address !== null && !isLoopback(address)) checkRoutable('/address', address);
  if (to.address !== undefined) checkRoutable('/to/address', to.address);
}

function checkRoutable(pointer: string, address: string): void {
  const problem = explainUnroutable(address);
  if (problem !== null)
    throw invalidField(
      pointer,
      `${problem}, and nothing is led from there, or to there, by another interface`,
    );
}

/** The link or bridge that a rule follows. */
function namedBy(intent: NatIntent): Ref[] {
  if (intent.type !== 'dnat')
    return intent.bridge === undefined ? [] : [{ kind: 'bridge', name: intent.bridge }];
  return intent.to.link === undefined ? [] : [{ kind: 'link', name: intent.to.link }];
}

function tiesOfNat(intent: NatIntent, assigned: NatAssigned): Ties {
  const { namespace } = intent;
  const interfaces =
    intent.type === 'dnat' ? [intent.inInterface] : [intent.inInterface, intent.outInterface];
  const family = natFamily(intent);
  const device = localnetOf(intent, assigned);
  const target = targetOf(intent, assigned);
  return {
    references: [{ kind: 'namespace', name: namespace }, ...namedBy(intent)],
    claims: [],
    needs: [
      { namespace, what: firewallTie(family) },
      ...(intent.type === 'dnat' ? [{ namespace, what: publishedTie(intent) }] : []),
      ...(target === null ? [] : [target]),
      ...(device === null ? [] : [localnetTie(), localnetTie(device)].map((what) => ({ namespace, what }))),
      ...interfaces.flatMap((name) => (name === null ? [] : [{ namespace, what: interfaceTie(name) }])),
    ],
  };
}
