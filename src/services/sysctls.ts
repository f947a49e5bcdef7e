import type { Processes } from '../kernel/processes.ts';
import type { KernelState } from '../kernel/state.ts';
import { readHostSysctls } from '../kernel/sysctl.ts';
import { HOST } from '../schemas/common.ts';
import { forwardingKey } from '../schemas/nat.ts';
import { lookAt } from './look.ts';

/** What stood in a sysctl before netnsd first wrote it. */
export interface SysctlBefore {
  namespace: string;
  key: string;
  value: string;
}

/**
 * Notes what stands in sysctls that are about to be written for the first time, in the wanted state too, so that
 * undoing gives it back. Those of a namespace that is yet to be made are read when it is.
 */
export async function noteSysctls(
  processes: Processes,
  have: KernelState,
  want: KernelState,
): Promise<SysctlBefore[]> {
  const unknown = [...want.sysctls.values()].filter(
    ({ before, namespace }) => before === null && (namespace === HOST || have.namespaces.has(namespace)),
  );
  const noted: SysctlBefore[] = [];
  for (const [namespace, entries] of Map.groupBy(unknown, (entry) => entry.namespace)) {
    const keys = entries.map(({ key }) => key);
    const values =
      namespace === HOST ? await readHostSysctls(keys) : await readInside(processes, namespace, keys);
    for (const entry of entries) {
      entry.before = values[entry.key] ?? '';
      noted.push({ namespace, key: entry.key, value: entry.before });
    }
  }
  return noted;
}

/** Sysctls that netnsd lets go of. What was noted of forwarding when a namespace was made stays true of it. */
export function releasedSysctls(have: KernelState, want: KernelState): { namespace: string; key: string }[] {
  const forwarding = [forwardingKey(4), forwardingKey(6)];
  return [...have.sysctls]
    .filter(
      ([id, { namespace, key }]) =>
        !want.sysctls.has(id) && (namespace === HOST || !forwarding.includes(key)),
    )
    .map(([, entry]) => entry);
}

async function readInside(
  processes: Processes,
  namespace: string,
  keys: string[],
): Promise<Record<string, string>> {
  const [answer] = await lookAt(processes, [{ namespace, lines: [], sysctls: keys }]);
  return answer?.sysctls ?? {};
}
