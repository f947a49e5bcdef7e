import type { Logger } from 'pino';
import type { OperationOutcome } from '../db/operations.ts';
import type { Store } from '../db/store.ts';
import type { Processes } from '../kernel/processes.ts';
import { refText, type Ref } from '../schemas/common.ts';
import { apply, type Applied } from './apply.ts';
import { ChangeRefused, type Change, type Done, type DryRun } from './change.ts';
import { Draft, type Touched } from './draft.ts';
import { Journal, describeProblem } from './journal.ts';
import { tiesOf } from './kinds.ts';
import { commandsOf, planChange } from './planned.ts';
import { Problem, problemOfStore } from './problem.ts';

interface EngineDeps {
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

/** A change that can be, with the resources that it is about. */
interface Accepted extends Waiting {
  touched: Ref[];
}

/** So many changes go together at most: what fails with others is tried again alone. */
const LARGEST_BATCH = 128;

/**
 * The lane: changes go one batch at a time. Those that arrive while others run wait, and then go together:
 * one plan, the same few processes, one write to disk for all.
 */
export class Engine {
  readonly #deps: EngineDeps;
  readonly #journal: Journal;
  readonly #waiting: Waiting[] = [];
  #running: Promise<void> | null = null;
  /** The resources that are being changed, as text. */
  #inHand: ReadonlySet<string> = new Set();
  #stopped = false;

  constructor(deps: EngineDeps) {
    this.#deps = deps;
    this.#journal = new Journal(deps.store, deps.log);
  }

  /** Makes the change; rejects with `ChangeRefused` if it was not made, with nothing changed. */
  async submit(change: Change): Promise<Done> {
    if (this.#stopped)
      throw new ChangeRefused(null, new Problem('shutting-down', 'no new changes are taken'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ change, enteredAt: performance.now(), resolve, reject });
      this.#running ??= this.#drain();
    });
  }

  /** Whether changes are being made or wait. */
  get isBusy(): boolean {
    return this.#running !== null;
  }

  /** Whether the resource is being changed: what the kernel has of it may be either state, or between the two. */
  isChanging(ref: Ref): boolean {
    return this.#inHand.has(refText(ref));
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
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, LARGEST_BATCH);
      try {
        await this.#runBatch(batch);
      } catch (error) {
        // Nobody waits for ever, and the lane goes on, whatever went wrong; who is answered already stays so.
        this.#deps.log.error({ err: error }, 'a batch of changes failed');
        for (const waiting of batch) waiting.reject(error);
      }
    }
    this.#running = null;
  }

  async #runBatch(batch: readonly Waiting[]): Promise<void> {
    const draft = this.#draft();
    const accepted: Accepted[] = [];
    for (const [at, waiting] of batch.entries()) {
      // Two changes of one resource don't go together: each is answered with what it made of it, and what is
      // deleted and made again is made anew.
      if (draft.touches(waiting.change)) {
        this.#waiting.unshift(...batch.slice(at));
        break;
      }
      accepted.push(...this.#prepare(waiting, draft));
    }
    if (accepted.length === 0) return;
    try {
      this.#inHand = new Set(draft.touched.map(({ ref }) => refText(ref)));
      await this.#make(draft, accepted);
    } catch (error) {
      // Only the one at fault is to fail.
      if (accepted.length > 1) for (const waiting of accepted) await this.#runBatch([waiting]);
      else for (const waiting of accepted) waiting.reject(error);
    } finally {
      this.#inHand = new Set();
    }
  }

  /** Lays a change over the draft; answers at once what can't be, and what is so already. */
  #prepare(waiting: Waiting, draft: Draft): Accepted[] {
    const { change, enteredAt } = waiting;
    const takeBack = draft.savepoint();
    const before = new Map(draft.touched.map((touched) => [refText(touched.ref), touched]));
    const outcome = (state: 'refused' | 'unchanged', problem: unknown): OperationOutcome => ({
      state,
      commands: [],
      problem: describeProblem(problem),
      processes: 0,
      durationMs: millisecondsSince(enteredAt),
    });
    try {
      change.prepare(draft);
    } catch (error) {
      takeBack();
      const refused = outcome('refused', error);
      const operation = this.#journal.note(change, refused);
      this.#journal.log(change, operation, refused);
      waiting.reject(new ChangeRefused(operation, error));
      return [];
    }
    const touched = draft.touched.filter((entry) => before.get(refText(entry.ref)) !== entry);
    if (touched.length > 0) return [{ ...waiting, touched: touched.map(({ ref }) => ref) }];
    const unchanged = outcome('unchanged', null);
    const operation = this.#journal.note(change, unchanged);
    this.#journal.log(change, operation, unchanged);
    waiting.resolve({ ...this.#done(change, operation, draft), changed: false });
    return [];
  }

  /** Answers all, or throws: then nothing is changed, and several can be tried one by one. */
  async #make(draft: Draft, accepted: readonly Accepted[]): Promise<void> {
    const { store, log } = this.#deps;
    const processes = this.#deps.processes.counter();
    const isAlone = accepted.length === 1;
    const operations = this.#begin(draft, accepted);
    const numbered = accepted.map((waiting, at) => ({ waiting, operation: operations[at] ?? 0 }));
    const outcomeOf = ({ touched, enteredAt }: Accepted, { ran, problem }: Applied): OperationOutcome => {
      const own = new Set(touched.map(refText));
      return {
        state: problem === null ? 'succeeded' : 'failed',
        commands: ran.flatMap(({ step, command }) =>
          isAlone || own.has(refText(step.serves)) ? [command] : [],
        ),
        problem: describeProblem(problem),
        processes: processes.started(),
        durationMs: millisecondsSince(enteredAt),
      };
    };
    const planned = planChange(draft, store.sysctls);
    const applied = await apply({ store, processes, log }, draft, planned, (results) => {
      store.commit(() => {
        for (const { waiting, operation } of numbered)
          this.#journal.finish(operation, outcomeOf(waiting, results));
        results.write();
      });
    });
    if (applied.problem !== null && !isAlone) {
      this.#journal.drop(operations);
      throw new ChangeRefused(null, applied.problem);
    }
    for (const { waiting, operation } of numbered) {
      const outcome = outcomeOf(waiting, applied);
      if (applied.problem !== null) this.#journal.fail(operation, outcome);
      this.#journal.log(waiting.change, operation, outcome);
      if (applied.problem !== null) waiting.reject(new ChangeRefused(operation, applied.problem));
      else waiting.resolve(this.#done(waiting.change, operation, draft));
    }
  }

  #begin(draft: Draft, accepted: readonly Accepted[]): number[] {
    try {
      return this.#journal.begin(draft, accepted);
    } catch (error) {
      throw new ChangeRefused(null, problemOfStore(error));
    }
  }

  #done({ kind, name }: Change, operation: number | null, draft: Draft): Done {
    const touched = draft.touched.find(({ ref }) => ref.kind === kind && ref.name === name);
    const existed = touched === undefined ? true : touched.before !== null;
    return { operation, changed: true, resource: this.#deps.store.resources.get(kind, name), existed };
  }

  #draft(): Draft {
    return new Draft(this.#deps.store.resources, tiesOf);
  }
}

function describe({ ref: { kind, name }, before, after }: Touched): DryRun['changes'] {
  if (before === null && after === null) return [];
  const action = before === null ? 'create' : after === null ? 'delete' : 'change';
  return [{ action, kind, name }];
}

/** To the microsecond. */
function millisecondsSince(start: number): number {
  return Math.round((performance.now() - start) * 1000) / 1000;
}
