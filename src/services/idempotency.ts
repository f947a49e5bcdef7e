import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import type { IdempotencyRecord, KeptAnswer } from '../db/idempotency.ts';
import type { Store } from '../db/store.ts';
import { Problem } from './problem.ts';

/** A request that names itself by a key of the client's own. */
interface KeyedRequest {
  key: string;
  method: string;
  path: string;
  query: unknown;
  body: unknown;
}

/** Keeps the answer; to be called within the transaction that acknowledges what the answer tells. */
export type Keep = (answer: KeptAnswer) => void;

interface Deps {
  store: Store;
  log: Logger;
  /** Milliseconds since 1970. */
  now: () => number;
}

const LIFETIME_MS = 24 * 60 * 60 * 1000;

/** Does what a key asks for once, and answers all that come again with the first answer. */
export class Idempotency {
  readonly #deps: Deps;
  /** Fingerprints of the requests that are being answered, by their keys. */
  readonly #inFlight = new Map<string, string>();

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /**
   * Gives the first answer to the request, if there is one, or else has it made. A success is kept by `keep`, with
   * what it acknowledges; a refusal is kept here. What may go well the next time is not kept.
   *
   * @param make must not throw
   * @throws Problem if the key is that of another request, or of one that is being answered
   */
  async once(
    request: KeyedRequest,
    make: (keep: Keep) => Promise<KeptAnswer>,
  ): Promise<{ answer: KeptAnswer; isReplay: boolean }> {
    const { key } = request;
    const fingerprint = fingerprintOf(request);
    const first = this.#find(key);
    const firstFingerprint = first?.fingerprint ?? this.#inFlight.get(key) ?? fingerprint;
    if (firstFingerprint !== fingerprint) throw usedOtherwise(key);
    if (first !== null) return { answer: first.answer, isReplay: true };
    if (this.#inFlight.has(key)) throw inFlight(key);
    this.#inFlight.set(key, fingerprint);
    try {
      const answer = await make((kept) => this.#put(key, fingerprint, kept));
      // What was kept is answered, so that the first answer is to the byte what those after it are.
      const kept = this.#find(key);
      if (kept === null && isToKeep(answer)) this.#keepLate(key, fingerprint, answer);
      return { answer: kept?.answer ?? answer, isReplay: false };
    } finally {
      this.#inFlight.delete(key);
    }
  }

  #find(key: string): IdempotencyRecord | null {
    return this.#deps.store.idempotency.get(key, this.#deps.now() - LIFETIME_MS);
  }

  #put(key: string, fingerprint: string, answer: KeptAnswer): void {
    const keptAtMs = this.#deps.now();
    this.#deps.store.idempotency.put({ key, fingerprint, answer, keptAtMs }, keptAtMs - LIFETIME_MS);
  }

  /** Nothing was changed, so that there is nothing to be kept with it: the same request may be refused twice. */
  #keepLate(key: string, fingerprint: string, answer: KeptAnswer): void {
    const { store, log } = this.#deps;
    try {
      store.journal(() => this.#put(key, fingerprint, answer));
    } catch (error) {
      log.warn({ err: error }, 'an answer could not be kept for its Idempotency-Key');
    }
  }
}

/**
 * Refusals that say how things are. Not those that the client mends in the request itself (400), that are about
 * who asks (401, 403) or about a revision (412), and no failures: they changed nothing, and the next try may succeed.
 */
function isToKeep({ status }: KeptAnswer): boolean {
  return status < 500 && ![400, 401, 403, 412].includes(status);
}

/** The same for requests that say the same; the order of keys says nothing. */
function fingerprintOf({ method, path, query, body }: KeyedRequest): string {
  const text = JSON.stringify([method, path, query, body], withSortedKeys);
  return createHash('sha256').update(text).digest('hex');
}

function withSortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function usedOtherwise(key: string): Problem {
  return new Problem(
    'unprocessable',
    `the Idempotency-Key ${JSON.stringify(key)} came with another request before; send that one to get its answer, or this one with a new key`,
    { errors: [{ pointer: 'idempotency-key', message: 'came with another request before' }] },
  );
}

function inFlight(key: string): Problem {
  return new Problem(
    'request-in-flight',
    `the first request with the Idempotency-Key ${JSON.stringify(key)} is not answered yet; send it again in a second`,
  );
}
