import type { Database } from 'better-sqlite3';
import type { Kind, Meta, Ref } from '../schemas/common.ts';
import type { AssignedOf, ObservedOf, Placed } from '../schemas/resource.ts';
import { parseColumn, wordColumn } from './column.ts';

/** A resource as recorded. */
export interface Stored<K extends Kind = Kind> extends Placed<K>, Meta {
  /** As the kernel was last seen to have it; null if it was not looked at yet. */
  observed: ObservedOf<K> | null;
  /** Why the last attempt to mend it failed. */
  failure: string | null;
}

/** The kind tells the types of the other fields. */
export function isOf<K extends Kind>(stored: Stored, kind: K): stored is Stored<K> {
  return stored.kind === kind;
}

/** What a resource holds and needs; the store keeps it beside the resource. */
export interface Ties {
  references: Ref[];
  /** Of each at most one resource may have it. */
  claims: Tie[];
  needs: Tie[];
}

export interface Tie {
  namespace: string;
  what: string;
}

/** What is held or needed at a place, and by whom. */
export interface HeldTie extends Ref {
  what: string;
}

export interface ListFilter {
  /** Only resources whose name comes after this one. */
  after: string | null;
  limit: number;
  labels: readonly { key: string; value: string }[];
  /** Only resources that refer to all of these. */
  references: readonly Ref[];
}

export interface ResourceRepository {
  get: <K extends Kind>(kind: K, name: string) => Stored<K> | null;
  list: <K extends Kind>(kind: K, filter: ListFilter) => Stored<K>[];
  count: (kind: Kind) => number;
  /** All of a kind, the daemon's own namespace too. */
  refs: (kind: Kind) => Ref[];
  /** Those that name the resource, in order of kind and name. */
  referrers: (to: Ref) => Ref[];
  claimant: (claim: Tie) => Ref | null;
  needing: (need: Tie) => Ref[];
  /** All that is held and needed at one place. */
  tiesAt: (namespace: string) => HeldTie[];
  /** The namespaces in which something needs this, in order. */
  namespacesNeeding: (what: string) => string[];
  put: (resource: Stored) => void;
  /** What the resource held is free again. */
  clearTies: (ref: Ref) => void;
  addTies: (ref: Ref, ties: Ties) => void;
  /** Notes what was seen of a resource, unless it has changed since. */
  putObserved: (seen: Ref & { revision: number }, observed: unknown) => void;
  /** Notes why the last attempt to mend it failed, or that there is nothing to mend. */
  putFailure: (ref: Ref, failure: string | null) => void;
  /** Notes what netnsd has learnt of a resource whose intent is as it was. */
  putAssigned: (ref: Ref, assigned: AssignedOf<Kind>) => void;
  delete: (ref: Ref) => void;
}

interface Row {
  kind: Kind;
  name: string;
  intent: string;
  assigned: string;
  observed: string | null;
  failure: string | null;
  revision: number;
  created_at: string;
  updated_at: string;
}

export function createResourceRepository(database: Database): ResourceRepository {
  return { ...createReads(database), ...createWrites(database) };
}

type Reads =
  'get' | 'list' | 'count' | 'refs' | 'referrers' | 'claimant' | 'needing' | 'tiesAt' | 'namespacesNeeding';

/** Of the row that stands for the daemon's own namespace, which is nobody's resource. */
const IS_HOST = "(kind = 'namespace' AND name = 'host')";

function createReads(database: Database): Pick<ResourceRepository, Reads> {
  const select = database.prepare<[string, string], Row>(
    'SELECT * FROM resource WHERE kind = ? AND name = ?',
  );
  const selectReferrers = database.prepare<[string, string], Ref>(
    'SELECT from_kind AS kind, from_name AS name FROM reference WHERE to_kind = ? AND to_name = ? ORDER BY 1, 2',
  );
  const selectClaimant = database.prepare<[string, string], Ref>(
    'SELECT kind, name FROM claim WHERE namespace = ? AND what = ?',
  );
  const selectNeeding = database.prepare<[string, string], Ref>(
    'SELECT kind, name FROM need WHERE namespace = ? AND what = ? ORDER BY kind, name',
  );
  const selectTies = database.prepare<[string, string], HeldTie>(
    'SELECT what, kind, name FROM claim WHERE namespace = ? UNION ALL SELECT what, kind, name FROM need WHERE namespace = ?',
  );
  const selectNamespaces = database
    .prepare<[string], string>('SELECT DISTINCT namespace FROM need WHERE what = ? ORDER BY namespace')
    .pluck();
  const selectCount = database
    .prepare<[string], number>(`SELECT count(*) FROM resource WHERE kind = ? AND NOT ${IS_HOST}`)
    .pluck();
  const selectRefs = database.prepare<[string], Ref>(
    'SELECT kind, name FROM resource WHERE kind = ? ORDER BY name',
  );
  const lists = new Map<string, ReturnType<typeof database.prepare<unknown[], Row>>>();

  return {
    get: <K extends Kind>(kind: K, name: string) => {
      const row = select.get(kind, name);
      return row === undefined ? null : fromRow<K>(row);
    },
    list: <K extends Kind>(kind: K, filter: ListFilter) => {
      const { sql, values } = listQuery(kind, filter);
      const statement = lists.get(sql) ?? database.prepare<unknown[], Row>(sql);
      lists.set(sql, statement);
      return statement.all(...values).map((row) => fromRow<K>(row));
    },
    count: (kind) => selectCount.get(kind) ?? 0,
    refs: (kind) => selectRefs.all(kind),
    referrers: ({ kind, name }) => selectReferrers.all(kind, name),
    claimant: ({ namespace, what }) => selectClaimant.get(namespace, what) ?? null,
    needing: ({ namespace, what }) => selectNeeding.all(namespace, what),
    tiesAt: (namespace) => selectTies.all(namespace, namespace),
    namespacesNeeding: (what) => selectNamespaces.all(what),
  };
}

