import Database from 'better-sqlite3';
import { expect, it, onTestFinished } from 'vitest';
import { migrate, readMigrations } from '../../src/db/migrate.ts';

const DIRECTORY = new URL('../../src/db/migrations/', import.meta.url);

it('notes what the published ports that are recorded lead to', () => {
  const all = readMigrations(DIRECTORY);
  const at = all.findIndex(({ name }) => name === 'targets');
  const database = new Database(':memory:');
  onTestFinished(() => void database.close());
  migrate(database, all.slice(0, at));
  const insert = database.prepare(
    `INSERT INTO resource (kind, name, intent, assigned, revision, created_at, updated_at)
     VALUES ('nat', ?, ?, ?, 1, '2026-01-01', '2026-01-01')`,
  );
  insert.run('a', '{"type":"dnat","namespace":"host","to":{"address":"10.1.1.1","port":"80"}}', '{}');
  insert.run(
    'b',
    '{"type":"dnat","namespace":"blue","to":{"link":"v0","port":"80"}}',
    '{"address":"fd00::1"}',
  );
  insert.run('c', '{"type":"dnat","namespace":"blue","to":{"link":"v1","port":"80"}}', '{}');
  insert.run('d', '{"type":"masquerade","namespace":"host","source":"10.0.0.0/8"}', '{}');
  migrate(database, all);
  expect(database.prepare('SELECT namespace, what, kind, name FROM need ORDER BY name').all()).toEqual([
    { namespace: 'host', what: 'target 10.1.1.1', kind: 'nat', name: 'a' },
    { namespace: 'blue', what: 'target fd00::1', kind: 'nat', name: 'b' },
  ]);
});
