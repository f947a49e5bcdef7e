import type { Database } from 'better-sqlite3';
import type { Kind } from '../schemas/common.ts';
import { parseColumn, wordColumn } from './column.ts';

export type OperationState = 'running' | 'succeeded' | 'unchanged' | 'refused' | 'failed';
export type OperationAction = 'create' | 'replace' | 'patch' | 'delete';

/** An entry of the journal. */
export interface OperationRecord {
  id: number;
  requestId: string;
  actor: string;
  action: OperationAction;
  kind: Kind;
  name: string;
  state: OperationState;
  /** The resources in question as they were, and as they were to be. */
  before: unknown;
  after: unknown;
  commands: { command: string; exitCode: number | null; stderr: string }[];
  problem: unknown;
  processes: number;
  startedAt: string;
  durationMs: number | null;
}

export type NewOperation = Omit<OperationRecord, 'id'>;
export type OperationOutcome = Pick<
  OperationRecord,
  'state' | 'commands' | 'problem' | 'processes' | 'durationMs'
>;

export interface OperationRepository {
  /** Gives the number of the new entry. */
  begin: (operation: NewOperation) => number;
  finish: (id: number, outcome: OperationOutcome) => void;
  /** Takes back entries of changes that are to be tried again, each with an entry of its own. */
  remove: (ids: readonly number[]) => void;
  get: (id: number) => OperationRecord | null;
  /** The newest first, older than `before` if given. */
  list: (choice: { before: number | null; limit: number }) => OperationRecord[];
}

/** The journal keeps this many of the newest entries. */
const KEPT = 10_000;

type Row = Record<'request_id' | 'actor' | 'action' | 'kind' | 'name' | 'state' | 'started_at', string> &
  Record<'before' | 'after' | 'commands', string> & {
    id: number;
    problem: string | null;
    processes: number;
    duration_ms: number | null;
  };

export function createOperationRepository(database: Database): OperationRepository {
  const insert = database.prepare(
    `INSERT INTO operation (request_id, actor, action, kind, name, state, before, after, commands, problem, processes, started_at, duration_ms)
     VALUES (@requestId, @actor, @action, @kind, @name, @state, @before, @after, @commands, @problem, @processes, @startedAt, @durationMs)`,
  );
  const trim = database.prepare(`DELETE FROM operation WHERE id <= ? - ${KEPT} AND state <> 'running'`);
  const update = database.prepare(
    `UPDATE operation SET state = @state, commands = @commands, problem = @problem, processes = @processes, duration_ms = @durationMs
     WHERE id = @id`,
  );
  const remove = database.prepare('DELETE FROM operation WHERE id = ?');
  const select = database.prepare<[number], Row>('SELECT * FROM operation WHERE id = ?');
  const selectNewest = database.prepare<[number, number], Row>(
    'SELECT * FROM operation WHERE id < ? ORDER BY id DESC LIMIT ?',
  );
  return {
    begin: (operation) => {
      const { lastInsertRowid } = insert.run({
        ...operation,
        before: JSON.stringify(operation.before),
        after: JSON.stringify(operation.after),
        commands: JSON.stringify(operation.commands),
        problem: operation.problem === null ? null : JSON.stringify(operation.problem),
      });
      const id = Number(lastInsertRowid);
      trim.run(id);
      return id;
    },
    finish: (id, { state, commands, problem, processes, durationMs }) => {
      update.run({
        id,
        state,
        commands: JSON.stringify(commands),
        problem: problem === null ? null : JSON.stringify(problem),
        processes,
        durationMs,
      });
    },
    remove: (ids) => {
      for (const id of ids) remove.run(id);
    },
    get: (id) => {
      const row = select.get(id);
      return row === undefined ? null : fromRow(row);
    },
    list: ({ before, limit }) => selectNewest.all(before ?? Number.MAX_SAFE_INTEGER, limit).map(fromRow),
  };
}

function fromRow(row: Row): OperationRecord {
  return {
    id: row.id,
    requestId: row.request_id,
    actor: row.actor,
    action: wordColumn(row.action),
    kind: wordColumn(row.kind),
    name: row.name,
    state: wordColumn(row.state),
    before: parseColumn(row.before),
    after: parseColumn(row.after),
    commands: parseColumn(row.commands),
    problem: row.problem === null ? null : parseColumn(row.problem),
    processes: row.processes,
    startedAt: row.started_at,
    durationMs: row.duration_ms,
  };
}
