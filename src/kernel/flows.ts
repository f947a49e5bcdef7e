import { HOST } from '../schemas/common.ts';
import { CommandFailed } from './errors.ts';
import { namespacePath } from './marks.ts';
import type { Processes } from './processes.ts';
import type { StepOf } from './step.ts';

/** Each port is a walk through the whole table of the kernel; of more than these, what was translated goes at once. */
const MOST_PORTS = 16;

/** What conntrack(8) deletes, one line of words each: by the address and port that were sent to. */
export function flowFilters(step: Omit<StepOf<'flows.delete'>, 'step' | 'serves' | 'namespace'>): string[][] {
  const { family, address, ports, target } = step;
  const filter = ['-D', '-f', family === 4 ? 'ipv4' : 'ipv6', '-p', 'udp'];
  if (address !== null) filter.push('--orig-dst', address);
  const count = ports.last - ports.first + 1;
  if (count > MOST_PORTS) return [[...filter, '--dst-nat', target]];
  return Array.from({ length: count }, (_, at) => [...filter, '--orig-port-dst', String(ports.first + at)]);
}

/**
 * Deletes flows, in one process for any number of lines. Gives the failure instead of throwing it: the rules are as
 * they are to be, and undoing them would not help a flow that stays until it times out. That there is nothing to
 * delete is none.
 */
export async function deleteFlows(
  processes: Processes,
  namespace: string,
  lines: readonly string[],
): Promise<CommandFailed | null> {
  const args = ['conntrack', '-R', '-'];
  const [file = '', ...rest] =
    namespace === HOST ? args : ['nsenter', `--net=${namespacePath(namespace)}`, '--', ...args];
  const { exitCode, stderr } = await processes.run(file, rest, {
    input: lines.map((line) => `${line}\n`).join(''),
  });
  const isDone = exitCode === 0 || stderr.includes('0 flow entries');
  return isDone ? null : new CommandFailed(args.join(' '), exitCode, stderr);
}
