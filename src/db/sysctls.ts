import type { Database } from 'better-sqlite3';

/** What stood in a sysctl before netnsd first wrote it. */
export interface SysctlBefore {
  namespace: string;
  key: string;
  value: string;
}

/** What stood in sysctls before netnsd first wrote them. */
export interface SysctlRepository {
  /** By `NAMESPACE KEY`, of one namespace. */
  before: (namespace: string) => Map<string, string>;
  /** Keeps the first value that is told of a key. */
  remember: (namespace: string, key: string, value: string) => void;
  forget: (namespace: string) => void;
  forgetKey: (namespace: string, key: string) => void;
}

export function createSysctlRepository(database: Database): SysctlRepository {
  const select = database.prepare<[string], { key: string; value: string }>(
    'SELECT key, value FROM sysctl_before WHERE namespace = ?',
  );
  const insert = database.prepare('INSERT OR IGNORE INTO sysctl_before VALUES (?, ?, ?)');
  const removeKey = database.prepare('DELETE FROM sysctl_before WHERE namespace = ? AND key = ?');
  const remove = database.prepare('DELETE FROM sysctl_before WHERE namespace = ?');
  return {
    before: (namespace) =>
      new Map(select.all(namespace).map(({ key, value }) => [`${namespace} ${key}`, value])),
    remember: (namespace, key, value) => {
      insert.run(namespace, key, value);
    },
    forget: (namespace) => {
      remove.run(namespace);
    },
    forgetKey: (namespace, key) => {
      removeKey.run(namespace, key);
    },
  };
}
