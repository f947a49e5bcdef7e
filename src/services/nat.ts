import type { Ties } from '../db/resources.ts';
import { CommandFailed } from '../kernel/errors.ts';
import { saveFirewall, type SavedFirewall } from '../kernel/firewall.ts';
import { parseNat } from '../kernel/nat.ts';
import { firewallKey } from '../kernel/state.ts';
import type { Processes } from '../kernel/processes.ts';
import { readHostSysctls } from '../kernel/sysctl.ts';
import { chainMarksOf, differencesOfNat, rulesOfNat } from '../plan/nat.ts';
import { familyOf, parsePrefix, type Family } from '../schemas/address.ts';
import { HOST } from '../schemas/common.ts';
import { parsePorts } from '../schemas/format.ts';
import {
  forwardingKey,
  natFamily,
  type DnatIntent,
  type MasqueradeIntent,
  type NatIntent,
  type NatSpec,
  type SnatIntent,
} from '../schemas/nat.ts';
import type { Draft } from './draft.ts';
import { checkReference, interfaceTie } from './interface.ts';
import type { KindService } from './kind.ts';
import { lookAt } from './look.ts';
import { Problem, invalidField, taken } from './problem.ts';

export const natKind: KindService<'nat'> = {
  kind: 'nat',
  complete: (spec) => {
    const intent = completeNat(spec);
    if (intent.type === 'dnat') checkDnat(intent);
    else checkOutgoing(intent);
    return intent;
  },
  check: (intent, draft) => {
    checkReference('/namespace', 'namespace', intent.namespace, draft);
    if (intent.type === 'dnat') checkPublished(intent, draft);
    const key = forwardingKey(natFamily(intent));
    const value = draft.get('namespace', intent.namespace)?.intent.sysctls[key];
    if (value !== undefined && value !== '1')
      throw new Problem(
        'unprocessable',
        `a nat rule needs forwarding, and ${intent.namespace} asks for ${key} = ${value}; change that first`,
        {
          references: [{ kind: 'namespace', name: intent.namespace }],
        },
      );
  },
  assign: () => ({}),
  ties: (intent) => tiesOfNat(intent),
  // iptables-restore prints nothing; each table is changed whole or not at all, so its success says what is there.
  reads: () => [],
  result: ({ intent, assigned }) => ({
    observed: {
      packets: 0,
      bytes: 0,
      rules: rulesOfNat(intent).map(({ chain, spec }) => `-A ${chain} ${spec}`),
      forwarding: '1',
      chainMarks: chainMarksOf(intent),
      strays: [],
    },
    assigned,
  }),
  seen: (intent, snapshot) => {
    const family = natFamily(intent);
    const saved = snapshot.firewalls.get(firewallKey(intent.namespace, family)) ?? { chains: [], rules: [] };
    const forwarding = snapshot.inside.get(intent.namespace)?.sysctls[forwardingKey(family)] ?? null;
    return parseNat(intent.name, saved, forwarding);
  },
  look: async (intent, processes) => {
    const family = natFamily(intent);
    const saved = await saveIfThere(processes, intent.namespace, family);
    return parseNat(intent.name, saved, await readForwarding(processes, intent.namespace, family));
  },
  differences: ({ intent }, observed) => differencesOfNat(intent, observed),
  status: (_intent, { packets, bytes, rules }) => ({ packets, bytes, rules }),
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
  if (namespace === HOST) return (await readHostSysctls([key]))[key] ?? null;
  const [answer] = await lookAt(processes, [{ namespace, lines: [], sysctls: [key] }]);
  return answer?.sysctls[key] ?? null;
}

/** How the firewall of a family stands in needs. */
export function firewallTie(family: Family): string {
  return `firewall ${family}`;
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
      to: { address: to.address, port: to.port ?? port },
      labels,
    };
  }
  const { source, inInterface = null, outInterface = null, forward = 'established' } = spec;
  const common = { name, namespace, source, inInterface, outInterface, forward, labels };
  return spec.type === 'snat'
    ? { ...common, type: 'snat', toAddress: spec.toAddress }
    : { ...common, type: 'masquerade' };
}

function checkOutgoing(nat: MasqueradeIntent | SnatIntent): void {
  const family = familyOf(nat.source);
  if (nat.type === 'snat' && familyOf(nat.toAddress) !== family)
    throw invalidField('/toAddress', `${nat.toAddress} is not of the family of /source (IPv${family})`);
  if (nat.inInterface !== null && nat.inInterface === nat.outInterface)
    throw invalidField('/outInterface', 'is the same as /inInterface; traffic must leave by another');
  if (nat.forward === 'established' && parsePrefix(nat.source).prefixLength === 0)
    throw invalidField(
      '/source',
      `${nat.source} is everything, and \`forward: established\` would drop all that is sent to it; name a network, or use \`any\` or \`none\``,
    );
}

function checkDnat({ port, address, to }: DnatIntent): void {
  const published = parsePorts(port);
  const target = parsePorts(to.port);
  const length = target.last - target.first;
  if (length !== 0 && length !== published.last - published.first)
    throw invalidField(
      '/to/port',
      `${to.port} has not as many ports as ${port}; give one port, or a range as long`,
    );
  if (address !== null && familyOf(address) !== familyOf(to.address))
    throw invalidField('/address', `${address} is not of the family of /to/address`);
}

/** Rules that can meet in one packet. */
function publishedTie(intent: DnatIntent): string {
  return `published ${intent.protocol} port, IPv${natFamily(intent)}`;
}

/** Of two rules for one packet the first would win, and which that is would be left to chance. */
function checkPublished(intent: DnatIntent, draft: Draft): void {
  const others = draft.needing({ namespace: intent.namespace, what: publishedTie(intent) });
  for (const { name } of others) {
    const other = name === intent.name ? null : draft.get('nat', name);
    if (other?.intent.type !== 'dnat' || !meets(intent, other.intent)) continue;
    throw taken(`the published ${intent.protocol} port ${intent.port}`, { kind: 'nat', name });
  }
}

function meets(a: DnatIntent, b: DnatIntent): boolean {
  const [ports, others] = [parsePorts(a.port), parsePorts(b.port)];
  const isEither = (one: string | null, two: string | null): boolean =>
    one === null || two === null || one === two;
  return (
    ports.first <= others.last &&
    others.first <= ports.last &&
    isEither(a.address, b.address) &&
    isEither(a.inInterface, b.inInterface)
  );
}

function tiesOfNat(intent: NatIntent): Ties {
  const { namespace } = intent;
  const interfaces =
    intent.type === 'dnat' ? [intent.inInterface] : [intent.inInterface, intent.outInterface];
  const family = natFamily(intent);
  return {
    references: [{ kind: 'namespace', name: namespace }],
    claims: [],
    needs: [
      { namespace, what: firewallTie(family) },
      ...(intent.type === 'dnat' ? [{ namespace, what: publishedTie(intent) }] : []),
      ...interfaces.flatMap((name) => (name === null ? [] : [{ namespace, what: interfaceTie(name) }])),
    ],
  };
}
