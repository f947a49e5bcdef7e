import type { OperationNotes } from '../db/operations.ts';
import type { Stored, Tie } from '../db/resources.ts';
import type { Store } from '../db/store.ts';
import type { SysctlBefore } from '../db/sysctls.ts';
import { CommandFailed } from '../kernel/errors.ts';
import { boundAs, boundInode } from '../kernel/namespace.ts';
import { observe, type NamespaceIdentity } from '../kernel/observe.ts';
import { STEP_ALLOWANCE_MS, type Processes } from '../kernel/processes.ts';
import { run, type RunOutcome } from '../kernel/run.ts';
import type { KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import { withForeign } from '../plan/marks.ts';
import { compile, devicesExpected } from '../plan/plan.ts';
import { replan } from '../plan/replan.ts';
import type { Adoption } from '../schemas/adoption.ts';
import { refText, type Ref } from '../schemas/common.ts';
import { attemptsOf, learnIdentities, newIdentities } from './identities.ts';
import { Draft } from './draft.ts';
import { interfaceTie } from './interface.ts';
import { kindOf, tiesOf } from './kinds.ts';
import { portsChangedBy } from './ports.ts';
import { leadsTo, intentsOfLinks, reflectingEnds } from './reflecting.ts';
import { compileScope, indexesOf, placed, scopeOf, sysctlsBeforeOf, type Scope } from './scope.ts';
import { isTakenRoute, replacingRoutes } from './replaced-routes.ts';
import { absentSysctls, changedSysctls, noteHostSysctls, noteReadings } from './sysctls.ts';

/** What to put in order, and what is known of how it may be otherwise. */
export interface Unsettled {
  refs: readonly Ref[];
  /** Sets of resources that may be in the kernel in place of what is recorded, each as one change was to make it. */
  mayBe: readonly (readonly Stored[])[];
  /** Names that were free when netnsd tried to bind them: what bears one of them is its own. */
  attempts: ReadonlySet<string>;
  /** What stood in sysctls that may have been written, and that nothing is recorded of yet. */
  sysctls: readonly SysctlBefore[];
  /** What was somebody else's, and is to be so again. */
  adoptions: readonly Adoption[];
}

export interface Settled {
  /** Empty if all was in order. */
  steps: readonly Step[];
  ran: RunOutcome['ran'];
  /** Null if all that can be put in order is. */
  failure: CommandFailed | null;
  /**
   * By `refText`, what the kernel does not take as it was recorded, and as it would be refused now: all else was done, and
   * to do that once more would lead to the same.
   */
  changed: ReadonlyMap<string, CommandFailed>;
  /** Why resources can't be put in order now, by `refText`. */
  obstacles: ReadonlyMap<string, string>;
  /** What was put in order: the resources that were asked for, and all that was looked at with them. */
  covered: readonly Ref[];
}

interface Deps {
  store: Store;
  processes: Processes;
  /** Is told, before anything is done, which steps are about to be; throws if that can't be noted. */
  begin: (steps: readonly Step[], notes: Pick<OperationNotes, 'attempts' | 'sysctls'>) => void;
}

/**
 * Makes the kernel have what is recorded of the resources, from whatever is there: observe, plan, apply. To be called in
 * the lane. What was done stays done if something fails: every step leads to what is wanted.
 */
export async function settle(deps: Deps, unsettled: Unsettled): Promise<Settled> {
  const first = await new Settlement(deps, unsettled).run();
  // Something was not as it had just been seen: look once more. Or another route stands where one of ours is to.
  const isRouteTaken = isTakenRoute(first.failure);
  if (first.failure?.failure.cause !== 'assumption' && !isRouteTaken) return first;
  // Names that were bound meanwhile, perhaps by half, are netnsd's.
  const bound = first.steps.flatMap((step) => (step.step === 'namespace.add' ? [step.namespace] : []));
  const attempts = new Set([...unsettled.attempts, ...bound]);
  const second = await new Settlement(deps, { ...unsettled, attempts }, isRouteTaken).run(first.ran);
  return { ...second, steps: [...first.steps, ...second.steps], ran: [...first.ran, ...second.ran] };
}

class Settlement {
  readonly #deps: Deps;
  readonly #unsettled: Unsettled;
  readonly #scope: Scope;
  readonly #want: KernelState;
  readonly #candidates: KernelState[];
  readonly #identities: Map<string, NamespaceIdentity>;
  readonly #sysctls: SysctlBefore[] = [];
  readonly #replacesRoutes: boolean;

  /** @param replacesRoutes whether routes of others by devices of ours are replaced where ours are to stand */
  constructor(deps: Deps, unsettled: Unsettled, replacesRoutes = false) {
    this.#deps = deps;
    this.#replacesRoutes = replacesRoutes;
    this.#unsettled = unsettled;
    const { store } = deps;
    const others = unsettled.mayBe.flat();
    const besides = others.flatMap((other) => {
      const { references, needs } = tiesOf(other);
      const sharers = needs.flatMap((need) => store.resources.needing(need));
      return [...references, ...sharers, ...portsChangedBy(other, store.resources)];
    });
    this.#scope = scopeOf(store, [...unsettled.refs, ...besides], unsettled.attempts);
    const before = sysctlsBeforeOf(store, this.#scope);
    for (const { namespace, key, value } of unsettled.sysctls)
      if (!before.has(`${namespace} ${key}`)) before.set(`${namespace} ${key}`, value);
    const sides = unsettled.mayBe.map((side) => this.#compileSide(side, before));
    // What is recorded since is netnsd's.
    const adoptions = unsettled.adoptions.filter(
      ({ kind, name }) => store.resources.get(kind, name) === null,
    );
    this.#want = withAdopted(compileScope(this.#scope, before), sides, adoptions);
    this.#candidates = [this.#want, ...sides];
    this.#identities = this.#identify();
  }

  /** @param tried what an earlier attempt has run */
  async run(tried: RunOutcome['ran'] = []): Promise<Settled> {
    const { obstacles } = this.#scope;
    const covered = [...this.#scope.resources.values()].map(({ kind, name }) => ({ kind, name }));
    try {
      const have = await this.#observe();
      const planned = replan(have, this.#want, tried);
      const absent = absentSysctls(planned.absent);
      const steps = this.#replacesRoutes
        ? await replacingRoutes(this.#deps.processes, planned.steps, have)
        : planned.steps;
      if (steps.length === 0) {
        this.#write([]);
        return { steps, ran: [], failure: null, changed: absent, obstacles, covered };
      }
      this.#sysctls.push(...(await noteHostSysctls(this.#want)));
      const attempts = attemptsOf(steps, this.#identities);
      this.#deps.begin(steps, { attempts, sysctls: this.#sysctls });
      const { ran, failure, written } = await this.#carryOut(have, steps);
      const changed = new Map([...changedSysctls(this.#want, steps, written), ...absent]);
      return { steps, ran, failure, changed, obstacles, covered };
    } catch (error) {
      if (error instanceof CommandFailed)
        return { steps: [], ran: [], failure: error, changed: new Map(), obstacles, covered };
      throw error;
    }
  }

  /** As a change was to make it, beside what is recorded; what lacks something that it names is nowhere. */
  #compileSide(side: readonly Stored[], sysctlsBefore: ReadonlyMap<string, string>): KernelState {
    const resources = new Map([...this.#scope.resources].map(([key, stored]) => [key, placed(stored)]));
    for (const stored of side) resources.set(refText(stored), placed(stored));
    for (const stored of side)
      if (!tiesOf(stored).references.every((ref) => resources.has(refText(ref))))
        resources.delete(refText(stored));
    const isTarget = (tie: Tie): boolean =>
      this.#deps.store.resources.needing(tie).length > 0 || side.some((stored) => leadsTo(tie, stored));
    const reflecting = reflectingEnds(intentsOfLinks([...this.#scope.resources.values(), ...side]), isTarget);
    return compile({ resources, reflecting, otherFirewalls: new Set(), sysctlsBefore });
  }

  #identify(): Map<string, NamespaceIdentity> {
    const identities = new Map<string, NamespaceIdentity>();
    for (const name of this.#candidates.flatMap(({ namespaces }) => [...namespaces.keys()])) {
      const recorded = this.#deps.store.resources.get('namespace', name);
      const inode = recorded === null ? null : boundAs(name, recorded.assigned);
      if (inode !== null) identities.set(name, { inode });
      else if (this.#unsettled.attempts.has(name)) identities.set(name, { attempted: true });
    }
    return identities;
  }

  async #observe(): Promise<KernelState> {
    const { store, processes } = this.#deps;
    const found = await observe(processes, {
      candidates: this.#candidates,
      identities: this.#identities,
      isClaimed: (namespace, name) =>
        store.resources.claimant({ namespace, what: interfaceTie(name) }) !== null,
      isWhole: true,
      indexes: indexesOf(this.#scope),
    });
    // What bears the name of an attempt and is not of it is somebody else's.
    for (const [name, identity] of this.#identities)
      if ('attempted' in identity && !found.namespaces.has(name) && boundInode(name) !== null)
        this.#identities.delete(name);
    return found;
  }

  async #carryOut(have: KernelState, steps: readonly Step[]): Promise<RunOutcome> {
    const { processes, begin } = this.#deps;
    const keys = new Set([...this.#unsettled.refs, ...steps.map(({ serves }) => serves)].map(refText));
    const asked = [...keys].flatMap((key) => this.#scope.resources.get(key) ?? []);
    const reads = asked.map((stored) => ({ stored, reads: kindOf(stored.kind).reads(stored.intent) }));
    const outcome = await run(processes.within(processes.timeoutMs + steps.length * STEP_ALLOWANCE_MS), {
      steps,
      expected: devicesExpected(have, steps),
      reads: reads.flatMap((entry) => entry.reads),
      beforeWriting: (namespace, values) => {
        const noted = noteReadings(this.#want, new Map([[namespace, values]]));
        if (noted.length > 0) begin(steps, { attempts: [], sysctls: noted });
        this.#sysctls.push(...noted);
      },
    });
    learnIdentities(this.#identities, outcome.ran);
    const draft = new Draft(this.#deps.store.resources, tiesOf);
    const answers = outcome.answers.values();
    const seen =
      outcome.failure === null
        ? reads.map((entry) => {
            const answered = entry.reads.map(() => answers.next().value ?? null);
            return {
              stored: entry.stored,
              ...kindOf(entry.stored.kind).result(entry.stored, answered, draft),
            };
          })
        : [];
    this.#write(seen);
    return outcome;
  }

  /** Writes what was learnt and seen. If power fails, the kernel's state is gone as well: no need to wait for the disk. */
  #write(seen: readonly { stored: Stored; observed: unknown; assigned: Stored['assigned'] }[]): void {
    const { resources, sysctls, journal } = this.#deps.store;
    journal(() => {
      for (const { namespace, key, value } of this.#sysctls) sysctls.remember(namespace, key, value);
      const { store } = this.#deps;
      for (const { name, assigned } of newIdentities(store, this.#want.namespaces.keys(), this.#identities))
        resources.putAssigned({ kind: 'namespace', name }, assigned);
      for (const { stored, observed, assigned } of seen) {
        resources.putObserved(stored, observed);
        // Of a namespace it is noted above, of one that was not asked for too.
        if (stored.kind !== 'namespace') resources.putAssigned(stored, assigned);
      }
    });
  }
}

/** What was being adopted is to be there still, with the marks that it had. */
function withAdopted(
  want: KernelState,
  sides: readonly KernelState[],
  adoptions: readonly Adoption[],
): KernelState {
  const keys = new Set(adoptions.flatMap(({ devices }) => Object.keys(devices)));
  const adopted = sides.flatMap(({ devices }) => [...devices].filter(([key]) => keys.has(key)));
  return withForeign({ ...want, devices: new Map([...want.devices, ...adopted]) }, adoptions);
}
