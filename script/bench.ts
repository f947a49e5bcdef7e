import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

// Measures what netnsd takes, beside what one process takes here and now: to be run by script/bench, in a sandbox.
// Nothing fails for being slow: the ratios are for people to compare.

if (process.env['NETNSD_SANDBOX'] !== '1') {
  process.stderr.write('script/bench.ts changes the network: run script/bench, which runs it in a sandbox\n');
  process.exit(2);
}

const { values } = parseArgs({ options: { links: { type: 'string', default: '1000' } } });
const LINKS = Number(values.links);
const ROUNDS = 30;
const AT_ONCE = 100;
const FIGHT_MS = 20_000;
/** Room for the fight: a bridge of ours that something else keeps changing. */
const FIGHT = 'while :; do ip link set dev br00 mtu 1400; sleep 0.2; done';
/** USER_HZ, in which proc_pid_stat(5) counts. */
const TICKS_PER_SECOND = 100;

const stateDir = mkdtempSync(join(tmpdir(), 'netnsd-bench-'));
const socketPath = join(stateDir, 'netnsd.sock');
const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });

const daemon = spawn(
  process.execPath,
  ['src/main.ts', '--state-dir', stateDir, '--listen', `unix:${socketPath}`, '--log-level', 'error'],
  { cwd: new URL('..', import.meta.url).pathname, stdio: ['ignore', 'pipe', 'inherit'] },
);
try {
  await once(daemon.stdout, 'data');
  const baseline = await measureBaseline();
  await measureOneByOne(baseline);
  await measureAtOnce(baseline);
  await measureSweep(baseline);
  await measureFight();
} finally {
  daemon.kill();
  await once(daemon, 'exit');
  rmSync(stateDir, { recursive: true, force: true });
}

/** One `ip -batch` with nothing to do, from this process: the least that a change of the network can take. */
async function measureBaseline(): Promise<number> {
  const times = await repeat(ROUNDS, async () => {
    const child = spawn('ip', ['-batch', '-'], { stdio: ['pipe', 'ignore', 'inherit'] });
    child.stdin.end();
    await once(child, 'exit');
  });
  const baselineMs = median(times);
  print('baseline: one `ip -batch` with nothing to do', baselineMs, baselineMs);
  return baselineMs;
}

async function measureOneByOne(baselineMs: number): Promise<void> {
  const kinds: [kind: string, path: (at: number) => string, body: (at: number) => object][] = [
    ['namespace', (at) => `/namespaces/n${at}`, () => ({})],
    ['link', (at) => `/links/l${at}`, (at) => linkTo(`n${at}`)],
    ['nat', (at) => `/nat/r${at}`, (at) => publish(at)],
  ];
  for (const [kind, path, body] of kinds)
    print(
      `create a ${kind}`,
      median(await repeat(ROUNDS, async (at) => call('PUT', path(at), body(at)))),
      baselineMs,
    );
  print('GET a link', median(await repeat(ROUNDS, async (at) => call('GET', `/links/l${at}`))), baselineMs);
  print('list 30 links', median(await repeat(ROUNDS, async () => call('GET', '/links'))), baselineMs);
  for (const [kind, path] of kinds.toReversed())
    print(
      `delete a ${kind}`,
      median(await repeat(ROUNDS, async (at) => call('DELETE', path(at)))),
      baselineMs,
    );
}

async function measureAtOnce(baselineMs: number): Promise<void> {
  const all = async (method: string, path: string, body?: (at: number) => object): Promise<void> => {
    const numbers = Array.from({ length: AT_ONCE }, (_, at) => at);
    const took = await timed(async () => {
      await Promise.all(numbers.map(async (at) => call(method, `${path}${at}`, body?.(at))));
    });
    print(`${AT_ONCE} × ${method} ${path}N at once, in all`, took, baselineMs);
  };
  await all('PUT', '/namespaces/n', () => ({}));
  await all('PUT', '/links/l', (at) => linkTo(`n${at}`));
  await all('PUT', '/nat/r', publish);
  await all('DELETE', '/nat/r');
  await all('DELETE', '/links/l');
  await all('DELETE', '/namespaces/n');
}

