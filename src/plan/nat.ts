import { ruleKey, type KernelState, type Rule } from '../kernel/state.ts';
import { familyOf } from '../schemas/address.ts';
import type { Difference, Ref } from '../schemas/common.ts';
import {
  natFamily,
  type MasqueradeIntent,
  type NatAssigned,
  type NatIntent,
  type ObservedNat,
  type SnatIntent,
} from '../schemas/nat.ts';
import type { Placed } from '../schemas/resource.ts';
import { CHAINS, baseFirewall, firewallIn } from './firewall.ts';
import { addGuard, addLocalnet } from './localnet.ts';
import { localnetOf, resolvedDnat, rulesOfDnat } from './publish.ts';
import { differencesOfRules } from './rule-differences.ts';
import { addRule, makeRule, marksOf } from './rule.ts';

/** Adds the rules of an address translation, and what they need, to the state. */
export function compileNat(state: KernelState, { intent, assigned }: Placed<'nat'>): void {
  const serves: Ref = { kind: 'nat', name: intent.name };
  const { namespace } = intent;
  const firewall = firewallIn(state, { namespace, family: natFamily(intent), part: 'nat' }, serves);
  for (const rule of rulesOfNat(intent, assigned)) addRule(firewall, rule);
  const device = localnetOf(intent, assigned);
  if (device !== null) addLocalnet(state, firewall, device, serves);
}

/** All rules of one address translation, those that translate and those that let its traffic pass. */
export function rulesOfNat(intent: NatIntent, assigned: NatAssigned): Rule[] {
  const serves: Ref = { kind: 'nat', name: intent.name };
  if (intent.type === 'dnat') return rulesOfDnat(serves, resolvedDnat(intent, assigned));
  const rules = resolvedOutgoing(intent, assigned).flatMap((nat) => rulesOfOutgoing(serves, nat));
  // What stays on a bridge is let through once for all of its networks.
  return [...new Map(rules.map((rule) => [ruleKey(rule), rule])).values()];
}

/** With networks and interface, however they were given. */
type Outgoing = (MasqueradeIntent | SnatIntent) & { source: string };

function resolvedOutgoing(intent: MasqueradeIntent | SnatIntent, assigned: NatAssigned): Outgoing[] {
  const { source } = intent;
  if (source !== null) return [{ ...intent, source }];
  const inInterface = assigned.inInterface ?? null;
  return (assigned.sources ?? []).map((network) => ({ ...intent, source: network, inInterface }));
}

/**
 * What leaves `source`. A packet's way through FORWARD is in `firewall.ts`; `established` and `any` differ in
 * what may come in, as the contract says.
 */
function rulesOfOutgoing(serves: Ref, nat: Outgoing): Rule[] {
  const from = `-s ${nat.source}`;
  const to = `-d ${nat.source}`;
  const byIn = nat.inInterface === null ? '' : ` -i ${nat.inInterface}`;
  const byOut = nat.inInterface === null ? '' : ` -o ${nat.inInterface}`;
  const leaving = leavingMatch(nat);
  const outside = nat.outInterface === null ? '' : ` -i ${nat.outInterface}`;
  const target = nat.type === 'snat' ? `SNAT --to-source ${nat.toAddress}` : 'MASQUERADE';
  const translate = makeRule(serves, 'nat', CHAINS.snat, `${from}${leaving}${toOne(nat)}`, target);
  if (nat.forward === 'none') return [translate];

  const accept = (chain: string, match: string): Rule => makeRule(serves, 'filter', chain, match, 'ACCEPT');
  const within = accept(CHAINS.in, withinMatch(nat));
  const passing = `${byIn}${leaving}`;
  const out = accept(CHAINS.out, `${from}${passing}`);
  // What conntrack makes nothing of is not translated, and would leave with the address inside (a late FIN, say).
  const untranslated = makeRule(
    serves,
    'filter',
    CHAINS.guard,
    `${from}${passing} -m conntrack --ctstate INVALID`,
    'DROP',
  );
  if (nat.forward === 'any')
    return [translate, within, untranslated, accept(CHAINS.in, `${to}${outside}${byOut}`), out];
  return [
    translate,
    within,
    untranslated,
    makeRule(serves, 'filter', CHAINS.in, `${to}${byOut}`, CHAINS.answers),
    // Whatever else is sent to `source`: a neighbour that knows the way must not get in by it.
    makeRule(serves, 'filter', CHAINS.guard, to, 'DROP'),
    out,
  ];
}

function leavingMatch({ source, inInterface, outInterface }: Outgoing): string {
  if (outInterface !== null) return ` -o ${outInterface}`;
  return inInterface === null ? ` ! -d ${source}` : ` ! -o ${inInterface}`;
}

/**
 * With bridge-nf-call-iptables on what is sent to all on a bridge passes nat as well: it stays there, and has to show who
 * sent it. Where an interface says what leaves, that is no question.
 */
function toOne({ source, inInterface, outInterface }: Outgoing): string {
  if (inInterface !== null || outInterface !== null) return '';
  return ` -m addrtype ! --dst-type ${familyOf(source) === 4 ? 'BROADCAST,' : ''}MULTICAST`;
}

/**
 * What stays where it is: from one network of an interface to another, which the guard of either would drop, and with
 * bridge-nf-call-iptables on from port to port of a bridge. Docker accepts `-i BRIDGE`.
 */
function withinMatch({ source, inInterface, outInterface }: Outgoing): string {
  if (inInterface !== null) return `-i ${inInterface} -o ${inInterface}`;
  return `-s ${source} -d ${source}${outInterface === null ? '' : ` ! -i ${outInterface}`}`;
}

/** The comments of all rules that lead to the chains of an address translation. */
export function chainMarksOf(intent: NatIntent, assigned: NatAssigned): string[] {
  const serves: Ref = { kind: 'nat', name: intent.name };
  const firewall = baseFirewall(intent.namespace, natFamily(intent), 'nat', serves);
  if (localnetOf(intent, assigned) !== null) addGuard(firewall, serves);
  return marksOf(firewall);
}

/** Where the kernel differs from what was asked of an address translation. */
export function differencesOfNat(
  intent: NatIntent,
  assigned: NatAssigned,
  observed: ObservedNat,
): Difference[] {
  const [rules, ways] = [rulesOfNat(intent, assigned), chainMarksOf(intent, assigned)];
  const differences = differencesOfRules('/status', rules, ways, observed);
  if (observed.forwarding === '0')
    differences.push({ path: '/status/forwarding', intended: '1', observed: observed.forwarding });
  if (observed.routeLocalnet === '0')
    differences.push({ path: '/status/routeLocalnet', intended: '1', observed: observed.routeLocalnet });
  return differences;
}
