import { readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import type { Database } from 'better-sqlite3';
import { StoreError } from './errors.ts';

export interface Migration {
  number: number;
  name: string;
  sql: string;
}

/**
 * Reads the migrations of a directory: files `NNN-name.sql`, numbered from 1 without a gap.
 *
 * @throws StoreError if a number is missing or there twice
 */
export function readMigrations(directory: URL): Migration[] {
  const migrations = readdirSync(directory)
    .flatMap((file) => {
      const [, number, name] = /^(\d{3})-([a-z0-9-]+)\.sql$/.exec(file) ?? [];
      if (number === undefined || name === undefined) return [];
      return [{ number: Number(number), name, sql: readFileSync(new URL(file, directory), 'utf8') }];
    })
    .toSorted((a, b) => a.number - b.number);
  for (const [at, { number, name }] of migrations.entries())
    if (number !== at + 1)
      throw new StoreError(
        'internal',
        `migration ${number}-${name} stands where number ${at + 1} should: one is missing or there twice`,
      );
  return migrations;
}

/**
 * Brings the store to the newest schema, each migration in a transaction of its own: one that fails or is cut short
 * leaves the schema before it. A store that is not new is copied first, to PATH.before-NNN.
 *
 * @throws StoreError naming the migration that fails
 */
export function migrate(database: Database, migrations: readonly Migration[]): void {
  const version = Number(database.pragma('user_version', { simple: true }));
  const pending = migrations.slice(version);
  if (version > 0 && pending.length > 0 && !database.memory) copyBefore(database, version + 1);
  for (const { number, sql } of pending)
    database.transaction(() => {
      database.exec(sql);
      database.pragma(`user_version = ${number}`);
    })();
}

/** Replaces what an earlier attempt left: the store may have been changed since. */
function copyBefore(database: Database, number: number): void {
  const copy = `${database.name}.before-${String(number).padStart(3, '0')}`;
  const unfinished = `${copy}.new`;
  rmSync(unfinished, { force: true });
  try {
    database.prepare('VACUUM INTO ?').run(unfinished);
    renameSync(unfinished, copy);
  } finally {
    rmSync(unfinished, { force: true });
  }
}
