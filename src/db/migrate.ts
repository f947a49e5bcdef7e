import { readdirSync, readFileSync } from 'node:fs';
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
 * Brings the store to the newest schema, each migration in a transaction of its own. A store that is not new is
 * copied first, to PATH.before-NNN.
 *
 * @throws StoreError `newer` if the store was written by a newer netnsd
 */
export function migrate(database: Database, migrations: readonly Migration[]): void {
  const version = Number(database.pragma('user_version', { simple: true }));
  if (version > migrations.length)
    throw new StoreError(
      'newer',
      `the store ${database.name} has schema ${version}, and this netnsd knows ${migrations.length} at most: it was written by a newer netnsd; start that one`,
    );
  const pending = migrations.slice(version);
  if (version > 0 && pending.length > 0 && !database.memory)
    database.prepare('VACUUM INTO ?').run(`${database.name}.before-${String(version + 1).padStart(3, '0')}`);
  for (const { number, sql } of pending)
    database.transaction(() => {
      database.exec(sql);
      database.pragma(`user_version = ${number}`);
    })();
}
