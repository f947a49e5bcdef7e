import type { Logger } from 'pino';
import type { OperationAction, OperationOutcome } from '../db/operations.ts';
import type { Stored } from '../db/resources.ts';
import type { Store } from '../db/store.ts';
import type { Processes } from '../kernel/processes.ts';
import { refText, type Kind, type Ref } from '../schemas/common.ts';
import { apply, type Applied } from './apply.ts';
import { Draft, type Touched } from './draft.ts';
import { tiesOf } from './kinds.ts';
import { Problem, problemOfStore } from './problem.ts';
import { commandsOf, planChange, type PlannedChange } from './planned.ts';

/** Who asks, and how the log names the request. */
export interface Caller {
  actor: string;
  requestId: string;
}

/** One change asked for. */
export interface Change {
  action: OperationAction;
  kind: Kind;
  name: string;
  caller: Caller;
  /** Lays the change over the draft, or throws a problem. */
  prepare: (draft: Draft) => void;
}

/** What became of a change. Each has an entry in the journal, by its number. */
export interface Done {
  operation: number;
  /** False if all that was asked for was so already. */
  changed: boolean;
  resource: Stored | null;
  /** Whether the resource was there before. */
  existed: boolean;
}

export interface DryRun {
  commands: string[];
  changes: { action: 'create' | 'change' | 'delete'; kind: Kind; name: string }[];
}

/** A refused or failed change, with the number of its entry in the journal. */
export class ChangeRefused extends Error {
  override readonly name = 'ChangeRefused';
  readonly operation: number | null;
  readonly problem: unknown;

  constructor(operation: number | null, problem: unknown) {
    super(problem instanceof Error ? problem.message : String(problem), { cause: problem });
    this.operation = operation;
    this.problem = problem;
  }
}

export interface EngineDeps {
  store: Store;
  processes: Processes;
  log: Logger;
}

interface Waiting {
  change: Change;
  enteredAt: number;
  resolve: (done: Done) => void;
  reject: (error: unknown) => void;
}

/** So many changes go together at most: what fails with others is tried again alone. */
const LARGEST_BATCH = 128;

/**
 * The lane: changes go one batch at a time. Those that arrive while others run wait, and then go together:
 * one plan, the same few processes, one write to disk for all.
 */
export class Engine {
  readonly #deps: EngineDeps;
  readonly #waiting: Waiting[] = [];
  #running: Promise<void> | null = null;
  #stopped = false;

  constructor(deps: EngineDeps) {
    this.#deps = deps;
  }

