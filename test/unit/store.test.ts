import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import Database from 'better-sqlite3';
import { describe, expect, it, onTestFinished } from 'vitest';
import { StoreError } from '../../src/db/errors.ts';
import { migrate, readMigrations } from '../../src/db/migrate.ts';
import { openStore } from '../../src/db/open.ts';
import { createIdempotencyRepository, type IdempotencyRecord } from '../../src/db/idempotency.ts';
import { createStore } from '../../src/db/store.ts';
import type { Stored } from '../../src/db/resources.ts';

function directory(): string {
  const path = mkdtempSync(join(tmpdir(), 'netnsd-test-'));
  onTestFinished(() => {
    rmSync(path, { recursive: true, force: true });
  });
  return path;
}

function bridge(name: string): Stored<'bridge'> {
  const intent = {
    name,
    interface: name,
    namespace: 'host',
    addresses: [],
    routes: [],
    stp: false,
    subnets: [],
    reserved: [],
    ageingSeconds: 300,
    mtu: 1500,
    mac: null,
    up: true,
    firewall: null,
    labels: {},
  };
  const times = { createdAt: '2026-01-01T00:00:00.000Z', updatedAt: '2026-01-01T00:00:00.000Z' };
  return {
    kind: 'bridge',
    name,
    intent,
    assigned: { mac: '02:00:00:00:00:01' },
    observed: null,
    failure: null,
    revision: 1,
    ...times,
  };
}

describe('migrations', () => {
  const of = (files: Record<string, string>): URL => {
    const path = directory();
    for (const [name, sql] of Object.entries(files)) writeFileSync(join(path, name), sql);
    return pathToFileURL(`${path}/`);
  };

  it('are numbered from 1 without a gap', () => {
    expect(
      readMigrations(of({ '001-a.sql': '', '002-b.sql': '', 'notes.txt': '' })).map(({ name }) => name),
    ).toEqual(['a', 'b']);
    expect(() => readMigrations(of({ '001-a.sql': '', '003-c.sql': '' }))).toThrow(/number 2 should/);
    expect(() => readMigrations(of({ '001-a.sql': '', '001-b.sql': '' }))).toThrow(/there twice/);
    expect(() => readMigrations(of({ '002-b.sql': '' }))).toThrow(/number 1 should/);
  });

  it('are each in a transaction of its own, and keep a copy of a store that is not new', () => {
    const path = join(directory(), 'netnsd.db');
    const database = new Database(path);
    onTestFinished(() => void database.close());
    migrate(
      database,
      readMigrations(of({ '001-a.sql': 'CREATE TABLE a (x) STRICT;'.replace('x', 'x TEXT') })),
    );
    const broken = readMigrations(
      of({ '001-a.sql': '', '002-b.sql': 'CREATE TABLE b (x TEXT) STRICT; SELECT nonsense;' }),
    );
    expect(() => migrate(database, broken)).toThrow(/nonsense/);
    expect(database.pragma('user_version', { simple: true })).toBe(1);
    expect(database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all()).toEqual([
      'a',
    ]);
    expect(existsSync(`${path}.before-002`)).toBe(true);
    // At the next attempt the copy is of what is there then, whatever an attempt before has left.
    writeFileSync(`${path}.before-002`, 'of long ago');
    writeFileSync(`${path}.before-002.new`, 'half a copy');
    expect(() => migrate(database, broken)).toThrow(/nonsense/);
    expect(readFileSync(`${path}.before-002`, 'latin1')).toMatch(/^SQLite format 3/);
    expect(existsSync(`${path}.before-002.new`)).toBe(false);
  });

  it('of a newer netnsd stop this one, with both versions named', () => {
    const path = join(directory(), 'netnsd.db');
    const database = openStore(path);
    const version = Number(database.pragma('user_version', { simple: true }));
    database.pragma(`user_version = ${version + 1}`);
    database.close();
    expect(() => openStore(path)).toThrow(
      new RegExp(`has schema ${version + 1}, and this netnsd knows ${version}`),
    );
  });
});

