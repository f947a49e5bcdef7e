import type { Logger } from 'pino';
import type { OperationOutcome } from '../db/operations.ts';
import type { Store } from '../db/store.ts';
import { CHAIN_MARK } from '../kernel/firewall.ts';
import type { Processes } from '../kernel/processes.ts';
import type { DeviceRef } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import { refText, type Kind, type Ref } from '../schemas/common.ts';
import type { Engine } from './engine.ts';
import { interfaceTie } from './interface.ts';
import { Journal, describeProblem } from './journal.ts';
import { millisecondsSince } from './outcome.ts';
import type { Pacing } from './pacing.ts';
import { Problem, problemOfCommand } from './problem.ts';
import { settle, type Settled } from './settle.ts';

interface Deps {
  store: Store;
  engine: Engine;
  processes: Processes;
  log: Logger;
  pacing: Pacing;
}

/** What became of resources that were to be mended. */
export interface Repaired {
  commands: OperationOutcome['commands'];
  /** Those on which something was done. */
  mended: Ref[];
  /** Those that could not be mended, and why. */
  failed: { ref: Ref; problem: Problem; /** Nothing was tried: it can't be now. */ isHopeless: boolean }[];
  processes: number;
}

/** How far a repair of many resources has come. */
interface Course {
  waiting: Map<string, Ref>;
  done: Set<string>;
  total: Repaired;
}

const ORDER: readonly Kind[] = ['link', 'nat', 'bridge', 'namespace'];

/** So many resources are put in order in one turn of the lane: changes wait no longer than that. */
const LARGEST_GROUP = 128;

/** Asked for by nobody: netnsd's own. */
const CALLER = { actor: 'netnsd', requestId: '' };

/** Mends resources that are not as they were asked for. */
export class Repairer {
  readonly #deps: Deps;
  readonly #journal: Journal;

  constructor(deps: Deps) {
    this.#deps = deps;
    this.#journal = new Journal(deps.store, deps.log);
  }

  /** Puts the resources in order, with all that they need and all that was lost with them. */
  async repair(refs: readonly Ref[]): Promise<Repaired> {
    const total: Repaired = { commands: [], mended: [], failed: [], processes: 0 };
    // Links bring their bridges and namespaces along, so that all of it takes as few processes as it can.
    const inOrder = refs.toSorted((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind));
    const course: Course = {
      waiting: new Map(inOrder.map((ref) => [refText(ref), ref])),
      done: new Set(),
      total,
    };
    while (course.waiting.size > 0) {
      const group = [...course.waiting.values()].slice(0, LARGEST_GROUP);
      for (const ref of group) {
        course.waiting.delete(refText(ref));
        course.done.add(refText(ref));
      }
      await this.#repairGroup(group, course);
    }
    return total;
  }

