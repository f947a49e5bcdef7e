import type { Stored } from '../db/resources.ts';
import type { Store } from '../db/store.ts';
import { boundAs } from '../kernel/namespace.ts';
import { requestFor, type NamespaceIdentity } from '../kernel/observe.ts';
import type { Processes } from '../kernel/processes.ts';
import { takeSnapshot, type Snapshot } from '../kernel/snapshot.ts';
import type { KernelState } from '../kernel/state.ts';
import { HOST, refText, type Difference, type Ref } from '../schemas/common.ts';
import { Draft } from './draft.ts';
import { kindOf, tiesOf } from './kinds.ts';
import { millisecondsSince } from './outcome.ts';
import { allRefs, compileScope, scopeOf, sysctlsBeforeOf } from './scope.ts';
import { unrecordedIn, type Unrecorded } from './unrecorded.ts';

/** A resource that the kernel does not have as it was asked for. */
interface Drifted {
  ref: Ref;
  differences: Difference[];
  /** Why it can't be mended now; null if it can be tried. */
  obstacle: string | null;
}

/** What a look at everything has found. */
export interface Sweep {
  /** ISO 8601. */
  startedAt: string;
  durationMs: number;
  processes: number;
  /** How many resources were looked at. */
  resources: number;
  drifted: Drifted[];
  /** What bears our marks and is not recorded. */
  unrecorded: Unrecorded[];
}

/** Looks at everything that is recorded: one process a namespace, and one a firewall. Changes nothing. */
export async function sweep(store: Store, processes: Processes): Promise<Sweep> {
  const startedAt = new Date().toISOString();
  const start = performance.now();
  const counted = processes.counter();
  const scope = scopeOf(store, allRefs(store), new Set());
  const want = compileScope(scope, sysctlsBeforeOf(store, scope));
  const snapshot = await snapshotOf(store, counted, want);
  // What was changed or deleted meanwhile is not judged by what was seen before.
  const current = (stored: Stored): boolean =>
    store.resources.get(stored.kind, stored.name)?.revision === stored.revision;
  const draft = new Draft(store.resources, tiesOf);
  const judged = allRefs(store).flatMap((ref) => {
    const stored =
      scope.resources.get(refText(ref)) ??
      (scope.obstacles.has(refText(ref)) ? store.resources.get(ref.kind, ref.name) : null);
    return stored === null || !current(stored) ? [] : [judge(stored, snapshot, draft, scope.obstacles)];
  });
  return {
    startedAt,
    durationMs: millisecondsSince(start),
    processes: counted.started(),
    resources: judged.length,
    drifted: judged.filter(({ differences, obstacle }) => differences.length > 0 || obstacle !== null),
    unrecorded: unrecordedIn(snapshot, want),
  };
}

/** Everything that is in the namespaces of a state that are there, and in the daemon's own in any case. */
async function snapshotOf(store: Store, processes: Processes, want: KernelState): Promise<Snapshot> {
  const identities = new Map<string, NamespaceIdentity>();
  for (const name of want.namespaces.keys()) {
    const recorded = store.resources.get('namespace', name);
    const inode = recorded === null ? null : boundAs(name, recorded.assigned);
    if (inode !== null) identities.set(name, { inode });
  }
  const request = requestFor({ candidates: [want], identities, isClaimed: () => false, isWhole: true });
  const namespaces = new Map(request.namespaces).set(HOST, request.namespaces.get(HOST) ?? []);
  return takeSnapshot(processes, { ...request, namespaces });
}

function judge<K extends Ref['kind']>(
  stored: Stored<K>,
  snapshot: Snapshot,
  draft: Draft,
  obstacles: ReadonlyMap<string, string>,
): Drifted {
  const service = kindOf(stored.kind);
  const { kind, name } = stored;
  const failure = namespacesOf(stored)
    .map((namespace) => snapshot.failures.get(namespace))
    .find((each) => each !== undefined);
  return {
    ref: { kind, name },
    differences: service.differences(stored, service.seen(stored.intent, snapshot, stored.assigned), draft),
    obstacle: obstacles.get(refText({ kind, name })) ?? failure?.message ?? null,
  };
}

function namespacesOf(stored: Stored): string[] {
  const references = tiesOf(stored).references.flatMap(({ kind, name }) =>
    kind === 'namespace' ? [name] : [],
  );
  return stored.kind === 'namespace' ? [stored.name] : references;
}
