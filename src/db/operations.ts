import type { Database } from 'better-sqlite3';
import type { Adoption } from '../schemas/adoption.ts';
import type { Kind } from '../schemas/common.ts';
import { parseColumn, wordColumn } from './column.ts';
import type { SysctlBefore } from './sysctls.ts';

type OperationState = 'running' | 'succeeded' | 'unchanged' | 'refused' | 'failed';
/** `repair`: netnsd mended what had drifted. `reconcile`: somebody asked for that. */
export type OperationAction = 'create' | 'replace' | 'patch' | 'delete' | 'repair' | 'reconcile';

/** What was so before anything was done: what whoever finds the operation open has to know. */
export interface OperationNotes {
  /** The daemon's own namespace and the boot of the machine; names mean nothing in another. */
  host: string;
  /** Names of namespaces that were free and were about to be bound. */
  attempts: string[];
  /** What stood in sysctls that were about to be written for the first time. */
  sysctls: SysctlBefore[];
  /** What was somebody else's and was about to be marked as netnsd's: it is given its marks back, never deleted. */
  adoptions: Adoption[];
}

/** An entry of the journal. */
export interface OperationRecord {
  id: number;
  requestId: string;
  actor: string;
  action: OperationAction;
  /** Null if it is about several resources. */
  kind: Kind | null;
  name: string | null;
  state: OperationState;
  /** False while what a failed operation has left in the kernel is still to be taken away. */
  undone: boolean;
  /** The resources in question as they were, and as they were to be. */
  before: unknown;
  after: unknown;
  notes: OperationNotes;
  commands: { command: string; exitCode: number | null; stderr: string }[];
  problem: unknown;
  processes: number;
  startedAt: string;
  durationMs: number | null;
}

export type NewOperation = Omit<OperationRecord, 'id'>;
export type OperationOutcome = Pick<
  OperationRecord,
  'state' | 'undone' | 'commands' | 'problem' | 'processes' | 'durationMs'
>;

export interface OperationRepository {
  /** Gives the number of the new entry. */
  begin: (operation: NewOperation) => number;
  finish: (id: number, outcome: OperationOutcome) => void;
  /** Adds to what is noted, before it is acted upon. */
  note: (ids: readonly number[], notes: Pick<OperationNotes, 'attempts' | 'sysctls'>) => void;
  /** What was not finished, or not undone, in the order in which it began. */
  open: () => OperationRecord[];
  /** What failed and could not be undone is undone now. */
  setUndone: (id: number) => void;
  /** Takes back entries of changes that are to be tried again, each with an entry of its own. */
  remove: (ids: readonly number[]) => void;
  get: (id: number) => OperationRecord | null;
  /** The newest first, older than `before` if given. */
  list: (choice: { before: number | null; limit: number }) => OperationRecord[];
}

/** The journal keeps this many of the newest entries. */
const KEPT = 10_000;

type Row = Record<'request_id' | 'actor' | 'action' | 'state' | 'started_at', string> &
  Record<'before' | 'after' | 'notes' | 'commands', string> & {
    id: number;
    kind: string | null;
    name: string | null;
    undone: number;
    problem: string | null;
    processes: number;
    duration_ms: number | null;
  };

export function createOperationRepository(database: Database): OperationRepository {
  return { ...createReads(database), ...createWrites(database) };
}

type Reads = 'get' | 'list' | 'open';

function createReads(database: Database): Pick<OperationRepository, Reads> {
  const select = database.prepare<[number], Row>('SELECT * FROM operation WHERE id = ?');
  const selectOpen = database.prepare<[], Row>(
    "SELECT * FROM operation WHERE state = 'running' OR undone = 0 ORDER BY id",
  );
  const selectNewest = database.prepare<[number, number], Row>(
    'SELECT * FROM operation WHERE id < ? ORDER BY id DESC LIMIT ?',
  );
  return {
    get: (id) => {
      const row = select.get(id);
      return row === undefined ? null : fromRow(row);
    },
    list: ({ before, limit }) => selectNewest.all(before ?? Number.MAX_SAFE_INTEGER, limit).map(fromRow),
    open: () => selectOpen.all().map(fromRow),
  };
}

function createWrites(database: Database): Omit<OperationRepository, Reads> {
  const insert = database.prepare(
    `INSERT INTO operation (request_id, actor, action, kind, name, state, undone, before, after, notes, commands, problem, processes, started_at, duration_ms)
     VALUES (@requestId, @actor, @action, @kind, @name, @state, @undone, @before, @after, @notes, @commands, @problem, @processes, @startedAt, @durationMs)`,
  );
  const trim = database.prepare(
    `DELETE FROM operation WHERE id <= ? - ${KEPT} AND state <> 'running' AND undone = 1`,
  );
  const update = database.prepare(
    `UPDATE operation SET state = @state, undone = @undone, commands = @commands, problem = @problem, processes = @processes, duration_ms = @durationMs
     WHERE id = @id`,
  );
  const remove = database.prepare('DELETE FROM operation WHERE id = ?');
  const setUndone = database.prepare('UPDATE operation SET undone = 1 WHERE id = ?');
  const updateNotes = database.prepare('UPDATE operation SET notes = ? WHERE id = ?');
  const select = database.prepare<[number], Row>('SELECT * FROM operation WHERE id = ?');
  return {
    begin: (operation) => {
      const { lastInsertRowid } = insert.run({
        ...operation,
        undone: Number(operation.undone),
        notes: JSON.stringify(operation.notes),
        before: JSON.stringify(operation.before),
        after: JSON.stringify(operation.after),
        commands: JSON.stringify(operation.commands),
        problem: operation.problem === null ? null : JSON.stringify(operation.problem),
      });
      const id = Number(lastInsertRowid);
      trim.run(id);
      return id;
    },
    note: (ids, { attempts, sysctls }) => {
      for (const id of ids) {
        const row = select.get(id);
        if (row === undefined) continue;
        const more = withMore(fromRow(row).notes, { attempts, sysctls });
        updateNotes.run(JSON.stringify(more), id);
      }
    },
    setUndone: (id) => {
      setUndone.run(id);
    },
    finish: (id, { state, undone, commands, problem, processes, durationMs }) => {
      update.run({
        id,
        state,
        undone: Number(undone),
        commands: JSON.stringify(commands),
        problem: problem === null ? null : JSON.stringify(problem),
        processes,
        durationMs,
      });
    },
    remove: (ids) => {
      for (const id of ids) remove.run(id);
    },
  };
}

function withMore(
  { attempts, sysctls, ...others }: OperationNotes,
  more: Pick<OperationNotes, 'attempts' | 'sysctls'>,
): OperationNotes {
  return { ...others, attempts: [...attempts, ...more.attempts], sysctls: [...sysctls, ...more.sysctls] };
}

function fromRow(row: Row): OperationRecord {
  return {
    id: row.id,
    requestId: row.request_id,
    actor: row.actor,
    action: wordColumn(row.action),
    kind: row.kind === null ? null : wordColumn(row.kind),
    name: row.name,
    state: wordColumn(row.state),
    undone: row.undone === 1,
    before: parseColumn(row.before),
    after: parseColumn(row.after),
    // Entries of before there was adoption have none.
    notes: { adoptions: [], ...parseColumn<Omit<OperationNotes, 'adoptions'>>(row.notes) },
    commands: parseColumn(row.commands),
    problem: row.problem === null ? null : parseColumn(row.problem),
    processes: row.processes,
    startedAt: row.started_at,
    durationMs: row.duration_ms,
  };
}
