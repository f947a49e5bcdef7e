import { readFile, readdir, readlink } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Follower, Listener, Processes } from './processes.ts';

interface MonitorOptions extends Listener {
  processes: Processes;
  command: readonly [file: string, args: readonly string[]];
  /** It ended by itself; why, as far as it said so. It is started again. */
  onEnd: (why: string) => void;
  /** It listens again; what happened since it ended is not known. */
  onRestart: () => void;
}

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 30_000;

/** One that has run for so long is started again at once if it ends. */
const LASTING_MS = 10_000;

/** A process that tells of events, kept running until it is stopped. */
export class Monitor {
  readonly #options: MonitorOptions;
  readonly #stopping = new AbortController();
  #follower: Follower | null = null;
  #running: Promise<void> | null = null;
  #listening = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
  }

  get isListening(): boolean {
    return this.#listening;
  }

  /** Resolves when it listens, or has failed to for the first time. */
  async start(): Promise<void> {
    if (this.#running !== null || this.#stopping.signal.aborted) return;
    await new Promise((resolve) => {
      this.#running = this.#keepRunning(() => resolve(null));
    });
  }

  /** Resolves when its process is gone. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#follower?.end();
    await this.#running;
  }

  async #keepRunning(onFirst: () => void): Promise<void> {
    const { signal } = this.#stopping;
    let pauseMs = FIRST_PAUSE_MS;
    for (let turn = 0; !signal.aborted; turn++) {
      const startedAt = performance.now();
      const why = await this.#runOnce(turn, onFirst);
      onFirst();
      if (signal.aborted) return;
      this.#options.onEnd(why);
      if (performance.now() - startedAt > LASTING_MS) pauseMs = FIRST_PAUSE_MS;
      // It rejects if it is stopped meanwhile.
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    }
  }

  async #runOnce(turn: number, onFirst: () => void): Promise<string> {
    const { processes, command, onRestart } = this.#options;
    const follower = processes.follow(command[0], command[1], this.#options);
    this.#follower = follower;
    const isListening = await Promise.race([listens(follower.pid), follower.ended.then(() => false)]);
    this.#listening = isListening;
    onFirst();
    if (turn > 0 && isListening && !this.#stopping.signal.aborted) onRestart();
    const why = await follower.ended;
    this.#listening = false;
    this.#follower = null;
    return why;
  }
}

const LISTENS_WITHIN_MS = 2_000;
const LOOK_PAUSE_MS = 5;

/**
 * Waits until a process has a netlink socket that belongs to a multicast group: neither tool says when it begins to
 * listen. If that can't be seen, it is taken to listen after a while.
 */
async function listens(pid: number | undefined): Promise<boolean> {
  if (pid === undefined) return false;
  const end = performance.now() + LISTENS_WITHIN_MS;
  while (performance.now() < end) {
    if (await hasGroups(pid)) return true;
    await sleep(LOOK_PAUSE_MS);
  }
  return true;
}

async function hasGroups(pid: number): Promise<boolean> {
  try {
    const directory = `/proc/${pid}`;
    const [table, descriptors] = await Promise.all([
      readFile(`${directory}/net/netlink`, 'utf8'),
      readdir(`${directory}/fd`),
    ]);
    const listening = new Set(
      table.split('\n').flatMap((line) => {
        const [, , , groups = '', , , , , , inode = ''] = line.trim().split(/\s+/);
        return /^0*$/.test(groups) ? [] : [`socket:[${inode}]`];
      }),
    );
    const targets = await Promise.all(
      descriptors.map(async (descriptor) => readlink(`${directory}/fd/${descriptor}`).catch(() => '')),
    );
    return targets.some((target) => listening.has(target));
  } catch {
    // It is gone, or is not ours to look into any more: its end tells.
    return false;
  }
}
