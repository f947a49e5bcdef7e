import type { HeldTie, ResourceRepository, Stored, Tie, Ties } from '../db/resources.ts';
import type { Adoption } from '../schemas/adoption.ts';
import { refText, type Kind, type Ref } from '../schemas/common.ts';

/** A resource as it was and as it is to be; null where it is not there. */
export interface Touched {
  ref: Ref;
  before: Stored | null;
  after: Stored | null;
  tiesAfter: Ties;
  /** How it is in the kernel already, if it is taken over as it is. */
  adoption: Adoption | null;
}

const none: Ties = { references: [], claims: [], needs: [] };

/**
 * The store with changes laid over it that are not made yet, so that of several changes which go together each
 * sees those before it.
 */
export class Draft {
  readonly #resources: ResourceRepository;
  readonly #tiesOf: (resource: Stored) => Ties;
  #touched = new Map<string, Touched>();

  constructor(resources: ResourceRepository, tiesOf: (resource: Stored) => Ties) {
    this.#resources = resources;
    this.#tiesOf = tiesOf;
  }

  get touched(): readonly Touched[] {
    return [...this.#touched.values()];
  }

  /** Whether the change can't go together with what is laid over already. */
  excludes({ kind, name, adopts = false }: Ref & { adopts?: boolean }): boolean {
    if (this.#touched.has(refText({ kind, name }))) return true;
    return this.touched.some(({ adoption }) => adopts || adoption !== null);
  }

  /** Gives a way back to how the draft is now. */
  savepoint(): () => void {
    const saved = new Map(this.#touched);
    return () => {
      this.#touched = saved;
    };
  }

  get<K extends Kind>(kind: K, name: string): Stored<K> | null {
    const touched = this.#touched.get(refText({ kind, name }));
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what was put under the key of a kind is of it
    return touched === undefined ? this.#resources.get(kind, name) : (touched.after as Stored<K> | null);
  }

  /** The resource as it is recorded, whatever is laid over it. */
  recorded<K extends Kind>(kind: K, name: string): Stored<K> | null {
    return this.#resources.get(kind, name);
  }

  put(resource: Stored, adoption: Adoption | null = null): void {
    this.#touch(resource, resource, this.#tiesOf(resource), adoption);
  }

  delete(ref: Ref): void {
    this.#touch(ref, null, none, null);
  }

  /** Those that name the resource. */
  referrers(to: Ref): Ref[] {
    const refersNow = ({ references }: Ties): boolean =>
      references.some((ref) => refText(ref) === refText(to));
    return this.#overlay(this.#resources.referrers(to), refersNow);
  }

  /** Who has what only one may have. */
  claimant(claim: Tie): Ref | null {
    const stored = this.#resources.claimant(claim);
    return (
      this.#overlay(stored === null ? [] : [stored], ({ claims }) => claims.some(isSame(claim)))[0] ?? null
    );
  }

  /** Those that need it beside one another. */
  needing(need: Tie): Ref[] {
    return this.#overlay(this.#resources.needing(need), ({ needs }) => needs.some(isSame(need)));
  }

  /** The same of what is recorded, whatever is laid over it. */
  recordedNeeding(need: Tie): Ref[] {
    return this.#resources.needing(need);
  }

  /** All that is held and needed at one place. */
  tiesAt(namespace: string): HeldTie[] {
    const untouched = this.#resources.tiesAt(namespace).filter((tie) => !this.#touched.has(refText(tie)));
    const touched = this.touched.flatMap(({ ref, tiesAfter: { claims, needs } }) =>
      [...claims, ...needs]
        .filter((tie) => tie.namespace === namespace)
        .map(({ what }) => ({ ...ref, what })),
    );
    return [...untouched, ...touched];
  }

  /** All of a kind. */
  all<K extends Kind>(kind: K): Stored<K>[] {
    const names = [...this.#resources.refs(kind), ...this.touched.map(({ ref }) => ref)]
      .filter((ref) => ref.kind === kind)
      .map(({ name }) => name);
    return [...new Set(names)].flatMap((name) => this.get(kind, name) ?? []);
  }

  #overlay(stored: Ref[], hasNow: (ties: Ties) => boolean): Ref[] {
    const untouched = stored.filter((ref) => !this.#touched.has(refText(ref)));
    const touched = this.touched.filter(({ tiesAfter }) => hasNow(tiesAfter)).map(({ ref }) => ref);
    return [...untouched, ...touched];
  }

  #touch(ref: Ref, after: Stored | null, tiesAfter: Ties, adoption: Adoption | null): void {
    const { kind, name } = ref;
    const key = refText(ref);
    const first = this.#touched.get(key);
    const before = first === undefined ? this.#resources.get(kind, name) : first.before;
    this.#touched.set(key, { ref: { kind, name }, before, after, tiesAfter, adoption });
  }
}

function isSame(a: Tie): (b: Tie) => boolean {
  return (b) => a.namespace === b.namespace && a.what === b.what;
}
