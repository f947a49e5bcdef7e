import { firewallKey, ruleKey, type KernelState } from '../kernel/state.ts';
import type { Step, StepOf } from '../kernel/step.ts';

/** A step that was tried, and what came of it. */
export interface Tried {
  step: Step;
  command: { exitCode: number | null };
}

/**
 * The steps, with rules deleted by their number where that by what they say has failed. A rule can be there and yet not
 * be found by what it says: the revision of an extension is part of it, which `iptables-save` does not print. The one of
 * another release of iptables may differ, and so does the one that is taken where the kernel could not be asked.
 *
 * In chains of netnsd's only, to which nobody else adds rules at the same moment. The jumps to them from the built-in
 * chains use no extension that has revisions.
 */
export function deletingByNumber(steps: readonly Step[], found: KernelState, ran: readonly Tried[]): Step[] {
  const failed = new Set(
    ran.flatMap(({ step, command }) =>
      step.step === 'rule.delete' && command.exitCode !== 0 ? [firewallKey(step.namespace, step.family)] : [],
    ),
  );
  if (failed.size === 0) return [...steps];
  const numbered = steps.map((step) => {
    if (step.step !== 'rule.delete' || !failed.has(firewallKey(step.namespace, step.family))) return step;
    return withNumber(step, found);
  });
  // From the last to the first: what is deleted changes the numbers of those behind it.
  const deletes = numbered.filter(isNumbered).toSorted((a, b) => b.number - a.number);
  const next = deletes.values();
  return numbered.map((step) => (isNumbered(step) ? (next.next().value ?? step) : step));
}

function withNumber(step: StepOf<'rule.delete'>, found: KernelState): StepOf<'rule.delete'> {
  const { namespace, family, rule } = step;
  const firewall = found.firewalls.get(firewallKey(namespace, family));
  const number = firewall?.rules.get(ruleKey(rule))?.number;
  const isInOwnChain = firewall?.chains.has(`${rule.table} ${rule.chain}`) === true;
  return number === undefined || !isInOwnChain ? step : { ...step, number };
}

function isNumbered(step: Step): step is StepOf<'rule.delete'> & { number: number } {
  return step.step === 'rule.delete' && step.number !== undefined;
}
