import type { Firewall, Rule } from '../kernel/state.ts';
import { familyOf } from '../schemas/address.ts';
import type { Difference, Ref } from '../schemas/common.ts';
import { parsePorts } from '../schemas/format.ts';
import {
  natFamily,
  type DnatIntent,
  type MasqueradeIntent,
  type NatIntent,
  type ObservedNat,
  type SnatIntent,
} from '../schemas/nat.ts';
import { CHAINS, baseFirewall } from './firewall.ts';
import { addRule, makeRule, markIn } from './rule.ts';

/** Adds the rules of an address translation to the firewall of its namespace and family. */
export function compileNat(firewall: Firewall, intent: NatIntent): void {
  for (const rule of rulesOfNat(intent)) addRule(firewall, rule);
}

/** All rules of one address translation, those that translate and those that let its traffic pass. */
export function rulesOfNat(intent: NatIntent): Rule[] {
  const serves: Ref = { kind: 'nat', name: intent.name };
  return intent.type === 'dnat' ? rulesOfDnat(serves, intent) : rulesOfOutgoing(serves, intent);
}

/**
 * What leaves `source`. A packet's way through FORWARD is in `firewall.ts`; `established` and `any` differ in
 * what may come in, as the contract says.
 */
function rulesOfOutgoing(serves: Ref, nat: MasqueradeIntent | SnatIntent): Rule[] {
  const from = `-s ${nat.source}`;
  const to = `-d ${nat.source}`;
  const byIn = nat.inInterface === null ? '' : ` -i ${nat.inInterface}`;
  const byOut = nat.inInterface === null ? '' : ` -o ${nat.inInterface}`;
  const leaving = leavingMatch(nat);
  const outside = nat.outInterface === null ? '' : ` -i ${nat.outInterface}`;
  const target = nat.type === 'snat' ? `SNAT --to-source ${nat.toAddress}` : 'MASQUERADE';
  const translate = makeRule(serves, 'nat', CHAINS.snat, `${from}${leaving}`, target);
  if (nat.forward === 'none') return [translate];

  const accept = (chain: string, match: string): Rule => makeRule(serves, 'filter', chain, match, 'ACCEPT');
  // With bridge-nf-call-iptables on, what stays within a bridge passes FORWARD too.
  const within = accept(CHAINS.in, `${from} ${to}${withinMatch(nat)}`);
  const out = accept(
    CHAINS.out,
    `${from}${nat.outInterface === null && nat.inInterface === null ? leaving : `${byIn}${leaving}`}`,
  );
  if (nat.forward === 'any') return [translate, within, accept(CHAINS.in, `${to}${outside}${byOut}`), out];
  return [
    translate,
    within,
    accept(CHAINS.in, `${to}${byOut} -m conntrack --ctstate RELATED,ESTABLISHED`),
    // Whatever else is sent to `source`: a neighbour that knows the way must not get in by it.
    makeRule(serves, 'filter', CHAINS.guard, to, 'DROP'),
    out,
  ];
}

function leavingMatch({ source, inInterface, outInterface }: MasqueradeIntent | SnatIntent): string {
  if (outInterface !== null) return ` -o ${outInterface}`;
  return inInterface === null ? ` ! -d ${source}` : ` ! -o ${inInterface}`;
}

function withinMatch({ inInterface, outInterface }: MasqueradeIntent | SnatIntent): string {
  if (inInterface !== null) return ` -i ${inInterface} -o ${inInterface}`;
  return outInterface === null ? '' : ` ! -i ${outInterface}`;
}

/** Docker's published-port semantics: only flows that were translated may pass to the target. */
function rulesOfDnat(serves: Ref, nat: DnatIntent): Rule[] {
  const { protocol } = nat;
  const host = `${nat.to.address}/${familyOf(nat.to.address) === 4 ? 32 : 128}`;
  const published = parsePorts(nat.port);
  const target = parsePorts(nat.to.port);
  const address = nat.address === null ? '' : `-d ${nat.address}/${familyOf(nat.address) === 4 ? 32 : 128} `;
  const by = nat.inInterface === null ? '' : `-i ${nat.inInterface} `;
  const match = `${address}${by}-p ${protocol} -m ${protocol} --dport ${portMatch(published)}`;
  const behind = `-p ${protocol} -m ${protocol}`;
  return [
    makeRule(
      serves,
      'nat',
      CHAINS.dnat,
      match,
      `DNAT --to-destination ${destination(nat.to.address, published, target)}`,
    ),
    makeRule(
      serves,
      'filter',
      CHAINS.in,
      `-d ${host} ${behind} --dport ${portMatch(target)} -m conntrack --ctstate DNAT`,
      'ACCEPT',
    ),
    makeRule(
      serves,
      'filter',
      CHAINS.in,
      `-s ${host} ${behind} --sport ${portMatch(target)} -m conntrack --ctstate RELATED,ESTABLISHED`,
      'ACCEPT',
    ),
  ];
}

interface Ports {
  first: number;
  last: number;
}

function portMatch({ first, last }: Ports): string {
  return first === last ? `${first}` : `${first}:${last}`;
}

/** iptables-extensions(8), DNAT: `A:80-90/8000` sends 8000 to 80, 8001 to 81 and so on. */
function destination(address: string, published: Ports, target: Ports): string {
  const host = familyOf(address) === 6 ? `[${address}]` : address;
  if (target.first === target.last) return `${host}:${target.first}`;
  return `${host}:${target.first}-${target.last}/${published.first}`;
}

/** The comments of all rules that lead to the chains of an address translation. */
export function chainMarksOf(intent: NatIntent): string[] {
  const serves: Ref = { kind: 'nat', name: intent.name };
  const { chains, rules } = baseFirewall(intent.namespace, natFamily(intent), 'nat', serves);
  const fixed = [...chains.values()].flatMap((chain) => chain.fixed);
  return [...[...rules.values()].map(({ comment }) => comment), ...fixed.map(markIn)];
}

/** Where the kernel differs from what was asked of an address translation. */
export function differencesOfNat(intent: NatIntent, observed: ObservedNat): Difference[] {
  const differences: Difference[] = [];
  const intended = rulesOfNat(intent).map(({ chain, spec }) => `-A ${chain} ${spec}`);
  const found = observed.rules.join('\n');
  const complete = rulesOfNat(intent).every(({ comment }) => found.includes(comment));
  if (!complete || observed.rules.length !== intended.length)
    differences.push({ path: '/status/rules', intended, observed: observed.rules });
  const ways = chainMarksOf(intent);
  if (!ways.every((mark) => observed.chainMarks.filter((each) => each === mark).length === 1))
    differences.push({ path: '/status/chains', intended: ways, observed: observed.chainMarks });
  if (observed.strays.length > 0)
    differences.push({ path: '/status/strays', intended: [], observed: observed.strays });
  if (observed.forwarding === '0')
    differences.push({ path: '/status/forwarding', intended: '1', observed: observed.forwarding });
  return differences;
}
