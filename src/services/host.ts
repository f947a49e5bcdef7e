import type { Store } from '../db/store.ts';
import { parseInterfaces } from '../kernel/interface.ts';
import type { Processes } from '../kernel/processes.ts';
import { takeSnapshot, type Snapshot } from '../kernel/snapshot.ts';
import { HOST } from '../schemas/common.ts';
import { allRefs, compileScope, scopeOf, sysctlsBeforeOf } from './scope.ts';
import { markedRules } from './unrecorded.ts';

/** The kernel has what another store's netnsd made: nothing is to be touched. */
export class ForeignHost extends Error {
  override readonly name = 'ForeignHost';
}

/**
 * Makes sure that what bears netnsd's marks in the daemon's own namespace is of this store, if anything does. With
 * another store, or one that was lost and made anew, "there is no intent" must not come to mean "delete it all".
 *
 * @throws ForeignHost if there are marks and the store explains none of them
 */
export async function checkHost(store: Store, processes: Processes): Promise<void> {
  const snapshot = await hostSnapshot(processes);
  const scope = scopeOf(store, allRefs(store), new Set());
  const want = compileScope(scope, sysctlsBeforeOf(store, scope));
  const macs = new Set([...want.devices.values()].map(({ mac }) => mac));
  const comments = new Set(
    [...want.firewalls.values()].flatMap(({ rules }) => [...rules.values()].map(({ comment }) => comment)),
  );
  const devices = markedDevices(snapshot);
  const rules = markedRules(snapshot);
  const isKnown =
    devices.some(({ mac }) => macs.has(mac ?? '')) || rules.some(({ comment }) => comments.has(comment));
  if (devices.length + rules.length === 0 || isKnown) return;
  const names = devices.map(({ name }) => name);
  throw new ForeignHost(
    `this host has what netnsd made with another store: ${describe(names, 'interface')}, ${describe(
      rules.map(({ comment }) => comment),
      'rule',
    )}. The store here knows none of it, so nothing was touched. Start netnsd with the --state-dir that they belong to or put its store back; or remove them with \`netnsd teardown\``,
  );
}

/** What is in the daemon's own namespace; a family without a tool has no rules of ours. */
export async function hostSnapshot(processes: Processes): Promise<Snapshot> {
  const firewalls = ([4, 6] as const).map((family) => ({ namespace: HOST, family }));
  const snapshot = await takeSnapshot(processes, { namespaces: new Map([[HOST, []]]), firewalls });
  if (!snapshot.inside.has(HOST)) for (const failure of snapshot.failures.values()) throw failure;
  return snapshot;
}

export function markedDevices({ inside }: Snapshot) {
  return parseInterfaces([...(inside.get(HOST)?.interfaces.values() ?? [])]).filter(({ ours }) => ours);
}

const LISTED = 5;

function describe(names: readonly string[], what: string): string {
  const unique = [...new Set(names)];
  if (unique.length === 0) return `no ${what}s`;
  const rest = unique.length > LISTED ? ` and ${unique.length - LISTED} more` : '';
  return `${unique.length} ${what}${unique.length === 1 ? '' : 's'} (${unique.slice(0, LISTED).join(', ')}${rest})`;
}
