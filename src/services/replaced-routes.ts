import { isReplaceable, showRoutesTo } from '../kernel/adoption.ts';
import type { CommandFailed } from '../kernel/errors.ts';
import type { Processes } from '../kernel/processes.ts';
import { run } from '../kernel/run.ts';
import type { KernelState } from '../kernel/state.ts';
import type { Step, StepOf } from '../kernel/step.ts';

/** Whether a route could not be added because another one stands in its place: the kernel has one for each (ip-route(8)). */
export function isTakenRoute(failure: CommandFailed | null): boolean {
  if (failure === null || failure.failure.cause !== 'refusal') return false;
  return failure.failure.refusal === 'foreign-object' && / route add /.test(failure.command);
}

/**
 * The same steps, but that a route takes the place of another one by the same device. That device is of netnsd, and so is
 * the place on it: what has come to stand there was put there after netnsd's own. A route by any other device is left
 * alone, and in the way.
 *
 * @throws CommandFailed if that can't be looked at
 */
export async function replacingRoutes(
  processes: Processes,
  steps: readonly Step[],
  have: KernelState,
): Promise<Step[]> {
  const there = new Set([...have.devices.values()].map(({ namespace, name }) => `${namespace} ${name}`));
  // By a device that is yet to be made there is nothing.
  const inQuestion = steps.filter(
    (step): step is StepOf<'route.add'> =>
      step.step === 'route.add' && there.has(`${step.device.namespace} ${step.device.name}`),
  );
  const byNamespace = Map.groupBy(inQuestion, ({ device }) => device.namespace);
  const reads = [...byNamespace].map(([namespace, adds]) => ({
    namespace,
    lines: showRoutesTo(adds.map(({ route }) => route)),
    sysctls: [],
  }));
  const { answers, failure } = await run(processes, { steps: [], expected: [], reads });
  if (failure !== null) throw failure;
  const shown = new Map(reads.map(({ namespace }, at) => [namespace, answers[at]?.shown.flat() ?? []]));
  return steps.map((step) =>
    step.step === 'route.add' &&
    isReplaceable(step.route, step.device.name, shown.get(step.device.namespace) ?? [])
      ? { ...step, step: 'route.replace' }
      : step,
  );
}