/** All links of a host lead from the daemon's own namespace to itself: the sweep takes one process whatever their number. */
async function measureSweep(baselineMs: number): Promise<void> {
  await inGroups(LINKS, async (at) => {
    await call('PUT', `/links/l${at}`, { type: 'veth', peer: { interface: `p${at}` } });
  });
  await call('PUT', '/nat/r0', publish(0));
  const sweeps: [processes: number, durationMs: number][] = [];
  for (let round = 0; round < 5; round++) {
    const drift = await call('GET', '/drift');
    const found = (field: string): number => Number(new RegExp(`"${field}":([\\d.]+)`).exec(drift)?.[1]);
    sweeps.push([found('processes'), found('durationMs')]);
  }
  print(
    `look at ${LINKS} links and a rule (${Math.max(...sweeps.map(([processes]) => processes))} processes)`,
    median(sweeps.map(([, durationMs]) => durationMs)),
    baselineMs,
  );
  await call('DELETE', '/nat/r0');
  await inGroups(LINKS, async (at) => {
    await call('DELETE', `/links/l${at}`);
  });
}

/** What netnsd takes while something else keeps changing back what it mends. */
async function measureFight(): Promise<void> {
  await call('PUT', '/bridges/br00', { mtu: 1500 });
  await sleep(1000);
  const quiet = await measureUse(5_000);
  const other = spawn('sh', ['-c', FIGHT], { stdio: 'ignore' });
  const fighting = await measureUse(FIGHT_MS);
  const state = /"state":"(\w+)"/.exec(await call('GET', '/bridges/br00'))?.[1] ?? 'gone';
  await end(other);
  await call('DELETE', '/bridges/br00');
  process.stdout.write(
    `at rest ${quiet} % of a core; while it is fought for ${FIGHT_MS / 1000} s ${fighting} % (then ${state})\n`,
  );
}

/** How much of one core netnsd and the processes that it has waited for take, in percent. */
async function measureUse(durationMs: number): Promise<string> {
  const before = ticks();
  await sleep(durationMs);
  return (((ticks() - before) / TICKS_PER_SECOND / (durationMs / 1000)) * 100).toFixed(2);
}

/** utime, stime, cutime and cstime of proc_pid_stat(5). */
function ticks(): number {
  const text = readFileSync(`/proc/${String(daemon.pid)}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
}

function linkTo(namespace: string): object {
  return { type: 'veth', peer: { interface: 'eth0', namespace, addresses: ['10.1.1.1/24'] } };
}

function publish(at: number): object {
  return {
    type: 'dnat',
    protocol: 'tcp',
    port: String(10_000 + at),
    to: { address: '10.1.1.1', port: '80' },
  };
}

/** Not all at once: what waits for longer than the deadline of a change is refused. */
async function inGroups(count: number, act: (at: number) => Promise<void>): Promise<void> {
  for (let at = 0; at < count; at += AT_ONCE)
    await Promise.all(
      Array.from({ length: Math.min(AT_ONCE, count - at) }, async (_, offset) => act(at + offset)),
    );
}

async function call(method: string, path: string, body?: object): Promise<string> {
  return new Promise((resolve, reject) => {
    const json = body === undefined ? undefined : JSON.stringify(body);
    const headers = json === undefined ? {} : { 'content-type': 'application/json' };
    const sent = request({ socketPath, agent, method, path, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        if ((response.statusCode ?? 500) < 300) resolve(text);
        else reject(new Error(`${method} ${path}: ${String(response.statusCode)} ${text}`));
      });
    });
    sent.on('error', reject);
    sent.end(json);
  });
}

async function repeat(rounds: number, act: (at: number) => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let at = 0; at < rounds; at++) times.push(await timed(async () => act(at)));
  return times;
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await act();
  return performance.now() - start;
}

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN;
}

function print(what: string, tookMs: number, baselineMs: number): void {
  const ratio = (tookMs / baselineMs).toFixed(1);
  process.stdout.write(`${what.padEnd(52)} ${tookMs.toFixed(1).padStart(9)} ms ${ratio.padStart(8)} ×\n`);
}

async function end(child: ChildProcess): Promise<void> {
  child.kill();
  await once(child, 'exit');
}
