import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import DatabaseConstructor, { type Database } from 'better-sqlite3';
import { StoreError, asStoreError } from './errors.ts';
import { migrate, readMigrations } from './migrate.ts';

/** "nsd" and a number of its own (pragma application_id): says that a file is a store of netnsd. */
const APPLICATION_ID = 0x6e_73_64_01;

/** What is asserted of the connection after it was set; SQLite ignores a pragma that it can't follow. */
const pragmas = {
  foreign_keys: 1,
  journal_mode: 'wal',
  locking_mode: 'exclusive',
  synchronous: 2,
  trusted_schema: 0,
} as const;

/**
 * Opens the store, makes it if it is not there, and brings it to the newest schema.
 *
 * @param path the file; its directory is made if need be
 * @throws StoreError saying what is wrong and what to do
 */
export function openStore(path: string): Database {
  const isNew = !existsSync(path);
  // SQLite would take an empty file for a new store; a store that has lost its content is not one.
  if (!isNew && statSync(path).size === 0)
    throw new StoreError(
      'corrupt',
      `the store ${path} is empty: it has lost its content; restore a copy, or remove the file to begin anew`,
    );
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // With an exclusive lock a second process gets no further than its first statement.
    const database = new DatabaseConstructor(path, { timeout: 0 });
    try {
      return prepare(database, isNew);
    } catch (error) {
      database.close();
      throw error;
    }
  } catch (error) {
    throw asStoreError(error, path);
  }
}

function prepare(database: Database, isNew: boolean): Database {
  database.pragma('locking_mode = EXCLUSIVE');
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
  if (isNew) database.pragma(`application_id = ${APPLICATION_ID}`);
  else if (database.pragma('application_id', { simple: true }) !== APPLICATION_ID)
    throw new StoreError(
      'corrupt',
      `${database.name} is a database, but no store of netnsd; name another --state-dir`,
    );
  migrate(database, readMigrations(new URL('migrations/', import.meta.url)));
  return database;
}
