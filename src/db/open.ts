import { closeSync, existsSync, fsyncSync, linkSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import DatabaseConstructor, { type Database } from 'better-sqlite3';
import { APPLICATION_ID, checkBeforeOpening, checkContent, checkNothingLeft } from './check.ts';
import { StoreError, asFileError, asStoreError } from './errors.ts';
import { migrate, readMigrations, type Migration } from './migrate.ts';

/** What is asserted of the connection after it was set; SQLite ignores a pragma that it can't follow. */
const pragmas = {
  foreign_keys: 1,
  journal_mode: 'wal',
  locking_mode: 'exclusive',
  synchronous: 2,
  trusted_schema: 0,
} as const;

/**
 * Opens the store, makes it if it is not there, and brings it to the newest schema. One that can't be used is left
 * as it is, to the byte.
 *
 * @param path the file; its directory is made if need be
 * @throws StoreError saying what is wrong and what to do
 */
export function openStore(path: string): Database {
  try {
    const migrations = readMigrations(new URL('migrations/', import.meta.url));
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    if (!existsSync(path)) makeStore(path, migrations);
    checkBeforeOpening(path, migrations.length);
    return open(path, (database) => {
      checkContent(database, migrations.length);
      prepare(database);
      migrate(database, migrations);
    });
  } catch (error) {
    throw asFileError(asStoreError(error, path), path);
  }
}

/**
 * Whether there is a store to open, rather than one to be made.
 *
 * @throws StoreError if there is none, and something is left of one
 */
export function isStoreThere(path: string): boolean {
  if (existsSync(path)) return true;
  checkNothingLeft(path);
  return false;
}

/** A new store is there as a whole or not at all: what is half made would be taken for one that is damaged. */
function makeStore(path: string, migrations: readonly Migration[]): void {
  checkNothingLeft(path);
  const unfinished = `${path}.new-${process.pid}`;
  removeDatabase(unfinished);
  try {
    open(unfinished, (database) => {
      // Without a write-ahead log, which could hold what then finds no room in the file.
      database.pragma('journal_mode = DELETE');
      database.pragma(`application_id = ${APPLICATION_ID}`);
      migrate(database, migrations);
    }).close();
    // Unlike a rename, this does not replace what another netnsd may have made meanwhile.
    linkSync(unfinished, path);
  } finally {
    removeDatabase(unfinished);
  }
  const directory = openSync(dirname(path), 'r');
  fsyncSync(directory);
  closeSync(directory);
}

function removeDatabase(path: string): void {
  for (const suffix of ['', '-wal', '-journal']) rmSync(`${path}${suffix}`, { force: true });
}

/** With an exclusive lock a second process gets no further than its first statement. */
function open(path: string, ready: (database: Database) => void): Database {
  const database = new DatabaseConstructor(path, { timeout: 0 });
  try {
    database.pragma('locking_mode = EXCLUSIVE');
    ready(database);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function prepare(database: Database): void {
  database.pragma('journal_mode = WAL');
  // better-sqlite3 is compiled with NORMAL for WAL, and sets it at every open.
  database.pragma('synchronous = FULL');
  database.pragma('foreign_keys = ON');
  database.pragma('trusted_schema = OFF');
  for (const [name, expected] of Object.entries(pragmas)) {
    const found = database.pragma(name, { simple: true });
    if (found !== expected)
      throw new StoreError(
        'internal',
        `SQLite has ${name} = ${String(found)} where netnsd needs ${expected}`,
      );
  }
}
