import { statSync, watch, type FSWatcher } from 'node:fs';
import { basename, dirname } from 'node:path';
import { NETNS_DIRECTORY } from './marks.ts';

/**
 * Tells of names that come and go in /run/netns (inotify(7)). The directory need not be there: it is made with the
 * first namespace.
 */
export class NameWatch {
  readonly #onName: (name: string) => void;
  readonly #onLost: () => void;
  #parent: FSWatcher | null = null;
  #names: { watcher: FSWatcher; inode: number } | null = null;

  /** `onLost`: the directory has come, has gone or was replaced; whatever name may have changed. */
  constructor(onName: (name: string) => void, onLost: () => void) {
    this.#onName = onName;
    this.#onLost = onLost;
  }

  start(): void {
    const own = basename(NETNS_DIRECTORY);
    this.#parent = watchDirectory(
      dirname(NETNS_DIRECTORY),
      (name) => {
        if (name === own) this.#follow();
      },
      () => {
        this.#parent = null;
      },
    );
    this.#attach();
  }

  stop(): void {
    this.#parent?.close();
    this.#names?.watcher.close();
    this.#parent = null;
    this.#names = null;
  }

  #follow(): void {
    const before = this.#names?.inode ?? null;
    if (before === inodeOf(NETNS_DIRECTORY)) return;
    this.#names?.watcher.close();
    this.#names = null;
    this.#attach();
    this.#onLost();
  }

  #attach(): void {
    const inode = inodeOf(NETNS_DIRECTORY);
    if (inode === null) return;
    const watcher = watchDirectory(NETNS_DIRECTORY, this.#onName, () => {
      this.#names = null;
      this.#onLost();
    });
    this.#names = watcher === null ? null : { watcher, inode };
  }
}

/** Null if it can't be watched: then what happens there is seen by the sweep. */
function watchDirectory(path: string, onName: (name: string) => void, onError: () => void): FSWatcher | null {
  try {
    const watcher = watch(path, { persistent: false }, (event, name) => {
      // `change` is of what is in a file, or of its mode.
      if (event === 'rename' && name !== null) onName(name);
    });
    watcher.on('error', () => {
      watcher.close();
      onError();
    });
    return watcher;
  } catch {
    // It is gone again, or the machine has no inotify watch left.
    return null;
  }
}

function inodeOf(path: string): number | null {
  return statSync(path, { throwIfNoEntry: false })?.ino ?? null;
}
