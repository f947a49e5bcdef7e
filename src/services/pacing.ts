/** How the attempts on one resource went of late. */
interface Course {
  /** Attempts one soon after the other. */
  streak: number;
  /** Before this time, by the clock, nothing is tried again. */
  notBefore: number;
}

/** So many attempts in a row are a fight: something else keeps changing it back. */
const FIGHT = 4;

const FIRST_DELAY_MS = 1_000;
const LONGEST_DELAY_MS = 300_000;

/** After the delay and this time without anything to mend, the next attempt is a first one again. */
const QUIET_MS = 10_000;

/**
 * Sees to it that nothing is fought over for ever: the first two attempts on a resource are made at once, each further one
 * after a delay that doubles, from one second to five minutes.
 */
export class Pacing {
  readonly #courses = new Map<string, Course>();
  readonly #now: () => number;

  /** @param now a clock in milliseconds that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** How long to wait until something may be tried with the resource, in milliseconds; 0 if at once. */
  delayOf(key: string): number {
    return Math.max((this.#courses.get(key)?.notBefore ?? 0) - this.#now(), 0);
  }

  /**
   * To be told of each attempt, whether it mended the resource or not.
   *
   * @returns how often it was tried in a row, and for how long it is left alone now
   */
  tried(key: string): { streak: number; delayMs: number; isFight: boolean } {
    const now = this.#now();
    const before = this.#courses.get(key);
    const isNew = before === undefined || this.#isQuiet(before, now);
    const streak = isNew ? 1 : before.streak + 1;
    const delayMs = delayAfter(streak);
    this.#courses.set(key, { streak, notBefore: now + delayMs });
    return { streak, delayMs, isFight: streak >= FIGHT };
  }

  /** Whether nothing had to be mended for a while; what is quiet is forgotten. */
  isQuiet(key: string): boolean {
    const course = this.#courses.get(key);
    if (course !== undefined && !this.#isQuiet(course, this.#now())) return false;
    this.#courses.delete(key);
    return true;
  }

  /** Somebody has changed what is wanted: what was before says nothing any more. */
  forget(key: string): void {
    this.#courses.delete(key);
  }

  #isQuiet({ streak, notBefore }: Course, now: number): boolean {
    return now > notBefore + delayAfter(streak) + QUIET_MS;
  }
}

function delayAfter(streak: number): number {
  return streak < 2 ? 0 : Math.min(FIRST_DELAY_MS * 2 ** (streak - 2), LONGEST_DELAY_MS);
}