  /** What fails with others is tried again in halves, so that only the one at fault fails. */
  async #repairGroup(refs: readonly Ref[], course: Course): Promise<void> {
    const settled = await this.#deps.engine.inTurn(async () => this.#settleOnce(refs, course), refs);
    const [only, ...others] = refs;
    if (settled.failure !== null && only !== undefined) {
      const middle = Math.ceil(refs.length / 2);
      // Each part would wait as long again.
      if (settled.failure.failure.cause === 'timeout')
        for (const ref of refs) this.#fail(ref, problemOfCommand(settled.failure), course.total);
      else if (others.length === 0) this.#fail(only, problemOfCommand(settled.failure), course.total);
      else
        for (const half of [refs.slice(0, middle), refs.slice(middle)]) await this.#repairGroup(half, course);
      return;
    }
    // What is made anew has lost all that was in it, on it or attached to it: those that refer to it are mended too.
    for (const ref of referrersOfMade(this.#deps.store, settled.steps))
      if (!course.done.has(refText(ref))) course.waiting.set(refText(ref), ref);
  }

  async #settleOnce(refs: readonly Ref[], course: Course): Promise<Settled> {
    const { store } = this.#deps;
    const { total, waiting, done } = course;
    const start = performance.now();
    const processes = this.#deps.processes.counter();
    const [first, ...others] = refs;
    const single = others.length === 0 ? first : undefined;
    const entry = {
      action: 'repair',
      kind: single?.kind ?? null,
      name: single?.name ?? null,
      caller: CALLER,
    } as const;
    let operation: number | null = null;
    const settled = await settle(
      {
        store,
        processes,
        begin: (_steps, notes) => {
          if (operation === null) operation = this.#journal.beginRepair(entry, refs, notes);
          else this.#journal.note([operation], notes);
        },
      },
      { refs, mayBe: [], attempts: new Set(), sysctls: [], adoptions: [] },
    );
    const { ran } = settled;
    // What can't be set of a resource that is only looked at along with these is no failure of them.
    const own = new Set([...refs, ...settled.steps.map(({ serves }) => serves)].map(refText));
    const changed = [...settled.changed].find(([key]) => own.has(key));
    const failure = settled.failure ?? changed?.[1] ?? null;
    total.processes += processes.started();
    if (settled.steps.length > 0) {
      const outcome: OperationOutcome = {
        state: failure === null ? 'succeeded' : 'failed',
        // What was done leads to what is wanted: there is nothing to undo.
        undone: true,
        commands: ran.map(({ command }) => command),
        problem: failure === null ? null : describeProblem(problemOfCommand(failure)),
        processes: processes.started(),
        durationMs: millisecondsSince(start),
      };
      total.commands.push(...outcome.commands);
      if (operation !== null) this.#journal.fail(operation, outcome);
      this.#journal.log(entry, operation, outcome);
    }
    if (settled.failure !== null) return settled;
    const alongside = settled.covered.filter((ref) => waiting.delete(refText(ref)));
    for (const ref of alongside) done.add(refText(ref));
    const sharers = this.#sharersOf(settled).filter(
      (ref) => ![...refs, ...alongside].some((other) => refText(other) === refText(ref)),
    );
    this.#conclude([...refs, ...alongside, ...sharers], settled, total);
    return settled;
  }

  /**
   * All whose rules stand in chains, or need forwarding, that had to be put back: an attempt for one was one for each.
   * Otherwise what keeps changing such a thing would be fought once for each rule of the namespace.
   */
  #sharersOf({ steps, covered }: Settled): Ref[] {
    const namespaces = new Set(steps.flatMap(namespaceOfShared));
    if (namespaces.size === 0) return [];
    return covered.filter(({ kind, name }) => {
      const sharer =
        kind === 'nat' || kind === 'bridge' ? this.#deps.store.resources.get(kind, name)?.intent : undefined;
      const hasRules = sharer !== undefined && ('type' in sharer || sharer.firewall !== null);
      const namespace = hasRules ? sharer.namespace : undefined;
      return namespace !== undefined && namespaces.has(namespace);
    });
  }

  /** All that could be done was done: says so of each resource. */
  #conclude(refs: readonly Ref[], settled: Settled, total: Repaired): void {
    const { steps, changed, obstacles } = settled;
    const served = new Set([...steps.map(({ serves }) => serves), ...this.#sharersOf(settled)].map(refText));
    for (const ref of refs) {
      const obstacle = obstacles.get(refText(ref));
      const other = changed.get(refText(ref));
      if (other !== undefined) this.#fail(ref, problemOfCommand(other), total);
      else if (obstacle !== undefined) {
        this.#markFailed(ref, obstacle);
        total.failed.push({ ref, problem: new Problem('unprocessable', obstacle), isHopeless: true });
      } else if (served.has(refText(ref))) this.#countAttempt(ref, total);
      else this.#markFailed(ref, null);
    }
  }

  #countAttempt(ref: Ref, total: Repaired): void {
    const { streak, delayMs, isFight } = this.#deps.pacing.tried(refText(ref));
    total.mended.push(ref);
    this.#markFailed(
      ref,
      isFight
        ? `something else keeps changing it: it was mended ${streak} times in a row, and is left alone for ${delayMs / 1000} s now`
        : null,
    );
  }

  #fail(ref: Ref, problem: Problem, total: Repaired): void {
    this.#deps.pacing.tried(refText(ref));
    this.#markFailed(ref, problem.message);
    total.failed.push({ ref, problem, isHopeless: false });
  }

  #markFailed(ref: Ref, message: string | null): void {
    const { store, log } = this.#deps;
    try {
      if (store.resources.get(ref.kind, ref.name)?.failure === message) return;
      store.journal(() => store.resources.putFailure(ref, message));
    } catch (error) {
      log.warn({ err: error, resource: refText(ref) }, 'why it is failed could not be noted');
    }
  }
}

/** Where a step puts something back that all rules of a namespace share. */
function namespaceOfShared(step: Step): string[] {
  const isShared =
    step.step === 'chain.set' ||
    (step.step === 'rule.add' && step.rule.comment.startsWith(CHAIN_MARK)) ||
    (step.step === 'sysctl.set' &&
      interfaceOfSysctl(step.key) === null &&
      (step.serves.kind === 'nat' || step.serves.kind === 'bridge'));
  return isShared ? [step.namespace] : [];
}

/** Those that refer to what the steps make. */
function referrersOfMade(store: Store, steps: readonly Step[]): Ref[] {
  const made = steps.filter(({ step }) => step === 'namespace.add' || step === 'bridge.add');
  const refs = [
    ...made.flatMap(({ serves }) => store.resources.referrers(serves)),
    ...steps.flatMap((step) => placesMade(step).flatMap((place) => linksNeeding(store, place))),
  ];
  return [...new Map(refs.map((ref) => [refText(ref), ref])).values()];
}

/** The interfaces that a step makes. */
function placesMade(step: Step): DeviceRef[] {
  switch (step.step) {
    case 'veth.add':
      return [step.device, step.peer];
    case 'bridge.add':
    case 'macvlan.add':
    case 'vxlan.add':
    case 'tap.name':
      return [step.device];
    default:
      return [];
  }
}

function linksNeeding(store: Store, { namespace, name }: DeviceRef): Ref[] {
  return store.resources
    .needing({ namespace, what: interfaceTie(name) })
    .filter(({ kind }) => kind === 'link');
}
