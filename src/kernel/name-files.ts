import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fdatasync,
  fstatSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  readdirSync,
  rmdirSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { NAMES_MARK, nameFiles, type NameFile } from '../schemas/names.ts';

/** What became of a file, with the reason where it is not as it was to be. */
export type Kept = { state: 'written' | 'absent' } | { state: 'foreign' | 'failed'; reason: string };

const ABSENT = { state: 'absent' } as const;
const WRITTEN = { state: 'written' } as const;

/**
 * The files below /etc/netns by which `ip netns exec` gives a namespace its own /etc/hosts and /etc/resolv.conf
 * (ip-netns(8)). Each call takes some ten microseconds, and starts no process. None throws: what can't be written is
 * told.
 */
export class NameFiles {
  readonly #root: string;

  /** @param root `/etc/netns`, but for tests */
  constructor(root: string) {
    this.#root = root;
  }

  path(namespace: string, file?: NameFile): string {
    return join(this.#root, namespace, file === undefined ? '' : nameFiles[file]);
  }

  /** The namespaces that have a directory, whoever made it. */
  namespaces(): string[] {
    try {
      const entries = readdirSync(this.#root, { withFileTypes: true });
      return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    } catch {
      // It is not there yet, or can't be read: then it can't be written either, and that is told of each file.
      return [];
    }
  }

  /**
   * Has a file with that text. Somebody else's stays as it is.
   *
   * @param isToBeMade whether it is made if it is not there, and missed if somebody else's is
   */
  keep(namespace: string, file: NameFile, text: string, isToBeMade: boolean): Kept {
    const path = this.path(namespace, file);
    return told(path, () => {
      const directory = kindOf(this.path(namespace));
      const isPassable = directory === null || directory === 'directory';
      const found = directory === 'directory' ? look(path) : null;
      if (!isToBeMade && found?.isOurs !== true) return ABSENT;
      if (!isPassable) return foreign(this.path(namespace), directory);
      if (found !== null && !found.isOurs) return foreign(path, found.kind);
      if (directory === null) this.#makeDirectory(namespace);
      if (found === null) this.#create(path, text);
      else overwrite(path, text);
      return WRITTEN;
    });
  }

  /** Takes a file away if it is netnsd's, and the directory if nothing else is in it. */
  remove(namespace: string, file: NameFile): Kept {
    const path = this.path(namespace, file);
    return told(path, () => {
      if (kindOf(this.path(namespace)) !== 'directory') return ABSENT;
      const found = look(path);
      // Somebody else's is nobody's concern where netnsd wants none.
      if (found?.isOurs !== true) return ABSENT;
      unlinkSync(path);
      removeIfEmpty(this.path(namespace));
      return ABSENT;
    });
  }

  /** Takes away what a killed netnsd has not got to name. */
  removeLeftover(): void {
    if (kindOf(this.#temporary) !== null) unlinkSync(this.#temporary);
  }

  get #temporary(): string {
    return join(this.#root, '.netnsd-new');
  }

  #makeDirectory(namespace: string): void {
    if (kindOf(this.#root) === null) mkdirReadable(this.#root);
    mkdirReadable(this.path(namespace));
  }

  /**
   * It appears with its text or not at all: one that is empty, because netnsd was killed, would be taken for somebody
   * else's. It is made beside the directories, since `ip netns exec` uses all that it finds within one.
   */
  #create(path: string, text: string): void {
    this.removeLeftover();
    const temporary = this.#temporary;
    const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
    const descriptor = openSync(temporary, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, FILE_MODE);
    try {
      // The umask may take away what those inside need.
      fchmodSync(descriptor, FILE_MODE);
      writeWhole(descriptor, Buffer.from(text));
      // Unlike rename(2), it leaves alone what somebody has put there meanwhile.
      linkSync(temporary, path);
    } finally {
      unlinkSync(temporary);
      // If power fails before it is on disk, the file may be there and empty. Nobody waits for it.
      fdatasync(descriptor, () => closeSync(descriptor));
    }
  }
}

const FILE_MODE = 0o644;
const DIRECTORY_MODE = 0o755;

function told(path: string, act: () => Kept): Kept {
  try {
    return act();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { state: 'failed', reason: `${path} could not be written: ${reason}` };
  }
}

function foreign(path: string, kind: Kind): Kept {
  const what = kind === 'file' ? 'is not netnsd’s' : `is a ${kind}`;
  return { state: 'foreign', reason: `${path} ${what}, and is left alone` };
}

type Kind = 'file' | 'directory' | 'symbolic link' | 'special file';

function kindOf(path: string): Kind | null {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return null;
  if (found.isFile()) return 'file';
  if (found.isDirectory()) return 'directory';
  return found.isSymbolicLink() ? 'symbolic link' : 'special file';
}

/** What is at a path, and whether it bears the mark. No symbolic link is followed. */
function look(path: string): { kind: Kind; isOurs: boolean } | null {
  const kind = kindOf(path);
  if (kind === null) return null;
  if (kind !== 'file') return { kind, isOurs: false };
  const isOurs = withFile(path, constants.O_RDONLY, (descriptor) => {
    const start = Buffer.alloc(Buffer.byteLength(NAMES_MARK));
    readSync(descriptor, start, 0, start.length, 0);
    return start.toString() === NAMES_MARK;
  });
  return { kind, isOurs };
}

function withFile<T>(path: string, flags: number, act: (descriptor: number) => T): T {
  // What is no regular file any more is not waited for.
  const descriptor = openSync(path, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    return act(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * The file stays the same one: `ip netns exec` binds it over /etc/hosts, and a new one by that name would not be seen by
 * what runs inside. A shorter text is filled up with empty lines, so that it is all written at once; whoever reads, also
 * if netnsd is killed before the end is cut off, finds no half lines of the text before.
 */
function overwrite(path: string, text: string): void {
  const wanted = Buffer.from(text);
  const isSame = withFile(path, constants.O_RDONLY, (descriptor) => {
    const { size } = fstatSync(descriptor);
    return size === wanted.length && readFileSync(descriptor).equals(wanted);
  });
  if (isSame) return;
  withFile(path, constants.O_WRONLY, (descriptor) => {
    const filling = Math.min(Math.max(fstatSync(descriptor).size - wanted.length, 0), MOST_FILLING);
    writeWhole(descriptor, Buffer.concat([wanted, Buffer.alloc(filling, '\n')]));
    ftruncateSync(descriptor, wanted.length);
  });
}

/** What is so much longer was not written by netnsd. */
const MOST_FILLING = 1024 * 1024;

/** write(2) may take less than it is given. */
function writeWhole(descriptor: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length;)
    written += writeSync(descriptor, bytes, written, bytes.length - written, written);
}

function mkdirReadable(path: string): void {
  mkdirSync(path, { recursive: true, mode: DIRECTORY_MODE });
  chmodSync(path, DIRECTORY_MODE);
}

function removeIfEmpty(path: string): void {
  try {
    rmdirSync(path);
  } catch {
    // Something else is in it (ENOTEMPTY), or it is a mount (EBUSY): it stays.
  }
}
