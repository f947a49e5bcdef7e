import { SqliteError } from 'better-sqlite3';

/**
 * `busy`: another process has the store. `full`: no room on the disk. `read-only`: it can't be written. `corrupt`:
 * damaged, or no store of ours. `newer`: a newer netnsd wrote it. `lost`: its files were taken away while it was
 * open. `disk`: reading or writing fails.
 */
type StoreFault = 'busy' | 'full' | 'read-only' | 'corrupt' | 'newer' | 'lost' | 'disk' | 'internal';

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
  return error instanceof SqliteError ? storeError(faultOf(error.code), error, error.code, path) : error;
}

/** Turns what the file system throws into a `StoreError`; only for what was done with files of the store. */
export function asFileError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !('code' in error)) return error;
  const code = String(error.code);
  const fault = faultOfFiles[code];
  return fault === undefined ? error : storeError(fault, error, code, path);
}

function storeError(fault: StoreFault, error: Error, code: string, path: string): StoreError {
  return new StoreError(fault, `the store ${path}: ${advice[fault] ?? error.message} (${code})`, {
    cause: error,
  });
}

function faultOf(code: string): StoreFault {
  if (code.startsWith('SQLITE_BUSY') || code.startsWith('SQLITE_LOCKED')) return 'busy';
  if (code === 'SQLITE_FULL') return 'full';
  if (code.startsWith('SQLITE_READONLY') || code.startsWith('SQLITE_CANTOPEN') || code === 'SQLITE_PERM')
    return 'read-only';
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB') return 'corrupt';
  // A disk that is full is SQLITE_FULL; this is one that fails, or that was made read-only under us.
  if (code.startsWith('SQLITE_IOERR')) return 'disk';
  return 'internal';
}

/** By errno(3). */
const faultOfFiles: Partial<Record<string, StoreFault>> = {
  EROFS: 'read-only',
  EACCES: 'read-only',
  EPERM: 'read-only',
  ENOSPC: 'full',
  EDQUOT: 'full',
  EIO: 'disk',
};

const advice: Partial<Record<StoreFault, string>> = {
  busy: 'another process has it open; one netnsd runs at a time',
  full: 'there is no room left on its disk; make some',
  'read-only': 'it can’t be written; make its directory and its disk writable for netnsd',
  corrupt: 'it is damaged, or no store of netnsd; restore a copy, or name another --state-dir to begin anew',
  disk: 'its disk can’t be read or written; see what the kernel says of the disk (dmesg), and mend that',
};
