import pLimit from 'p-limit';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import { HOST } from '../schemas/common.ts';
import { AssumptionFailed, CommandFailed } from './errors.ts';
import type { Prelude } from './ip-session.ts';
import { deleteFlows } from './flows.ts';
import { ownInterface, parseInterfaces } from './interface.ts';
import type { Processes } from './processes.ts';
import { printCommand, type Rendered } from './render.ts';
import { restoreRules, type Note } from './restore.ts';
import { schedule, type Invocation } from './schedule.ts';
import { Sessions, type Answer, type BeforeWriting, type Read } from './sessions.ts';
import type { DeviceRef } from './state.ts';
import type { Step } from './step.ts';
import { changeByEthtool, changeByTc } from './tools.ts';
import { writeHostSysctl } from './sysctl.ts';

/** A step as it ran, as a person would have typed it; `exitCode` is null for what never told. */
interface RanCommand {
  command: string;
  exitCode: number | null;
  stderr: string;
}

interface Run {
  steps: readonly Step[];
  /** Devices that are there already and are about to be changed: each must bear our mark, or nothing is done. */
  expected: readonly ExpectedDevice[];
  reads: readonly Read[];
  /** Of the daemon's own namespace, whose sysctls can be read without a process, only called for those of interfaces. */
  beforeWriting?: BeforeWriting;
}

/** A device that bears our mark, or that is about to be given it and is known by its index until then. */
interface ExpectedDevice extends DeviceRef {
  foreign?: { index: number };
  unmarked?: { index: number };
}

/** What a run did, complete or not. */
export interface RunOutcome {
  /** Each command with the step that it is of, in the order in which they ended. */
  ran: { step: Step; command: RanCommand }[];
  answers: Answer[];
  /** What stood in the sysctls that were read or written before any was written, by namespace. */
  readings: ReadonlyMap<string, Record<string, string>>;
  /** What stands in those that were written: the kernel may have made something else of a value. */
  written: ReadonlyMap<string, Record<string, string>>;
  failure: CommandFailed | null;
}

/**
 * Carries a plan out in as few processes as it can: one a namespace for everything `ip` does there, the answers
 * of the reads included, and one a namespace and family for rules. Never throws for what a tool says:
 * the outcome has the first failure, and what had been run by then.
 */
export async function run(
  processes: Processes,
  { steps, expected, reads, beforeWriting }: Run,
): Promise<RunOutcome> {
  const sessions = new Sessions(processes, reads, beforeWriting ?? (() => undefined));
  const { readings, written } = sessions;
  const outcome: RunOutcome = { ran: [], answers: [], readings, written, failure: null };
  const turns = pLimit(PROCESSES_AT_ONCE);
  try {
    await checkMarks(sessions, expected);
    for (const stage of schedule(steps)) {
      await sessions.closeThoseBehindWhichThisChanges(stage);
      const results = await Promise.allSettled(
        stage.map((invocation) => turns(() => invoke(processes, sessions, invocation, outcome))),
      );
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    }
    await sessions.readBackHostSysctls(hostSysctlsIn(steps));
    for (const read of reads) outcome.answers.push(await sessions.answer(read));
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    outcome.failure = error;
  } finally {
    await sessions.close();
  }
  return outcome;
}

function hostSysctlsIn(steps: readonly Step[]): string[] {
  const keys = steps.flatMap((step) =>
    step.step === 'sysctl.set' && step.namespace === HOST ? [step.key] : [],
  );
  return [...new Set(keys)];
}

/** So many processes work side by side; more than a few a core gain nothing, and each start stops this one. */
const PROCESSES_AT_ONCE = 16;

/** A name may have passed to somebody else's device since the plan was made: look at what bears it first. */
async function checkMarks(sessions: Sessions, expected: readonly ExpectedDevice[]): Promise<void> {
  const byNamespace = Map.groupBy(expected, ({ namespace }) => namespace);
  await Promise.all(
    [...byNamespace].map(async ([namespace, devices]) => {
      const byName = new Map(devices.map((device) => [device.name, device]));
      const lines = [...byName.keys()].map((name) => `address show dev ${name}`);
      const answers = await (await sessions.of(namespace)).show(lines);
      for (const [at, device] of [...byName.values()].entries()) {
        const { name } = device;
        if (isExpected(device, answers[at] ?? [])) continue;
        throw new AssumptionFailed(
          `ip address show dev ${name}`,
          `${name} in ${namespace} is not the device that netnsd knows`,
        );
      }
    }),
  );
}

