import { SqliteError } from 'better-sqlite3';

/** `busy`: another process has the store. `full`: no room on the disk. `newer`: a newer netnsd wrote it. */
export type StoreFault = 'busy' | 'full' | 'read-only' | 'corrupt' | 'newer' | 'internal';

/** The store can't do what it must; nothing was written. */
export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly fault: StoreFault;

  constructor(fault: StoreFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}

/** Turns what SQLite throws into a `StoreError`, and leaves all else as it is. */
export function asStoreError(error: unknown, path: string): unknown {
  if (!(error instanceof SqliteError)) return error;
  const fault = faultOf(error.code);
  return new StoreError(fault, `the store ${path}: ${advice[fault] ?? error.message} (${error.code})`, {
    cause: error,
  });
}

function faultOf(code: string): StoreFault {
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) return 'busy';
  if (code === 'SQLITE_FULL') return 'full';
  if (code.startsWith('SQLITE_READONLY') || code.startsWith('SQLITE_CANTOPEN') || code === 'SQLITE_PERM')
    return 'read-only';
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB') return 'corrupt';
  // A failing write on a full disk may be reported as one of input and output.
  if (code === 'SQLITE_IOERR_WRITE' || code === 'SQLITE_IOERR_SHMSIZE') return 'full';
  return 'internal';
}

const advice: Partial<Record<StoreFault, string>> = {
  busy: 'another process has it open; one netnsd runs at a time',
  full: 'there is no room left on its disk',
  'read-only': 'it can’t be written',
  corrupt: 'it is damaged, or no store of netnsd; restore a copy, or move it away to begin anew',
};
