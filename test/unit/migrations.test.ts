import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { migrate, readMigrations } from '../../src/db/migrate.ts';
import { createResourceRepository } from '../../src/db/resources.ts';

test('bridges of before there were subnets have none, and the fixed addresses on them are known', () => {
  const directory = mkdtempSync(join(tmpdir(), 'netnsd-test-'));
  const database = new Database(join(directory, 'netnsd.db'));
  onTestFinished(() => {
    database.close();
    rmSync(directory, { recursive: true });
  });
  const migrations = readMigrations(new URL('../../src/db/migrations/', import.meta.url));
  migrate(database, migrations.slice(0, 3));
  const insert = database.prepare(
    "INSERT INTO resource VALUES (?, ?, ?, '{}', NULL, NULL, 1, '2026-01-02T03:04:05.678Z', '2026-01-02T03:04:05.678Z')",
  );
  insert.run('bridge', 'br00', '{"name":"br00","addresses":["10.1.1.3/24"]}');
  insert.run(
    'link',
    'v0',
    '{"name":"v0","bridge":"br00","addresses":[],"peer":{"bridge":null,"addresses":["10.1.1.7/24","fd00::7/64"]}}',
  );
  insert.run(
    'link',
    'v1',
    '{"name":"v1","bridge":null,"addresses":["10.1.1.8/24"],"peer":{"bridge":"br00","addresses":["10.9.9.9/24"]}}',
  );
  migrate(database, migrations);
  const resources = createResourceRepository(database);
  expect(resources.get('bridge', 'br00')?.intent).toEqual({
    name: 'br00',
    addresses: ['10.1.1.3/24'],
    firewall: null,
    subnets: [],
    reserved: [],
  });
  expect(resources.tiesAt('bridge/br00').toSorted((a, b) => (a.what < b.what ? -1 : 1))).toEqual([
    { what: 'lease 10.1.1.3', kind: 'bridge', name: 'br00' },
    { what: 'lease 10.1.1.7', kind: 'link', name: 'v0' },
    { what: 'lease 10.1.1.8', kind: 'link', name: 'v1' },
    { what: 'lease 10.9.9.9', kind: 'link', name: 'v1' },
    { what: 'lease fd00::7', kind: 'link', name: 'v0' },
  ]);
});
