import type { Store } from '../db/store.ts';
import { ownFirewall } from '../kernel/firewall.ts';
import type { Processes } from '../kernel/processes.ts';
import { isToken, printCommand, render } from '../kernel/render.ts';
import { run } from '../kernel/run.ts';
import { emptyState, firewallKey, type KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import { plan } from '../plan/plan.ts';
import { HOST, kindNames, refText, type Ref } from '../schemas/common.ts';
import { hostSnapshot } from './host.ts';
import { interfaceTie } from './interface.ts';
import type { Conditions } from './conditions.ts';
import type { ResourceService } from './resources.ts';
import { allRefs, compileScope, scopeOf, sysctlsBeforeOf } from './scope.ts';
import { unrecordedIn } from './unrecorded.ts';

/** What was removed, and what could not be, for a person to read. */
export interface Removed {
  resources: Ref[];
  /** The commands by which what bears our marks and is not recorded was removed. */
  unrecorded: string[];
  failed: string[];
}

interface Deps {
  store: Store;
  processes: Processes;
  resources: ResourceService;
}

const CALLER = { actor: 'netnsd teardown', requestId: '' };
const UNCONDITIONAL: Conditions = { ifMatch: null, mustBeNew: false };

/**
 * Removes everything that is netnsd's from the kernel and from the store: all that is recorded, and in the daemon's own
 * namespace whatever else bears our marks. What others made stays.
 *
 * @param isOnlyUnrecorded leaves all that is recorded as it is
 */
export async function teardown(deps: Deps, isOnlyUnrecorded: boolean): Promise<Removed> {
  const removed: Removed = { resources: [], unrecorded: [], failed: [] };
  if (!isOnlyUnrecorded) await removeRecorded(deps, removed);
  await removeUnrecorded(deps, removed);
  return removed;
}

/** As if a client had deleted each, what refers to others first. */
async function removeRecorded({ store, resources }: Deps, removed: Removed): Promise<void> {
  const all = allRefs(store);
  const removeOne = async (ref: Ref): Promise<void> => {
    try {
      await resources.make(resources.removal(ref, true, UNCONDITIONAL, CALLER));
      removed.resources.push(ref);
    } catch (error) {
      // It stood on another one, and went with that.
      if (!resources.has(ref.kind, ref.name)) {
        removed.resources.push(ref);
        return;
      }
      removed.failed.push(`${refText(ref)}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  for (const kind of kindNames.toReversed()) {
    const refs = all.filter((ref) => ref.kind === kind);
    for (let at = 0; at < refs.length; at += TOGETHER) {
      const group = refs.slice(at, at + TOGETHER);
      await Promise.all(group.map(removeOne));
    }
  }
}

/** Taking devices away takes its time, and what waits for too long is refused. */
const TOGETHER = 64;

/** With one end of a pair the other goes; what is left after so many rounds can't be removed. */
const ROUNDS = 10;

async function removeUnrecorded({ store, processes }: Deps, removed: Removed): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const { steps, unnameable } = await stepsForUnrecorded(store, processes);
    if (steps.length === 0) {
      removed.failed.push(...unnameable);
      return;
    }
    const expected = steps.flatMap((step) => (step.step === 'device.delete' ? [step.device] : []));
    const { ran, failure } = await run(processes, { steps, expected, reads: [] });
    const done = ran.filter(({ command }) => command.exitCode === 0);
    removed.unrecorded.push(...done.map(({ command }) => command.command));
    if (failure === null || failure.failure.cause === 'assumption') continue;
    removed.failed.push(failure.message);
    return;
  }
  const { steps, unnameable } = await stepsForUnrecorded(store, processes);
  removed.failed.push(...steps.flatMap((step) => printCommand(render(step))), ...unnameable);
}

/** `unnameable` says of which devices a tool can't be told: somebody gave them names that could be read as more than that. */
async function stepsForUnrecorded(
  store: Store,
  processes: Processes,
): Promise<{ steps: Step[]; unnameable: string[] }> {
  const snapshot = await hostSnapshot(processes);
  const serves: Ref = { kind: 'namespace', name: HOST };
  const scope = scopeOf(store, allRefs(store), new Set());
  const recorded = compileScope(scope, sysctlsBeforeOf(store, scope));
  // A recorded device that somebody has renamed is recorded all the same.
  const names = unrecordedIn(snapshot, recorded)
    .filter(({ type }) => type === 'interface')
    .map(({ name }) => name)
    .filter((name) => store.resources.claimant({ namespace: HOST, what: interfaceTie(name) }) === null);
  const devices = names.filter(isToken).map((name): Step => ({
    step: 'device.delete',
    serves,
    device: { namespace: HOST, name },
    peer: null,
  }));
  const unnameable = names
    .filter((name) => !isToken(name))
    .map(
      (name) =>
        `the interface ${JSON.stringify(name)}: its name could be read as more than that, delete it by hand`,
    );
  const have: KernelState = emptyState();
  for (const family of [4, 6] as const) {
    const saved = snapshot.firewalls.get(firewallKey(HOST, family));
    if (saved !== undefined) have.firewalls.set(firewallKey(HOST, family), ownFirewall(HOST, family, saved));
  }
  const { firewalls } = recorded;
  const want: KernelState = emptyState();
  for (const [key, firewall] of firewalls) if (have.firewalls.has(key)) want.firewalls.set(key, firewall);
  // Only what is too much is to go; what is missing is not this one's business.
  const rules = plan(have, want).filter(({ step }) => step === 'rule.delete' || step === 'chain.delete');
  return { steps: [...devices, ...rules], unnameable };
}
