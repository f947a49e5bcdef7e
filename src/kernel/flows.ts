import type { Family } from '../schemas/address.ts';
import { commandInside } from './command-line.ts';
import { CommandFailed } from './errors.ts';
import type { Ended, Processes } from './processes.ts';

/** Flows by where their first packet was sent to; an address of null is any. */
export interface SentTo {
  family: Family;
  address: string | null;
  ports: { first: number; last: number };
}

/** Flows by the network that their first packet came from. */
export interface SentFrom {
  family: Family;
  network: string;
}

export type Flows = SentTo | SentFrom;

/** The words for conntrack(8) that delete what was sent to one port. */
export function flowFilter({ family, address }: Omit<SentTo, 'ports'>, port: number | string): string[] {
  const to = address === null ? [] : ['--orig-dst', address];
  return ['-D', ...udpOf(family), ...to, '--orig-port-dst', String(port)];
}

/** Those that delete what was sent from a network. */
export function flowFilterFrom({ family, network }: SentFrom): string[] {
  return ['-D', ...udpOf(family), '--orig-src', network];
}

function udpOf(family: Family): string[] {
  return ['-f', family === 4 ? 'ipv4' : 'ipv6', '-p', 'udp'];
}

/**
 * Deletes flows, by one process, and before that one more for each family of which a range of ports is among them. Gives
 * the failure of each, or null, instead of throwing it: the rules are as they are to be, and undoing them would not help a
 * flow that stays until it times out. What fails keeps nothing else from being deleted. That there is nothing to delete is
 * no failure.
 */
export async function deleteFlows(
  processes: Processes,
  namespace: string,
  flows: readonly Flows[],
): Promise<(CommandFailed | null)[]> {
  const lines = new Set(
    flows.flatMap((each) => (isRange(each) ? [] : [filterOf(each)])).map((words) => words.join(' ')),
  );
  const unlisted = new Map<Family, CommandFailed>();
  for (const [family, ranges] of Map.groupBy(flows.filter(isRange), (each) => each.family)) {
    const list = ['-L', ...udpOf(family)];
    const listed = await conntrack(processes, namespace, list);
    if (listed.exitCode !== 0) unlisted.set(family, failureOf(list, listed));
    else for (const line of linesForRanges(parseFlows(listed.stdout), family, ranges)) lines.add(line);
  }
  const failure = await deleteByLines(processes, namespace, [...lines]);
  return flows.map((each) => (isRange(each) ? unlisted.get(each.family) : null) ?? failure);
}

/** Each line is a walk through the whole table of the kernel, but one process does all. */
async function deleteByLines(
  processes: Processes,
  namespace: string,
  lines: readonly string[],
): Promise<CommandFailed | null> {
  const [first, ...others] = lines;
  if (first === undefined) return null;
  const args = others.length === 0 ? first.split(' ') : ['-R', '-'];
  const ended =
    others.length === 0
      ? await conntrack(processes, namespace, args)
      : await runIn(processes, namespace, ['bash', '--norc', '--noprofile', '-c', SCRIPT], lines.join('\n'));
  return ended.exitCode === 0 || /\b0 flow entries/.test(ended.stderr) ? null : failureOf(args, ended);
}

function isRange(flows: Flows): flows is SentTo {
  return 'ports' in flows && flows.ports.first !== flows.ports.last;
}

function filterOf(flows: Flows): string[] {
  return 'network' in flows ? flowFilterFrom(flows) : flowFilter(flows, flows.ports.first);
}

/**
 * What conntrack(8) is to read it opens by name, /dev/stdin too. That can't be done with a socket (ENXIO), which is what
 * Node.js has a process read from. So bash reads, and then becomes a conntrack that has a pipe or a file there.
 */
const SCRIPT = `IFS= read -r -d '' lines; exec conntrack -R - <<<"$lines"`;

async function conntrack(processes: Processes, namespace: string, args: readonly string[]): Promise<Ended> {
  return runIn(processes, namespace, ['conntrack', ...args], '');
}

async function runIn(
  processes: Processes,
  namespace: string,
  command: readonly [string, ...string[]],
  input: string,
): Promise<Ended> {
  const [file, rest] = commandInside(namespace, command);
  return processes.run(file, rest, { input });
}

function failureOf(args: readonly string[], { exitCode, stderr }: Ended): CommandFailed {
  return new CommandFailed(['conntrack', ...args].join(' '), exitCode, stderr);
}

/** Where the first packet of a flow was sent to, and who answers. */
interface Flow {
  address: string;
  port: number;
  answeredBy: string;
}

/** What `conntrack -L -p udp` prints. */
export function parseFlows(text: string): Flow[] {
  return [...text.matchAll(/^udp .*? dst=(\S+) sport=\d+ dport=(\d+) .*?src=(\S+) /gm)].map(
    ([, address = '', port = '', answeredBy = '']) => ({ address, port: Number(port), answeredBy }),
  );
}

/**
 * conntrack(8) knows of no ranges of ports. So those in use are deleted one by one; or all that one address answers,
 * where nothing else is among them.
 */
export function linesForRanges(flows: readonly Flow[], family: Family, ranges: readonly SentTo[]): string[] {
  const isMeant = ({ address, port }: Flow): boolean =>
    ranges.some(
      (range) =>
        port >= range.ports.first &&
        port <= range.ports.last &&
        (range.address === null || range.address === address),
    );
  const byTarget = Map.groupBy(flows, ({ answeredBy }) => answeredBy);
  const lines = [...byTarget].flatMap(([target, all]) => {
    const meant = all.filter(isMeant);
    if (meant.length > 1 && meant.length === all.length)
      return [['-D', ...udpOf(family), '--reply-src', target]];
    return meant.map((flow) => flowFilter({ family, address: flow.address }, flow.port));
  });
  return [...new Set(lines.map((words) => words.join(' ')))];
}
