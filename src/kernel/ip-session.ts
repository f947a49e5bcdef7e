import type { Readable } from 'node:stream';
import { HOST } from '../schemas/common.ts';
import { interfaceOfSysctl } from '../schemas/nat.ts';
import { commandInside, type CommandLine } from './command-line.ts';
import { CommandFailed, type FailureCause } from './errors.ts';
import { IP_PRINTS_NUMBERS } from './iproute-names.ts';
import { parseToolJson } from './json.ts';
import { STEP_ALLOWANCE_MS, endGroup, type Conversation, type Processes } from './processes.ts';
import { batchLine, printCommand } from './render.ts';
import { sysctlFile } from './sysctl.ts';

/**
 * Something to be done with a sysctl inside the namespace before `ip` starts there, in the same process. `wait`: until
 * `proceed` is called.
 */
export type Prelude =
  { do: 'read'; key: string } | { do: 'wait' } | { do: 'write'; key: string; value: string };

/**
 * One `ip -batch` process inside one namespace, for as long as a plan needs it. `ip` answers line by line
 * and stops at the first line that fails, so what was written before is known to have been done once an
 * answer to a later line is there.
 */
export class IpSession {
  readonly #namespace: string;
  readonly #prelude: readonly Prelude[];
  readonly #conversation: Conversation;
  readonly #lines: AsyncIterator<string>;
  /** As written, for naming the one that failed; `Command failed -:N` counts from 1. */
  readonly #written: string[] = [];
  readonly #processes: Processes;
  #timedOut = false;

  constructor(processes: Processes, namespace: string, prelude: readonly Prelude[] = []) {
    this.#namespace = namespace;
    this.#prelude = prelude;
    this.#processes = processes;
    this.#conversation = processes.converse(...commandLine(namespace, prelude));
    // If the process is gone, writing fails; that it is gone is told by the end of its output.
    this.#conversation.stdin.on('error', () => undefined);
    this.#lines = linesOf(this.#conversation.stdout);
  }

  /** The lines of text that the prelude printed, one a `read`. */
  async readings(count: number): Promise<string[]> {
    return this.#withDeadline(count, async () => {
      const readings: string[] = [];
      for (let n = 0; n < count; n++) readings.push(await this.#nextLine());
      return readings;
    });
  }

  /** Ends the `wait` of the prelude. */
  proceed(): void {
    this.#conversation.stdin.write('\n');
  }

  /** Has the lines carried out; resolves when all are done. None of them may print anything. */
  async change(lines: readonly string[]): Promise<void> {
    await this.#query([...lines.map((line) => ({ line, prints: false })), { line: MARK, prints: true }]);
  }

  /** Has `show` lines answered: for each, the array that `ip -j` prints. */
  async show(lines: readonly string[]): Promise<unknown[][]> {
    return this.#query(lines.map((line) => ({ line, prints: true })));
  }

  /** Ends the process and waits until it is gone: while it lives, its namespace does. */
  async close(): Promise<void> {
    this.#conversation.stdin.end();
    this.#conversation.stdout.resume();
    await this.#withDeadline(0, async () => this.#conversation);
  }

  async #query(lines: readonly { line: string; prints: boolean }[]): Promise<unknown[][]> {
    const text = lines.map(({ line }) => batchLine(line)).join('');
    for (const { line } of lines) this.#written.push(line);
    this.#conversation.stdin.write(text);
    return this.#withDeadline(lines.length, async () => {
      const answers: unknown[][] = [];
      for (const { prints } of lines) if (prints) answers.push(parseAnswer(await this.#nextLine()));
      return answers;
    });
  }

  /** Ends a process that does not answer in time; a line may take its time on a machine with many interfaces. */
  async #withDeadline<T>(lines: number, wait: () => Promise<T>): Promise<T> {
    const expire = (): void => {
      this.#timedOut = true;
      // Whatever it has started holds its output as well; it leads a group of its own.
      endGroup(this.#conversation.pid);
      this.#conversation.stdout.destroy();
    };
    const { timeoutMs, remainingMs } = this.#processes;
    const timer = setTimeout(expire, Math.min(timeoutMs + lines * STEP_ALLOWANCE_MS, remainingMs()));
    try {
      return await wait();
    } finally {
      clearTimeout(timer);
    }
  }

  async #nextLine(): Promise<string> {
    const line = await this.#lineOrEnd();
    if (line !== null) return line;
    throw await this.#failure();
  }

  async #lineOrEnd(): Promise<string | null> {
    try {
      const next = await this.#lines.next();
      return next.done === true ? null : next.value;
    } catch (error) {
      // Its output was destroyed, which a reader is told of as an error.
      if (this.#timedOut) return null;
      throw error;
    }
  }

  /** Where the options of a type name a device that is not there, `ip` ends without saying at which line. */
  #lineThatNames(stderr: string): string | undefined {
    const name = /^Cannot find device "(.+)"$/m.exec(stderr)?.[1];
    return name === undefined
      ? undefined
      : this.#written.findLast((line) => line.startsWith('link add ') && line.split(' ').includes(name));
  }

  /** What became of the write that the kernel did not take: those after it were not made. */
  #refusedSysctl(stderr: string): { command: string; failure: FailureCause } | undefined {
    const namespace = this.#namespace;
    const [refused] = this.#prelude
      .flatMap((operation) => (operation.do === 'write' ? [operation] : []))
      .filter(({ key, value }) => stderr.includes(`sysctl ${sysctlFile(key)}: cannot be set to '${value}'`));
    if (refused === undefined) return undefined;
    const { key, value } = refused;
    const [command = key] = printCommand({ tool: 'sysctl', namespace, key, value });
    // The interface has gone, perhaps: what was to be put back there need not be.
    const mayBeGone = interfaceOfSysctl(key) !== null && stderr.includes('No such file or directory');
    return {
      command,
      failure: mayBeGone ? { cause: 'assumption' } : { cause: 'refusal', refusal: 'unprocessable' },
    };
  }

  async #failure(): Promise<CommandFailed> {
    const { exitCode, stderr } = await this.#conversation;
    const refused = this.#refusedSysctl(stderr);
    if (refused !== undefined)
      return new CommandFailed(refused.command, exitCode ?? null, stderr, refused.failure);
    const prefix = this.#namespace === HOST ? 'ip ' : `ip -n ${this.#namespace} `;
    const failedLine = /Command failed -:(\d+)/.exec(stderr)?.[1];
    const line =
      failedLine === undefined ? this.#lineThatNames(stderr) : this.#written[Number(failedLine) - 1];
    const text = stderr.replaceAll(/^Command failed -:\d+$/gm, '').trim();
    const command = `${prefix}${line ?? this.#written.findLast((written) => written !== MARK) ?? '-batch -'}`;
    if (this.#timedOut) return new CommandFailed(command, null, 'no answer in time', { cause: 'timeout' });
    if (exitCode === undefined)
      return new CommandFailed(command, null, text === '' ? 'ended by a signal' : text, {
        cause: 'assumption',
      });
    return new CommandFailed(command, exitCode, text);
  }
}

