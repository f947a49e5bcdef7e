import type { Logger } from 'pino';
import type { OperationOutcome } from '../db/operations.ts';
import type { Store } from '../db/store.ts';
import { refText, type Ref } from '../schemas/common.ts';
import type { System } from '../schemas/inspect.ts';
import type { Processes } from '../kernel/processes.ts';
import type { Caller } from './change.ts';
import { sweep, type Sweep } from './drift.ts';
import { LaneClosed, type Engine, type Settled } from './engine.ts';
import { Journal } from './journal.ts';
import { millisecondsSince } from './outcome.ts';
import { Pacing } from './pacing.ts';
import { Problem } from './problem.ts';
import { recover } from './recovery.ts';
import { Repairer, type Repaired } from './repair.ts';
import { allRefs } from './scope.ts';
import type { Suspects } from './watch.ts';

/** `repair` mends what has drifted, `observe` only reports it, `off` does neither unless asked. */
export type ReconcileMode = System['reconcile']['mode'];

interface Deps {
  store: Store;
  engine: Engine;
  processes: Processes;
  log: Logger;
  mode: ReconcileMode;
  /** Between the end of one look at everything and the next. */
  intervalMs: number;
  /** Is told that something was mended. */
  onMended: () => void;
  /** Mends what no resource is about: the files by which namespaces find each other. */
  mendNames: () => Promise<void>;
}

export interface ReconcileReport {
  mode: ReconcileMode;
  intervalMs: number;
  lastSweep: Sweep | null;
  /** Whether everything was put in order once. */
  hasSettled: boolean;
}

/** Under this key, which is no resource's, undoing what was not finished has its pace. */
const RECOVERY = 'recovery';

/** After a failure that is not one of a resource (the store can't be written, say), nothing is tried for so long. */
const PAUSE_MS = 5_000;

/** Keeps what was asked for so: looks at start, when something is suspected, when asked, and every interval. */
export class Reconciler {
  readonly #deps: Deps;
  readonly #pacing = new Pacing();
  readonly #repairer: Repairer;
  readonly #journal: Journal;
  readonly #suspected = new Map<string, Ref>();
  #isEverythingSuspected = false;
  #working: Promise<void> | null = null;
  /** What clients have asked for and is not done yet. */
  readonly #asked = new Set<Promise<void>>();
  #wake: NodeJS.Timeout | null = null;
  #isStopped = false;
  #needsRecovery = false;
  #nextSweepAt = 0;
  #pausedUntil = 0;
  #lastSweep: Sweep | null = null;
  #hasSettled = false;

  constructor(deps: Deps) {
    this.#deps = deps;
    this.#repairer = new Repairer({ ...deps, pacing: this.#pacing });
    this.#journal = new Journal(deps.store, deps.log);
  }

