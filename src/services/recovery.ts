import type { Logger } from 'pino';
import type { OperationRecord } from '../db/operations.ts';
import type { Stored } from '../db/resources.ts';
import type { Store } from '../db/store.ts';
import { boundInode, hostIdentity } from '../kernel/namespace.ts';
import type { Processes } from '../kernel/processes.ts';
import { refText, type Ref } from '../schemas/common.ts';
import { problemOfCommand } from './problem.ts';
import { settle, type Unsettled } from './settle.ts';

interface Deps {
  store: Store;
  processes: Processes;
  log: Logger;
}

/** One side of an operation, as the journal keeps it. */
type Side = (Ref & { resource: Stored | null })[];

/**
 * Undoes what the journal has as not finished, and what could not be undone before: the kernel gets what is recorded of
 * the resources in question. Nothing is guessed: only what an operation said that it would make is taken away. To
 * be called in the lane, or before there is one.
 *
 * @param isNothingAsked whether no client waits for everything to be looked at: then such an operation is an old one
 * @returns whether nothing is left to be undone
 * @throws StoreError
 */
export async function recover({ store, processes, log }: Deps, isNothingAsked: boolean): Promise<boolean> {
  const open = store.operations.open().filter(({ action }) => isNothingAsked || action !== 'reconcile');
  if (open.length === 0) return true;
  const host = hostIdentity();
  // Of another boot, or another network namespace, nothing is left here.
  const ofThisBoot = open.filter(({ notes }) => notes.host === host);
  const unsettled = unsettledBy(ofThisBoot);
  const ids = open.map(({ id }) => id);
  const settled = await settle(
    {
      store,
      processes,
      begin: (_steps, notes) => {
        store.journal(() => store.operations.note(ids, notes));
      },
    },
    unsettled,
  );
  const touched = unsettled.refs.map(refText);
  if (settled.failure !== null) {
    log.error(
      { err: settled.failure, touched },
      'what was not finished could not be undone; it is tried again',
    );
    markFailed(store, unsettled.refs, problemOfCommand(settled.failure).message);
    return false;
  }
  store.journal(() => {
    for (const operation of open) close(store, operation, settled.ran);
    for (const ref of unsettled.refs)
      if (!settled.obstacles.has(refText(ref))) store.resources.putFailure(ref, null);
  });
  log.warn({ operations: ids, touched, steps: settled.steps.length }, 'what was not finished is undone');
  return true;
}

/** The candidates for what the kernel has: what each operation was to make, and what was there when it began. */
function unsettledBy(operations: readonly OperationRecord[]): Unsettled {
  const sides = operations.flatMap((operation) => [sideOf(operation.after), sideOf(operation.before)]);
  const refs = new Map(sides.flat().map(({ kind, name }) => [refText({ kind, name }), { kind, name }]));
  // Those that went together are about different resources, so that together they are one candidate.
  const merge = (which: 'before' | 'after'): Stored[] => [
    ...new Map(
      operations
        .flatMap((operation) => sideOf(operation[which]))
        .flatMap(({ kind, name, resource }) =>
          resource === null ? [] : [[refText({ kind, name }), resource] as const],
        ),
    ).values(),
  ];
  return {
    refs: [...refs.values()],
    mayBe: [merge('after'), merge('before')],
    attempts: new Set([...operations.flatMap(({ notes }) => notes.attempts), ...halfDeleted(operations)]),
    sysctls: operations.flatMap(({ notes }) => notes.sysctls),
    adoptions: operations.flatMap(({ notes }) => notes.adoptions),
  };
}

/**
 * `ip netns delete` unbinds a name and then removes its file. What it has left if it was ended in between is known by
 * the operation that was to delete the namespace; a namespace that bears the name by now is somebody else's.
 */
function halfDeleted(operations: readonly OperationRecord[]): string[] {
  return operations
    .filter(({ action }) => action !== 'repair')
    .flatMap(({ after }) => sideOf(after))
    .flatMap(({ kind, name, resource }) =>
      kind === 'namespace' && resource === null && boundInode(name) === null ? [name] : [],
    );
}

function sideOf(side: unknown): Side {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the journal has what services/journal.ts writes
  return side as Side;
}

function close(
  store: Store,
  { id, state, commands, processes }: OperationRecord,
  ran: { command: OperationRecord['commands'][number] }[],
): void {
  if (state !== 'running') {
    store.operations.setUndone(id);
    return;
  }
  store.operations.finish(id, {
    state: 'failed',
    undone: true,
    commands: [...commands, ...ran.map(({ command }) => command)],
    problem: {
      slug: 'interrupted',
      detail: 'netnsd ended before this was done; it was undone when netnsd was started again',
    },
    processes,
    durationMs: null,
  });
}

function markFailed(store: Store, refs: readonly Ref[], message: string): void {
  store.journal(() => {
    for (const ref of refs) store.resources.putFailure(ref, message);
  });
}
