import { HOST } from '../schemas/common.ts';
import type { Policing } from '../schemas/end.ts';
import { commandInside, type CommandLine } from './command-line.ts';
import { AssumptionFailed, CommandFailed } from './errors.ts';
import { parseToolJson } from './json.ts';
import { asObject, text } from './json-fields.ts';
import { RATE_HANDLE } from './marks.ts';
import { devicesWithIngress, parseFilters, showFilters } from './policing.ts';
import type { Ended, Processes } from './processes.ts';
import { printCommand } from './render.ts';
import type { Note } from './restore.ts';
import type { Invocation } from './schedule.ts';

/** What only `tc` and `ethtool` tell of the devices of a namespace, by name. */
export interface Extras {
  /** At what netnsd's own shaper lets packets out, in kbit/s; devices without one are left out. */
  egressKbit: ReadonlyMap<string, number>;
  /** What netnsd has there to drop what comes too fast; devices without it are left out. */
  policing: ReadonlyMap<string, Policing>;
  /** Whether the device may leave checksums to whom it sends to. */
  checksum: ReadonlyMap<string, boolean>;
}

/** Which of it is asked for. */
export interface ExtrasRequest {
  rate: boolean;
  policing: boolean;
  offload: boolean;
}

/**
 * Reads them, one process a tool that is asked; where something is policed, `tc` takes two.
 *
 * @throws CommandFailed
 */
export async function readExtras(
  processes: Processes,
  namespace: string,
  { rate, policing, offload }: ExtrasRequest,
): Promise<Extras> {
  const [rates, features] = await Promise.all([
    rate || policing ? readRates(processes, namespace, policing) : NO_RATES,
    offload ? readJson(processes, commandInside(namespace, ['ethtool', '--json', '-k', '*'])) : [],
  ]);
  return { ...rates, checksum: new Map(features.flatMap(checksumOf)) };
}

type Rates = Pick<Extras, 'egressKbit' | 'policing'>;
const NO_RATES: Rates = { egressKbit: new Map(), policing: new Map() };

async function readRates(processes: Processes, namespace: string, isPoliced: boolean): Promise<Rates> {
  for (let turn = 0; turn < READING_TURNS; turn++) {
    const qdiscs = await readJson(processes, tcCommand(namespace, ['-j', 'qdisc', 'show']));
    // Which filters there are is told of one device at a time only.
    const names = isPoliced ? devicesWithIngress(qdiscs) : [];
    const policing = await readPolicing(processes, namespace, names);
    if (policing !== null) return { egressKbit: new Map(qdiscs.flatMap(rateOf)), policing };
  }
  throw new CommandFailed('tc -force -batch -', null, 'what it shows changes faster than it can be read', {
    cause: 'refusal',
    refusal: 'kernel-error',
  });
}

const READING_TURNS = 5;

/** Null if something has gone meanwhile. */
async function readPolicing(
  processes: Processes,
  namespace: string,
  names: readonly string[],
): Promise<Extras['policing'] | null> {
  if (names.length === 0) return new Map();
  const args = ['-force', '-batch', '-'];
  const ended = await start(processes, tcCommand(namespace, args), showFilters(names));
  const complaints = ended.stderr
    .replaceAll(/^(?:Cannot find device ".*"|Command failed -:\d+)$/gm, '')
    .trim();
  if (ended.exitCode === null || complaints !== '') throw failureOf('tc -force -batch -', ended);
  return parseFilters(ended.stdout, names);
}

/** One process for all lines of `tc` in a namespace, and one before it if filters of others could go with netnsd's. */
export async function changeByTc(
  processes: Processes,
  namespace: string,
  steps: Invocation['steps'],
  note: Note,
): Promise<void> {
  await checkAlone(processes, namespace, steps);
  const lines = steps.flatMap(({ rendered }) => (rendered.tool === 'tc' ? [rendered.line] : []));
  const ended = await start(processes, tcCommand(namespace, ['-batch', '-']), `${lines.join('\n')}\n`);
  if (ended.exitCode === 0) {
    note(steps, null);
    return;
  }
  const number = /Command failed -:(\d+)/.exec(ended.stderr)?.[1];
  const at = number === undefined ? 0 : Number(number) - 1;
  // The lines before it were carried out, if it told which one it was.
  if (number !== undefined) note(steps.slice(0, at), null);
  const failed = steps.slice(at, at + 1);
  const failure = failureOf(printed(failed) ?? 'tc -batch -', ended);
  note(failed, failure);
  throw failure;
}

