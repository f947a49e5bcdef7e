import type { KernelState } from '../kernel/state.ts';
import type { Step, StepOf } from '../kernel/step.ts';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import { placeText } from './link-types.ts';
import { plan } from './plan.ts';
import { deletingByNumber, type Tried } from './undeletable.ts';

/**
 * Plans from what was observed.
 *
 * A namespace may name an interface among its sysctls that was renamed or deleted since, and may be anybody's. What can't be
 * written there is told as `absent`, and left out: everything else in that namespace would fail with it.
 *
 * @param tried what was run before
 * @param changing the namespaces that are asked for just now: of those it is to fail
 */
export function replan(
  observed: KernelState,
  want: KernelState,
  tried: readonly Tried[],
  changing: ReadonlySet<string> = new Set(),
): { steps: Step[]; absent: StepOf<'sysctl.set'>[] } {
  const steps = deletingByNumber(plan(observed, want), observed, tried);
  const places = new Set([...want.devices.values()].map(placeText));
  const absent = steps
    .filter((step) => step.step === 'sysctl.set')
    .filter(({ serves, namespace, key }) => {
      const name = interfaceOfSysctl(key)?.replaceAll('/', '.');
      if (serves.kind !== 'namespace' || changing.has(namespace) || name === undefined) return false;
      const isThere = observed.sysctls.get(`${namespace} ${key}`)?.isAbsent === false;
      return !isThere && !places.has(placeText({ namespace, name }));
    });
  const without = new Set<Step>(absent);
  return { steps: steps.filter((step) => !without.has(step)), absent };
}
