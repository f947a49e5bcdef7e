import { readFile, writeFile } from 'node:fs/promises';
import { CommandFailed } from './errors.ts';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import { UnsafeTokenError } from './render.ts';

/** Where a sysctl stands below /proc/sys; throws unless it is one of the network's. */
export function sysctlFile(key: string): string {
  if (!/^net(\.[A-Za-z0-9_-]+)+$/.test(key)) throw new UnsafeTokenError(key);
  return key.replaceAll('.', '/');
}

/** Sysctls of the daemon's own namespace, whose /proc/sys/net is its own: no process is needed. */
export async function readHostSysctls(keys: readonly string[]): Promise<Record<string, string>> {
  const read = async (key: string) => {
    const value = await readHostSysctl(key);
    return value === null ? [] : [[key, value] as const];
  };
  return Object.fromEntries((await Promise.all(keys.map(read))).flat());
}

async function readHostSysctl(key: string): Promise<string | null> {
  try {
    return (await readFile(`/proc/sys/${sysctlFile(key)}`, 'utf8')).trim();
  } catch (error) {
    if (isGone(key, error)) return null;
    // Without IPv6, say, there is no such file.
    const said = error instanceof Error ? error.message : String(error);
    throw new CommandFailed(`sysctl -n ${key}`, 1, said, { cause: 'refusal', refusal: 'kernel-unsupported' });
  }
}

/** Whether the sysctl is of an interface that is not there. */
function isGone(key: string, error: unknown): boolean {
  return (
    interfaceOfSysctl(key) !== null && error instanceof Error && 'code' in error && error.code === 'ENOENT'
  );
}

/** @throws CommandFailed saying why, as sysctl(8) would have failed */
export async function writeHostSysctl(key: string, value: string): Promise<void> {
  try {
    await writeFile(`/proc/sys/${sysctlFile(key)}`, value);
  } catch (error) {
    throw new CommandFailed(
      `sysctl -w ${key}=${value}`,
      1,
      error instanceof Error ? error.message : String(error),
      isGone(key, error) ? { cause: 'assumption' } : undefined,
    );
  }
}