function isExpected({ name, foreign, unmarked }: ExpectedDevice, answer: readonly unknown[]): boolean {
  const known = foreign ?? unmarked;
  if (known === undefined) return ownInterface(name, answer) !== undefined;
  return parseInterfaces(answer).some((entry) => entry.name === name && entry.index === known.index);
}

async function invoke(
  processes: Processes,
  sessions: Sessions,
  { steps }: Invocation,
  outcome: RunOutcome,
): Promise<void> {
  const note = (done: Invocation['steps'], failure: CommandFailed | null): void => {
    for (const { step, rendered } of done)
      for (const command of printCommand(rendered)) {
        const ran =
          failure === null
            ? { command, exitCode: 0, stderr: '' }
            : { command, exitCode: failure.exitCode, stderr: failure.stderr };
        outcome.ran.push({ step, command: ran });
      }
  };
  const first = steps[0];
  if (first === undefined) return;
  if (first.rendered.tool === 'iptables') return restoreRules(processes, steps, first.rendered, note);
  if (first.rendered.tool === 'conntrack') return forgetFlows(processes, steps, note);
  if (first.rendered.namespace === HOST && first.rendered.tool === 'sysctl')
    return writeHostSysctls(sessions, steps, note);
  if (first.rendered.tool === 'tc') return changeByTc(processes, first.rendered.namespace, steps, note);
  if (first.rendered.tool === 'ethtool')
    return changeByEthtool(processes, first.rendered.namespace, steps, note);
  return changeInside(sessions, first.rendered.namespace, steps, note);
}

async function forgetFlows(processes: Processes, steps: Invocation['steps'], note: Note): Promise<void> {
  const flows = steps.flatMap(({ rendered }) => (rendered.tool === 'conntrack' ? [rendered.flows] : []));
  // What comes after still has as much time: a walk through the table of a busy machine is long, and fails no change.
  const bounded = processes.within(processes.remainingMs() / 2);
  const failures = await deleteFlows(bounded, steps[0]?.rendered.namespace ?? HOST, flows);
  for (const [at, step] of steps.entries()) note([step], failures[at] ?? null);
}

async function writeHostSysctls(sessions: Sessions, steps: Invocation['steps'], note: Note): Promise<void> {
  await sessions.noteHostSysctls(
    steps.flatMap(({ rendered }) =>
      rendered.tool === 'sysctl' && interfaceOfSysctl(rendered.key) !== null ? [rendered.key] : [],
    ),
  );
  for (const entry of steps) {
    if (entry.rendered.tool !== 'sysctl') continue;
    try {
      await writeHostSysctl(entry.rendered.key, entry.rendered.value);
    } catch (error) {
      if (error instanceof CommandFailed) note([entry], error);
      throw error;
    }
    note([entry], null);
  }
}

async function changeInside(
  sessions: Sessions,
  namespace: string,
  steps: Invocation['steps'],
  note: Note,
): Promise<void> {
  // Runs of sysctls and runs of lines for `ip`, in the order of the plan.
  let rest = steps;
  while (rest.length > 0) {
    const isSysctl = rest[0]?.rendered.tool === 'sysctl';
    const end = rest.findIndex(({ rendered }) => (rendered.tool === 'sysctl') !== isSysctl);
    const part = end === -1 ? rest : rest.slice(0, end);
    rest = end === -1 ? [] : rest.slice(end);
    try {
      if (isSysctl)
        await sessions.startWith(
          namespace,
          part.flatMap(({ rendered }) => preludeOf(rendered)),
        );
      else
        await (
          await sessions.of(namespace)
        ).change(part.flatMap(({ rendered }) => (rendered.tool === 'ip' ? [rendered.line] : [])));
    } catch (error) {
      if (error instanceof CommandFailed) noteUntil(part, error, note);
      throw error;
    }
    note(part, null);
  }
}

/**
 * The lines before the one that failed were carried out; those after it were not looked at. A process that was ended
 * does not tell how far it came: then none is known to have been carried out.
 */
function noteUntil(part: Invocation['steps'], failure: CommandFailed, note: Note): void {
  if (failure.exitCode === null) {
    note(part, failure);
    return;
  }
  const at = part.findIndex(({ rendered }) => printCommand(rendered)[0] === failure.command);
  note(part.slice(0, Math.max(at, 0)), null);
  note(at === -1 ? part : part.slice(at, at + 1), failure);
}

function preludeOf(rendered: Rendered): Prelude[] {
  return rendered.tool === 'sysctl' ? [{ do: 'write', key: rendered.key, value: rendered.value }] : [];
}
