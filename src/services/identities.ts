import { existsSync } from 'node:fs';
import { NETNS_DIRECTORY } from '../kernel/marks.ts';
import type { NamespaceIdentity } from '../kernel/observe.ts';
import { HOST, refText } from '../schemas/common.ts';
import type { Draft } from './draft.ts';
import { tiesOf } from './kinds.ts';

/** Whose the names of namespaces are, before anything is done. */
export function identify(draft: Draft): Map<string, NamespaceIdentity> {
  const identities = new Map<string, NamespaceIdentity>();
  const touched = new Map(draft.touched.map(({ ref, before }) => [refText(ref), before]));
  const note = (name: string): void => {
    if (name === HOST || identities.has(name)) return;
    const known = touched.get(refText({ kind: 'namespace', name }));
    const recorded = known === undefined ? draft.get('namespace', name) : known;
    if (recorded !== null && 'inode' in recorded.assigned)
      identities.set(name, { inode: recorded.assigned.inode });
    else if (!existsSync(`${NETNS_DIRECTORY}/${name}`)) identities.set(name, { wasFree: true });
  };
  for (const { ref, before, after } of draft.touched) {
    const sides = [before, after].filter((side) => side !== null);
    const references = sides.flatMap((side) => tiesOf(side).references);
    for (const { kind, name } of [ref, ...references]) if (kind === 'namespace') note(name);
  }
  return identities;
}
