import type { Logger } from 'pino';
import type { OperationOutcome } from '../db/operations.ts';
import type { Store } from '../db/store.ts';
import type { Processes } from '../kernel/processes.ts';
import { refText, type Ref } from '../schemas/common.ts';
import { apply, type Applied } from './apply.ts';
import { ChangeRefused, type Change, type Done, type DryRun } from './change.ts';
import { Draft } from './draft.ts';
import { InHand } from './in-hand.ts';
import { Journal, describeProblem } from './journal.ts';
import { actionOf, millisecondsSince, untried } from './outcome.ts';
import { tiesOf } from './kinds.ts';
import { attemptsOf, identify } from './identities.ts';
import { commandsOf, planChange, type PlannedChange } from './planned.ts';
import { Problem, problemOfStore } from './problem.ts';
import { Queue, type Waiting } from './queue.ts';

interface EngineDeps {
  store: Store;
  processes: Processes;
  log: Logger;
  /** A change that is not made by then, counted from when it was asked for, is undone. */
  changeTimeoutMs: number;
  /** Is told of what was changed, after it was acknowledged, and of what could not be undone. */
  onSettled?: (settled: Settled) => void;
}

export interface Settled {
  touched: readonly Ref[];
  isUndone: boolean;
}

/** A change that can be, with the resources that it is about. */
interface Accepted extends Waiting {
  touched: Ref[];
}

/**
 * The lane: changes go one batch at a time. Those that arrive while others run wait, and then go together:
 * one plan, the same few processes, one write to disk for all.
 */
export class Engine {
  readonly #deps: EngineDeps;
  readonly #journal: Journal;
  readonly #queue: Queue;
  #running: Promise<void> | null = null;
  readonly #inHand = new InHand();
  #stopped = false;

