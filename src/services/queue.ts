import type { Change, Done } from './change.ts';

/** A change that is to be answered. */
export interface Waiting {
  change: Change;
  /** When it was asked for, by `performance.now()`. */
  enteredAt: number;
  /** Whether no other goes together with it. */
  isAlone: boolean;
  resolve: (done: Done) => void;
  reject: (error: unknown) => void;
}

/** Something else that has the lane for itself while it runs. */
export interface Turn {
  run: () => Promise<void>;
}

interface Options {
  /** How long a change may take, counted from when it was asked for. */
  timeoutMs: number;
  /** Answers one whose time is over. */
  onExpired: (waiting: Waiting) => void;
}

/** So many changes go together at most: what fails with others is tried again alone. */
const LARGEST_BATCH = 128;

/** What waits for the lane, in order. Each change has its own time, which runs until it is begun. */
export class Queue {
  readonly #options: Options;
  #entries: (Waiting | Turn)[] = [];
  /** Of all changes that are neither begun nor answered. */
  readonly #timers = new Map<Waiting, NodeJS.Timeout>();

  constructor(options: Options) {
    this.#options = options;
  }

  add(entry: Waiting | Turn): void {
    this.#entries.push(entry);
    if (!('run' in entry)) this.#arm(entry);
  }

  /** Has changes be the next again. */
  putBack(changes: readonly Waiting[]): void {
    this.#entries.unshift(...changes);
    for (const waiting of changes) this.#arm(waiting);
  }

  /** Takes what is next: a turn, or changes that may go together, whose time still runs. Null if nothing waits. */
  take(): Turn | Waiting[] | null {
    const first = this.#entries.shift();
    if (first === undefined) return null;
    if ('run' in first) return first;
    const others = first.isAlone ? 0 : this.#entries.findIndex((entry) => 'run' in entry || entry.isAlone);
    const count = Math.min(others === -1 ? this.#entries.length : others, LARGEST_BATCH - 1);
    return [first, ...this.#entries.splice(0, count).flatMap((entry) => ('run' in entry ? [] : [entry]))];
  }

  /** Those of the taken that are to be made: whose time is over is answered. Of the others it runs no more. */
  begin(taken: readonly Waiting[]): Waiting[] {
    return taken.filter((waiting) => {
      // A timer may be late.
      if (this.#timers.has(waiting) && this.timeLeftMs(waiting) <= 0) this.#expire(waiting);
      const isInTime = this.#timers.has(waiting);
      this.#disarm(waiting);
      return isInTime;
    });
  }

  /** Those of the taken that were not put back; their time runs no more. */
  leave(taken: readonly Waiting[]): Waiting[] {
    const gone = taken.filter((waiting) => !this.#entries.includes(waiting));
    for (const waiting of gone) this.#disarm(waiting);
    return gone;
  }

  timeLeftMs({ enteredAt }: Waiting): number {
    return enteredAt + this.#options.timeoutMs - performance.now();
  }

  #arm(waiting: Waiting): void {
    const timer = setTimeout(() => this.#expire(waiting), Math.max(this.timeLeftMs(waiting), 0));
    this.#timers.set(waiting, timer);
  }

  #disarm(waiting: Waiting): void {
    clearTimeout(this.#timers.get(waiting));
    this.#timers.delete(waiting);
  }

  #expire(waiting: Waiting): void {
    this.#disarm(waiting);
    this.#entries = this.#entries.filter((entry) => entry !== waiting);
    this.#options.onExpired(waiting);
  }
}
