import { CommandFailed } from './errors.ts';
import { iptablesCommand } from './firewall.ts';
import type { Processes } from './processes.ts';
import { printCommand, type Rendered } from './render.ts';
import type { Invocation } from './schedule.ts';
import { tables } from './state.ts';

type Entry = Invocation['steps'][number];

/** Is told which steps were carried out, or which failed and how. */
export type Note = (done: Entry[], failure: CommandFailed | null) => void;

/** One process for any number of rules. Each table changes at once or not at all, what forbids before the rest. */
export async function restoreRules(
  processes: Processes,
  steps: Entry[],
  { namespace, family }: Extract<Rendered, { tool: 'iptables' }>,
  note: Note,
): Promise<void> {
  const lines = inputOf(steps);
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
  const entry = (number === undefined ? undefined : lines[Number(number) - 1])?.entry ?? null;
  const command = entry === null ? [file, ...args].join(' ') : (printCommand(entry.rendered)[0] ?? file);
  const failure = new CommandFailed(command, exitCode, stderr, timedOut ? { cause: 'timeout' } : undefined);
  note(entry === null ? steps : [entry], failure);
  throw failure;
}

/** The lines for iptables-restore, each with the step that it is of. */
function inputOf(steps: readonly Entry[]): { text: string; entry: Entry | null }[] {
  return tables.flatMap((table) => {
    const lines = steps.flatMap((entry) =>
      entry.rendered.tool === 'iptables' && entry.rendered.table === table
        ? entry.rendered.lines.map((text) => ({ text, entry }))
        : [],
    );
    if (lines.length === 0) return [];
    return [{ text: `*${table}`, entry: null }, ...lines, { text: 'COMMIT', entry: null }];
  });
}
