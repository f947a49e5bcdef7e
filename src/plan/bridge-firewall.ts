import type { KernelState, Rule } from '../kernel/state.ts';
import { familyOfSubnet } from '../schemas/ipam.ts';
import type { EndIntent } from '../schemas/link.ts';
import {
  alone,
  explainUnroutable,
  familyOf,
  networkOf,
  parsePrefix,
  type Family,
} from '../schemas/address.ts';
import type { BridgeFirewall, ObservedBridgeFirewall } from '../schemas/bridge-firewall.ts';
import type { BridgeIntent } from '../schemas/bridge.ts';
import type { Difference, Ref } from '../schemas/common.ts';
import type { Placed } from '../schemas/resource.ts';
import { NEITHER_ANSWER_NOR_TRANSLATED, NO_ANSWER } from './answers.ts';
import { BRIDGE_CHAINS } from './bridge-chains.ts';
import { CHAINS, baseFirewall, firewallIn } from './firewall.ts';
import { resourceIn, type Intent } from './intent.ts';
import { differencesOfRules } from './rule-differences.ts';
import { addRule, makeRule, marksOf } from './rule.ts';

export const families = [4, 6] as const;

/** Namespaces in which a bridge has a firewall: there all bridges are listed, so that each is known to be ours. */
export function guardedNamespaces({ resources, otherBridgeFirewalls = new Set() }: Intent): Set<string> {
  const own = [...resources.values()].flatMap((resource) =>
    resource.kind === 'bridge' && resource.intent.firewall !== null ? [resource.intent.namespace] : [],
  );
  return new Set([...own, ...otherBridgeFirewalls]);
}

/** Adds the rules of a bridge to both firewalls of its namespace. */
export function compileBridgeFirewall(
  state: KernelState,
  { kind, name, intent }: Placed<'bridge'>,
  context: Intent,
  guarded: ReadonlySet<string>,
): void {
  const { namespace } = intent;
  if (!guarded.has(namespace)) return;
  const interfaceOf = (bridge: string): string => resourceIn(context, 'bridge', bridge).intent.interface;
  for (const family of families) {
    const firewall = firewallIn(state, { namespace, family, part: 'bridge' }, { kind, name });
    for (const rule of rulesOfBridge(intent, family, interfaceOf)) addRule(firewall, rule);
  }
}

/** The families for which a bridge is a plain router, which needs forwarding. */
export function routedFamilies({ firewall, addresses, subnets }: BridgeIntent): Family[] {
  if (firewall === null || firewall.internal || firewall.inbound !== 'any') return [];
  const own = new Set([...addresses.map(familyOf), ...subnets.map(familyOfSubnet)]);
  return families.filter((family) => own.has(family));
}

/** Whether the ports of the bridge are to be isolated, whatever each of them asks for. */
export function isolatesPorts({ firewall }: BridgeIntent): boolean {
  return firewall?.intercom === false;
}

/**
 * An end as its bridge has it: one whose firewall lets ports reach nobody but the gateway isolates each.
 *
 * @param reflects whether it is to be in hairpin mode, if something behind it is published; isolated ports are not even
 *     let back to themselves
 */
export function asPort<E extends EndIntent>(end: E, bridge: BridgeIntent | null, reflects?: boolean): E {
  if (bridge === null) return end;
  if (isolatesPorts(bridge)) return { ...end, isolatedPort: true };
  return reflects === undefined || end.hairpin === true ? end : { ...end, hairpin: reflects };
}

/**
 * All rules of a bridge in a namespace where any bridge has a firewall: those of its own firewall, and those by which
 * others know it. Those of one family are those of the other but for its addresses and networks.
 *
 * @param intent with all of its addresses, those that were chosen included
 * @param interfaceOf the interface of the bridge resource of that name
 */
export function rulesOfBridge(
  { name, interface: own, firewall, addresses }: BridgeIntent,
  family: Family,
  interfaceOf: (bridge: string) => string,
): Rule[] {
  const make = makerFor({ kind: 'bridge', name });
  const { to, from, peers } = BRIDGE_CHAINS;
  const listed = [
    make.mangle(to, `-o ${own}`, 'DROP'),
    make.mangle(from, `-i ${own}`, 'DROP'),
    make.mangle(peers, `-i ${own}`, 'ACCEPT'),
    make.filter(peers, `-i ${own}`, 'ACCEPT'),
  ];
  if (firewall === null) return listed;
  const guarded = addresses.filter((each) => familyOf(each) === family && isBeyondItsLink(each));
  const isReached = firewall.internal ? [] : firewall.reachableFrom.map(interfaceOf);
  return [
    ...listed,
    // Only a packet that begins a flow: who is on two bridges may answer by either.
    ...[...new Set(guarded.map(networkOf))].map((network) =>
      make.mangle(BRIDGE_CHAINS.source, `-s ${network} ! -i ${own} -m conntrack --ctstate NEW`, 'DROP'),
    ),
    ...(firewall.internal ? closed(own, make) : outside(own, firewall, make)),
    ...isReached.flatMap((other) => between(other, own, make)),
    firewall.intercom
      ? make.filter(CHAINS.in, `-i ${own} -o ${own}`, 'ACCEPT')
      : // What was published and comes back to the same bridge passes: it was translated.
        make.mangle(BRIDGE_CHAINS.inbound, `-i ${own} -o ${own} ${BUT_TRANSLATED}`, 'DROP'),
    ...(firewall.inbound === 'any' ? [] : gateways(own, guarded, make)),
    ...(firewall.hostAccess ? [] : [make.mangle(BRIDGE_CHAINS.input, `-i ${own} ${NO_ANSWER}`, 'DROP')]),
  ];
}

