import type { OperationOutcome } from '../db/operations.ts';
import type { DryRun } from './change.ts';
import type { Touched } from './draft.ts';
import { describeProblem } from './journal.ts';

/** How a change ended that was not even tried. */
export function untried(
  state: 'refused' | 'unchanged',
  problem: unknown,
  enteredAt: number,
): OperationOutcome {
  return {
    state,
    undone: true,
    commands: [],
    problem: describeProblem(problem),
    processes: 0,
    durationMs: millisecondsSince(enteredAt),
  };
}

/** Since a time of `performance.now()`, to the microsecond. */
export function millisecondsSince(start: number): number {
  return Math.round((performance.now() - start) * 1000) / 1000;
}

/** What is done to a resource, in a word. */
export function actionOf({ ref: { kind, name }, before, after, adoption }: Touched): DryRun['changes'] {
  if (before === null && after === null) return [];
  const made = adoption === null ? 'create' : 'adopt';
  const action = before === null ? made : after === null ? 'delete' : 'change';
  return [{ action, kind, name }];
}
