import type { Rule } from '../kernel/state.ts';
import type { ObservedRules } from '../schemas/bridge-firewall.ts';
import type { Difference } from '../schemas/common.ts';

/**
 * Where the kernel differs from the rules of a resource.
 *
 * @param at where in the resource what was observed stands
 * @param ways the comments of the rules by which packets come to the chains of these
 */
export function differencesOfRules(
  at: string,
  rules: readonly Rule[],
  ways: readonly string[],
  observed: Omit<ObservedRules, 'forwarding'>,
): Difference[] {
  const differences: Difference[] = [];
  const intended = rules.map(({ chain, spec }) => `-A ${chain} ${spec}`);
  const found = observed.rules.join('\n');
  // Of two tables a rule may have the same words, and not the same comment.
  if (!rules.every(({ comment }) => found.includes(comment)) || observed.rules.length !== intended.length)
    differences.push({ path: `${at}/rules`, intended, observed: observed.rules });
  if (!ways.every((mark) => observed.chainMarks.filter((each) => each === mark).length === 1))
    differences.push({ path: `${at}/chains`, intended: ways, observed: observed.chainMarks });
  if (observed.strays.length > 0)
    differences.push({ path: `${at}/strays`, intended: [], observed: observed.strays });
  return differences;
}
