import { asStoreError } from './errors.ts';
import { createIdempotencyRepository, type IdempotencyRepository } from './idempotency.ts';
import { openStore } from './open.ts';
import { createOperationRepository, type OperationRepository } from './operations.ts';
import { createResourceRepository, type ResourceRepository } from './resources.ts';
import { createSysctlRepository, type SysctlRepository } from './sysctls.ts';

/** The store: repositories, and the two ways to write. */
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
  close: () => void;
}

/** @throws StoreError */
export function createStore(path: string): Store {
  const database = openStore(path);
  const writeWith = <T>(synchronous: 'FULL' | 'NORMAL', write: () => T): T => {
    try {
      database.pragma(`synchronous = ${synchronous}`);
      return database.transaction(write).immediate();
    } catch (error) {
      throw asStoreError(error, path);
    }
  };
  return {
    resources: createResourceRepository(database),
    operations: createOperationRepository(database),
    sysctls: createSysctlRepository(database),
    idempotency: createIdempotencyRepository(database),
    commit: (write) => writeWith('FULL', write),
    journal: (write) => writeWith('NORMAL', write),
    close: () => {
      database.close();
    },
  };
}
