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
 * Deletes flows, in a process a line: `conntrack -R` takes lines of that kind and does nothing. Gives the failure instead
 * of throwing it: the rules are as they are to be, and undoing them would not help a flow that stays until it times out.
 * That there is nothing to delete is none.
 */
export async function deleteFlows(
  processes: Processes,
  namespace: string,
  lines: readonly string[],
): Promise<CommandFailed | null> {
  for (const line of lines) {
    const words = ['conntrack', ...line.split(' ')];
    const [file = '', ...args] =
      namespace === HOST ? words : ['nsenter', `--net=${namespacePath(namespace)}`, '--', ...words];
    const { exitCode, stderr } = await processes.run(file, args);
    if (exitCode !== 0 && !/\b0 flow entries/.test(stderr))
      return new CommandFailed(words.join(' '), exitCode, stderr);
  }
  return null;
}
