import type { Logger } from 'pino';
import type { NewOperation, OperationAction, OperationNotes, OperationOutcome } from '../db/operations.ts';
import type { Stored } from '../db/resources.ts';
import type { Store } from '../db/store.ts';
import { hostIdentity } from '../kernel/namespace.ts';
import { refText, type Kind, type Ref } from '../schemas/common.ts';
import type { Change } from './change.ts';
import type { Draft } from './draft.ts';
import { Problem } from './problem.ts';

/** What the journal and the log tell of a change, or of something that netnsd does of its own. */
interface Journalled extends Pick<Change, 'caller'> {
  action: OperationAction;
  kind: Kind | null;
  name: string | null;
}

/** The record of every change that was asked for, on disk and in the log. */
export class Journal {
  readonly #store: Store;
  readonly #log: Logger;

  constructor(store: Store, log: Logger) {
    this.#store = store;
    this.#log = log;
  }

  /**
   * Writes what is to be changed, as it is and as it is to be, before the kernel is touched; gives the numbers of
   * the entries. Throws `StoreError` if it can't be written.
   */
  begin(
    draft: Draft,
    changes: readonly { change: Journalled; touched: readonly Ref[] }[],
    attempts: readonly string[],
  ): number[] {
    const startedAt = new Date().toISOString();
    const byRef = new Map(draft.touched.map((touched) => [refText(touched.ref), touched]));
    const sides = (touched: readonly Ref[], side: 'before' | 'after'): unknown[] =>
      touched.map((ref) => ({ ...ref, resource: withoutObserved(byRef.get(refText(ref))?.[side] ?? null) }));
    const { operations } = this.#store;
    const adoptions = draft.touched.flatMap(({ adoption }) => adoption ?? []);
    const deletesOnly = changes.every(({ change }) => change.action === 'delete');
    return this.#store.begin({ resources: draft.touched.length, deletesOnly }, () =>
      changes.map(({ change, touched }) =>
        operations.begin({
          ...entryOf(change, startedAt),
          state: 'running',
          before: sides(touched, 'before'),
          after: sides(touched, 'after'),
          notes: { host: hostIdentity(), attempts: [...attempts], sysctls: [], adoptions },
        }),
      ),
    );
  }

  /**
   * Writes that resources are about to be mended; gives the number of the entry, or null if it can't be written: a full
   * disk is no reason to leave a network broken.
   */
  beginRepair(
    entry: Journalled,
    refs: readonly Ref[],
    notes: Pick<OperationNotes, 'attempts' | 'sysctls'>,
  ): number | null {
    const after = refs.map((ref) => ({ ...ref, resource: null }));
    try {
      return this.#store.journal(() =>
        this.#store.operations.begin({
          ...entryOf(entry, new Date().toISOString()),
          state: 'running',
          after,
          notes: { host: hostIdentity(), adoptions: [], ...notes },
        }),
      );
    } catch (error) {
      this.#log.error(
        { err: error },
        'the journal could not be written; what has drifted is mended all the same',
      );
      return null;
    }
  }

  /** Adds to the entries what is about to be acted upon. Throws `StoreError` if it can't be written. */
  note(operations: readonly number[], notes: Pick<OperationNotes, 'attempts' | 'sysctls'>): void {
    if (notes.attempts.length + notes.sysctls.length === 0) return;
    this.#store.journal(() => this.#store.operations.note(operations, notes));
  }

  /** Writes how a change ended; to be called within the transaction that acknowledges it, if there is one. */
  finish(operation: number, outcome: OperationOutcome): void {
    this.#store.operations.finish(operation, outcome);
  }

  /** Writes how a change ended that left nothing to acknowledge. */
  fail(operation: number, outcome: OperationOutcome): void {
    try {
      this.#store.journal(() => this.finish(operation, outcome));
    } catch (error) {
      // The answer to the client says it; what is not undone is found by the entry that is still open.
      this.#log.error({ err: error, operation }, 'the journal could not be written');
    }
  }

  /** Takes back entries of changes that are to be tried again one by one. */
  drop(operations: readonly number[]): void {
    this.#store.journal(() => this.#store.operations.remove(operations));
  }

  /** Writes a change that ended as soon as it began; gives the number of the entry, or null if it can't. */
  noteEnded(change: Journalled, outcome: OperationOutcome): number | null {
    try {
      const entry: NewOperation = { ...entryOf(change, new Date().toISOString()), ...outcome };
      return this.#store.journal(() => this.#store.operations.begin(entry));
    } catch (error) {
      // Nothing was to be changed: that it can't be noted is no reason to answer otherwise.
      this.#log.warn({ err: error }, 'the journal could not be written');
      return null;
    }
  }

  /** One line a change: who, what, outcome, duration, processes. */
  log({ action, kind, name, caller }: Journalled, operation: number | null, outcome: OperationOutcome): void {
    const { state, durationMs, processes, problem } = outcome;
    const { requestId, actor } = caller;
    const resource = kind === null || name === null ? null : refText({ kind, name });
    const line = { requestId, actor, operation, action, resource, outcome: state, durationMs, processes };
    this.#log.info(problem === null ? line : { ...line, problem }, 'change');
  }
}

/** What the journal keeps of a problem. */
export function describeProblem(problem: unknown): unknown {
  if (problem === null) return null;
  if (problem instanceof Problem) return { slug: problem.slug, detail: problem.message, ...problem.extras };
  return { slug: 'internal-error', detail: problem instanceof Error ? problem.message : 'unknown' };
}

function entryOf({ action, kind, name, caller }: Journalled, startedAt: string) {
  const nothing = { before: [], after: [], commands: [], problem: null, processes: 0, durationMs: null };
  const notes: OperationNotes = { host: '', attempts: [], sysctls: [], adoptions: [] };
  return { ...nothing, notes, undone: true, ...caller, action, kind, name, startedAt };
}

function withoutObserved(resource: Stored | null): unknown {
  if (resource === null) return null;
  const { observed: _observed, ...rest } = resource;
  return rest;
}
