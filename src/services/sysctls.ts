import type { SysctlBefore } from '../db/sysctls.ts';
import type { KernelState } from '../kernel/state.ts';
import { readHostSysctls } from '../kernel/sysctl.ts';
import { HOST } from '../schemas/common.ts';

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
