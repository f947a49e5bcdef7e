import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { inodeOfProcess } from './namespace.ts';

/** The environment variable by which a process is known to have been started by netnsd. */
export const TOOL_MARK = 'NETNSD_TOOL_OF';

/** Its value: the network namespace of the netnsd that started it, of which each has at most one. */
export function toolMark(): string {
  return String(inodeOfProcess('self'));
}

const PATIENCE_MS = 5_000;
const PAUSE_MS = 5;

/**
 * Ends what a netnsd that was killed has started and that still works: an `ip` goes on with the lines that it was given.
 * To be called while no other netnsd can run here. Resolves when they are gone.
 *
 * @returns how many there were
 */
export async function endLeftovers(): Promise<number> {
  const mark = `${TOOL_MARK}=${toolMark()}`;
  const pids = readdirSync('/proc').filter(
    (name) => /^\d+$/.test(name) && Number(name) !== process.pid && environmentOf(name).includes(mark),
  );
  for (const pid of pids) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended by itself in the meantime.
    }
  }
  const end = performance.now() + PATIENCE_MS;
  // One that the kernel is working for dies when that is done.
  while (pids.some((pid) => isAlive(pid, mark)) && performance.now() < end) await sleep(PAUSE_MS);
  return pids.length;
}

/** A process that has ended and was not waited for has no environment any more. */
function isAlive(pid: string, mark: string): boolean {
  return existsSync(`/proc/${pid}`) && environmentOf(pid).includes(mark);
}

function environmentOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
  } catch {
    // It has ended, or belongs to the kernel.
    return [];
  }
}
