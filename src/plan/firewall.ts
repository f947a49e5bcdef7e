import {
  firewallKey,
  ruleKey,
  type Chain,
  type Firewall,
  type KernelState,
  type Table,
} from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import type { Family } from '../schemas/address.ts';
import type { Ref } from '../schemas/common.ts';
import { ANSWERS, answersIn } from './answers.ts';
import { addBridgeChains } from './bridge-chains.ts';
import { addRule, makeChainRule } from './rule.ts';

/**
 * The chains of ours in each namespace and family that has rules. A packet that is forwarded passes
 *
 *     FORWARD … -> NETNSD-FORWARD -> NETNSD-IN     accepts published ports, what stays within, and, by NETNSD-ANSWERS,
 *                                                  answers
 *                                 -> NETNSD-GUARD  drops all else that is sent to a guarded network
 *                                 -> NETNSD-OUT    accepts what leaves
 *              … the rest of FORWARD, its policy
 *
 * so that what is let out of one network is still stopped at the next. One chain holds verdicts of one kind
 * only; within it the order of rules does not matter, and a change is appends and deletes.
 *
 *     PREROUTING, OUTPUT -> NETNSD-DNAT  returns what is not to an address of this machine, or from a link-local one;
 *                                        translates published ports
 *     POSTROUTING        -> NETNSD-SNAT
 *
 * A jump from a built-in chain uses no extension that has revisions: one could only be deleted by the same revision.
 */
export const CHAINS = {
  /** In `mangle` too, where a bridge has a firewall. */
  answers: ANSWERS,
  in: 'NETNSD-IN',
  guard: 'NETNSD-GUARD',
  out: 'NETNSD-OUT',
  forward: 'NETNSD-FORWARD',
  dnat: 'NETNSD-DNAT',
  snat: 'NETNSD-SNAT',
  /** Both only where a port is published at 127.0.0.1: see `localnet.ts`. */
  raw: 'NETNSD-RAW',
  local: 'NETNSD-LOCAL',
} as const;

/** Whose chains: those of address translation, or those of the firewalls of bridges; `forward` serves both. */
type Part = 'nat' | 'bridge';

/** An empty firewall with its chains, and the jumps to them, which serve the resource that needs them. */
export function baseFirewall(namespace: string, family: Family, part: Part, serves: Ref): Firewall {
  const firewall: Firewall = { namespace, family, chains: new Map(), rules: new Map() };
  const frame = frameOf(firewall, serves);
  if (part === 'bridge') addBridgeChains(frame, family);
  addForwardChains(frame);
  if (part === 'nat') addNatChains(frame, family);
  return firewall;
}

/** By what chains and the jumps to them are added to a firewall. */
export interface Frame {
  chain: (table: Table, name: string, fixed?: string[]) => void;
  jump: (table: Table, from: string, match: string, to: string) => void;
}

/** A jump that is there already stays with the resource that needed it first. */
export function frameOf(firewall: Firewall, serves: Ref): Frame {
  return {
    chain: (table, name, fixed = []) => {
      firewall.chains.set(`${table} ${name}`, { table, name, fixed, strays: 0 });
    },
    jump: (table, from, match, to) => {
      const rule = { serves, table, chain: from, ...makeChainRule(table, from, match, to) };
      if (!firewall.rules.has(ruleKey(rule))) addRule(firewall, rule);
    },
  };
}

function addForwardChains({ chain, jump }: Frame): void {
  // Chains stand before those that jump to them.
  chain('filter', CHAINS.answers, answersIn('filter'));
  chain('filter', CHAINS.in);
  chain('filter', CHAINS.guard);
  chain('filter', CHAINS.out);
  const ways = [CHAINS.in, CHAINS.guard, CHAINS.out];
  chain(
    'filter',
    CHAINS.forward,
    ways.map((to) => makeChainRule('filter', CHAINS.forward, '', to).spec),
  );
  jump('filter', 'FORWARD', '', CHAINS.forward);
}

function addNatChains({ chain, jump }: Frame, family: Family): void {
  const left = [
    // RFC 4291, section 2.5.6: nothing is forwarded from such an address. Who sends from it is to reach the machine itself.
    ...(family === 6 ? ['-s fe80::/10'] : []),
    // CVE-2025-67499: without a destination, DNAT would also take a namespace's traffic to elsewhere.
    '-m addrtype ! --dst-type LOCAL',
  ];
  chain(
    'nat',
    CHAINS.dnat,
    left.map((match) => makeChainRule('nat', CHAINS.dnat, match, 'RETURN').spec),
  );
  chain('nat', CHAINS.snat);
  jump('nat', 'PREROUTING', '', CHAINS.dnat);
  // A packet from 127.0.0.1 could not be answered from another interface (route_localnet, CVE-2020-8558).
  const loopback = family === 4 ? '127.0.0.0/8' : '::1/128';
  jump('nat', 'OUTPUT', `! -d ${loopback}`, CHAINS.dnat);
  jump('nat', 'POSTROUTING', '', CHAINS.snat);
}

