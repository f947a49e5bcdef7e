import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { expect, onTestFinished } from 'vitest';

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname;

/** Runs netnsd as a person does, to its end; for what ends by itself. */
export async function runServer(args: string[], env: Record<string, string> = {}) {
  return execa(process.execPath, [MAIN, ...args], { env, reject: false, timeout: 50_000 });
}

/** A directory that goes with the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'netnsd-test-'));
  onTestFinished(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  return directory;
}

/** The same for a store of which, when the test is over, all is removed by `netnsd teardown`. */
export function directoryToTearDown(): string {
  const directory = temporaryDirectory();
  onTestFinished(async () => {
    const { exitCode, stderr } = await runServer(['teardown', '--state-dir', directory]);
    expect([exitCode, stderr]).toEqual([0, '']);
  });
  return directory;
}

/** A netnsd in a process of its own. */
export interface Server {
  pid: number;
  socketPath: string;
  stateDir: string;
  /** What it has printed: the greeting. */
  greeting: string;
  curl: (
    path: string,
    method?: string,
    body?: object,
  ) => Promise<{ status: number; body: Record<string, unknown> }>;
  /** Ends it by a signal and gives its exit status and its log. */
  end: (signal?: NodeJS.Signals) => Promise<{ exitCode: number | undefined; log: string }>;
}

/** Starts netnsd as main.ts does, by way of a command such as `strace` if one is given. */
export async function startServer(
  args: string[] = [],
  { through = [], stateDir = temporaryDirectory() }: { through?: string[]; stateDir?: string } = {},
): Promise<Server> {
  const socketPath = join(stateDir, 'netnsd.sock');
  const [file = process.execPath, ...rest] = [
    ...through,
    process.execPath,
    MAIN,
    '--state-dir',
    stateDir,
    '--listen',
    `unix:${socketPath}`,
    ...args,
  ];
  const child = execa(file, rest, { reject: false, buffer: { stdout: false } });
  const ended = async (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal);
    const { exitCode, stderr } = await child;
    return { exitCode, log: stderr };
  };
  onTestFinished(async () => void (await ended()));
  const greeting = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (data: Buffer) => resolve(data.toString()));
    child.then(({ stderr }) => reject(new Error(`netnsd ended before it listened: ${stderr}`)), reject);
  });
  return {
    pid: child.pid ?? 0,
    socketPath,
    stateDir,
    greeting,
    curl: async (path, method = 'GET', body) => curl(socketPath, path, method, body),
    end: ended,
  };
}

async function curl(socketPath: string, path: string, method: string, body?: object) {
  const data = body === undefined ? [] : ['-H', 'content-type: application/json', '-d', JSON.stringify(body)];
  const { stdout } = await execa(
    'curl',
    [
      '-s',
      '--unix-socket',
      socketPath,
      '-X',
      method,
      ...data,
      '-w',
      '\n%{http_code}',
      `http://localhost${path}`,
    ],
    { reject: false },
  );
  const lines = stdout.split('\n');
  const status = Number(lines.pop());
  const text = lines.join('\n');
  return { status, body: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {} };
}
