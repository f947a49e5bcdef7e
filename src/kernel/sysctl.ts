import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { CommandFailed } from './errors.ts';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import { HOST } from '../schemas/common.ts';
import { UnsafeTokenError, printCommand } from './render.ts';

/** Where a sysctl stands below /proc/sys; throws unless it is one of the network's. */
export function sysctlFile(key: string): string {
  if (!/^net(\.[A-Za-z0-9_-][A-Za-z0-9_/-]*)+$/.test(key)) throw new UnsafeTokenError(key);
  // sysctl(8): a dot in the name of an interface is written as a slash.
  return key.replaceAll(/[./]/g, (separator) => (separator === '.' ? '/' : '.'));
}

/** Sysctls of the daemon's own namespace, whose /proc/sys/net is its own: no process is needed. */
export async function readHostSysctls(keys: readonly string[]): Promise<Record<string, string>> {
  const read = async (key: string) => {
    return [key, await readHostSysctl(key)] as const;
  };
  return Object.fromEntries(await Promise.all(keys.map(read)));
}

async function readHostSysctl(key: string): Promise<string> {
  try {
    return (await readFile(`/proc/sys/${sysctlFile(key)}`, 'utf8')).trim();
  } catch (error) {
    // Like a shell in another namespace, which reads nothing from what is not there.
    if (interfaceOfSysctl(key) !== null) return '';
    // Without IPv6, say, there is no such file.
    const said = error instanceof Error ? error.message : String(error);
    throw new CommandFailed(`sysctl -n ${key}`, 1, said, { cause: 'refusal', refusal: 'kernel-unsupported' });
  }
}

/** Whether the kernel has IPv6 at all: without it there are no sysctls of it either. */
export function hasIpv6(): boolean {
  return existsSync('/proc/sys/net/ipv6');
}

/** Whether the sysctl is of an interface that is not there. */
function isGone(key: string): boolean {
  const name = interfaceOfSysctl(key);
  return name !== null && !existsSync(`/proc/sys/${sysctlFile(key).split('/').slice(0, 4).join('/')}`);
}

/** @throws CommandFailed saying why, as sysctl(8) would have failed */
export async function writeHostSysctl(key: string, value: string): Promise<void> {
  try {
    // Nothing at all would be no write; see the script of IpSession.
    await writeFile(`/proc/sys/${sysctlFile(key)}`, value === '' ? '\n' : value);
  } catch (error) {
    if (value === '' && !isGone(key)) return;
    const said = error instanceof Error ? error.message : String(error);
    const [command = key] = printCommand({ tool: 'sysctl', namespace: HOST, key, value });
    if (isGone(key)) throw new CommandFailed(command, 1, said, { cause: 'assumption' });
    if (interfaceOfSysctl(key) === null) throw new CommandFailed(command, 1, said);
    throw new CommandFailed(command, 1, said, { cause: 'refusal', refusal: 'unprocessable' });
  }
}
