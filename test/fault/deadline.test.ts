import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ask } from '../support/ask.ts';
import { changes, ruleChanges } from '../support/changes.ts';
import { kernelState, leftBehind } from '../support/kernel-state.ts';
import { watchTools } from '../support/points.ts';
import { isLong, reportFigures, rounds, spread } from '../support/rounds.ts';
import { directoryToTearDown, startServer, temporaryDirectory } from '../support/server.ts';
import { recorded, settledComplaints } from '../support/standing.ts';
import { World } from '../support/world.ts';
import { putInFront } from '../support/wrapper.ts';

const TIMEOUT_MS = isLong ? 1_800_000 : 180_000;

/** Far more than a change and its undoing may take with two seconds for each, on a machine that is busy. */
const PATIENCE_MS = 20_000;

/** Has `ip` be slow or hang while a file is there; gives the file. */
function putBrakeOnIp(condition: string, brake: string): { pull: () => void; release: () => void } {
  const file = join(temporaryDirectory(), 'brake');
  onTestFinished(() => rmSync(file, { force: true }));
  putInFront('ip', () => `if [ -e ${file} ] && ${condition}; then ${brake}; fi\nexec /usr/sbin/ip "$@"`);
  return { pull: () => writeFileSync(file, ''), release: () => rmSync(file, { force: true }) };
}

describe('a change that takes too long', () => {
  it('is undone and answered 503, wherever the tool hangs', { timeout: TIMEOUT_MS }, async () => {
    const tools = watchTools();
    const world = await World.make(['--change-timeout', '2']);
    const all = spread([...changes, ...ruleChanges], 4);
    let count = 0;
    for (const { of, before, change } of all) {
      await world.rebuild(before, change);
      const points = await tools.pointsOf(async () => world.change());
      await world.rebuild(before, change);
      for (const point of points.filter((_, at) => at % rounds(Math.ceil(points.length / 2), 3) === 0)) {
        tools.stopAt(point);
        const status = await world.change();
        tools.disarm();
        expect([of, point, status]).toEqual([of, point, 503]);
        await world.check(`${of}: ${JSON.stringify(point)}`, true);
        count += 1;
      }
    }
    expect(count).toBeGreaterThan(0);
    reportFigures(
      'a change has a deadline: one tool hangs',
      `${count} points of ${all.length} changes`,
      '503, and undone',
    );
  });

  it(
    'keeps nobody waiting: ip hangs in one namespace until somebody ends that',
    { timeout: TIMEOUT_MS },
    async () => {
      const brake = putBrakeOnIp(`case "$*" in *"-n blue"*) true ;; *) false ;; esac`, 'exec sleep 1000');
      const server = await startServer(['--change-timeout', '2'], { stateDir: directoryToTearDown() });
      const post = async (path: string, body: object) => ask(server.socketPath, 'POST', path, body);
      for (const name of ['blue', 'red']) expect((await post('/namespaces', { name }))?.status).toBe(201);
      const before = await kernelState();
      const link = (name: string, namespace: string): object => ({
        name,
        type: 'veth',
        peer: { namespace, interface: name, addresses: ['10.1.1.1/24'] },
      });
      brake.pull();
      const start = performance.now();
      const hung = post('/links', link('v0', 'blue'));
      await sleep(100);
      const others = Array.from({ length: 5 }, async (_, n) => post('/links', link(`w${n}`, 'red')));
      const answers = await Promise.all([hung, ...others]);
      expect(performance.now() - start).toBeLessThan(PATIENCE_MS);
      expect(answers[0]).toMatchObject({ status: 503, body: { type: '/problems/timeout' } });
      for (const answer of answers.slice(1)) {
        expect([201, 503]).toContain(answer?.status);
        if (answer?.status === 503) expect(answer.body['type']).toBe('/problems/timeout');
      }
      // While it still hangs, what has nothing to do with it goes on.
      await expect
        .poll(async () => (await post('/links', link('x0', 'red')))?.status, { timeout: PATIENCE_MS })
        .toBe(201);
      brake.release();
      await expect
        .poll(async () => (await post('/links', link('v0', 'blue')))?.status, { timeout: PATIENCE_MS })
        .toBe(201);
      expect(await settledComplaints(server.socketPath)).toEqual([]);
      for (const path of (await recorded(server.socketPath)).keys())
        if (path.startsWith('/links/'))
          expect((await ask(server.socketPath, 'DELETE', path))?.status).toBe(204);
      expect(await leftBehind(before)).toEqual([]);
    },
  );
});

/** Asks, and tells how long the answer took. */
async function askAndTime(
  ...request: Parameters<typeof ask>
): Promise<{ answer: Awaited<ReturnType<typeof ask>>; tookMs: number }> {
  const start = performance.now();
  const answer = await ask(...request);
  return { answer, tookMs: performance.now() - start };
}

