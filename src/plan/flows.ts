import { firewallKey, type Firewall, type KernelState, type Rule } from '../kernel/state.ts';
import type { Step, StepOf } from '../kernel/step.ts';
import { CHAINS } from './firewall.ts';
import type { NamespaceSteps } from './namespace.ts';

/**
 * What conntrack is to forget. A flow is translated by the rules that its first packet met, for as long as it goes on:
 * a UDP sender that never pauses would stay with the old target for good, or never reach a port that was published while
 * it was sending. TCP connections are left to end by themselves.
 */
export function planFlows(
  have: KernelState,
  want: KernelState,
  { gone, fresh }: Pick<NamespaceSteps, 'gone' | 'fresh'>,
): Step[] {
  const steps = new Map<string, Forgetting>();
  const keys = new Set([...have.firewalls.keys(), ...want.firewalls.keys()]);
  for (const key of keys) {
    const had = have.firewalls.get(key);
    const wanted = want.firewalls.get(key);
    const firewall = wanted ?? had;
    // With a namespace go its flows.
    if (firewall === undefined || gone.has(firewall.namespace) || fresh.has(firewall.namespace)) continue;
    for (const rule of [...rulesIn(had, wanted), ...rulesIn(wanted, had)]) {
      const step = stepOf(firewall, rule);
      if (step !== null) steps.set(JSON.stringify({ ...step, serves: null }), step);
    }
  }
  const all = [...steps.values()];
  return all.filter((step) => !all.some((other) => isWithin(step, other)));
}

type Forgetting = StepOf<'flows.delete'>;

/** What is forgotten for one address is forgotten with what is for any. */
function isWithin(step: Forgetting, other: Forgetting): boolean {
  const isWider = step.address !== null && other.address === null;
  const { namespace, family, ports } = step;
  return (
    isWider &&
    firewallKey(namespace, family) === firewallKey(other.namespace, other.family) &&
    ports.first >= other.ports.first &&
    ports.last <= other.ports.last
  );
}

/** The rules of the one that the other has not. */
function rulesIn(one: Firewall | undefined, other: Firewall | undefined): Rule[] {
  return [...(one?.rules ?? [])].flatMap(([key, rule]) => (other?.rules.has(key) === true ? [] : [rule]));
}

const PUBLISHED =
  /^(?:-d (?<address>[0-9a-f.:]+)\/\d+ )?.*-p udp -m udp --dport (?<first>\d+)(?::(?<last>\d+))? .*DNAT --to-destination /;

function stepOf({ namespace, family }: Firewall, { chain, spec, serves }: Rule): Forgetting | null {
  if (chain !== CHAINS.dnat && chain !== CHAINS.local) return null;
  const { address = null, first, last = first } = PUBLISHED.exec(spec)?.groups ?? {};
  if (first === undefined) return null;
  return {
    step: 'flows.delete',
    serves,
    namespace,
    family,
    address,
    ports: { first: Number(first), last: Number(last) },
  };
}
