import type { Logger } from 'pino';
import type { OperationRecord } from '../db/operations.ts';
import type { Stored } from '../db/resources.ts';
import type { Store } from '../db/store.ts';
import type { CommandFailed } from '../kernel/errors.ts';
import { boundInode, hostIdentity } from '../kernel/namespace.ts';
import type { Processes } from '../kernel/processes.ts';
import { HOST, refText, type Ref } from '../schemas/common.ts';
import { tiesOf } from './kinds.ts';
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
export async function recover(deps: Deps, isNothingAsked: boolean): Promise<boolean> {
  const { store } = deps;
  const open = store.operations.open().filter(({ action }) => isNothingAsked || action !== 'reconcile');
  if (open.length === 0) return true;
  const host = hostIdentity();
  // Of another boot, or another network namespace, nothing is left here.
  const isHere = ({ notes }: OperationRecord): boolean => notes.host === host;
  const here = open.filter(isHere);
  const elsewhere = open.filter((operation) => !isHere(operation));
  if (elsewhere.length > 0) await undo(deps, [], elsewhere);
  if (here.length === 0) return true;
  const failure = await undo(deps, here);
  if (failure === null) return true;
  // One that can't be undone is not to hold the others up, unless each would be waited for as long.
  const parts = failure.failure.cause === 'timeout' ? [] : partsOf(here);
  if (parts.length <= 1) {
    tellFailure(deps, here, failure);
    return false;
  }
  let isAllUndone = true;
  for (const part of parts) {
    const reason = await undo(deps, part);
    if (reason === null) continue;
    isAllUndone = false;
    tellFailure(deps, part, reason);
  }
  return isAllUndone;
}

/** Undoes operations together, and closes them and those of which nothing can be left; gives what went wrong. */
async function undo(
  { store, processes, log }: Deps,
  operations: readonly OperationRecord[],
  elsewhere: readonly OperationRecord[] = [],
): Promise<CommandFailed | null> {
  const unsettled = unsettledBy(operations);
  const ids = operations.map(({ id }) => id);
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
  if (settled.failure !== null) return settled.failure;
  store.journal(() => {
    for (const operation of [...operations, ...elsewhere]) close(store, operation, settled.ran);
    for (const ref of unsettled.refs)
      if (!settled.obstacles.has(refText(ref))) store.resources.putFailure(ref, null);
  });
  const touched = unsettled.refs.map(refText);
  log.warn(
    { operations: [...operations, ...elsewhere].map(({ id }) => id), touched, steps: settled.steps.length },
    'what was not finished is undone',
  );
  return null;
}

function tellFailure(
  { store, log }: Deps,
  operations: readonly OperationRecord[],
  failure: CommandFailed,
): void {
  const { refs } = unsettledBy(operations);
  log.error(
    { err: failure, touched: refs.map(refText) },
    'what was not finished could not be undone; it is tried again',
  );
  markFailed(store, refs, problemOfCommand(failure).message);
}

/** Such as have no resource in common, neither of those that they are about nor of those that these refer to. */
function partsOf(operations: readonly OperationRecord[]): OperationRecord[][] {
  let parts: { operations: OperationRecord[]; keys: Set<string> }[] = [];
  for (const operation of operations) {
    const keys = keysOf(operation);
    const joined = parts.filter((part) => [...keys].some((key) => part.keys.has(key)));
    const whole = {
      operations: [...joined.flatMap((part) => part.operations), operation],
      keys: new Set([...keys, ...joined.flatMap((part) => [...part.keys])]),
    };
    parts = [...parts.filter((part) => !joined.includes(part)), whole];
  }
  return parts.map((part) => part.operations.toSorted((a, b) => a.id - b.id));
}

function keysOf(operation: OperationRecord): Set<string> {
  const sides = [...sideOf(operation.before), ...sideOf(operation.after)];
  const refs = sides.flatMap(({ kind, name, resource }) => [
    { kind, name },
    ...(resource === null ? [] : tiesOf(resource).references),
  ]);
  // The daemon's own namespace is not made by an operation.
  return new Set(refs.filter(({ kind, name }) => kind !== 'namespace' || name !== HOST).map(refText));
}

/** The candidates for what the kernel has: what each operation was to make, and what was there when it began. */
function unsettledBy(operations: readonly OperationRecord[]): Unsettled {
  const sides = operations.flatMap((operation) => [sideOf(operation.after), sideOf(operation.before)]);
  const refs = new Map(sides.flat().map(({ kind, name }) => [refText({ kind, name }), { kind, name }]));
  return {
    refs: [...refs.values()],
    mayBe: layersOf(sides),
    attempts: new Set([...operations.flatMap(({ notes }) => notes.attempts), ...halfDeleted(operations)]),
    sysctls: operations.flatMap(({ notes }) => notes.sysctls),
    adoptions: operations.flatMap(({ notes }) => notes.adoptions),
  };
}

/** As few candidates as there can be: sides that are about different resources go together in one. */
function layersOf(sides: readonly Side[]): Stored[][] {
  const layers: Map<string, Stored>[] = [];
  for (const side of sides) {
    const entries = side.flatMap(({ kind, name, resource }) =>
      resource === null ? [] : [[refText({ kind, name }), resource] as const],
    );
    if (entries.length === 0) continue;
    let layer = layers.find((candidate) => entries.every(([key]) => !candidate.has(key)));
    if (layer === undefined) {
      layer = new Map();
      layers.push(layer);
    }
    for (const [key, resource] of entries) layer.set(key, resource);
  }
  return layers.map((layer) => [...layer.values()]);
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