  constructor(deps: EngineDeps) {
    this.#deps = deps;
    this.#journal = new Journal(deps.store, deps.log);
    this.#queue = new Queue({
      timeoutMs: deps.changeTimeoutMs,
      onExpired: (waiting) => this.#refuse(waiting, this.#tooLate()),
    });
  }

  /** Makes the change; rejects with `ChangeRefused` if it was not made, with nothing changed. */
  async submit(change: Change): Promise<Done> {
    if (this.#stopped)
      throw new ChangeRefused(null, new Problem('shutting-down', 'no new changes are taken'));
    return new Promise((resolve, reject) => {
      this.#queue.add({ change, enteredAt: performance.now(), isAlone: false, resolve, reject });
      this.#running ??= this.#drain();
    });
  }

  /** Has the lane to itself while it runs: no change is made meanwhile. Rejects if the lane is closed. */
  async inTurn<T>(run: () => Promise<T>, refs: readonly Ref[] = []): Promise<T> {
    if (this.#stopped) throw new LaneClosed();
    return new Promise((resolve, reject) => {
      const turn = async (): Promise<void> => {
        this.#inHand.begin(refs);
        await run().then(resolve, reject);
        this.#inHand.end();
      };
      this.#queue.add({ run: turn });
      this.#running ??= this.#drain();
    });
  }

  /** Whether changes are being made or wait. */
  get isBusy(): boolean {
    return this.#running !== null;
  }

  /** Whether the resource is being changed, or was so lately that the kernel may still be telling of it. */
  isChanging(ref: Ref): boolean {
    return this.#inHand.has(ref);
  }

  /** What the change would do. Nothing is recorded or done. */
  dryRun(change: Change): DryRun {
    const draft = this.#draft();
    change.prepare(draft);
    const planned = planChange(draft, this.#deps.store.sysctls);
    return { commands: commandsOf(planned.steps), changes: draft.touched.flatMap(actionOf) };
  }

  /** Finishes the changes in hand, and takes no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #drain(): Promise<void> {
    // Requests that arrived in the same turn of the event loop go together.
    await new Promise(setImmediate);
    for (let next = this.#queue.take(); next !== null; next = this.#queue.take()) {
      if ('run' in next) await next.run();
      else await this.#runTogether(next);
    }
    this.#running = null;
  }

  async #runTogether(taken: readonly Waiting[]): Promise<void> {
    try {
      await Promise.all(
        taken.map(async (waiting) => waiting.change.survey?.(this.#queue.timeLeftMs(waiting))),
      );
      await this.#runBatch(this.#queue.begin(taken));
    } catch (error) {
      // Nobody waits for ever, and the lane goes on; who is answered already stays so.
      this.#deps.log.error({ err: error }, 'a batch of changes failed');
      for (const waiting of this.#queue.leave(taken)) waiting.reject(error);
    }
  }

  /** What is said of a change that was kept waiting for too long; nothing was tried. */
  #tooLate(): Problem {
    const seconds = this.#deps.changeTimeoutMs / 1000;
    return new Problem(
      'timeout',
      `what came before this change took more than ${seconds} s; nothing was changed, try again`,
    );
  }

  async #runBatch(batch: readonly Waiting[]): Promise<void> {
    const draft = this.#draft();
    const accepted: Accepted[] = [];
    for (const [at, waiting] of batch.entries()) {
      // Two changes of one resource don't go together: each is answered with what it made of it, and what is
      // deleted and made again is made anew. What is adopted goes alone.
      if (draft.excludes(waiting.change)) {
        this.#queue.putBack(batch.slice(at));
        break;
      }
      accepted.push(...this.#prepare(waiting, draft));
    }
    if (accepted.length === 0) return;
    try {
      this.#inHand.begin(draft.touched.map(({ ref }) => ref));
      await this.#make(draft, accepted);
    } catch (error) {
      // Only the one at fault is to fail.
      if (accepted.length > 1)
        this.#queue.putBack(accepted.map((waiting) => ({ ...waiting, isAlone: true })));
      else for (const waiting of accepted) waiting.reject(error);
    } finally {
      this.#inHand.end();
    }
  }

  /** Lays a change over the draft; answers at once what can't be, and what is so already. */
  #prepare(waiting: Waiting, draft: Draft): Accepted[] {
    const { change, enteredAt } = waiting;
    const takeBack = draft.savepoint();
    const before = new Map(draft.touched.map((touched) => [refText(touched.ref), touched]));
    try {
      change.prepare(draft);
    } catch (error) {
      takeBack();
      this.#refuse(waiting, error);
      return [];
    }
    const touched = draft.touched.filter((entry) => before.get(refText(entry.ref)) !== entry);
    if (touched.length > 0) return [{ ...waiting, touched: touched.map(({ ref }) => ref) }];
    const unchanged = untried('unchanged', null, enteredAt);
    const operation = this.#journal.noteEnded(change, unchanged);
    this.#journal.log(change, operation, unchanged);
    waiting.resolve({ ...this.#done(change, operation, draft), changed: false });
    return [];
  }

  #refuse({ change, enteredAt, reject }: Waiting, problem: unknown): void {
    const refused = untried('refused', problem, enteredAt);
    const operation = this.#journal.noteEnded(change, refused);
    this.#journal.log(change, operation, refused);
    reject(new ChangeRefused(operation, problem));
  }

  /** Answers all, or throws: then nothing is changed, and several can be tried one by one. */
  async #make(draft: Draft, accepted: readonly Accepted[]): Promise<void> {
    const { store, log } = this.#deps;
    const processes = this.#deps.processes.counter();
    const isAlone = accepted.length === 1;
    const planned = planChange(draft, store.sysctls);
    const operations = this.#begin(draft, accepted, planned);
    const numbered = accepted.map((waiting, at) => ({ waiting, operation: operations[at] ?? 0 }));
    const outcomeOf = (
      { touched, enteredAt, change }: Accepted,
      { ran, problem, undone }: Applied,
    ): OperationOutcome => {
      const own = new Set(touched.map(refText));
      return {
        state: problem === null ? 'succeeded' : 'failed',
        undone,
        commands: ran.flatMap(({ step, command }) =>
          isAlone || own.has(refText(step.serves)) ? [command] : [],
        ),
        problem: describeProblem(problem),
        processes: processes.started() + (change.surveyed?.() ?? 0),
        durationMs: millisecondsSince(enteredAt),
      };
    };
    const timeLeftMs = Math.min(...accepted.map((waiting) => this.#queue.timeLeftMs(waiting)));
    const note: Parameters<typeof apply>[0]['note'] = (notes) => this.#journal.note(operations, notes);
    const applied = await apply({ store, processes, log, timeLeftMs, note }, draft, planned, (results) => {
      store.commit(() => {
        for (const { waiting, operation } of numbered)
          this.#journal.finish(operation, outcomeOf(waiting, results));
        results.write();
        for (const { waiting, operation } of numbered)
          waiting.change.onCommit?.(this.#done(waiting.change, operation, draft));
      });
    });
    this.#deps.onSettled?.({ touched: draft.touched.map(({ ref }) => ref), isUndone: applied.undone });
    // What could not be undone stays in the journal until it is.
    if (applied.problem !== null && applied.undone && !isAlone) {
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

  #begin(draft: Draft, accepted: readonly Accepted[], { steps, want }: PlannedChange): number[] {
    try {
      return this.#journal.begin(draft, accepted, attemptsOf(steps, identify(draft, want.namespaces.keys())));
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

/** The lane takes nothing any more. */
export class LaneClosed extends Problem {
  constructor() {
    super('shutting-down', 'no new changes are taken');
  }
}
