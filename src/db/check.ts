import { accessSync, closeSync, constants, existsSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import DatabaseConstructor, { type Database } from 'better-sqlite3';
import { StoreError } from './errors.ts';

/** "nsd" and a number of its own (pragma application_id): says that a file is a store of netnsd. */
export const APPLICATION_ID = 0x6e_73_64_01;

/** "Database File Format", section 1.3: the header's length, and where these numbers stand in it. */
const HEADER_BYTES = 100;
const HEADER_START = 'SQLite format 3\0';
const USER_VERSION_AT = 60;
const APPLICATION_ID_AT = 68;

/**
 * Refuses a store that is not whole, and leaves no trace in it or beside it: no byte is changed, and what a crash
 * left in the write-ahead log stays there.
 *
 * @param known the number of the newest migration
 * @throws StoreError
 */
export function checkBeforeOpening(path: string, known: number): void {
  // SQLite would take an empty file for a new store; a store that has lost its content is not one.
  if (statSync(path).size === 0)
    throw new StoreError(
      'corrupt',
      `the store ${path} is empty: it has lost its content; restore a copy, or remove the file to begin anew`,
    );
  checkWritable(path);
  if (existsSync(`${path}-wal`)) checkWithLog(path, known);
  else checkHeader(path, known);
}

/** Refuses a new store where an older one has left its write-ahead log: SQLite would remove that. */
export function checkNothingLeft(path: string): void {
  if (existsSync(`${path}-wal`))
    throw new StoreError(
      'corrupt',
      `the store ${path} is missing, and its ${path}-wal is there; put the store back, or move that file away to begin anew`,
    );
}

/**
 * Looks at all that SQLite can check: the structure of every page, the constraints of every row, and references.
 *
 * @throws StoreError
 */
export function checkContent(database: Database, known: number): void {
  const numberOf = (pragma: string): number => Number(database.pragma(pragma, { simple: true }));
  checkOurs(database.name, numberOf('application_id'));
  checkVersion(database.name, numberOf('user_version'), known);
  const found = String(database.pragma('integrity_check(1)', { simple: true }));
  if (found !== 'ok') throw damaged(database.name, found.replaceAll(/\s+/g, ' '));
  const [orphan] = database.prepare<[], { table: string }>('PRAGMA foreign_key_check').all();
  if (orphan !== undefined)
    throw damaged(database.name, `a row of ${orphan.table} names a resource that is not there`);
}

/** Root may write whatever its mode is, but not on a disk that is mounted read-only. */
function checkWritable(path: string): void {
  for (const place of [path, dirname(path)]) accessSync(place, constants.W_OK);
}

/** Without a write-ahead log, the file itself says whose it is. To open somebody else's might change it. */
function checkHeader(path: string, known: number): void {
  const header = Buffer.alloc(HEADER_BYTES);
  const file = openSync(path, 'r');
  const length = readSync(file, header, 0, HEADER_BYTES, 0);
  closeSync(file);
  if (length < HEADER_BYTES || header.toString('latin1', 0, HEADER_START.length) !== HEADER_START)
    throw damaged(path, 'it does not begin as one');
  checkOurs(path, header.readUInt32BE(APPLICATION_ID_AT));
  checkVersion(path, header.readUInt32BE(USER_VERSION_AT), known);
}

/**
 * With a write-ahead log, which a crash leaves, only SQLite can say what the store has. A connection that only
 * reads does not move the log into the file when it closes, as others do. It makes an index of the log in a file,
 * which the exclusive connection afterwards has no use for.
 */
function checkWithLog(path: string, known: number): void {
  const index = `${path}-shm`;
  const hadIndex = existsSync(index);
  try {
    const database = new DatabaseConstructor(path, { readonly: true, timeout: 0 });
    try {
      checkContent(database, known);
    } finally {
      database.close();
    }
  } finally {
    if (!hadIndex) rmSync(index, { force: true });
  }
}

function checkOurs(path: string, applicationId: number): void {
  if (applicationId !== APPLICATION_ID)
    throw new StoreError(
      'corrupt',
      `${path} is a database, but no store of netnsd; name another --state-dir`,
    );
}

function checkVersion(path: string, version: number, known: number): void {
  if (version > known)
    throw new StoreError(
      'newer',
      `the store ${path} has schema ${version}, and this netnsd knows ${known} at most: it was written by a newer netnsd; start that one`,
    );
}

function damaged(path: string, how: string): StoreError {
  return new StoreError(
    'corrupt',
    `the store ${path} is damaged: ${how}; restore a copy, or name another --state-dir to begin anew`,
  );
}
