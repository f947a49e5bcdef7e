import { readFile, readdir, readlink } from 'node:fs/promises';
import type { NamespaceProcess } from '../schemas/inspect.ts';

/**
 * The processes whose network namespace has that inode, in order of process id: read from /proc alone. Process ids
 * are those of the process namespace that the daemon is in; what it can't see there is not listed.
 */
export async function listProcesses(inode: number): Promise<NamespaceProcess[]> {
  const [entries, bootedAt] = await Promise.all([readdir('/proc'), readBootTime()]);
  const pids = entries.filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(async (pid) => readProcess(pid, inode, bootedAt)));
  return found.filter((process) => process !== null).toSorted((a, b) => a.pid - b.pid);
}

async function readProcess(pid: number, inode: number, bootedAtMs: number): Promise<NamespaceProcess | null> {
  const directory = `/proc/${pid}`;
  try {
    if ((await readlink(`${directory}/ns/net`)) !== `net:[${inode}]`) return null;
    const [comm, cmdline, status, stat] = await Promise.all(
      ['comm', 'cmdline', 'status', 'stat'].map(async (name) => readFile(`${directory}/${name}`, 'utf8')),
    );
    return {
      pid,
      name: (comm ?? '').replace(/\n$/, ''),
      command: parseArguments(cmdline ?? ''),
      uid: effectiveUser(status ?? ''),
      startedAt: new Date(bootedAtMs + startedAfterMs(stat ?? '')).toISOString(),
    };
  } catch {
    // It has ended meanwhile, is a zombie, or is hidden from us (hidepid): there is nothing to tell of it.
    return null;
  }
}

/** /proc/PID/cmdline: each argument ends with a NUL, unless the process wrote over them. */
function parseArguments(cmdline: string): string[] {
  return cmdline === '' ? [] : cmdline.replace(/\0+$/, '').split('\0');
}

/** `Uid:` has the real, effective, saved and file system user. */
function effectiveUser(status: string): number {
  return Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? 0);
}

/** USER_HZ: what the kernel counts in for programs is this on every machine that Node runs on. */
const TICKS_PER_SECOND = 100;

/** The number in parentheses of proc_pid_stat(5), counted from the state, which follows the name. */
const START_TIME_FIELD = 22 - 3;

/** The name, in parentheses, may hold parentheses and spaces: what counts comes after the last one. */
function startedAfterMs(stat: string): number {
  const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[START_TIME_FIELD]);
  return (ticks * 1000) / TICKS_PER_SECOND;
}

/** When the machine was started, in milliseconds since 1970. */
async function readBootTime(): Promise<number> {
  const stat = await readFile('/proc/stat', 'utf8');
  return Number(/^btime (\d+)/m.exec(stat)?.[1] ?? 0) * 1000;
}