function createWrites(database: Database): Omit<ResourceRepository, Reads> {
  const upsert = database.prepare(
    `INSERT INTO resource (kind, name, intent, assigned, observed, failure, revision, created_at, updated_at)
     VALUES (@kind, @name, @intent, @assigned, @observed, @failure, @revision, @createdAt, @updatedAt)
     ON CONFLICT (kind, name) DO UPDATE SET intent = excluded.intent, assigned = excluded.assigned,
       observed = excluded.observed, failure = excluded.failure, revision = excluded.revision,
       updated_at = excluded.updated_at`,
  );
  const updateObserved = database.prepare(
    'UPDATE resource SET observed = ? WHERE kind = ? AND name = ? AND revision = ?',
  );
  const updateAssigned = database.prepare('UPDATE resource SET assigned = ? WHERE kind = ? AND name = ?');
  const updateFailure = database.prepare('UPDATE resource SET failure = ? WHERE kind = ? AND name = ?');
  const remove = database.prepare('DELETE FROM resource WHERE kind = ? AND name = ?');
  const clearing = [
    'DELETE FROM reference WHERE from_kind = ? AND from_name = ?',
    'DELETE FROM claim WHERE kind = ? AND name = ?',
    'DELETE FROM need WHERE kind = ? AND name = ?',
  ].map((sql) => database.prepare(sql));
  const addReference = database.prepare('INSERT OR IGNORE INTO reference VALUES (?, ?, ?, ?)');
  const addClaim = database.prepare('INSERT INTO claim VALUES (?, ?, ?, ?)');
  const addNeed = database.prepare('INSERT OR IGNORE INTO need VALUES (?, ?, ?, ?)');

  return {
    put: (resource) => {
      upsert.run(toRow(resource));
    },
    clearTies: ({ kind, name }) => {
      for (const statement of clearing) statement.run(kind, name);
    },
    addTies: ({ kind, name }, { references, claims, needs }) => {
      for (const to of references) addReference.run(kind, name, to.kind, to.name);
      for (const { namespace, what } of claims) addClaim.run(namespace, what, kind, name);
      for (const { namespace, what } of needs) addNeed.run(namespace, what, kind, name);
    },
    putObserved: ({ kind, name, revision }, observed) => {
      updateObserved.run(JSON.stringify(observed), kind, name, revision);
    },
    putFailure: ({ kind, name }, failure) => {
      updateFailure.run(failure, kind, name);
    },
    putAssigned: ({ kind, name }, assigned) => {
      updateAssigned.run(JSON.stringify(assigned), kind, name);
    },
    delete: ({ kind, name }) => {
      remove.run(kind, name);
    },
  };
}

/** Names come in the order of their bytes, so that a cursor means the same on every machine. */
function listQuery(
  kind: Kind,
  { after, limit, labels, references }: ListFilter,
): { sql: string; values: unknown[] } {
  const conditions = [
    `kind = ? AND name > ? AND NOT ${IS_HOST}`,
    ...labels.map(() => "(intent -> '$.labels') ->> ? = ?"),
    ...references.map(
      () =>
        'name IN (SELECT from_name FROM reference WHERE from_kind = resource.kind AND to_kind = ? AND to_name = ?)',
    ),
  ];
  return {
    sql: `SELECT * FROM resource WHERE ${conditions.join(' AND ')} ORDER BY name LIMIT ?`,
    values: [
      kind,
      after ?? '',
      ...labels.flatMap(({ key, value }) => [key, value]),
      ...references.flatMap(({ kind: toKind, name }) => [toKind, name]),
      limit,
    ],
  };
}

function fromRow<K extends Kind>(row: Row): Stored<K> {
  return {
    kind: wordColumn(row.kind),
    name: row.name,
    intent: parseColumn(row.intent),
    assigned: parseColumn(row.assigned),
    observed: row.observed === null ? null : parseColumn(row.observed),
    failure: row.failure,
    revision: row.revision,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

function toRow({ kind, name, intent, assigned, observed, failure, revision, createdAt, updatedAt }: Stored) {
  return {
    kind,
    name,
    intent: JSON.stringify(intent),
    assigned: JSON.stringify(assigned),
    observed: observed === null ? null : JSON.stringify(observed),
    failure,
    revision,
    createdAt,
    updatedAt,
  };
}
