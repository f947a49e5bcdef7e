import type { Logger } from 'pino';
import type { Store } from '../db/store.ts';
import { CommandFailed } from '../kernel/errors.ts';
import { parseInterfaces } from '../kernel/interface.ts';
import { hostIdentity } from '../kernel/namespace.ts';
import type { Processes } from '../kernel/processes.ts';
import { takeSnapshot, type Snapshot } from '../kernel/snapshot.ts';
import { HOST } from '../schemas/common.ts';
import { allRefs, compileScope, scopeOf, sysctlsBeforeOf } from './scope.ts';
import { markedRules } from './unrecorded.ts';

/** The kernel has what another store's netnsd made: nothing is to be touched. */
class ForeignHost extends Error {
  override readonly name = 'ForeignHost';
}

/**
 * Makes sure that what bears netnsd's marks in the daemon's own namespace is of this store, if anything does. With
 * another store, or one that was lost and made anew, "there is no intent" must not come to mean "delete it all".
 *
 * @param store null if there is none yet
 * @throws ForeignHost if there are marks and the store explains none of them
 */
export async function checkHost(store: Store | null, processes: Processes, log: Logger): Promise<void> {
  const snapshot = await hostSnapshot(processes).catch((error: unknown) => {
    if (!(error instanceof CommandFailed)) throw error;
    // Without the tools nothing can be changed either; /readyz says what is missing.
    log.error({ err: error }, 'what is there already could not be looked at');
    return null;
  });
  if (snapshot === null) return;
  const devices = markedDevices(snapshot);
  const rules = markedRules(snapshot);
  if (devices.length + rules.length === 0) return;
  // What could not be undone yet is not recorded; that it is still to be undone says that the store is of this host.
  if (store !== null && store.operations.open().some(({ notes }) => notes.host === hostIdentity())) return;
  const { macs, comments } = store === null ? nothingKnown : knownTo(store);
  if (devices.some(({ mac }) => macs.has(mac ?? '')) || rules.some(({ comment }) => comments.has(comment)))
    return;
  const found = [
    ...describe(
      devices.map(({ name }) => name),
      'interface',
    ),
    ...describe(
      rules.map(({ comment }) => comment),
      'rule',
    ),
  ];
  throw new ForeignHost(
    `this host has what netnsd made with another store: ${found.join(' and ')}. ${
      store === null ? 'There is no store here' : 'The store here knows none of it'
    }, so nothing was touched. Start netnsd with the --state-dir that they belong to, or put its store back; or remove them with \`netnsd teardown\``,
  );
}

/** By what a store's devices and rules are known. */
interface Known {
  macs: ReadonlySet<string>;
  comments: ReadonlySet<string>;
}

const nothingKnown: Known = { macs: new Set(), comments: new Set() };

function knownTo(store: Store): Known {
  const scope = scopeOf(store, allRefs(store), new Set());
  const { devices, firewalls } = compileScope(scope, sysctlsBeforeOf(store, scope));
  return {
    macs: new Set([...devices.values()].map(({ mac }) => mac)),
    comments: new Set(
      [...firewalls.values()].flatMap(({ rules }) => [...rules.values()].map(({ comment }) => comment)),
    ),
  };
}

/** What is in the daemon's own namespace; a family without a tool has no rules of ours. */
export async function hostSnapshot(processes: Processes): Promise<Snapshot> {
  const firewalls = ([4, 6] as const).map((family) => ({ namespace: HOST, family }));
  const snapshot = await takeSnapshot(processes, { namespaces: new Map([[HOST, []]]), firewalls });
  if (!snapshot.inside.has(HOST)) for (const failure of snapshot.failures.values()) throw failure;
  return snapshot;
}

function markedDevices({ inside }: Snapshot) {
  return parseInterfaces([...(inside.get(HOST)?.interfaces.values() ?? [])]).filter(({ ours }) => ours);
}

const LISTED = 5;

function describe(names: readonly string[], what: string): string[] {
  const unique = [...new Set(names)];
  if (unique.length === 0) return [];
  const rest = unique.length > LISTED ? ` and ${unique.length - LISTED} more` : '';
  return [
    `${unique.length} ${what}${unique.length === 1 ? '' : 's'} (${unique.slice(0, LISTED).join(', ')}${rest})`,
  ];
}
