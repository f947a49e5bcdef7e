import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Stored } from '../db/resources.ts';
import type { Store } from '../db/store.ts';
import type { OperationNotes } from '../db/operations.ts';
import type { SysctlBefore } from '../db/sysctls.ts';
import { CommandFailed } from '../kernel/errors.ts';
import { observe, type NamespaceIdentity } from '../kernel/observe.ts';
import { STEP_ALLOWANCE_MS, type Processes } from '../kernel/processes.ts';
import { run, type RunOutcome } from '../kernel/run.ts';
import type { Answer, Read } from '../kernel/sessions.ts';
import type { KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import { reboundNames } from '../plan/namespace.ts';
import { devicesExpected } from '../plan/plan.ts';
import { replan } from '../plan/replan.ts';
import { refText } from '../schemas/common.ts';
import type { Draft } from './draft.ts';
import {
  attemptsOf,
  checkNamespaces,
  identify,
  learnIdentities,
  recordMadeAnew,
  recordPutBack,
} from './identities.ts';
import { interfaceTie } from './interface.ts';
import { kindOf, tiesOf } from './kinds.ts';
import type { PlannedChange } from './planned.ts';
import { updatePortsSeen } from './ports.ts';
import { problemOfStore } from './problem.ts';
import { refusalOf } from './standing.ts';
import { changedSysctls, noteHostSysctls, noteReadings, releasedSysctls } from './sysctls.ts';
import { checkStillThere, withoutMissing } from './undo-target.ts';

export interface Applied {
  ran: RunOutcome['ran'];
  /** Null if the change is in the kernel and on disk; else both are as they were, if it could be undone. */
  problem: unknown;
  undone: boolean;
}

interface Results extends Applied {
  /** Writes the change to the store; to be called within the transaction that acknowledges it. */
  write: () => void;
}

interface Deps {
  store: Store;
  processes: Processes;
  log: Logger;
  /** How long it may take to make the change; undoing it may take as long as a tool. */
  timeLeftMs: number;
  /** Notes in the journal what is about to be acted upon; throws if it can't be written. */
  note: (notes: Pick<OperationNotes, 'attempts' | 'sysctls'>) => void;
}

/** At user.max_net_namespaces, what was just deleted still counts for up to an eighth of a second. */
const LIMIT_PATIENCE_MS = 2_000;
const LIMIT_PAUSE_MS = 100;

/**
 * Makes a planned change: in the kernel, then, by `commit`, in the store. If anything fails, the kernel is
 * looked at and planned back to what it was; what is true is what is observed, not what a tool said.
 */
export async function apply(
  deps: Deps,
  draft: Draft,
  planned: PlannedChange,
  commit: (results: Results) => void,
): Promise<Applied> {
  const ran: RunOutcome['ran'] = [];
  const identities = identify(draft, planned.want.namespaces.keys());
  const attempt = new Attempt(deps, draft, planned, identities, ran);
  try {
    const failure = await attempt.towardsIntent();
    if (failure !== null) return { ran, undone: await attempt.back(), problem: refusalOf(failure, draft) };
  } catch (error) {
    deps.log.error({ err: error }, 'a change failed for no reason that a tool gave; it is undone');
    return { ran, undone: await attempt.back(), problem: problemOfStore(error) };
  }
  try {
    commit({ ran, undone: true, problem: null, write: () => attempt.write() });
    return { ran, undone: true, problem: null };
  } catch (error) {
    deps.log.error({ err: error }, 'the store could not be written; the change is undone');
    return { ran, undone: await attempt.back(), problem: problemOfStore(error) };
  }
}

class Attempt {
  readonly #deps: Deps;
  readonly #draft: Draft;
  readonly #planned: PlannedChange;
  readonly #identities: Map<string, NamespaceIdentity>;
  readonly #ran: RunOutcome['ran'];
  readonly #sysctlsBefore: SysctlBefore[] = [];
  readonly #reads: { stored: Stored; reads: Read[] }[];
  #processes: Processes;
  #answers: Answer[] = [];
  /** What undoing leads to; null for what the change was planned from. */
  #target: KernelState | null = null;
  /** False until something may have been changed. */
  #touchedKernel = false;

  constructor(
    deps: Deps,
    draft: Draft,
    planned: PlannedChange,
    identities: Map<string, NamespaceIdentity>,
    ran: RunOutcome['ran'],
  ) {
    this.#deps = deps;
    this.#draft = draft;
    const { processes, timeLeftMs } = deps;
    this.#processes = processes.within(timeLeftMs + planned.steps.length * STEP_ALLOWANCE_MS);
    this.#planned = planned;
    this.#identities = identities;
    this.#ran = ran;
    this.#reads = draft.touched.flatMap(({ after }) =>
      after === null ? [] : [{ stored: after, reads: kindOf(after.kind).reads(after.intent) }],
    );
  }

  /** Gives the failure that stands, or null if the kernel has what is wanted. */
  async towardsIntent(): Promise<CommandFailed | null> {
    const { have, want, steps } = this.#planned;
    try {
      this.#noteSysctls(await noteHostSysctls(want));
      checkNamespaces(have, steps, this.#identities);
    } catch (error) {
      if (error instanceof CommandFailed && error.failure.cause !== 'assumption') return error;
      if (!(error instanceof CommandFailed)) throw error;
      return this.#again(want);
    }
    const failure = await this.#make(have, steps);
    if (failure === null) return null;
    if (failure.failure.cause === 'assumption') return this.#again(want);
    return isNamespaceLimit(failure) ? this.#wait(failure, want) : failure;
  }

  /** Plans back to what was there; tells whether that worked. If not, the resources are marked as failed. */
  async back(): Promise<boolean> {
    if (!this.#touchedKernel) return true;
    const target = this.#target ?? this.#planned.have;
    const { timeoutMs } = this.#deps.processes;
    // What is left of the change's own time is none.
    this.#processes = this.#deps.processes.within(timeoutMs + this.#ran.length * STEP_ALLOWANCE_MS);
    let failure: unknown = null;
    for (let turn = 0; turn < UNDO_TURNS; turn++) {
      try {
        const observed = await this.#observe();
        const { steps } = replan(observed, target, this.#ran);
        this.#noteUndoing(steps);
        failure = steps.length === 0 ? null : (await this.#run(observed, steps, [])).failure;
        if (failure !== null) continue;
        recordPutBack(this.#deps.store, target.namespaces.keys(), this.#identities);
        return true;
      } catch (error) {
        failure = error;
      }
    }
    this.#deps.log.error({ err: failure }, 'a change could not be undone');
    this.#markFailed(failure instanceof Error ? failure.message : String(failure));
    return false;
  }

  /** If that can't be written, the undoing is done all the same: it may be for that very reason. */
  #noteUndoing(steps: readonly Step[]): void {
    try {
      this.#deps.note({ attempts: attemptsOf(steps, this.#identities), sysctls: [] });
    } catch (error) {
      this.#deps.log.warn(
        { err: error },
        'the journal could not be written; the change is undone all the same',
      );
    }
  }

  /** Writes intents, what was learnt, and what was seen. */
  write(): void {
    const { resources, sysctls } = this.#deps.store;
    for (const { ref } of this.#draft.touched) resources.clearTies(ref);
    for (const { ref, before, after } of this.#draft.touched)
      if (after === null) {
        resources.delete(ref);
        if (ref.kind === 'namespace' && before !== null) sysctls.forget(ref.name);
      }
    const { have, want } = this.#planned;
    for (const { namespace, key } of releasedSysctls(have, want)) sysctls.forgetKey(namespace, key);
    for (const name of reboundNames(have, want)) sysctls.forget(name);
    for (const { namespace, key, value } of this.#sysctlsBefore) sysctls.remember(namespace, key, value);
    const answers = this.#answers.values();
    for (const { stored, reads } of this.#reads) {
      const result = kindOf(stored.kind).result(
        stored,
        reads.map(() => answers.next().value ?? null),
        this.#draft,
      );
      resources.put({ ...stored, observed: result.observed, assigned: result.assigned, failure: null });
    }
    for (const { stored } of this.#reads) resources.addTies(stored, tiesOf(stored));
    updatePortsSeen(resources, this.#draft.touched);
    recordMadeAnew(resources, this.#ran, this.#draft);
  }

  /** Something was not as assumed: look, and plan once more from what is there. */
  async #again(want: KernelState): Promise<CommandFailed | null> {
    try {
      const observed = await this.#observe();
      const [{ have }, changing] = [this.#planned, this.#changing()];
      checkStillThere(have, observed);
      this.#target ??= this.#ran.length === 0 ? observed : withoutMissing(have, observed, changing);
      const { steps } = replan(observed, want, this.#ran, changing);
      this.#deps.note({ attempts: attemptsOf(steps, this.#identities), sysctls: [] });
      return await this.#make(observed, steps);
    } catch (error) {
      if (error instanceof CommandFailed) return error;
      throw error;
    }
  }

  #changing(): Set<string> {
    return new Set(this.#draft.touched.flatMap(({ ref }) => (ref.kind === 'namespace' ? [ref.name] : [])));
  }

  async #wait(first: CommandFailed, want: KernelState): Promise<CommandFailed | null> {
    let failure: CommandFailed | null = first;
    const end = performance.now() + LIMIT_PATIENCE_MS;
    while (failure !== null && isNamespaceLimit(failure) && performance.now() < end) {
      await sleep(LIMIT_PAUSE_MS);
      failure = await this.#again(want);
    }
    return failure;
  }

  /** Runs what leads to the intent; what the kernel has made of the sysctls that were asked for is to be that. */
  async #make(have: KernelState, steps: readonly Step[]): Promise<CommandFailed | null> {
    const reads = this.#reads.flatMap((entry) => entry.reads);
    const { failure, written } = await this.#run(have, steps, reads);
    const { want, steps: asked } = this.#planned;
    return failure ?? changedSysctls(want, asked, written).values().next().value ?? null;
  }

  async #run(have: KernelState, steps: readonly Step[], reads: Read[]): Promise<RunOutcome> {
    this.#touchedKernel ||= steps.length > 0;
    const rebound = reboundNames(this.#planned.have, this.#planned.want);
    const outcome = await run(this.#processes, {
      steps,
      expected: devicesExpected(have, steps),
      reads,
      beforeWriting: (namespace, values, isBound) => {
        // In the namespace that bore the name before, values are only put back.
        if (!isBound && rebound.has(namespace)) return;
        this.#noteSysctls(noteReadings(this.#planned.want, new Map([[namespace, values]])));
      },
    });
    this.#ran.push(...outcome.ran);
    learnIdentities(this.#identities, outcome.ran);
    this.#answers = outcome.answers;
    return outcome;
  }

  #noteSysctls(sysctls: readonly SysctlBefore[]): void {
    this.#deps.note({ attempts: [], sysctls: [...sysctls] });
    this.#sysctlsBefore.push(...sysctls);
  }

  async #observe(): Promise<KernelState> {
    const { have, want } = this.#planned;
    const { resources } = this.#deps.store;
    return observe(this.#processes, {
      candidates: [have, want],
      identities: this.#identities,
      isClaimed: (namespace, name) => resources.claimant({ namespace, what: interfaceTie(name) }) !== null,
      isWhole: false,
    });
  }

  #markFailed(message: string): void {
    const { store, log } = this.#deps;
    try {
      store.commit(() => {
        for (const { ref, before } of this.#draft.touched)
          if (before !== null) store.resources.putFailure(ref, message);
      });
    } catch (error) {
      log.error(
        { err: error, resources: this.#draft.touched.map(({ ref }) => refText(ref)) },
        'the store could not be written',
      );
    }
  }
}

const UNDO_TURNS = 2;

function isNamespaceLimit({ failure, command }: CommandFailed): boolean {
  return failure.cause === 'refusal' && failure.refusal === 'limit-reached' && command.includes('netns add');
}
