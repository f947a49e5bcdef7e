/** So many names of an index are kept; `ip` prints the first that it has heard. */
const MOST_NAMES = 16;

/**
 * The names that the indexes of devices were heard by, in whichever namespace. In a line about sysctls `ip monitor` names a
 * device by its index alone: by what it has heard that called in any namespace, else by what the daemon's namespace calls
 * it, else `ifINDEX` (ll_index_to_name of iproute2 6.1). So such a name stands for an index, not for itself.
 */
export class HeardNames {
  readonly #names = new Map<number, Set<string>>();
  readonly #indexes = new Map<string, Set<number>>();

  note(index: number, name: string): void {
    const names = this.#names.get(index) ?? new Set();
    if (names.size >= MOST_NAMES) return;
    this.#names.set(index, names.add(name));
    this.#indexes.set(name, (this.#indexes.get(name) ?? new Set()).add(index));
  }

  /** A device with that index is gone, in whichever namespace: `ip` forgets what it has heard. */
  forget(index: number): void {
    for (const name of this.#names.get(index) ?? []) {
      const indexes = this.#indexes.get(name);
      indexes?.delete(index);
      if (indexes?.size === 0) this.#indexes.delete(name);
    }
    this.#names.delete(index);
  }

  /** The indexes that a printed name may stand for. */
  indexesOf(printed: string): number[] {
    const index = /^if(\d+)$/.exec(printed)?.[1];
    return [...(this.#indexes.get(printed) ?? []), ...(index === undefined ? [] : [Number(index)])];
  }
}
