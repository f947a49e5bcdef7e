import type { Difference } from '../schemas/common.ts';

/** The state of a resource, as its status shows it. */
export function stateOf(failure: string | null, differences: Difference[]): object {
  // What the kernel has counts, not what was once the matter.
  if (differences.length === 0) return { state: 'ready', message: null };
  if (failure !== null) return { state: 'failed', message: failure, differences };
  const places = differences.map(({ path }) => (path === '' ? 'the whole of it' : path)).join(', ');
  return { state: 'drifted', message: `the kernel differs from what was asked in ${places}`, differences };
}