/** As iptables-save prints them. The state DNAT is that of all packets of a translated flow, in both directions. */
const BUT_TRANSLATED = '-m conntrack ! --ctstate DNAT';

type Make = (chain: string, match: string, target: string) => Rule;
interface Maker {
  mangle: Make;
  filter: Make;
}

function makerFor(serves: Ref): Maker {
  return {
    mangle: (chain, match, target) => makeRule(serves, 'mangle', chain, match, target),
    filter: (chain, match, target) => makeRule(serves, 'filter', chain, match, target),
  };
}

function closed(own: string, { mangle }: Maker): Rule[] {
  const { internal } = BRIDGE_CHAINS;
  return [
    mangle(internal, `-i ${own} ! -o ${own}`, 'DROP'),
    mangle(internal, `! -i ${own} -o ${own}`, 'DROP'),
  ];
}

/**
 * Whether what bears such an address can come by another interface, or be meant for this one if it does. Each link has
 * link-local addresses of the same network, and they are good there only: what has one elsewhere is of no concern here.
 */
function isBeyondItsLink(address: string): boolean {
  return explainUnroutable(parsePrefix(address).address) === null;
}

/** Who comes by another way to an address of the bridge is sent to where it is told who is a stranger. */
function gateways(own: string, addresses: readonly string[], { mangle }: Maker): Rule[] {
  return addresses.map((text) =>
    mangle(
      BRIDGE_CHAINS.gateway,
      `-d ${alone(parsePrefix(text).address)} ! -i ${own} ${NEITHER_ANSWER_NOR_TRANSLATED}`,
      BRIDGE_CHAINS.strange,
    ),
  );
}

/** What passes between the bridge and the rest of the world, other bridges included. */
function outside(own: string, { isolated, inbound }: BridgeFirewall, { mangle, filter }: Maker): Rule[] {
  const { isolate, to, from, open, peers, inbound: guard } = BRIDGE_CHAINS;
  const out = `-i ${own} ! -o ${own}`;
  const into = `! -i ${own} -o ${own}`;
  return [
    ...(isolated
      ? [mangle(isolate, `${out} ${BUT_TRANSLATED}`, to), mangle(isolate, `${into} ${BUT_TRANSLATED}`, from)]
      : [mangle(open, into, peers), filter(CHAINS.in, into, peers)]),
    inbound === 'any'
      ? filter(CHAINS.in, into, 'ACCEPT')
      : mangle(guard, `${into} ${NEITHER_ANSWER_NOR_TRANSLATED}`, 'DROP'),
    filter(CHAINS.in, `-o ${own}`, CHAINS.answers),
    filter(CHAINS.in, `-i ${own}`, CHAINS.answers),
    filter(CHAINS.out, out, 'ACCEPT'),
  ];
}

/** The other one may open connections, and gets its answers. */
function between(other: string, own: string, { mangle, filter }: Maker): Rule[] {
  return [mangle, filter].flatMap((make) => {
    const chain = make === mangle ? BRIDGE_CHAINS.reach : CHAINS.in;
    return [
      make(chain, `-i ${other} -o ${own}`, 'ACCEPT'),
      make(chain, `-i ${own} -o ${other}`, CHAINS.answers),
    ];
  });
}

/** The comments of all rules that lead to the chains of a bridge's firewall. */
export function chainMarksOfBridge(namespace: string, family: Family, serves: Ref): string[] {
  return marksOf(baseFirewall(namespace, family, 'bridge', serves));
}

/** Where the kernel differs from the rules of a bridge. */
export function differencesOfFirewall(
  intent: BridgeIntent,
  rulesFor: (family: Family) => readonly Rule[],
  observed: ObservedBridgeFirewall,
): Difference[] {
  const serves: Ref = { kind: 'bridge', name: intent.name };
  const forwarding = routedFamilies(intent);
  return families.flatMap((family) => {
    const found = family === 4 ? observed.ipv4 : observed.ipv6;
    const rules = rulesFor(family);
    const ways = rules.length === 0 ? [] : chainMarksOfBridge(intent.namespace, family, serves);
    const differences = differencesOfRules(`/status/ipv${family}`, rules, ways, found);
    if (forwarding.includes(family) && found.forwarding === '0')
      differences.push({
        path: `/status/ipv${family}/forwarding`,
        intended: '1',
        observed: found.forwarding,
      });
    return differences;
  });
}
