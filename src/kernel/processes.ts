import { execa } from 'execa';
import { TOOL_MARK, toolMark } from './leftovers.ts';
import { LineSplitter } from './lines.ts';

/** Tools print in English, and are found where Debian has them even if a service has a bare PATH. */
function environment(): Record<string, string> {
  return {
    LC_ALL: 'C',
    PATH: `${process.env['PATH'] ?? ''}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`,
    [TOOL_MARK]: toolMark(),
  };
}

const options = {
  reject: false,
  // A signal to netnsd, or Ctrl-C to all in its terminal, is netnsd's to answer: the change in hand is finished.
  cleanup: false,
  detached: true,
  stripFinalNewline: false,
  killSignal: 'SIGKILL',
} as const;

/** A process that is talked to line by line: its output is not collected, what it says of errors is. */
// oxlint-disable-next-line typescript/promise-function-async -- it is a process first, and a promise of its end
function startConversation(file: string, args: readonly string[]) {
  return execa(file, [...args], {
    ...options,
    env: environment(),
    stdin: 'pipe',
    buffer: { stdout: false },
  });
}

export type Conversation = ReturnType<typeof startConversation>;

/** A process that tells what happens until it is ended. */
export interface Follower {
  /** Undefined if it could not be started. */
  pid: number | undefined;
  /** Resolves, never rejects, when it has ended, with why as far as it said so. */
  ended: Promise<string>;
  end: () => void;
}

/** What is done with what a follower prints. */
export interface Listener {
  onLine: (line: string) => void;
  /** Lines of its stderr. */
  onComplaint: (line: string) => void;
}

/**
 * Starts a process that is to go when netnsd goes, even by SIGKILL: setpriv(1) has the kernel end it with the
 * thread that started it (prctl(2), PR_SET_PDEATHSIG), and becomes it.
 */
function startFollower(file: string, args: readonly string[], { onLine, onComplaint }: Listener): Follower {
  const follower = execa('setpriv', ['--pdeathsig', 'KILL', file, ...args], {
    ...options,
    env: environment(),
    stdin: 'ignore',
    buffer: false,
    encoding: 'buffer',
  });
  let lastComplaint = '';
  const lines = new LineSplitter(onLine);
  const complaints = new LineSplitter((line) => {
    lastComplaint = line;
    onComplaint(line);
  });
  follower.stdout.on('data', (chunk: Buffer) => lines.push(chunk));
  follower.stderr.on('data', (chunk: Buffer) => complaints.push(chunk));
  return {
    pid: follower.pid,
    ended: follower.then(({ exitCode, signal, originalMessage }) => {
      if (lastComplaint !== '') return lastComplaint;
      return signal === undefined
        ? (originalMessage ?? `exit code ${String(exitCode)}`)
        : `ended by ${signal}`;
    }),
    end: () => {
      follower.kill('SIGKILL');
    },
  };
}

/** How a process ended. `exitCode` is null if a signal or the deadline ended it, or it could not be started. */
export interface Ended {
  stdout: string;
  stderr: string;
  exitCode: number | null;
  timedOut: boolean;
}

/** Starts processes and counts them: the one place of the program that does. */
export interface Processes {
  /** Runs to the end, with the given text as standard input. */
  run: (
    file: string,
    args: readonly string[],
    choices?: { input?: string; timeoutMs?: number },
  ) => Promise<Ended>;
  /** Starts a process to talk to; whoever does so sees to it that it ends. */
  converse: (file: string, args: readonly string[]) => Conversation;
  /** Starts a process that tells what happens until it is ended. It goes when netnsd goes. */
  follow: (file: string, args: readonly string[], listener: Listener) => Follower;
  /** How long a process may take to answer or to end, in milliseconds. */
  timeoutMs: number;
  /** How many milliseconds are left to all of them together; infinite where nothing was said. */
  remainingMs: () => number;
  /** The same processes with at most so many milliseconds, from now on, for all of them together. */
  within: (totalMs: number) => Processes;
  /** How many were started through this counter. */
  started: () => number;
  /** The same processes with a counter of its own beside the common one: what one change costs. */
  counter: () => Processes;
}

interface ProcessOptions {
  /** After this time without an answer a process is ended by SIGKILL. */
  timeoutMs: number;
  /** The same at this time, of `performance.now()`. */
  deadline?: number;
}

/** Taking a link away waits for RCU: 20 to 35 ms, several times that under load. A long plan gets that much more time. */
export const STEP_ALLOWANCE_MS = 200;

export function createProcesses(
  { timeoutMs, deadline = Infinity }: ProcessOptions,
  onStart: () => void = () => undefined,
): Processes {
  let count = 0;
  const start = (): void => {
    count += 1;
    onStart();
  };
  // A timer takes 32 bits.
  const remainingMs = (): number => Math.min(Math.max(deadline - performance.now(), 1), 2 ** 31 - 1);
  return {
    run: async (file, args, choices = {}) => {
      start();
      return runToEnd(file, args, {
        input: choices.input ?? '',
        timeoutMs: Math.min(choices.timeoutMs ?? timeoutMs, remainingMs()),
      });
    },
    converse: (file, args) => {
      start();
      return startConversation(file, args);
    },
    follow: (file, args, listener) => {
      start();
      return startFollower(file, args, listener);
    },
    timeoutMs,
    remainingMs,
    within: (totalMs) =>
      createProcesses({ timeoutMs, deadline: Math.min(deadline, performance.now() + totalMs) }, start),
    started: () => count,
    counter: () => createProcesses({ timeoutMs, deadline }, start),
  };
}

async function runToEnd(
  file: string,
  args: readonly string[],
  { input, timeoutMs }: { input: string; timeoutMs: number },
): Promise<Ended> {
  const child = execa(file, [...args], {
    ...options,
    env: environment(),
    input,
    maxBuffer: 256 * 1024 * 1024,
  });
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    // Whatever it has started holds its output as well: execa, which ends only the first, would wait for that.
    endGroup(child.pid);
    child.stdout.destroy();
    child.stderr.destroy();
  }, timeoutMs);
  const ended = await child;
  clearTimeout(timer);
  if (timedOut) return { stdout: '', stderr: '', exitCode: null, timedOut };
  const { exitCode, stderr, stdout } = ended;
  return {
    stdout,
    stderr: exitCode === undefined && stderr === '' ? (ended.originalMessage ?? '') : stderr,
    exitCode: exitCode ?? null,
    timedOut,
  };
}

/** Ends a process that we have started, with all that it has started itself. */
export function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself in the meantime.
  }
}
