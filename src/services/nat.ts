import type { Ties } from '../db/resources.ts';
import { saveFirewall } from '../kernel/firewall.ts';
import { parseNat } from '../kernel/nat.ts';
import { readHostSysctls } from '../kernel/sysctl.ts';
import { differencesOfNat, rulesOfNat } from '../plan/nat.ts';
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
import { checkClaims, checkReference, interfaceTie } from './interface.ts';
import type { KindService } from './kind.ts';
import { Problem, invalidField } from './problem.ts';

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
    checkClaims(tiesOfNat(intent).claims, { kind: 'nat', name: intent.name }, draft);
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
    },
    assigned,
  }),
  look: async (intent, processes) => {
    const family = natFamily(intent);
    const saved = await saveFirewall(processes, intent.namespace, family);
    const key = forwardingKey(family);
    const forwarding = intent.namespace === HOST ? ((await readHostSysctls([key]))[key] ?? null) : null;
    return parseNat(intent.name, saved, forwarding);
  },
  differences: ({ intent }, observed) => differencesOfNat(intent, observed),
  status: (_intent, { packets, bytes, rules }) => ({ packets, bytes, rules }),
};

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

function tiesOfNat(intent: NatIntent): Ties {
  const { namespace } = intent;
  const interfaces =
    intent.type === 'dnat' ? [intent.inInterface] : [intent.inInterface, intent.outInterface];
  const family = natFamily(intent);
  return {
    references: [{ kind: 'namespace', name: namespace }],
    claims:
      intent.type === 'dnat'
        ? [
            {
              namespace,
              what: `published port ${intent.protocol} ${intent.port} of ${intent.address ?? `any IPv${family} address`} by ${intent.inInterface ?? 'any interface'}`,
            },
          ]
        : [],
    needs: [
      { namespace, what: firewallTie(family) },
      ...interfaces.flatMap((name) => (name === null ? [] : [{ namespace, what: interfaceTie(name) }])),
    ],
  };
}
