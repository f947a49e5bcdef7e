import type { Processes } from '../kernel/processes.ts';
import { run } from '../kernel/run.ts';
import type { Answer, Read } from '../kernel/sessions.ts';

/**
 * Has reads answered outside any plan, one process each. What is not there is no error: its answer is null.
 *
 * @throws CommandFailed for any other failure
 */
export async function lookAt(processes: Processes, reads: readonly Read[]): Promise<(Answer | null)[]> {
  return Promise.all(
    reads.map(async (read) => {
      const { answers, failure } = await run(processes, { steps: [], expected: [], reads: [read] });
      if (failure !== null && failure.failure.cause !== 'assumption') throw failure;
      return answers[0] ?? null;
    }),
  );
}
