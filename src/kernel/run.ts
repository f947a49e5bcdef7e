import { readFile, writeFile } from 'node:fs/promises';
import { HOST } from '../schemas/common.ts';
import { AssumptionFailed, CommandFailed } from './errors.ts';
import { iptablesCommand } from './firewall.ts';
import { IpSession, sysctlFile, type Prelude } from './ip-session.ts';
import { parseInterfaces } from './interface.ts';
import type { Processes } from './processes.ts';
import { printCommand, type Rendered } from './render.ts';
import { schedule, type Invocation } from './schedule.ts';
import type { DeviceRef } from './state.ts';
import type { Step } from './step.ts';

/** A step as it ran, as a person would have typed it; `exitCode` is null for what never told. */
export interface RanCommand {
  command: string;
  exitCode: number | null;
  stderr: string;
}

/** Something to be read inside one namespace once the plan is done. */
export interface Read {
  namespace: string;
  /** `show` lines for `ip -batch`. */
  lines: string[];
  /** Sysctls as they were **before** the plan changed any. */
  sysctls: string[];
}

export interface Answer {
  /** One array a line of the read. */
  shown: unknown[][];
  sysctls: Record<string, string>;
}

export interface Run {
  steps: readonly Step[];
  /** Devices that are there already and are about to be changed: each must bear our mark, or nothing is done. */
  expected: readonly DeviceRef[];
  reads: readonly Read[];
}

/** What a run did, complete or not. */
export interface RunOutcome {
  commands: RanCommand[];
  /** Those of the commands that serve a resource, by their place in the plan. */
  ran: { step: Step; command: RanCommand }[];
  answers: Answer[];
  failure: CommandFailed | null;
}

/**
 * Carries a plan out in as few processes as it can: one a namespace for everything `ip` does there, the answers
 * of the reads included, and one a namespace and family for rules. Never throws for what a tool says:
 * the outcome has the first failure, and what had been run by then.
 */
export async function run(processes: Processes, { steps, expected, reads }: Run): Promise<RunOutcome> {
  const sessions = new Sessions(processes, reads);
  const outcome: RunOutcome = { commands: [], ran: [], answers: [], failure: null };
  try {
    await checkMarks(sessions, expected);
    for (const stage of schedule(steps)) {
      await sessions.closeThoseBehindWhichThisChanges(stage);
      const results = await Promise.allSettled(
        stage.map((invocation) => invoke(processes, sessions, invocation, outcome)),
      );
      const failed = results.find((result) => result.status === 'rejected');
      if (failed !== undefined) throw failed.reason;
    }
    for (const read of reads) outcome.answers.push(await sessions.answer(read));
  } catch (error) {
    if (!(error instanceof CommandFailed)) throw error;
    outcome.failure = error;
  } finally {
    await sessions.close();
  }
  return outcome;
}

/** A name may have passed to somebody else's device since the plan was made: look at what bears it first. */
async function checkMarks(sessions: Sessions, expected: readonly DeviceRef[]): Promise<void> {
  const byNamespace = Map.groupBy(expected, ({ namespace }) => namespace);
  await Promise.all(
    [...byNamespace].map(async ([namespace, devices]) => {
      const names = [...new Set(devices.map(({ name }) => name))];
      const lines = names.map((name) => `address show dev ${name}`);
      const answers = await (await sessions.of(namespace)).show(lines);
      for (const [at, name] of names.entries()) {
        const found = parseInterfaces(answers[at] ?? [])[0];
        // An alternative name resolves as well, and the device behind it may be anybody's.
        if (found?.ours === true && found.name === name) continue;
        throw new AssumptionFailed(`ip address show dev ${name}`, `${name} in ${namespace} is not the device that netnsd made`);
      }
    }),
  );
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
        const ran = failure === null ? { command, exitCode: 0, stderr: '' } : { command, exitCode: failure.exitCode, stderr: failure.stderr };
        outcome.commands.push(ran);
        outcome.ran.push({ step, command: ran });
      }
  };
  const first = steps[0];
  if (first === undefined) return;
  if (first.rendered.tool === 'iptables') return restoreRules(processes, steps, first.rendered, note);
  if (first.rendered.namespace === HOST && first.rendered.tool === 'sysctl') return writeHostSysctls(steps, note);
  return changeInside(sessions, first.rendered.namespace, steps, note);
}

type Note = (done: Invocation['steps'], failure: CommandFailed | null) => void;

/** The daemon's own /proc/sys/net is that of its namespace: no process is needed. */
async function writeHostSysctls(steps: Invocation['steps'], note: Note): Promise<void> {
  for (const entry of steps) {
    if (entry.rendered.tool !== 'sysctl') continue;
    const { key, value } = entry.rendered;
    try {
      await writeFile(`/proc/sys/${sysctlFile(key)}`, value);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const failure = new CommandFailed(`sysctl -w ${key}=${value}`, 1, message);
      note([entry], failure);
      throw failure;
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
      if (isSysctl) await sessions.startWith(namespace, part.flatMap(({ rendered }) => preludeOf(rendered)));
      else await (await sessions.of(namespace)).change(part.flatMap(({ rendered }) => (rendered.tool === 'ip' ? [rendered.line] : [])));
    } catch (error) {
      if (error instanceof CommandFailed) noteUntil(part, error, note);
      throw error;
    }
    note(part, null);
  }
}