/** With the place for filters go all that are in it; nobody can be kept from adding one at this very moment. */
async function checkAlone(
  processes: Processes,
  namespace: string,
  steps: Invocation['steps'],
): Promise<void> {
  const going = steps.flatMap(({ step }) => (step.step === 'ingress.delete' ? [step.device.name] : []));
  const found = await readPolicing(processes, namespace, going);
  const [other] = going.filter((name) => found?.get(name)?.isShared !== undefined || !found?.has(name));
  if (other === undefined) return;
  throw new AssumptionFailed(
    `tc filter show dev ${other} ingress`,
    `${other} in ${namespace} has other filters than those that netnsd knows`,
  );
}

/** `ethtool` takes one change at a time. */
export async function changeByEthtool(
  processes: Processes,
  namespace: string,
  steps: Invocation['steps'],
  note: Note,
): Promise<void> {
  for (const step of steps) {
    if (step.rendered.tool !== 'ethtool') continue;
    const ended = await start(processes, commandInside(namespace, ['ethtool', ...step.rendered.args]));
    const failure = ended.exitCode === 0 ? null : failureOf(printed([step]) ?? 'ethtool', ended);
    note([step], failure);
    if (failure !== null) throw failure;
  }
}

function tcCommand(namespace: string, args: readonly string[]): CommandLine {
  return ['tc', [...(namespace === HOST ? [] : ['-n', namespace]), ...args]];
}

async function start(processes: Processes, [file, args]: CommandLine, input?: string): Promise<Ended> {
  return processes.run(file, args, input === undefined ? {} : { input });
}

async function readJson(processes: Processes, command: CommandLine): Promise<unknown[]> {
  const ended = await start(processes, command);
  const line = command.flat().join(' ');
  // What is not installed has changed nothing either: there is nothing to be seen by it.
  if (missingTool(ended) !== null) return [];
  if (ended.exitCode !== 0) throw failureOf(line, ended);
  try {
    return ended.stdout.trim() === '' ? [] : asList(parseToolJson(ended.stdout));
  } catch {
    // To take it for "not there" would be to act on a guess.
    const said = `its answer can't be read: ${ended.stdout.slice(0, 200)}`;
    throw new CommandFailed(line, 0, said, { cause: 'refusal', refusal: 'kernel-error' });
  }
}

function asList(answer: unknown): unknown[] {
  return Array.isArray(answer) ? answer : [answer];
}

/** Neither tool is needed for anything else, so that it may be missing. */
function missingTool({ stderr }: Ended): string | null {
  return (
    /(?:spawn (?=\S+ ENOENT)|failed to execute (?=\S+: No such file))([^\s:]+)/.exec(stderr)?.[1] ?? null
  );
}

function failureOf(command: string, ended: Ended): CommandFailed {
  const { exitCode, stderr, timedOut } = ended;
  const missing = missingTool(ended);
  if (missing !== null) {
    const source = missing === 'tc' ? 'iproute2' : missing;
    const advice = `${missing} is not installed: install it (Debian: apt-get install ${source})`;
    return new CommandFailed(command, exitCode, advice, { cause: 'refusal', refusal: 'kernel-unsupported' });
  }
  const said = stderr
    .replaceAll(/^(?:Command failed -:\d+|We have an error talking to the kernel)$/gm, '')
    .trim();
  return new CommandFailed(command, exitCode, said, timedOut ? { cause: 'timeout' } : undefined);
}

function printed(steps: Invocation['steps']): string | undefined {
  return steps.flatMap(({ rendered }) => printCommand(rendered))[0];
}

/** `tc` prints rates in bytes a second. */
function rateOf(entry: unknown): [string, number][] {
  const qdisc = asObject(entry);
  const rate = asObject(qdisc?.['options'])?.['rate'];
  const isOurs = qdisc?.['kind'] === 'tbf' && qdisc['handle'] === RATE_HANDLE && qdisc['root'] === true;
  const name = text(qdisc?.['dev']);
  if (!isOurs || name === null || typeof rate !== 'number') return [];
  return [[name, (rate * 8) / 1000]];
}

function checksumOf(entry: unknown): [string, boolean][] {
  const device = asObject(entry);
  const name = text(device?.['ifname']);
  const active = asObject(device?.['tx-checksumming'])?.['active'];
  return name === null || typeof active !== 'boolean' ? [] : [[name, active]];
}
