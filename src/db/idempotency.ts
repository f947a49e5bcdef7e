import type { Database } from 'better-sqlite3';
import { parseColumn } from './column.ts';

/** An answer as it goes out, and may go out again. */
export interface KeptAnswer {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string>;
  /** JSON, as it was sent; null if there was none. */
  body: string | null;
}

/** The first answer to a request with a key. */
export interface IdempotencyRecord {
  key: string;
  /** Of the request; another request with the same key has another. */
  fingerprint: string;
  answer: KeptAnswer;
  keptAtMs: number;
}

export interface IdempotencyRepository {
  /** Null if there is none, or none that was kept after that time. */
  get: (key: string, afterMs: number) => IdempotencyRecord | null;
  /** Keeps an answer, and lets go of those that were kept no later than that time. */
  put: (record: IdempotencyRecord, expiredMs: number) => void;
}

/** So many of the newest answers are kept. */
const KEPT = 100_000;

interface Row {
  key: string;
  fingerprint: string;
  status: number;
  headers: string;
  body: string | null;
  kept_at_ms: number;
}

/** @param kept how many answers are kept at most; the oldest go first */
export function createIdempotencyRepository(database: Database, kept = KEPT): IdempotencyRepository {
  const select = database.prepare<[string, number], Row>(
    'SELECT * FROM idempotency WHERE key = ? AND kept_at_ms > ?',
  );
  const expire = database.prepare('DELETE FROM idempotency WHERE kept_at_ms <= ?');
  // A clock that was set back may leave an expired answer where the new one is to stand.
  const insert = database.prepare(
    `INSERT OR REPLACE INTO idempotency (key, fingerprint, status, headers, body, kept_at_ms)
     VALUES (@key, @fingerprint, @status, @headers, @body, @keptAtMs)`,
  );
  const trim = database.prepare('DELETE FROM idempotency WHERE id <= ?');
  return {
    get: (key, afterMs) => {
      const row = select.get(key, afterMs);
      return row === undefined ? null : fromRow(row);
    },
    put: ({ key, fingerprint, answer: { status, headers, body }, keptAtMs }, expiredMs) => {
      expire.run(expiredMs);
      const { lastInsertRowid } = insert.run({
        key,
        fingerprint,
        status,
        headers: JSON.stringify(headers),
        body,
        keptAtMs,
      });
      trim.run(Number(lastInsertRowid) - kept);
    },
  };
}

function fromRow({ key, fingerprint, status, headers, body, kept_at_ms: keptAtMs }: Row): IdempotencyRecord {
  return { key, fingerprint, answer: { status, headers: parseColumn(headers), body }, keptAtMs };
}