/** The lines before the one that failed were carried out; those after it were not looked at. */
function noteUntil(part: Invocation['steps'], failure: CommandFailed, note: Note): void {
  const at = part.findIndex(({ rendered }) => printCommand(rendered)[0] === failure.command);
  note(part.slice(0, Math.max(at, 0)), null);
  note(at === -1 ? part : part.slice(at, at + 1), failure);
}

function preludeOf(rendered: Rendered): Prelude[] {
  return rendered.tool === 'sysctl' ? [{ do: 'write', key: rendered.key, value: rendered.value }] : [];
}

/** One process for any number of rules. Each table changes at once or not at all, the filter before the rest. */
async function restoreRules(
  processes: Processes,
  steps: Invocation['steps'],
  { namespace, family }: Extract<Rendered, { tool: 'iptables' }>,
  note: Note,
): Promise<void> {
  const tables = Map.groupBy(steps, ({ rendered }) => (rendered.tool === 'iptables' ? rendered.table : null));
  const lines: { text: string; entry: Invocation['steps'][number] | null }[] = [];
  for (const table of ['filter', 'nat'] as const) {
    const entries = tables.get(table) ?? [];
    if (entries.length === 0) continue;
    lines.push({ text: `*${table}`, entry: null });
    for (const entry of entries)
      if (entry.rendered.tool === 'iptables')
        for (const text of entry.rendered.lines) lines.push({ text, entry });
    lines.push({ text: 'COMMIT', entry: null });
  }
  // `-w 5`: legacy waits for the lock for ever without it. Input by stdin: `--wait FILE` would swallow a name.
  const [file, args] = iptablesCommand(namespace, family, 'restore', ['--noflush', '-w', '5']);
  const { stderr, exitCode, timedOut } = await processes.run(file, args, {
    input: lines.map(({ text }) => `${text}\n`).join(''),
  });
  if (exitCode === 0) {
    note(steps, null);
    return;
  }
  const number = /(?:line: |line )(\d+)/.exec(stderr)?.[1];
  const entry = number === undefined ? undefined : lines[Number(number) - 1]?.entry;
  const command = entry == null ? [file, ...args].join(' ') : (printCommand(entry.rendered)[0] ?? file);
  const failure = new CommandFailed(command, exitCode, stderr, timedOut ? { cause: 'timeout' } : undefined);
  note(entry == null ? steps : [entry], failure);
  throw failure;
}

/** The `ip` processes of one run, one a namespace, started when first needed and kept until the end. */
class Sessions {
  readonly #open = new Map<string, IpSession>();
  readonly #readings = new Map<string, Record<string, string>>();
  readonly #processes: Processes;
  readonly #sysctlsToRead: Map<string, string[]>;

  constructor(processes: Processes, reads: readonly Read[]) {
    this.#processes = processes;
    this.#sysctlsToRead = new Map();
    for (const { namespace, sysctls } of reads)
      this.#sysctlsToRead.set(namespace, [...(this.#sysctlsToRead.get(namespace) ?? []), ...sysctls]);
  }

  async of(namespace: string): Promise<IpSession> {
    return this.#open.get(namespace) ?? this.#start(namespace, []);
  }

  /** Does the prelude in a new process; one that is open already has become `ip` and can't. */
  async startWith(namespace: string, prelude: Prelude[]): Promise<void> {
    await this.#closeOne(namespace);
    await (await this.#start(namespace, prelude)).change([]);
  }

  async answer({ namespace, lines, sysctls }: Read): Promise<Answer> {
    const session = await this.of(namespace);
    const shown = await session.show(lines);
    const readings = this.#readings.get(namespace) ?? {};
    if (namespace === HOST)
      for (const key of sysctls) readings[key] = (await readFile(`/proc/sys/${sysctlFile(key)}`, 'utf8')).trim();
    return { shown, sysctls: Object.fromEntries(sysctls.map((key) => [key, readings[key] ?? ''])) };
  }

  /**
   * `ip` remembers the index of a name, and a process inside a namespace keeps it alive: a process does not
   * outlast what another one takes from its namespace.
   */
  async closeThoseBehindWhichThisChanges(stage: readonly Invocation[]): Promise<void> {
    const stale = stage.flatMap(({ steps }) =>
      steps.flatMap(({ step }) => {
        if (step.step === 'namespace.delete' || step.step === 'namespace.add') return [step.namespace];
        if (step.step === 'device.move') return [step.to.namespace];
        if (step.step === 'device.delete' && step.peer !== null && step.peer.namespace !== step.device.namespace)
          return [step.peer.namespace];
        return [];
      }),
    );
    await Promise.all(stale.map((namespace) => this.#closeOne(namespace)));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.keys()].map((namespace) => this.#closeOne(namespace)));
  }

  async #start(namespace: string, prelude: Prelude[]): Promise<IpSession> {
    const known = this.#readings.get(namespace);
    const keys = known === undefined && namespace !== HOST ? (this.#sysctlsToRead.get(namespace) ?? []) : [];
    const session = new IpSession(this.#processes, namespace, [
      ...keys.map((key) => ({ do: 'read', key }) as const),
      ...prelude,
    ]);
    this.#open.set(namespace, session);
    const values = await session.readings(keys.length);
    if (keys.length > 0) this.#readings.set(namespace, Object.fromEntries(keys.map((key, at) => [key, values[at] ?? ''])));
    return session;
  }

  async #closeOne(namespace: string): Promise<void> {
    const session = this.#open.get(namespace);
    this.#open.delete(namespace);
    await session?.close();
  }
}
