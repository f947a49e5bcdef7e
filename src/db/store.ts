import type { Database } from 'better-sqlite3';
import { asStoreError } from './errors.ts';
import { checkRoom, watchFiles, type ChangeSize } from './guard.ts';
import { createIdempotencyRepository, type IdempotencyRepository } from './idempotency.ts';
import { openStore } from './open.ts';
import { createOperationRepository, type OperationRepository } from './operations.ts';
import { createResourceRepository, type ResourceRepository } from './resources.ts';
import { createSysctlRepository, type SysctlRepository } from './sysctls.ts';

/** The store: repositories, and the ways to write. All throw `StoreError`. */
export interface Store {
  resources: ResourceRepository;
  operations: OperationRepository;
  sysctls: SysctlRepository;
  idempotency: IdempotencyRepository;
  /** Writes all or nothing, on disk when it returns: what is acknowledged to a client is never lost. */
  commit: <T>(write: () => T) => T;
  /**
   * Writes all or nothing, without waiting for the disk: for the journal. If power fails, the state of the
   * kernel is gone as well; if only the process dies, the page cache is not.
   */
  journal: <T>(write: () => T) => T;
  /** As `journal`, for what comes before the kernel is touched: refuses where the commit may find no room. */
  begin: <T>(size: ChangeSize, write: () => T) => T;
  /** Throws if no change could begin now. */
  check: () => void;
  close: () => void;
}

/** @throws StoreError */
export function createStore(path: string): Store {
  const database = openStore(path);
  const checkFiles = watchFiles(path);
  const writeWith = <T>(synchronous: 'FULL' | 'NORMAL', write: () => T): T => {
    try {
      database.pragma(`synchronous = ${synchronous}`);
      return transact(database, write, checkFiles);
    } catch (error) {
      throw asStoreError(error, path);
    }
  };
  const begin = <T>(size: ChangeSize, write: () => T): T => {
    checkRoom(path, size);
    return writeWith('NORMAL', write);
  };
  return {
    resources: translating(createResourceRepository(database), path),
    operations: translating(createOperationRepository(database), path),
    sysctls: translating(createSysctlRepository(database), path),
    idempotency: translating(createIdempotencyRepository(database), path),
    commit: (write) => writeWith('FULL', write),
    journal: (write) => writeWith('NORMAL', write),
    begin,
    check: () => {
      begin({ resources: 1, deletesOnly: false }, () => undefined);
    },
    close: () => {
      database.close();
    },
  };
}

/** The check comes last, so that nothing can happen to the files between it and the end but the end itself. */
function transact<T>(database: Database, write: () => T, check: () => void): T {
  return database
    .transaction(() => {
      const result = write();
      check();
      return result;
    })
    .immediate();
}

/** The repository, with reads too that fail as `StoreError`: a disk may fail, or a page turn out to be damaged. */
function translating<R extends object>(repository: R, path: string): R {
  const translated = Object.entries(repository).map(([name, method]: [string, Method]) => [
    name,
    (...args: unknown[]): unknown => {
      try {
        return method(...args);
      } catch (error) {
        throw asStoreError(error, path);
      }
    },
  ]);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the same methods under the same names
  return Object.fromEntries(translated) as R;
}

type Method = (...args: unknown[]) => unknown;
