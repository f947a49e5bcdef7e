import { refText, type Ref } from '../schemas/common.ts';

/** So long after a change what it did may still be under way from the kernel to who listens: a busy host is slow. */
const TELLING_MS = 500;

/** What is being changed, and what was until a moment ago. */
export class InHand {
  #now: ReadonlySet<string> = new Set();
  /** Until when each counts that was changed lately; the earliest first. */
  readonly #lately = new Map<string, number>();

  begin(refs: readonly Ref[]): void {
    this.#now = new Set(refs.map(refText));
  }

  end(): void {
    const now = performance.now();
    for (const [text, until] of this.#lately) {
      if (until > now) break;
      this.#lately.delete(text);
    }
    for (const text of this.#now) {
      this.#lately.delete(text);
      this.#lately.set(text, now + TELLING_MS);
    }
    this.#now = new Set();
  }

  /** Whether what the kernel tells of it may be from before, from half-way, or from after the change. */
  has(ref: Ref): boolean {
    const text = refText(ref);
    return this.#now.has(text) || (this.#lately.get(text) ?? 0) > performance.now();
  }
}