  /** Makes the change; rejects with `ChangeRefused` if it was not made, with nothing changed. */
  async submit(change: Change): Promise<Done> {
    if (this.#stopped) throw new ChangeRefused(null, new Problem('shutting-down', 'netnsd is stopping; try again when it runs again'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ change, enteredAt: performance.now(), resolve, reject });
      this.#running ??= this.#drain();
    });
  }

  /** What the change would do. Nothing is recorded or done. */
  dryRun(change: Change): DryRun {
    const draft = this.#draft();
    change.prepare(draft);
    const planned = planChange(draft, this.#deps.store.sysctls);
    return { commands: commandsOf(planned.steps), changes: draft.touched.flatMap(describe) };
  }

  /** Finishes the changes in hand, and takes no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #drain(): Promise<void> {
    // Requests that arrived in the same turn of the event loop go together.
    await new Promise(setImmediate);
    while (this.#waiting.length > 0) await this.#runBatch(this.#waiting.splice(0, LARGEST_BATCH));
    this.#running = null;
  }

  async #runBatch(batch: readonly Waiting[]): Promise<void> {
    const draft = this.#draft();
    const accepted: (Waiting & { touched: Ref[] })[] = [];
    for (const waiting of batch) {
      const undo = draft.savepoint();
      const before = new Map(draft.touched.map((touched) => [refText(touched.ref), touched]));
      try {
        waiting.change.prepare(draft);
        const touched = draft.touched.filter((entry) => before.get(refText(entry.ref)) !== entry).map(({ ref }) => ref);
        if (touched.length === 0) this.#unchanged(waiting, draft);
        else accepted.push({ ...waiting, touched });
      } catch (error) {
        undo();
        this.#refuse(waiting, error);
      }
    }
    if (accepted.length === 0) return;
    try {
      await this.#make(draft, accepted);
    } catch (error) {
      // Only the one at fault is to fail.
      if (accepted.length > 1) for (const waiting of accepted) await this.#runBatch([waiting]);
      else for (const waiting of accepted) waiting.reject(error);
    }
  }

  /** Rejects for all if there are several, so that they can be tried alone; answers a single one itself. */
  async #make(draft: Draft, accepted: readonly (Waiting & { touched: Ref[] })[]): Promise<void> {
    const { store, processes, log } = this.#deps;
    const counter = processes.counter();
    const startedAt = new Date().toISOString();
    const isAlone = accepted.length === 1;
    const operations = this.#journal(draft, accepted, startedAt);
    const outcomeOf = (waiting: Waiting & { touched: Ref[] }, state: 'succeeded' | 'failed', applied: Applied | null, problem: unknown): OperationOutcome => {
      const own = new Set(waiting.touched.map(refText));
      const ran = applied?.ran.filter(({ step }) => own.has(refText(step.serves)) || isAlone) ?? [];
      const durationMs = Math.round((performance.now() - waiting.enteredAt) * 1000) / 1000;
      return { state, commands: ran.map(({ command }) => command), problem: describeProblem(problem), processes: counter.started(), durationMs };
    };
    const planned: PlannedChange = planChange(draft, store.sysctls);
    const applied = await apply({ store, processes: counter, log }, draft, planned, (results) => {
      store.commit(() => {
        for (const [at, waiting] of accepted.entries())
          store.operations.finish(operations[at] ?? 0, outcomeOf(waiting, 'succeeded', results, null));
        results.write();
      });
    });
    if (applied.problem !== null && !isAlone) {
      store.journal(() => store.operations.remove(operations));
      throw applied.problem;
    }
    for (const [at, waiting] of accepted.entries()) {
      const operation = operations[at] ?? 0;
      const outcome = outcomeOf(waiting, applied.problem === null ? 'succeeded' : 'failed', applied, applied.problem);
      if (applied.problem !== null) store.journal(() => store.operations.finish(operation, outcome));
      this.#logChange(waiting.change, operation, outcome);
      if (applied.problem !== null) waiting.reject(new ChangeRefused(operation, applied.problem));
      else waiting.resolve(this.#done(waiting.change, operation, draft));
    }
  }

  /** The before and after of every change is written before the kernel is touched. */
  #journal(draft: Draft, accepted: readonly (Waiting & { touched: Ref[] })[], startedAt: string): number[] {
    const { store } = this.#deps;
    const byRef = new Map(draft.touched.map((touched) => [refText(touched.ref), touched]));
    const sides = (touched: Ref[], side: 'before' | 'after'): unknown[] =>
      touched.map((ref) => ({ ...ref, resource: withoutObserved(byRef.get(refText(ref))?.[side] ?? null) }));
    try {
      return store.journal(() =>
        accepted.map(({ change, touched }) =>
          store.operations.begin({
            ...entryOf(change, startedAt),
            state: 'running',
            before: sides(touched, 'before'),
            after: sides(touched, 'after'),
          }),
        ),
      );
    } catch (error) {
      throw accepted.length === 1 ? new ChangeRefused(null, problemOfStore(error)) : problemOfStore(error);
    }
  }

  #unchanged(waiting: Waiting, draft: Draft): void {
    this.#answerAtOnce(waiting, 'unchanged', null, (operation) => {
      waiting.resolve({ ...this.#done(waiting.change, operation ?? 0, draft), changed: false });
    });
  }

  #refuse(waiting: Waiting, error: unknown): void {
    this.#answerAtOnce(waiting, 'refused', error, (operation) => {
      waiting.reject(new ChangeRefused(operation, error));
    });
  }

  #answerAtOnce(waiting: Waiting, state: 'unchanged' | 'refused', problem: unknown, answer: (operation: number | null) => void): void {
    const { store } = this.#deps;
    const durationMs = Math.round((performance.now() - waiting.enteredAt) * 1000) / 1000;
    const outcome = { state, problem: describeProblem(problem), durationMs };
    let operation: number | null = null;
    try {
      const entry = { ...entryOf(waiting.change, new Date().toISOString()), ...outcome };
      operation = store.journal(() => store.operations.begin(entry));
    } catch (error) {
      // Nothing was to be changed: that it can't be noted is no reason to answer otherwise.
      this.#deps.log.warn({ err: error }, 'the journal could not be written');
    }
    this.#logChange(waiting.change, operation, { ...outcome, processes: 0 });
    answer(operation);
  }

  #done({ kind, name }: Change, operation: number, draft: Draft): Done {
    const touched = draft.touched.find(({ ref }) => ref.kind === kind && ref.name === name);
    const existed = touched === undefined ? true : touched.before !== null;
    return { operation, changed: true, resource: this.#deps.store.resources.get(kind, name), existed };
  }

  /** One line a change: who, what, outcome, duration, processes. */
  #logChange({ action, kind, name, caller }: Change, operation: number | null, outcome: Partial<OperationOutcome>): void {
    const { state, durationMs, processes, problem } = outcome;
    this.#deps.log.info(
      { requestId: caller.requestId, actor: caller.actor, operation, action, resource: refText({ kind, name }), outcome: state, durationMs, processes, ...(problem == null ? {} : { problem }) },
      'change',
    );
  }

  #draft(): Draft {
    return new Draft(this.#deps.store.resources, tiesOf);
  }
}

function entryOf({ action, kind, name, caller }: Change, startedAt: string) {
  return {
    ...caller,
    action,
    kind,
    name,
    before: [],
    after: [],
    commands: [],
    problem: null,
    processes: 0,
    startedAt,
    durationMs: null,
  };
}

function withoutObserved(resource: Stored | null): unknown {
  if (resource === null) return null;
  const { observed: _observed, ...rest } = resource;
  return rest;
}

function describe({ ref: { kind, name }, before, after }: Touched): DryRun['changes'] {
  if (before === null && after === null) return [];
  const action = before === null ? 'create' : after === null ? 'delete' : 'change';
  return [{ action, kind, name }];
}

function describeProblem(problem: unknown): unknown {
  if (problem === null) return null;
  if (problem instanceof Problem) return { slug: problem.slug, detail: problem.message, ...problem.extras };
  return { slug: 'internal-error', detail: problem instanceof Error ? problem.message : String(problem) };
}
