import type { SysctlBefore } from '../db/sysctls.ts';
import { CommandFailed } from '../kernel/errors.ts';
import { printCommand, render } from '../kernel/render.ts';
import type { KernelState, Sysctl } from '../kernel/state.ts';
import type { Step, StepOf } from '../kernel/step.ts';
import { readHostSysctls } from '../kernel/sysctl.ts';
import { HOST, refText } from '../schemas/common.ts';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import { isSameValue } from '../schemas/sysctl.ts';

/**
 * Notes what stands in sysctls of the daemon's own namespace that are about to be written for the first time, in
 * the wanted state too, so that undoing gives it back.
 */
export async function noteHostSysctls(want: KernelState): Promise<SysctlBefore[]> {
  const keys = [...want.sysctls.values()].flatMap(({ namespace, key, before, owner }) =>
    // What an interface has is read when that is there.
    namespace === HOST && before === null && owner === undefined ? [key] : [],
  );
  return keys.length === 0 ? [] : noteReadings(want, new Map([[HOST, await readHostSysctls(keys)]]));
}

/** The same for what the processes of a run have read before they wrote. */
export function noteReadings(
  want: KernelState,
  readings: ReadonlyMap<string, Record<string, string>>,
): SysctlBefore[] {
  const noted: SysctlBefore[] = [];
  for (const entry of want.sysctls.values()) {
    const { namespace, key } = entry;
    const value = readings.get(namespace)?.[key];
    if (entry.before !== null || value === undefined) continue;
    entry.before = value;
    noted.push({ namespace, key, value });
  }
  return noted;
}

/** Sysctls that netnsd lets go of. */
export function releasedSysctls(have: KernelState, want: KernelState): { namespace: string; key: string }[] {
  return [...have.sysctls].filter(([id]) => !want.sysctls.has(id)).map(([, entry]) => entry);
}

/**
 * Of the sysctls that the steps set, the first of each resource, by `refText`, of which the kernel has made something
 * else than is wanted: it rounds times to its clock, and prints some values in full.
 */
export function changedSysctls(
  want: KernelState,
  steps: readonly Step[],
  written: ReadonlyMap<string, Record<string, string>>,
): Map<string, CommandFailed> {
  const changed = new Map<string, CommandFailed>();
  for (const step of steps) {
    const sysctl = step.step === 'sysctl.set' ? want.sysctls.get(`${step.namespace} ${step.key}`) : undefined;
    if (sysctl === undefined) continue;
    const found = written.get(sysctl.namespace)?.[sysctl.key];
    if (found === undefined || isSameValue(found, sysctl.value)) continue;
    const owner = refText(sysctl.serves);
    if (!changed.has(owner)) changed.set(owner, notTaken(sysctl, found));
  }
  return changed;
}

/** The sysctls that can't be set, since the interface is not there that they are of: the first of each resource. */
export function absentSysctls(steps: readonly StepOf<'sysctl.set'>[]): Map<string, CommandFailed> {
  return new Map(
    steps.toReversed().map((step) => {
      const [command = step.key] = printCommand(render(step));
      const said = `there is no ${interfaceOfSysctl(step.key) ?? ''} in ${step.namespace}; leave it out of the sysctls of that, or bring the interface back`;
      const failure = { cause: 'refusal', refusal: 'unprocessable' } as const;
      return [refText(step.serves), new CommandFailed(command, null, said, failure)];
    }),
  );
}

function notTaken({ serves, namespace, key, value }: Sysctl, found: string): CommandFailed {
  const [command = key] = printCommand(render({ step: 'sysctl.set', serves, namespace, key, value }));
  const said =
    found === ''
      ? `nothing can be read there after ${value} was written`
      : `the kernel made ${found} of ${value}; ask for a value that it takes as it is`;
  return new CommandFailed(command, 0, said, { cause: 'refusal', refusal: 'unprocessable' });
}
