import { boundInode } from '../kernel/namespace.ts';
import type { Processes } from '../kernel/processes.ts';
import { giveNamespaceIds, listNamespaceIds } from '../kernel/watch.ts';

interface Known {
  name: string;
  inode: number | null;
  /** Whether it is known that the namespace has no other name, which could be recorded. */
  isOnlyName: boolean;
}

/** Which of the recorded namespaces each id of the kernel's events stands for. */
export class NamespaceIds {
  readonly #processes: Processes;
  readonly #isRecorded: (name: string) => boolean;
  readonly #known = new Map<number, Known>();
  /** Ids that stand for no namespace with a name. */
  readonly #nameless = new Set<number>();

  constructor(processes: Processes, isRecorded: (name: string) => boolean) {
    this.#processes = processes;
    this.#isRecorded = isRecorded;
  }

  /** The recorded name of the namespace; null if it has none, or is not known. */
  nameOf(nsid: number): string | null {
    const known = this.#current(nsid);
    return known !== null && this.#isRecorded(known.name) ? known.name : null;
  }

  /** Whether asking the kernel could tell more. */
  isUnknown(nsid: number): boolean {
    if (this.#nameless.has(nsid)) return false;
    const known = this.#current(nsid);
    return known === null || (!this.#isRecorded(known.name) && !known.isOnlyName);
  }

  /** The id was given to a namespace, which may have a name. */
  given(nsid: number, name: string | null): void {
    this.#nameless.delete(nsid);
    this.#known.delete(nsid);
    if (name !== null) this.#known.set(nsid, { name, inode: boundInode(name), isOnlyName: false });
  }

  /** The namespace is gone; gives the name by which it was known. */
  taken(nsid: number): string | null {
    const name = this.#known.get(nsid)?.name ?? null;
    this.#known.delete(nsid);
    this.#nameless.delete(nsid);
    return name;
  }

  /** A name has come or gone: what had none may have one now. */
  namesChanged(): void {
    this.#nameless.clear();
    for (const known of this.#known.values()) known.isOnlyName = false;
  }

  /** Asks the kernel for all of them, on account of these. */
  async refresh(unknown: readonly number[]): Promise<void> {
    const byNsid = Map.groupBy(await listNamespaceIds(this.#processes), ({ nsid }) => nsid);
    for (const [nsid, entries] of byNsid) {
      const names = entries.map(({ name }) => name);
      const name = names.find((candidate) => this.#isRecorded(candidate)) ?? names[0] ?? '';
      this.#known.set(nsid, { name, inode: boundInode(name), isOnlyName: true });
    }
    for (const nsid of unknown) if (!byNsid.has(nsid)) this.#nameless.add(nsid);
  }

  /** Sees to it that namespaces have ids: those that were adopted or made by others may have none. */
  async ensure(names: readonly string[]): Promise<void> {
    const without = (): string[] => {
      const known = new Set([...this.#known.keys()].map((nsid) => this.#current(nsid)?.name));
      return names.filter((name) => !known.has(name) && boundInode(name) !== null);
    };
    if (without().length === 0) return;
    await this.refresh([]);
    const missing = without();
    if (missing.length === 0) return;
    await giveNamespaceIds(this.#processes, missing);
    await this.refresh([]);
  }

  /** An inode number tells whether the name still stands for that namespace. */
  #current(nsid: number): Known | null {
    const known = this.#known.get(nsid);
    if (known === undefined) return null;
    if (known.inode !== null && boundInode(known.name) === known.inode) return known;
    this.#known.delete(nsid);
    return null;
  }
}