describe('a change that came together with one that hangs', () => {
  /** netnsd with two namespaces; while the brake is pulled, `ip` is slow in `red`, and hangs wherever it says. */
  async function startSlow(hangsWhere: string) {
    const where = join(temporaryDirectory(), 'slow');
    const brake = putBrakeOnIp(
      `case "$*" in *"-n red"*) touch ${where}; sleep 2; false ;; ${hangsWhere}) true ;; *) false ;; esac`,
      'exec sleep 1000',
    );
    const stateDir = directoryToTearDown();
    const server = await startServer(['--change-timeout', '4', '--reconcile', 'off'], { stateDir });
    onTestFinished(brake.release);
    const send = async (method: string, path: string, body: object) =>
      askAndTime(server.socketPath, method, path, body);
    for (const name of ['blue', 'red'])
      expect((await send('POST', '/namespaces', { name })).answer?.status).toBe(201);
    return {
      send,
      /** Begins a change that is slow: what is asked for until it is made comes together. */
      startSlowChange: async () => {
        brake.pull();
        const slow = send('POST', '/bridges', { name: 'br00', namespace: 'red' });
        await expect.poll(() => existsSync(where), { interval: 5 }).toBe(true);
        return { slow };
      },
    };
  }

  const waitedInVain = {
    status: 503,
    body: { type: '/problems/timeout', detail: expect.stringContaining('nothing was changed') },
  };

  it(
    'is answered when its own time is over: the other is of the same resource',
    { timeout: TIMEOUT_MS },
    async () => {
      const { send, startSlowChange } = await startSlow('*"-n blue"*');
      const link = { name: 'v0', type: 'veth', peer: { namespace: 'blue', interface: 'v0' } };
      expect((await send('POST', '/links', link)).answer?.status).toBe(201);
      const { slow } = await startSlowChange();
      const hung = send('PATCH', '/links/v0', { peer: { mtu: 1400 } });
      await sleep(50);
      const same = send('PATCH', '/links/v0', { peer: { mtu: 1300 } });
      const other = send('POST', '/bridges', { name: 'br00' });
      expect((await slow).answer?.status).toBe(201);
      expect((await hung).answer).toMatchObject({ status: 503, body: { type: '/problems/timeout' } });
      // The undoing of the first has as much time again, for which they do not wait.
      const { tookMs: withUndoing } = await hung;
      expect(withUndoing).toBeGreaterThan(7_000);
      for (const { answer, tookMs } of [await same, await other]) {
        expect(answer).toMatchObject(waitedInVain);
        expect(tookMs).toBeLessThan(withUndoing - 1_000);
      }
    },
  );

  it(
    'is answered when its own time is over: what the other needs to know of the kernel can’t be read',
    { timeout: TIMEOUT_MS },
    async () => {
      const { send, startSlowChange } = await startSlow('*-batch*');
      const { slow } = await startSlowChange();
      const looking = send('POST', '/bridges', { name: 'br01', subnets: ['10.1.1.0/24'] });
      const other = send('POST', '/namespaces', { name: 'green' });
      await sleep(700);
      const later = send('POST', '/bridges', { name: 'br02', subnets: ['10.1.2.0/24'] });
      expect((await slow).answer?.status).toBe(201);
      for (const { answer, tookMs } of [await looking, await other, await later]) {
        expect(answer).toMatchObject(waitedInVain);
        // Their time does not begin when the slow one is made, two seconds later.
        expect(tookMs).toBeLessThan(5_800);
      }
    },
  );
});

describe('SIGTERM in the middle of a batch', () => {
  it('has the batch finished and answered, and leaves nothing half', { timeout: TIMEOUT_MS }, async () => {
    const stateDir = directoryToTearDown();
    const brake = putBrakeOnIp('true', 'sleep 0.3');
    const made = new Set<string>();
    const ROUNDS = rounds(3, 50);
    for (let round = 0; round < ROUNDS; round++) {
      const server = await startServer(['--reconcile', 'off'], { stateDir });
      brake.pull();
      const names = Array.from({ length: 6 }, (_, n) => `n${round}-${n}`);
      const answers = names.map(async (name) => ask(server.socketPath, 'POST', '/namespaces', { name }));
      await sleep(50 + Math.random() * 800);
      const { exitCode } = await server.end('SIGTERM');
      brake.release();
      expect(exitCode).toBe(0);
      for (const [at, answer] of (await Promise.all(answers)).entries()) {
        expect([201, 503]).toContain(answer?.status);
        if (answer?.status === 201) made.add(`/namespaces/${names[at]}`);
      }
      const again = await startServer(['--reconcile', 'off'], { stateDir });
      expect(new Set((await recorded(again.socketPath)).keys())).toEqual(made);
      expect(await settledComplaints(again.socketPath)).toEqual([]);
      await again.end();
    }
    reportFigures('SIGTERM in a batch', `${ROUNDS} times`, 'all answered, status 0, nothing half');
  });
});
