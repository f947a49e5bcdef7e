import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { onTestFinished } from 'vitest';

/** A moment in a change: a process that starts, or one that has just made a certain call, counted by its name. */
export interface Point {
  process: number;
  call: string;
  occurrence: number;
}

const TOOLS = {
  ip: '/usr/sbin/ip',
  bash: '/bin/bash',
  tc: '/usr/sbin/tc',
  ethtool: '/usr/sbin/ethtool',
  'iptables-restore': '/usr/sbin/iptables-restore',
  'ip6tables-restore': '/usr/sbin/ip6tables-restore',
};

/** What changes the kernel, or, with `write`, a sysctl. */
const CALLS = [
  'sendmsg',
  'mount',
  'unshare',
  'umount2',
  'unlink',
  'openat',
  'write',
  'ioctl',
  'recvmsg',
  'sendto',
];

/** Every one of these may fail. */
export const MESSAGES: ReadonlySet<string> = new Set(['sendmsg', 'sendto', 'recvmsg']);

/** The tools of a netnsd that is started after this: they can be listened to, and stopped at any point. */
export function watchTools(): ToolWatch {
  const directory = mkdtempSync(join(tmpdir(), 'netnsd-tools-'));
  const watch = new ToolWatch(directory);
  for (const [tool, file] of Object.entries(TOOLS))
    writeFileSync(join(directory, tool), scriptOf(directory, file), { mode: 0o755 });
  const path = process.env['PATH'];
  process.env['PATH'] = `${directory}:${path ?? ''}`;
  onTestFinished(() => {
    process.env['PATH'] = path;
    rmSync(directory, { recursive: true, force: true });
  });
  return watch;
}

/** What the tool starts in turn is the real one: one tracer at a time. */
function scriptOf(directory: string, file: string): string {
  const strace = `strace -f -qq -o`;
  return `#!/bin/sh
[ -e ${directory}/armed ] || exec ${file} "$@"
n=1; until mkdir ${directory}/run/$n 2>/dev/null; do n=$((n + 1)); done
read -r process call occurrence fault <${directory}/armed
PATH=\${PATH#${directory}:}
[ $process = all ] && exec ${strace} ${directory}/run/$n/trace -e trace=${CALLS.join(',')} ${file} "$@"
[ $n = $process ] || exec ${file} "$@"
if [ $call = start ]; then
  echo "$$ --- stopped by SIGSTOP ---" >${directory}/run/stopped
  kill -STOP $$
  exec ${file} "$@"
fi
exec ${strace} ${directory}/run/stopped -e trace=$call -e inject=$call:$fault:when=$occurrence ${file} "$@"
`;
}

export class ToolWatch {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Lists the points of what is done while it runs; with `isAll`, also those at which something is only read. */
  async pointsOf(change: () => Promise<unknown>, isAll = false): Promise<Point[]> {
    this.#arm('all - - -');
    await change();
    this.disarm();
    const numbers = readdirSync(join(this.#directory, 'run'))
      .map(Number)
      .toSorted((a, b) => a - b);
    return numbers.flatMap((process) => {
      const file = join(this.#directory, 'run', String(process), 'trace');
      const trace = existsSync(file) ? readFileSync(file, 'utf8') : '';
      return [{ process, call: 'start', occurrence: 1 }, ...pointsIn(trace, process, isAll)];
    });
  }

  /** Has the process stand still once it has made the call. */
  stopAt(point: Point): void {
    this.failAt(point, 'signal=SIGSTOP');
  }

  /** Has the call fail instead of being made (`error=EIO`), or the process killed before it (`signal=SIGKILL`). */
  failAt({ process, call, occurrence }: Point, fault: string): void {
    this.#arm(`${process} ${call} ${occurrence} ${fault}`);
  }

  /** Resolves with the number of the process that stands still now; null if none has come there in time. */
  async stopped(isOver: () => boolean): Promise<number | null> {
    const file = join(this.#directory, 'run/stopped');
    while (!isOver()) {
      const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
      const pid = /^(\d+) +--- stopped by SIGSTOP ---$/m.exec(text)?.[1];
      if (pid !== undefined) return Number(pid);
      await sleep(2);
    }
    return null;
  }

  disarm(): void {
    rmSync(join(this.#directory, 'armed'), { force: true });
  }

  #arm(text: string): void {
    rmSync(join(this.#directory, 'run'), { recursive: true, force: true });
    mkdirSync(join(this.#directory, 'run'));
    writeFileSync(join(this.#directory, 'armed'), `${text}\n`);
  }
}

function pointsIn(trace: string, process: number, isAll: boolean): Point[] {
  const counts = new Map<string, number>();
  return trace.split('\n').flatMap((line) => {
    const call = /^\d+ +(\w+)\(/.exec(line)?.[1];
    if (call === undefined) return [];
    const occurrence = (counts.get(call) ?? 0) + 1;
    counts.set(call, occurrence);
    return changesSomething(call, line) || (isAll && MESSAGES.has(call))
      ? [{ process, call, occurrence }]
      : [];
  });
}

function changesSomething(call: string, line: string): boolean {
  switch (call) {
    case 'recvmsg':
      return false;
    case 'sendto':
      return line.includes('nlmsg_type=ethtool');
    case 'sendmsg':
      return !line.includes('nlmsg_type=RTM_GET');
    case 'openat':
      return line.includes('"/run/netns/') && line.includes('O_CREAT');
    case 'ioctl':
      return line.includes('TUNSET');
    case 'write':
      return /write\(1, "[\d ]+", \d+\)/.test(line);
    default:
      return true;
  }
}

/** What SQLite does to the store's files, all of it in the main thread. */
const STORE_CALLS = ['pwrite64', 'fdatasync'];

/** Lists what a process does to its store during a change. */
export async function storePointsOf(
  pid: number,
  change: () => Promise<unknown>,
): Promise<Omit<Point, 'process'>[]> {
  const tracer = await attach(pid, [`trace=${STORE_CALLS.join(',')}`]);
  await change();
  const trace = await tracer.detach();
  return STORE_CALLS.flatMap((call) => {
    const count = trace.split('\n').filter((line) => line.startsWith(`${call}(`)).length;
    return Array.from({ length: count }, (_, at) => ({ call, occurrence: at + 1 }));
  });
}

/** Has a process killed when it is about to make a call. */
export async function killAt(pid: number, { call, occurrence }: Omit<Point, 'process'>): Promise<void> {
  await attach(pid, [`trace=${call}`, `inject=${call}:signal=SIGKILL:when=${occurrence}`]);
}

async function attach(pid: number, expressions: string[]): Promise<{ detach: () => Promise<string> }> {
  const directory = mkdtempSync(join(tmpdir(), 'netnsd-trace-'));
  const file = join(directory, 'trace');
  const tracer = execa(
    'strace',
    ['-o', file, '-p', String(pid), ...expressions.flatMap((each) => ['-e', each])],
    {
      reject: false,
      buffer: { stderr: false },
    },
  );
  onTestFinished(async () => {
    tracer.kill('SIGKILL');
    await tracer;
    rmSync(directory, { recursive: true, force: true });
  });
  await new Promise((resolve) => tracer.stderr.once('data', resolve));
  tracer.stderr.resume();
  return {
    detach: async () => {
      tracer.kill('SIGINT');
      await tracer;
      return readFileSync(file, 'utf8');
    },
  };
}
