import { boundInode, liveInode } from '../kernel/namespace.ts';
import type { NamespaceIdentity } from '../kernel/observe.ts';
import type { RunOutcome } from '../kernel/run.ts';
import { HOST } from '../schemas/common.ts';
import type { Draft } from './draft.ts';
import { tiesOf } from './kinds.ts';

/**
 * The names of namespaces that are ours before anything is done, by the inode that is recorded. What bears another
 * name, or one of these with another inode, is somebody else's.
 */
export function identify(draft: Draft): Map<string, NamespaceIdentity> {
  const identities = new Map<string, NamespaceIdentity>();
  const note = (name: string): void => {
    if (name === HOST || identities.has(name)) return;
    const recorded = draft.recorded('namespace', name);
    const inode = recorded === null ? null : liveInode(recorded.assigned);
    if (inode !== null && boundInode(name) === inode) identities.set(name, { inode });
  };
  for (const { ref, before, after } of draft.touched) {
    const sides = [before, after].filter((side) => side !== null);
    const references = sides.flatMap((side) => tiesOf(side).references);
    for (const { kind, name } of [ref, ...references]) if (kind === 'namespace') note(name);
  }
  return identities;
}

/** Takes note of what a run's attempts to bind names have come to. */
export function learnIdentities(identities: Map<string, NamespaceIdentity>, ran: RunOutcome['ran']): void {
  for (const { step, command } of ran) {
    if (step.step !== 'namespace.add') continue;
    const inode = boundInode(step.namespace);
    if (command.exitCode === 0 && inode !== null) identities.set(step.namespace, { inode });
    // A refusal in so many words has bound nothing; whatever bears the name then is somebody else's.
    else if (command.exitCode === null) identities.set(step.namespace, { attempted: true });
    else identities.delete(step.namespace);
  }
}
