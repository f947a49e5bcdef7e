import Database from 'better-sqlite3';
import { expect, it, onTestFinished } from 'vitest';
import { migrate, readMigrations } from '../../src/db/migrate.ts';

const DIRECTORY = new URL('../../src/db/migrations/', import.meta.url);

it('gives bridges that are recorded, and those of open changes, no firewall, and leaves all else as it is', () => {
  const all = readMigrations(DIRECTORY);
  const at = all.findIndex(({ name }) => name === 'bridge-firewall');
  const database = new Database(':memory:');
  onTestFinished(() => void database.close());
  migrate(database, all.slice(0, at));
  const insert = database.prepare(
    `INSERT INTO resource (kind, name, intent, assigned, revision, created_at, updated_at)
     VALUES (?, ?, ?, '{}', 1, '2026-01-01', '2026-01-01')`,
  );
  insert.run('bridge', 'br00', '{"name":"br00","stp":false}');
  insert.run('link', 'v0', '{"name":"v0","bridge":null}');
  const journal = database.prepare(
    `INSERT INTO operation (request_id, actor, action, state, before, after, commands, processes, started_at)
     VALUES ('', '', 'create', ?, '[]', ?, '[]', 0, '2026-01-01')`,
  );
  const after =
    '[{"kind":"bridge","name":"b","intent":{"name":"b","labels":{}}},{"kind":"nat","name":"n","intent":{}}]';
  journal.run('running', after);
  journal.run('succeeded', after);
  migrate(database, all);
  const column = (sql: string): unknown[] => database.prepare(sql).pluck().all();
  expect(column("SELECT intent FROM resource WHERE kind <> 'namespace' ORDER BY kind")).toEqual([
    '{"name":"br00","stp":false,"firewall":null}',
    '{"name":"v0","bridge":null}',
  ]);
  expect(column('SELECT after FROM operation ORDER BY id')).toEqual([
    '[{"kind":"bridge","name":"b","intent":{"name":"b","labels":{},"firewall":null}},{"kind":"nat","name":"n","intent":{}}]',
    after,
  ]);
});
