import { boundInode, isNameTaken, liveInode } from '../kernel/namespace.ts';
import type { NamespaceIdentity } from '../kernel/observe.ts';
import { HOST } from '../schemas/common.ts';
import type { Draft } from './draft.ts';
import { tiesOf } from './kinds.ts';

/**
 * Whose the names of namespaces are, before anything is done: ours by the inode that is recorded, or free. A name
 * that is neither is somebody else's, and not listed.
 */
export function identify(draft: Draft): Map<string, NamespaceIdentity> {
  const identities = new Map<string, NamespaceIdentity>();
  const note = (name: string): void => {
    if (name === HOST || identities.has(name)) return;
    const recorded = draft.recorded('namespace', name);
    const inode = recorded === null ? null : liveInode(recorded.assigned);
    if (inode !== null && boundInode(name) === inode) identities.set(name, { inode });
    else if (!isNameTaken(name)) identities.set(name, { wasFree: true });
  };
  for (const { ref, before, after } of draft.touched) {
    const sides = [before, after].filter((side) => side !== null);
    const references = sides.flatMap((side) => tiesOf(side).references);
    for (const { kind, name } of [ref, ...references]) if (kind === 'namespace') note(name);
  }
  return identities;
}