  /** Undoes what was not finished when netnsd last ended; to be called before anything else may change the kernel. */
  async recover(): Promise<void> {
    this.#needsRecovery = !(await recover(this.#deps, this.#asked.size === 0));
    if (this.#needsRecovery) this.#pacing.tried(RECOVERY);
    else this.#pacing.forget(RECOVERY);
  }

  /** Begins to look, first at everything. */
  start(): void {
    if (this.#deps.mode === 'off') this.#hasSettled = true;
    this.#schedule();
  }

  /** Looks no more; resolves when what is being mended is. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#wake !== null) clearTimeout(this.#wake);
    await Promise.all([this.#working, ...this.#asked]);
  }

  /** Has suspects looked at soon. */
  suspect({ refs, everything }: Suspects): void {
    if (this.#deps.mode !== 'repair') return;
    for (const ref of refs) this.#suspected.set(refText(ref), ref);
    this.#isEverythingSuspected ||= everything;
    this.#schedule();
  }

  /** To be told of each change: what is asked for now was not tried yet, and what could not be undone is to be. */
  settled({ touched, isUndone }: Settled): void {
    for (const ref of touched) this.#pacing.forget(refText(ref));
    const { resources } = this.#deps.store;
    const dependents = touched.flatMap((ref) => resources.referrers(ref));
    const failed = dependents.filter(({ kind, name }) => resources.get(kind, name)?.failure !== null);
    if (failed.length > 0) this.suspect({ refs: failed, everything: false });
    if (isUndone) return;
    this.#needsRecovery = true;
    this.#schedule();
  }

  /** Looks at everything now, and changes nothing. */
  async drift(): Promise<Sweep> {
    return sweep(this.#deps.store, this.#deps.processes);
  }

  /** Puts one resource in order at once, because somebody has asked for it as it is recorded. */
  async mend(ref: Ref): Promise<Repaired> {
    return this.#repairer.repair([ref]);
  }

  /** Looks at everything and mends it because somebody asks, whatever the mode; gives the number of the operation. */
  reconcile(caller: Caller): { operation: number | null; done: Promise<void> } {
    const entry = { action: 'reconcile', kind: null, name: null, caller } as const;
    if (this.#isStopped) throw new Problem('shutting-down', 'nothing new is begun');
    const operation = this.#journal.beginRepair(entry, [], { attempts: [], sysctls: [] });
    if (operation === null) return { operation, done: Promise.resolve() };
    const finish = async (): Promise<void> => {
      const outcome = await this.#reconcile();
      this.#journal.fail(operation, outcome);
      this.#journal.log(entry, operation, outcome);
      this.#asked.delete(done);
    };
    const done = finish();
    this.#asked.add(done);
    return { operation, done };
  }

  /** For /system: what was last found, and whether everything was put in order once. */
  report(): ReconcileReport {
    const { mode, intervalMs } = this.#deps;
    return { mode, intervalMs, lastSweep: this.#lastSweep, hasSettled: this.#hasSettled };
  }

  async #reconcile(): Promise<OperationOutcome> {
    const start = performance.now();
    const outcome = (
      state: OperationOutcome['state'],
      problem: unknown,
      done: Partial<Repaired>,
    ): OperationOutcome => ({
      state,
      undone: true,
      commands: done.commands ?? [],
      problem,
      processes: done.processes ?? 0,
      durationMs: millisecondsSince(start),
    });
    try {
      if (this.#needsRecovery) await this.#deps.engine.inTurn(async () => this.recover());
      const found = await this.#sweep();
      const done = await this.#repairer.repair(found.drifted.map(({ ref }) => ref));
      done.processes += found.processes;
      await this.#deps.mendNames();
      this.#deps.onMended();
      if (done.failed.length > 0) {
        const references = done.failed.map(({ ref }) => ref);
        const detail = done.failed
          .map(({ ref, problem }) => `${refText(ref)}: ${problem.message}`)
          .join('; ');
        return outcome('failed', { slug: 'not-mended', detail, references }, done);
      }
      return outcome(done.mended.length > 0 ? 'succeeded' : 'unchanged', null, done);
    } catch (error) {
      this.#deps.log.error({ err: error }, 'reconciling failed');
      const detail = error instanceof Error ? error.message : String(error);
      return outcome('failed', { slug: 'internal-error', detail }, {});
    }
  }

  async #sweep(): Promise<Sweep> {
    const found = await sweep(this.#deps.store, this.#deps.processes);
    this.#lastSweep = found;
    return found;
  }

  /** Sets the clock to when there is something to do next. */
  #schedule(): void {
    if (this.#isStopped || this.#working !== null) return;
    if (this.#wake !== null) clearTimeout(this.#wake);
    const delayMs = this.#delayMs();
    if (delayMs === Infinity) return;
    this.#wake = setTimeout(() => {
      this.#working = this.#work().finally(() => {
        this.#working = null;
        this.#schedule();
      });
    }, delayMs);
    this.#wake.unref();
  }

  #delayMs(): number {
    const suspects = [...this.#suspected.keys()].map((key) => this.#pacing.delayOf(key));
    const sweepIn = this.#deps.mode === 'off' ? Infinity : Math.max(this.#nextSweepAt - performance.now(), 0);
    const recoveryIn =
      this.#needsRecovery && this.#deps.mode !== 'off' ? this.#pacing.delayOf(RECOVERY) : Infinity;
    const delayMs = Math.min(...suspects, this.#isEverythingSuspected ? 0 : sweepIn, recoveryIn);
    return Math.max(delayMs, this.#pausedUntil - performance.now());
  }

  async #work(): Promise<void> {
    try {
      if (this.#needsRecovery && this.#pacing.delayOf(RECOVERY) === 0)
        await this.#deps.engine.inTurn(async () => this.recover());
      if (this.#isEverythingSuspected || performance.now() >= this.#nextSweepAt)
        await this.#lookAtEverything();
      if (this.#deps.mode === 'repair') await this.#mendSuspects();
    } catch (error) {
      // The store may be unwritable, or a tool gone: what is to be done is still to be done, after a pause.
      if (!(error instanceof LaneClosed)) this.#deps.log.error({ err: error }, 'reconciling failed');
      this.#pausedUntil = performance.now() + PAUSE_MS;
    }
  }

  async #lookAtEverything(): Promise<void> {
    const { intervalMs, mode, log } = this.#deps;
    const wasSuspected = this.#isEverythingSuspected;
    this.#isEverythingSuspected = false;
    const { drifted } = await this.#sweep().catch((error: unknown) => {
      this.#isEverythingSuspected ||= wasSuspected;
      throw error;
    });
    this.#nextSweepAt = performance.now() + intervalMs;
    const found = new Set(drifted.map(({ ref }) => refText(ref)));
    if (drifted.length > 0) log.info({ drifted: [...found].slice(0, 20), count: found.size }, 'drift');
    for (const { ref } of drifted) this.#suspected.set(refText(ref), ref);
    if (mode === 'observe') {
      this.#suspected.clear();
      this.#hasSettled = true;
      return;
    }
    this.#clearFailures(found);
    if (mode === 'repair') await this.#deps.mendNames();
  }

  /** What is in order, and has been for a while, has not failed any more. */
  #clearFailures(drifted: ReadonlySet<string>): void {
    const { store } = this.#deps;
    for (const ref of allRefs(store)) {
      const key = refText(ref);
      if (drifted.has(key) || !this.#pacing.isQuiet(key)) continue;
      const stored = store.resources.get(ref.kind, ref.name);
      if (stored !== null && stored.failure !== null)
        store.journal(() => store.resources.putFailure(ref, null));
    }
  }

  async #mendSuspects(): Promise<void> {
    const due = [...this.#suspected].filter(([key]) => this.#pacing.delayOf(key) === 0);
    for (const [key] of due) this.#suspected.delete(key);
    if (due.length > 0) {
      this.#deps.log.debug({ suspects: due.map(([key]) => key) }, 'looking at suspects');
      const { failed } = await this.#repairer.repair(due.map(([, ref]) => ref)).catch((error: unknown) => {
        // How far it came is not known; what is in order by then is only looked at.
        for (const [key, ref] of due) this.#suspected.set(key, ref);
        throw error;
      });
      this.#deps.onMended();
      // What failed is tried again when its time has come; what can't be mended is looked at by the next sweep.
      for (const { ref, isHopeless } of failed) if (!isHopeless) this.#suspected.set(refText(ref), ref);
    }
    this.#hasSettled = true;
  }
}
