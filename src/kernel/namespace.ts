import { existsSync, readFileSync, readdirSync, readlinkSync, statSync, statfsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import type { NamespaceAssigned, NamespaceIntent, ObservedNamespace } from '../schemas/namespace.ts';
import { NETNS_DIRECTORY } from './marks.ts';
import { parseInterfaces, publicInterface } from './interface.ts';
import type { Answer, Read } from './sessions.ts';

/** NSFS_MAGIC of statfs(2): what a bound namespace is, and a left-over file or directory is not. */
const NSFS_MAGIC = 0x6e_73_66_73;

/** What is read of a namespace: its interfaces, and the sysctls that were asked for. */
export function readsOfNamespace({ name, sysctls }: NamespaceIntent): Read[] {
  return [{ namespace: name, lines: ['address show'], sysctls: Object.keys(sysctls) }];
}

/** The namespace as the kernel has it; `null` stands for an answer that there was none. */
export function parseNamespace([answer]: readonly (Answer | null)[], name: string): ObservedNamespace {
  return {
    inode: boundInode(name),
    interfaces: parseInterfaces(answer?.shown[0] ?? []).map(publicInterface),
    sysctls: answer?.sysctls ?? {},
  };
}

/** The inode of the namespace that is bound at /run/netns/NAME, or null if none is. */
export function boundInode(name: string): number | null {
  const path = `${NETNS_DIRECTORY}/${name}`;
  const inode = statSync(path, { throwIfNoEntry: false })?.ino;
  if (inode === undefined) return null;
  try {
    return statfsSync(path).type === NSFS_MAGIC ? inode : null;
  } catch {
    // It went between the two looks at it.
    return null;
  }
}

/** Whether anything bears the name, a namespace or a left-over file. */
export function isNameTaken(name: string): boolean {
  return existsSync(`${NETNS_DIRECTORY}/${name}`);
}

/** The inode that a namespace is known by, or null if the machine was started again since: then it is nobody's. */
export function liveInode({ bootId, inode }: NamespaceAssigned): number | null {
  return bootId === readBootId() ? inode : null;
}

/** The inode of the namespace that is bound at /run/netns/NAME if it is the recorded one, or else null. */
export function boundAs(name: string, assigned: NamespaceAssigned): number | null {
  const inode = liveInode(assigned);
  return inode !== null && boundInode(name) === inode ? inode : null;
}

/** The inode of the network namespace that a process is in, or null if there is no such process. */
export function inodeOfProcess(pid: number | 'self'): number | null {
  try {
    const link = readlinkSync(`/proc/${pid}/ns/net`);
    const inode = /^net:\[(\d+)\]$/.exec(link)?.[1];
    return inode === undefined ? null : Number(inode);
  } catch {
    // No such process, or one that we may not look into: neither can be adopted.
    return null;
  }
}

/** Changes with every start of the machine; an inode number is unique only within one. */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

/** The daemon's own namespace in this boot of the machine: names of namespaces and devices mean something only there. */
export function hostIdentity(): string {
  return `${readBootId()} ${String(inodeOfProcess('self'))}`;
}

/** The names under which a namespace is bound. */
export function namesOfInode(inode: number): string[] {
  const names = existsSync(NETNS_DIRECTORY) ? readdirSync(NETNS_DIRECTORY) : [];
  return names.filter((name) => boundInode(name) === inode);
}

/** The names of all namespaces that are bound in /run/netns, in order. */
export async function boundNames(): Promise<string[]> {
  try {
    return (await readdir(NETNS_DIRECTORY)).filter((name) => boundInode(name) !== null).toSorted();
  } catch (error) {
    // The directory is made with the first namespace.
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}
