import Database from 'better-sqlite3';
import { expect, it, onTestFinished } from 'vitest';
import { migrate, readMigrations } from '../../src/db/migrate.ts';

it('has link-local addresses of before stand in claims with their interfaces', () => {
  const migrations = readMigrations(new URL('../../src/db/migrations/', import.meta.url));
  const database = new Database(':memory:');
  onTestFinished(() => void database.close());
  migrate(database, migrations.slice(0, 8));
  const record = database.prepare(
    `INSERT INTO resource (kind, name, intent, assigned, revision, created_at, updated_at)
     VALUES (?, ?, ?, '{}', 1, '2026-01-01', '2026-01-01')`,
  );
  const claim = database.prepare('INSERT INTO claim (namespace, what, kind, name) VALUES (?, ?, ?, ?)');
  const bridge = {
    namespace: 'host',
    interface: 'br00',
    addresses: ['fe80::1/64', 'fe8::1/64', '10.1.1.1/24'],
  };
  record.run('bridge', 'b1', JSON.stringify(bridge));
  for (const address of ['fe80::1', 'fe8::1', '10.1.1.1'])
    claim.run('host', `address ${address}`, 'bridge', 'b1');
  const peer = { namespace: 'blue', interface: 'eth0', addresses: ['auto', 'febf::3/64'] };
  const link = { namespace: 'host', interface: 'veth00', addresses: ['fe80::2/64'], peer };
  record.run('link', 'v1', JSON.stringify(link));
  claim.run('host', 'address fe80::2', 'link', 'v1');
  claim.run('blue', 'address febf::3', 'link', 'v1');
  migrate(database, migrations);
  const claims = database
    .prepare<[], string>("SELECT concat_ws(' ', namespace, what, kind, name) FROM claim ORDER BY 1")
    .pluck()
    .all();
  expect(claims).toEqual([
    'blue address febf::3%eth0 link v1',
    'host address 10.1.1.1 bridge b1',
    'host address fe80::1%br00 bridge b1',
    'host address fe80::2%veth00 link v1',
    'host address fe8::1 bridge b1',
  ]);
});
