import type { Store } from '../db/store.ts';
import { AssumptionFailed, CommandFailed } from '../kernel/errors.ts';
import { NETNS_DIRECTORY } from '../kernel/marks.ts';
import { boundAs, boundInode, isNameTaken, readBootId } from '../kernel/namespace.ts';
import type { NamespaceIdentity } from '../kernel/observe.ts';
import type { RunOutcome } from '../kernel/run.ts';
import type { KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import { HOST, refText } from '../schemas/common.ts';
import type { NamespaceAssigned } from '../schemas/namespace.ts';
import type { Draft } from './draft.ts';
import { tiesOf } from './kinds.ts';

/**
 * The names of namespaces that are ours before anything is done, by the inode that is recorded. What bears another
 * name, or one of these with another inode, is somebody else's.
 *
 * @param names of namespaces beside those of the draft: what changes along with a bridge may be in others
 */
export function identify(draft: Draft, names: Iterable<string>): Map<string, NamespaceIdentity> {
  const identities = new Map<string, NamespaceIdentity>();
  const note = (name: string): void => {
    if (name === HOST || identities.has(name)) return;
    const recorded = draft.recorded('namespace', name);
    const inode = recorded === null ? null : boundAs(name, recorded.assigned);
    if (inode !== null) identities.set(name, { inode });
  };
  for (const { ref, before, after, adoption } of draft.touched) {
    const found = adoption?.inode ?? null;
    if (found !== null && boundInode(ref.name) === found) identities.set(ref.name, { inode: found });
    const sides = [before, after].filter((side) => side !== null);
    const references = sides.flatMap((side) => tiesOf(side).references);
    for (const { kind, name } of [ref, ...references]) if (kind === 'namespace') note(name);
  }
  for (const name of names) note(name);
  return identities;
}

/** Takes note of what a run's attempts to bind names, and to unbind them, have come to. */
export function learnIdentities(identities: Map<string, NamespaceIdentity>, ran: RunOutcome['ran']): void {
  for (const { step, command } of ran) {
    // Ended between the two, or refused the second, it has unbound the name and left the file.
    if (step.step === 'namespace.delete' && command.exitCode !== 0 && boundInode(step.namespace) === null)
      identities.set(step.namespace, { attempted: true });
    if (step.step !== 'namespace.add') continue;
    const inode = boundInode(step.namespace);
    if (command.exitCode === 0 && inode !== null) identities.set(step.namespace, { inode });
    // A refusal in so many words has bound nothing; whatever bears the name then is somebody else's.
    else if (command.exitCode === null) identities.set(step.namespace, { attempted: true });
    else identities.delete(step.namespace);
  }
}

/** Which namespaces bear names of ours now, where another one is recorded: one was made anew. */
export function newIdentities(
  { resources }: Pick<Store, 'resources'>,
  names: Iterable<string>,
  identities: ReadonlyMap<string, NamespaceIdentity>,
): { name: string; assigned: NamespaceAssigned }[] {
  const bootId = readBootId();
  return [...names].flatMap((name) => {
    const inode = identities.has(name) && name !== HOST ? boundInode(name) : null;
    const recorded = resources.get('namespace', name)?.assigned;
    if (inode === null || (recorded?.inode === inode && recorded.bootId === bootId)) return [];
    return [{ name, assigned: { bootId, inode } }];
  });
}

/** Writes, if any was put back, which namespaces bear the names now. Throws `StoreError`. */
export function recordPutBack(
  store: Store,
  names: Iterable<string>,
  identities: ReadonlyMap<string, NamespaceIdentity>,
): void {
  const found = newIdentities(store, names, identities);
  if (found.length === 0) return;
  store.journal(() => {
    for (const { name, assigned } of found)
      store.resources.putAssigned({ kind: 'namespace', name }, assigned);
  });
}

/** Writes of namespaces that were missing, and that a change only refers to, which were made anew with it. */
export function recordMadeAnew(
  resources: Store['resources'],
  ran: RunOutcome['ran'],
  { touched }: Pick<Draft, 'touched'>,
): void {
  const asked = new Set(touched.map(({ ref }) => refText(ref)));
  for (const { step, command } of ran) {
    if (step.step !== 'namespace.add' || command.exitCode !== 0 || asked.has(refText(step.serves))) continue;
    const stored = resources.get('namespace', step.namespace);
    const inode = boundInode(step.namespace);
    if (stored !== null && inode !== null)
      resources.put({ ...stored, assigned: { bootId: readBootId(), inode } });
  }
}

/** The names that the steps bind and that are free now, or ours: what bears one of them later is netnsd's doing. */
export function attemptsOf(
  steps: readonly Step[],
  identities: ReadonlyMap<string, NamespaceIdentity>,
): string[] {
  return steps.flatMap((step) =>
    step.step === 'namespace.add' && (identities.has(step.namespace) || !isNameTaken(step.namespace))
      ? [step.namespace]
      : [],
  );
}

/**
 * A namespace is known by its inode. One that bears the name of ours and is another is not touched; a name
 * that is taken is somebody else's. Both are seen without a process.
 *
 * @throws CommandFailed as `ip` would fail; AssumptionFailed if a namespace of ours is not there
 */
export function checkNamespaces(
  have: KernelState,
  steps: readonly Step[],
  identities: ReadonlyMap<string, NamespaceIdentity>,
): void {
  for (const step of steps) {
    if (step.step === 'namespace.add' && isNameTaken(step.namespace) && !have.namespaces.has(step.namespace))
      throw new CommandFailed(
        `ip netns ${step.pid === null ? 'add' : 'attach'} ${step.namespace}`,
        null,
        `Cannot create namespace file "${NETNS_DIRECTORY}/${step.namespace}": File exists`,
      );
  }
  for (const name of have.namespaces.keys()) {
    const identity = identities.get(name);
    if (identity === undefined || !('inode' in identity))
      throw new AssumptionFailed(
        `ip netns list-id name ${name}`,
        `${name} is not the namespace that netnsd knows`,
      );
  }
}
