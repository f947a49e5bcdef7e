import Database from 'better-sqlite3';
import { expect, it, onTestFinished } from 'vitest';
import { migrate, readMigrations } from '../../src/db/migrate.ts';

const DIRECTORY = new URL('../../src/db/migrations/', import.meta.url);

/** What an earlier version has recorded, brought to the newest schema. */
function migrated(
  before: string,
  resources: readonly [kind: string, name: string, intent: object, assigned?: object][],
): { needs: () => unknown[] } {
  const all = readMigrations(DIRECTORY);
  const database = new Database(':memory:');
  onTestFinished(() => void database.close());
  migrate(
    database,
    all.slice(
      0,
      all.findIndex(({ name }) => name === before),
    ),
  );
  const insert = database.prepare(
    `INSERT INTO resource (kind, name, intent, assigned, revision, created_at, updated_at)
     VALUES (?, ?, ?, ?, 1, '2026-01-01', '2026-01-01')`,
  );
  for (const [kind, name, intent, assigned = {}] of resources)
    insert.run(kind, name, JSON.stringify(intent), JSON.stringify(assigned));
  migrate(database, all);
  return {
    needs: () =>
      database
        .prepare<[], string>("SELECT concat_ws(' ', namespace, what, kind, name) FROM need ORDER BY 1")
        .pluck()
        .all(),
  };
}

it('notes the subnets of the bridges that are recorded', () => {
  const { needs } = migrated('recorded-subnets', [
    ['bridge', 'b1', { namespace: 'gold', addresses: [] }, { subnets: [{ subnet: '10.1.1.0/24' }] }],
    ['bridge', 'b2', { namespace: 'host', addresses: [] }, { mac: '02:00:00:00:00:01' }],
  ]);
  expect(needs()).toEqual(['subnets/ gold 10.1.1.0/24 bridge b1']);
});

it('notes what bridges and their ports have themselves, and which bridges are joined', () => {
  const { needs } = migrated('own-addresses', [
    ['bridge', 'b1', { namespace: 'host', addresses: ['10.1.1.1/24', 'fd00::1/64'] }],
    [
      'link',
      'v1',
      {
        bridge: 'b1',
        addresses: ['10.1.1.5/24', 'auto'],
        peer: { bridge: 'b2', addresses: ['10.1.1.6/24'] },
      },
    ],
    ['link', 't1', { bridge: 'b1', addresses: ['10.1.1.7/24'] }],
    ['link', 'v2', { bridge: null, addresses: ['10.1.1.8/24'], peer: { bridge: null, addresses: [] } }],
  ]);
  expect(needs()).toEqual([
    'bridge/b1 joins b2 link v1',
    'bridge/b1 lease 10.1.1.1 bridge b1',
    'bridge/b1 lease 10.1.1.5 link v1',
    'bridge/b1 lease 10.1.1.7 link t1',
    'bridge/b1 lease fd00::1 bridge b1',
    'bridge/b2 joins b1 link v1',
    'bridge/b2 lease 10.1.1.6 link v1',
  ]);
});
