import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Store } from '../db/store.ts';
import type { Kept, NameFiles } from '../kernel/name-files.ts';
import { boundInode } from '../kernel/namespace.ts';
import { HOST, type Ref } from '../schemas/common.ts';
import { nameFiles, type NameFile, type NamesStatus } from '../schemas/names.ts';
import { NameIndex } from './name-index.ts';

interface Deps {
  store: Store;
  log: Logger;
  /** Null: no files are kept. */
  files: NameFiles | null;
}

/** So many namespaces have their files before a change is answered in any case, */
const MOST_AT_ONCE = 64;
/** and all that can be had in so long; the rest follows at once, between other requests. */
const LONGEST_AT_ONCE_MS = 20;

const WARNINGS_SHOWN = 3;

/**
 * Keeps `hosts` and `resolv.conf` in /etc/netns/NAME as ip-netns(8) uses them, so that processes in namespaces on the
 * same bridge find each other by name. What stands in them follows from what is recorded; so what a killed netnsd has
 * not got to write is written at the next start.
 */
export class Names {
  readonly #deps: Deps;
  #index: NameIndex;
  /** Namespaces whose files are still to be written. */
  readonly #waiting = new Set<string>();
  #writing: Promise<void> | null = null;
  readonly #seen = new Map<string, Record<NameFile, Kept>>();

  /** @throws StoreError */
  constructor(deps: Deps) {
    this.#deps = deps;
    this.#index = new NameIndex(deps.store.resources);
  }

  /** To be told of each change, before it is answered. */
  settled(touched: readonly Ref[]): void {
    if (this.#deps.files === null) return;
    const { own, others } = this.#index.update(touched);
    // One that waits, and is written now, need not be written again.
    for (const namespace of [...own, ...others]) this.#waiting.add(namespace);
    const start = performance.now();
    for (const [at, namespace] of [...new Set([...own, ...others])].entries()) {
      if (at >= MOST_AT_ONCE && performance.now() - start > LONGEST_AT_ONCE_MS) break;
      this.#bring(namespace);
    }
    if (this.#waiting.size > 0) this.#writing ??= this.#writeOn();
  }

  /** Looks at all files, and writes those that are not as they are to be: what others have changed or taken away. */
  async check(): Promise<void> {
    const { store, files } = this.#deps;
    if (files === null) return;
    this.#index = new NameIndex(store.resources);
    for (const { name } of store.resources.refs('namespace')) this.#waiting.add(name);
    // Those of a namespace that was deleted while netnsd was killed. What has a name now may be another netnsd's.
    for (const name of files.namespaces()) if (boundInode(name) === null) this.#waiting.add(name);
    this.#writing ??= this.#writeOn();
    await this.#writing;
  }

  /** The same, before anything is listened to. */
  async start(): Promise<void> {
    try {
      this.#deps.files?.removeLeftover();
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'names can’t be written');
    }
    await this.check();
  }

  /** Writes what is still to be written. */
  async stop(): Promise<void> {
    await this.#writing;
  }

  /** For the status of a namespace: empty if there are no files for it. */
  statusOf({ kind, name }: Ref): { names?: NamesStatus } {
    const seen = kind === 'namespace' ? this.#seen.get(name) : undefined;
    if (seen === undefined) return {};
    const { hosts, resolvConf } = seen;
    return { names: { hosts: stateOf(hosts), resolvConf: stateOf(resolvConf) } };
  }

  /** What is not as it is to be, for a person. */
  warnings(): string[] {
    const reasons = [...this.#seen.values()].flatMap(({ hosts, resolvConf }) =>
      [hosts, resolvConf].flatMap((kept) => ('reason' in kept ? [kept.reason] : [])),
    );
    if (reasons.length <= WARNINGS_SHOWN) return reasons;
    const rest = reasons.length - WARNINGS_SHOWN;
    return [
      ...reasons.slice(0, WARNINGS_SHOWN),
      `so are ${rest} more files by which namespaces find each other`,
    ];
  }

  async #writeOn(): Promise<void> {
    // It must not end before it is kept as the one that is writing: it would be kept for good.
    await nextTurn();
    try {
      while (this.#waiting.size > 0) {
        for (const namespace of [...this.#waiting].slice(0, MOST_AT_ONCE)) this.#bring(namespace);
        await nextTurn();
      }
    } catch (error) {
      // The store can't be read: what is left is written at the next look at everything.
      this.#deps.log.error({ err: error }, 'names could not be written');
      this.#waiting.clear();
    } finally {
      this.#writing = null;
    }
  }

  /** Has the files of a namespace as they are to be. */
  #bring(namespace: string): void {
    const { store, files } = this.#deps;
    if (files === null || namespace === HOST) return void this.#waiting.delete(namespace);
    const isRecorded = store.resources.get('namespace', namespace) !== null;
    const { isOnNetwork, ...texts } = this.#index.textsOf(namespace);
    const bring = (file: NameFile): Kept => {
      const text = isRecorded ? texts[file] : null;
      return text === null ? files.remove(namespace, file) : files.keep(namespace, file, text, isOnNetwork);
    };
    this.#note(namespace, { hosts: bring('hosts'), resolvConf: bring('resolvConf') });
    this.#waiting.delete(namespace);
  }

  #note(namespace: string, kept: Record<NameFile, Kept>): void {
    const before = this.#seen.get(namespace);
    for (const file of ['hosts', 'resolvConf'] as const) {
      const now = kept[file];
      const was = before?.[file];
      if ('reason' in now && !(was !== undefined && 'reason' in was && was.reason === now.reason))
        this.#deps.log.warn(
          { namespace, file: nameFiles[file], state: now.state, reason: now.reason },
          'a file by which namespaces find each other is not as it is to be',
        );
    }
    if (kept.hosts.state === 'absent' && kept.resolvConf.state === 'absent') this.#seen.delete(namespace);
    else this.#seen.set(namespace, kept);
  }
}

function stateOf({ state }: Kept): NamesStatus[NameFile] {
  return state === 'absent' ? null : state;
}