describe('the store', () => {
  it('has the pragmas that it needs, and tables that are strict', () => {
    const database = openStore(join(directory(), 'netnsd.db'));
    onTestFinished(() => void database.close());
    const pragma = (name: string): unknown => database.pragma(name, { simple: true });
    expect([
      pragma('foreign_keys'),
      pragma('journal_mode'),
      pragma('locking_mode'),
      pragma('synchronous'),
    ]).toEqual([1, 'wal', 'exclusive', 2]);
    const loose = database
      .prepare(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite_%' AND NOT strict",
      )
      .pluck();
    expect(loose.all()).toEqual([]);
  });

  it('refuses a file that is empty, damaged or somebody else’s, and leaves it as it is', () => {
    const path = join(directory(), 'netnsd.db');
    writeFileSync(path, '');
    expect(() => openStore(path)).toThrow(/is empty/);
    writeFileSync(path, 'x'.repeat(8192));
    expect(() => openStore(path)).toThrow(/damaged/);
    rmSync(path);
    const other = new Database(path);
    other.exec('CREATE TABLE theirs (x)');
    other.close();
    expect(() => openStore(path)).toThrow(/no store of netnsd/);
  });

  it('says of a page that turns out to be damaged what it is', () => {
    const path = join(directory(), 'netnsd.db');
    const fill = createStore(path);
    // More than SQLite keeps in memory, so that it has to read from the file again.
    fill.commit(() => {
      for (let n = 0; n < 100; n++) {
        const { intent, ...rest } = bridge(`br${n}`);
        fill.resources.put({ ...rest, intent: { ...intent, labels: { long: 'x'.repeat(250_000) } } });
      }
    });
    fill.close();
    const store = createStore(path);
    onTestFinished(() => store.close());
    const file = openSync(path, 'r+');
    writeSync(file, Buffer.alloc(statSync(path).size - 4096, 0xa5), 0, null, 4096);
    closeSync(file);
    const readAll = (): unknown =>
      store.resources.list('bridge', { after: null, limit: 100, labels: [], references: [] });
    expect(readAll).toThrow(StoreError);
    expect(readAll).toThrow(/damaged/);
  });

  it('is not made where it can’t be made as a whole', () => {
    const path = join(directory(), 'netnsd.db');
    writeFileSync(`${path}-wal`, 'left');
    expect(() => openStore(path)).toThrow(/is missing, and its .*-wal is there/);
    expect(readdirSync(join(path, '..'))).toEqual(['netnsd.db-wal']);
  });

  it('lets nobody else in', () => {
    const path = join(directory(), 'netnsd.db');
    const store = createStore(path);
    onTestFinished(() => store.close());
    expect(() => createStore(path)).toThrow(/another process has it open/);
  });

  it('holds references as foreign keys: what is named can’t go, and what is not there can’t be named', () => {
    const store = createStore(join(directory(), 'netnsd.db'));
    onTestFinished(() => store.close());
    const ties = { references: [{ kind: 'namespace', name: 'host' } as const], claims: [], needs: [] };
    store.commit(() => {
      store.resources.put(bridge('br0'));
      store.resources.addTies(bridge('br0'), ties);
    });
    expect(store.resources.referrers({ kind: 'namespace', name: 'host' })).toEqual([
      { kind: 'bridge', name: 'br0' },
    ]);
    expect(() => store.commit(() => store.resources.delete({ kind: 'namespace', name: 'host' }))).toThrow(
      /FOREIGN KEY/,
    );
    const nowhere = { ...ties, references: [{ kind: 'namespace', name: 'nowhere' } as const] };
    expect(() => store.commit(() => store.resources.addTies(bridge('br0'), nowhere))).toThrow(/FOREIGN KEY/);
    expect(() =>
      store.commit(() => {
        store.resources.put(bridge('br1'));
        store.resources.put(bridge('br2'));
        const claims = [{ namespace: 'host', what: 'interface x' }];
        store.resources.addTies(bridge('br1'), { ...ties, claims });
        store.resources.addTies(bridge('br2'), { ...ties, claims });
      }),
    ).toThrow(/UNIQUE/);
    expect(store.resources.get('bridge', 'br1')).toBeNull();
  });
});

describe('answers that are kept', () => {
  const record = (key: string, keptAtMs: number): IdempotencyRecord => ({
    key,
    fingerprint: `of ${key}`,
    answer: { status: 201, headers: { etag: '"1"' }, body: '{"a":1}' },
    keptAtMs,
  });

  it('are given back as they were, until they expire, and then go', () => {
    const database = openStore(join(directory(), 'netnsd.db'));
    onTestFinished(() => void database.close());
    const answers = createIdempotencyRepository(database);
    answers.put(record('a', 1000), 0);
    answers.put({ ...record('b', 1001), answer: { status: 204, headers: {}, body: null } }, 0);
    expect(answers.get('a', 999)).toEqual(record('a', 1000));
    expect(answers.get('b', 999)?.answer).toEqual({ status: 204, headers: {}, body: null });
    expect([answers.get('a', 1000), answers.get('c', 0)]).toEqual([null, null]);
    answers.put(record('c', 2000), 1000);
    expect(answers.get('a', 0)).toBeNull();
    expect(answers.get('b', 0)).not.toBeNull();
  });

  it('give way to a newer one of the same key', () => {
    const database = openStore(join(directory(), 'netnsd.db'));
    onTestFinished(() => void database.close());
    const answers = createIdempotencyRepository(database);
    answers.put(record('a', 3000), 0);
    answers.put({ ...record('a', 2000), fingerprint: 'of another' }, 0);
    expect(answers.get('a', 0)?.fingerprint).toBe('of another');
  });

  it('are no more than so many: the oldest go first', () => {
    const database = openStore(join(directory(), 'netnsd.db'));
    onTestFinished(() => void database.close());
    const answers = createIdempotencyRepository(database, 3);
    const keys = ['a', 'b', 'c', 'd', 'e'];
    for (const [at, key] of keys.entries()) answers.put(record(key, at + 1), 0);
    expect(keys.filter((key) => answers.get(key, 0) !== null)).toEqual(['c', 'd', 'e']);
  });

  it('are not there if the transaction that they are written in fails', () => {
    const store = createStore(join(directory(), 'netnsd.db'));
    onTestFinished(() => store.close());
    expect(() =>
      store.commit(() => {
        store.idempotency.put(record('a', 1000), 0);
        throw new Error('the disk is full');
      }),
    ).toThrow('the disk is full');
    expect(store.idempotency.get('a', 0)).toBeNull();
  });
});
