import { statSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { StoreError, asFileError } from './errors.ts';

/** What a change may need of the disk after the kernel was touched. */
export interface ChangeSize {
  /** How many resources are written. */
  resources: number;
  /** Whether nothing is left of them afterwards. */
  deletesOnly: boolean;
}

/**
 * What a change needs in the write-ahead log, journal and commit together: pages of 4 KiB, whatever is on them. One
 * change alone takes up to 60 KiB; of many that go together, each resource takes 3 KiB (deleted) to 6 KiB (made).
 * That twice, and a MiB more for what is made: for the largest bodies, and so that a disk which fills up keeps
 * nobody from taking things away. What proves too little is no harm: the commit fails, and the change is undone.
 */
const TO_MAKE = { baseBytes: 1024 * 1024, resourceBytes: 16 * 1024 };
const TO_DELETE = { baseBytes: 128 * 1024, resourceBytes: 8 * 1024 };

/**
 * Refuses changes whose commit may find no room, while nothing is done yet.
 *
 * @throws StoreError `full`
 */
export function checkRoom(path: string, { resources, deletesOnly }: ChangeSize): void {
  const { baseBytes, resourceBytes } = deletesOnly ? TO_DELETE : TO_MAKE;
  const needed = baseBytes + resources * resourceBytes;
  const free = freeBytes(dirname(path));
  if (free >= needed) return;
  throw new StoreError(
    'full',
    `the store ${path}: its disk has ${kibibytes(free)} free, and this change needs ${kibibytes(needed)}; make room${deletesOnly ? '' : ' (deletions need less)'}`,
  );
}

/** File systems keep some room for root, which may use it. */
function freeBytes(directory: string): number {
  try {
    const { bsize, bavail, bfree } = statfsSync(directory);
    return bsize * (process.geteuid?.() === 0 ? bfree : bavail);
  } catch (error) {
    // The directory is gone with the store in it. That is for the check of the files to say.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return Infinity;
    throw asFileError(error, directory);
  }
}

function kibibytes(bytes: number): string {
  return `${Math.floor(bytes / 1024)} KiB`;
}

/**
 * Gives a check that the files which are open are still those that the path leads to. What is written to a file
 * that was unlinked is gone when it is closed, and SQLite does not notice in WAL mode.
 *
 * @param path of the store, which is open
 */
export function watchFiles(path: string): () => void {
  const opened = [path, `${path}-wal`].map((file) => ({ file, identity: identityOf(file) }));
  return () => {
    for (const { file, identity } of opened) {
      const found = identityOf(file);
      if (found === identity) continue;
      throw new StoreError(
        'lost',
        `the store has lost its file ${file}, which was ${found === null ? 'taken away' : 'replaced'} while netnsd has it open: nothing can be recorded, so nothing is changed; put that very file back, or stop netnsd and restore a copy (the networks stay; docs/operations.md tells how to save what is still open)`,
      );
    }
  };
}

function identityOf(file: string): string | null {
  try {
    const found = statSync(file, { throwIfNoEntry: false });
    return found === undefined ? null : `${found.dev}:${found.ino}`;
  } catch (error) {
    throw asFileError(error, file);
  }
}
