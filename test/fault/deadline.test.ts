import { rmSync, writeFileSync } from 'node:fs';
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

const TIMEOUT_MS = isLong ? 1_800_000 : 60_000;

/** Far more than a change and its undoing may take with a second for each, on a machine that is busy. */
const PATIENCE_MS = 10_000;

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
    const world = await World.make(['--change-timeout', '0.5']);
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
      const server = await startServer(['--change-timeout', '1'], { stateDir: directoryToTearDown() });
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