interface FirewallSteps {
  adds: Step[];
  deletes: Step[];
}

/** `gone` and `fresh` namespaces take their rules with them and begin without any. */
export function planFirewalls(
  have: KernelState,
  want: KernelState,
  gone: Set<string>,
  fresh: Set<string>,
): FirewallSteps {
  const steps: FirewallSteps = { adds: [], deletes: [] };
  const keys = new Set([...have.firewalls.keys(), ...want.firewalls.keys()]);
  for (const key of keys) {
    const wanted = want.firewalls.get(key);
    const had = have.firewalls.get(key);
    if (had !== undefined && !gone.has(had.namespace)) steps.deletes.push(...deletesOf(had, wanted));
    if (wanted !== undefined)
      steps.adds.push(...addsOf(fresh.has(wanted.namespace) ? undefined : had, wanted));
  }
  return steps;
}

function addsOf(had: Firewall | undefined, wanted: Firewall): Step[] {
  const { namespace, family } = wanted;
  const chains = [...wanted.chains].filter(([key, chain]) => !isSameChain(had?.chains.get(key), chain));
  const rewritten = new Set(chains.map(([key]) => key));
  const rules = [...wanted.rules].filter(
    ([key, { table, chain }]) => had?.rules.has(key) !== true || rewritten.has(`${table} ${chain}`),
  );
  const serves = [...wanted.rules.values()].at(-1)?.serves;
  return [
    ...chains.map(([, chain]): Step => ({
      step: 'chain.set',
      serves: orNamespace(serves, namespace),
      namespace,
      family,
      chain,
    })),
    ...rules.map(([, rule]): Step => ({ step: 'rule.add', serves: rule.serves, namespace, family, rule })),
  ];
}

function deletesOf(had: Firewall, wanted: Firewall | undefined): Step[] {
  const { namespace, family } = had;
  const unwanted = [...had.chains].filter(([key]) => wanted?.chains.has(key) !== true);
  // A chain that goes, or is written anew, is emptied by that.
  const emptied = new Set(
    [...had.chains]
      .filter(([key, chain]) => !isSameChain(wanted?.chains.get(key), chain))
      .map(([key]) => key),
  );
  const rules = [...had.rules].filter(
    ([key, { table, chain }]) => wanted?.rules.has(key) !== true && !emptied.has(`${table} ${chain}`),
  );
  const serves = [...had.rules.values()].at(-1)?.serves;
  return [
    ...rules.map(([, rule]): Step => ({ step: 'rule.delete', serves: rule.serves, namespace, family, rule })),
    // Those that jump go before those that are jumped to.
    ...unwanted
      .map(([, chain]) => ({ chain, depth: depthOf(had, chain) }))
      .toSorted((a, b) => b.depth - a.depth)
      .map(({ chain }): Step => ({
        step: 'chain.delete',
        serves: orNamespace(serves, namespace),
        namespace,
        family,
        chain,
      })),
  ];
}

/** How far from those that only are jumped to a chain stands. */
function depthOf(firewall: Firewall, { table, name, fixed }: Chain): number {
  const { chains, rules } = firewall;
  const own = [...rules.values()].filter((rule) => rule.table === table && rule.chain === name);
  const targets = new Set(
    [...fixed, ...own.map(({ spec }) => spec)].map((spec) => /-j (\S+)$/.exec(spec)?.[1] ?? ''),
  );
  const depths = [...targets].flatMap((target) => {
    const chain = chains.get(`${table} ${target}`);
    return chain === undefined ? [] : [depthOf(firewall, chain) + 1];
  });
  return Math.max(0, ...depths);
}

/** A chain that is not as it is meant to be is written anew, with all its rules, at once. */
function isSameChain(a: Chain | undefined, b: Chain): boolean {
  return a !== undefined && a.fixed.join('\n') === b.fixed.join('\n') && a.strays === b.strays;
}

function orNamespace(serves: Ref | undefined, namespace: string): Ref {
  return serves ?? { kind: 'namespace', name: namespace };
}

/** Where the firewall of a resource is, and which part of it. */
interface Place {
  namespace: string;
  family: Family;
  part: Part;
}

/** The firewall of that namespace and family in the state, with the chains of that part. */
export function firewallIn(state: KernelState, { namespace, family, part }: Place, serves: Ref): Firewall {
  const key = firewallKey(namespace, family);
  const needed = baseFirewall(namespace, family, part, serves);
  const found = state.firewalls.get(key) ?? needed;
  state.firewalls.set(key, found);
  for (const [id, chain] of needed.chains) if (!found.chains.has(id)) found.chains.set(id, chain);
  for (const [id, rule] of needed.rules) if (!found.rules.has(id)) found.rules.set(id, rule);
  return found;
}