/** What one `show` printed. */
function parseAnswer(line: string): unknown[] {
  try {
    const answer = parseToolJson(line);
    return Array.isArray(answer) ? answer : [answer];
  } catch {
    // To take it for "not there" would be to act on a guess.
    const said = `its answer can't be read: ${line.slice(0, 200)}`;
    throw new CommandFailed('ip -j -batch -', 0, said, { cause: 'refusal', refusal: 'kernel-error' });
  }
}

/** Lines end with LF alone: names and aliases may hold other characters that readers of text take for line ends. */
async function* linesOf(stream: Readable): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const chunk of stream) {
    const lines = `${rest}${decoder.decode(asBytes(chunk), { stream: true })}`.split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
}

/**
 * A line that changes nothing, costs next to nothing and is always answered: all lines before it are done. Never
 * `link show` in a batch: it sets the family that `address show` of later lines is about, and they show no
 * addresses then (iproute2 6.1, ipaddr_list_link).
 */
const MARK = 'address show dev lo';

/**
 * `bash` does the sysctls with its builtins and then becomes `ip`: all in one process. Names and values are
 * arguments, never part of the script. Not any `sh`: dash reads byte by byte, and of a sysctl with several numbers
 * the kernel gives only the first to whoever does not read it at once. What was empty, or could not be read, is emptied
 * again by an empty line, as far as the kernel lets itself be told so.
 */
const SCRIPT = `
while [ $# -gt 0 ]; do
  file=/proc/sys/\${2-}
  case $1 in
    wait) IFS= read -r _ || exit 65; shift 1 ;;
    read) value=; IFS= read -r value < "$file"; printf '%s\\n' "$value"; shift 2 ;;
    write) [ -n "$3" ] || { echo 2>/dev/null >"$file"; shift 3; continue; }
      printf '%s' "$3" > "$file" || { echo "sysctl $2: cannot be set to '$3'" >&2; exit 64; }; shift 3 ;;
  esac
done
exec ip ${IP_PRINTS_NUMBERS} -j -d -s -batch -`;

function commandLine(namespace: string, prelude: readonly Prelude[]): CommandLine {
  if (prelude.length === 0) {
    const inside = namespace === HOST ? [] : ['-n', namespace];
    return ['ip', [...inside, IP_PRINTS_NUMBERS, '-j', '-d', '-s', '-batch', '-']];
  }
  const operations = prelude.flatMap((operation) => {
    if (operation.do === 'wait') return [operation.do];
    const file = sysctlFile(operation.key);
    return operation.do === 'read' ? [operation.do, file] : [operation.do, file, operation.value];
  });
  return commandInside(namespace, ['bash', '--norc', '--noprofile', '-c', SCRIPT, 'bash', ...operations]);
}

function asBytes(chunk: unknown): Uint8Array {
  return chunk instanceof Uint8Array ? chunk : Buffer.from(String(chunk));
}
