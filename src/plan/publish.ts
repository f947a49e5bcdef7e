import type { Rule } from '../kernel/state.ts';
import { alone, familyOf } from '../schemas/address.ts';
import type { Ref } from '../schemas/common.ts';
import { parsePorts } from '../schemas/format.ts';
import { natFamily, type DnatIntent, type NatAssigned, type NatIntent, type Via } from '../schemas/nat.ts';
import { CHAINS } from './firewall.ts';
import { makeRule } from './rule.ts';

/** A published port with what is behind its names. */
interface Published extends Omit<DnatIntent, 'to'> {
  to: { address: string; port: string };
  via: Via | null;
}

/** Fills in what netnsd has chosen or found. */
export function resolvedDnat(intent: DnatIntent, assigned: NatAssigned): Published {
  const { to, port } = intent;
  return {
    ...intent,
    port: assigned.port ?? port,
    to: { address: to.address ?? assigned.address ?? '', port: to.port },
    via: assigned.via ?? null,
  };
}

/**
 * The interface for which a rule needs `route_localnet`, because the port is published at 127.0.0.1 too; null if it is
 * not. There is no such thing for ::1: the kernel drops packets from and to it that are not on lo.
 */
export function localnetOf(intent: NatIntent, assigned: NatAssigned): string | null {
  if (intent.type !== 'dnat' || natFamily(intent) !== 4 || intent.inInterface !== null) return null;
  if (intent.address !== null && !isLoopback(intent.address)) return null;
  const device = assigned.via?.interface ?? null;
  // A point in a name can't be told from those between the parts of a sysctl.
  return device?.includes('.') === true ? null : device;
}

export function isLoopback(address: string): boolean {
  return address.startsWith('127.');
}

/**
 * Docker's published-port semantics: only flows that were translated may pass to the target. Where the target would
 * answer its client past this machine, or can't answer at all, the client's address is hidden behind the machine's:
 * on the way from the target itself, from its own network, and from this machine.
 */
export function rulesOfDnat(serves: Ref, nat: Published): Rule[] {
  const { protocol } = nat;
  const host = alone(nat.to.address);
  const target = parsePorts(nat.to.port);
  const icmp = familyOf(nat.to.address) === 4 ? 'icmp' : 'ipv6-icmp';
  const behind = `-p ${protocol} -m ${protocol}`;
  const inside = `-d ${host} ${behind} --dport ${portMatch(target)}`;
  const masquerade = (match: string): Rule =>
    makeRule(serves, 'nat', CHAINS.snat, `${match} -m conntrack --ctstate DNAT`, 'MASQUERADE');
  return [
    ...translations(serves, nat),
    // Who is on another network of the same interface may be answered past this machine as well.
    ...networksBeside(nat.via, host).map((network) => masquerade(`-s ${network} ${inside}`)),
    masquerade(`${inside} -m addrtype --src-type LOCAL`),
    makeRule(serves, 'filter', CHAINS.in, `${inside} -m conntrack --ctstate DNAT`, 'ACCEPT'),
    makeRule(
      serves,
      'filter',
      CHAINS.in,
      `-s ${host} ${behind} --sport ${portMatch(target)}`,
      CHAINS.answers,
    ),
    // What conntrack makes nothing of is not turned back, and would leave with the target's own address (a late FIN, say).
    makeRule(
      serves,
      'filter',
      CHAINS.guard,
      `-s ${host} ${behind} --sport ${portMatch(target)} -m conntrack --ctstate INVALID`,
      'DROP',
    ),
    // ICMP errors of flows to the target, in both directions: without them a path with a smaller MTU is a black hole.
    makeRule(
      serves,
      'filter',
      CHAINS.in,
      `-p ${icmp} -m conntrack --ctstate RELATED --ctreplsrc ${nat.to.address}`,
      'ACCEPT',
    ),
  ];
}

function networksBeside(via: Via | null, target: string): string[] {
  return via === null ? [target] : [via.network, ...(via.others ?? [])];
}

function translations(serves: Ref, nat: Published): Rule[] {
  const { protocol, address, inInterface } = nat;
  const published = parsePorts(nat.port);
  const target = `DNAT --to-destination ${destination(nat.to.address, published, parsePorts(nat.to.port))}`;
  const match = `-p ${protocol} -m ${protocol} --dport ${portMatch(published)}`;
  const by = inInterface === null ? '' : `-i ${inInterface} `;
  const at = address === null ? '' : `-d ${alone(address)} `;
  const isLocalOnly = address !== null && isLoopback(address);
  const rules: Rule[] = [];
  // From outside nothing is to be led to where only 127.0.0.1 leads.
  if (!isLocalOnly) rules.push(makeRule(serves, 'nat', CHAINS.dnat, `${at}${by}${match}`, target));
  if (localnetOf(nat, nat.via === null ? {} : { via: nat.via }) !== null)
    rules.push(
      makeRule(
        serves,
        'nat',
        CHAINS.local,
        `-d ${alone(isLocalOnly ? address : '127.0.0.1')} ${match}`,
        target,
      ),
    );
  return rules;
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
