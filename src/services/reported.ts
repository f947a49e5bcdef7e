import { refText, type Ref } from '../schemas/common.ts';
import type { Told } from './watch-window.ts';

/** A resource of which the kernel and the intent do not agree, and what says so. */
export interface Suspect {
  ref: Ref;
  because: Set<Told>;
}

/**
 * Whom something that was told has made suspects already. It may be put back for one while all others are looked at, and is
 * to have those looked at once: looking takes a resource in hand as well, so that two might wait for each other by turns.
 */
export class Reported {
  readonly #refs = new WeakMap<Told['what'], Set<string>>();

  /** What says of a suspect that it is one, and has not been reported of it. */
  newOf({ ref, because }: Suspect): Told[] {
    return [...because].filter(({ what }) => this.#refs.get(what)?.has(refText(ref)) !== true);
  }

  note(ref: Ref, because: readonly Told[]): void {
    for (const { what } of because)
      this.#refs.set(what, (this.#refs.get(what) ?? new Set<string>()).add(refText(ref)));
  }
}
