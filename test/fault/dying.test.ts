import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { changes, networkChanges, optionChanges, ruleChanges, singleChanges } from '../support/changes.ts';
import { killAt, storePointsOf, watchTools } from '../support/points.ts';
import { isLong, reportFigures, spread } from '../support/rounds.ts';
import { World } from '../support/world.ts';

const all = [...changes, ...singleChanges, ...ruleChanges, ...networkChanges, ...optionChanges];
/** A point takes about a second, on a machine that is busy with other things too. */
const TIMEOUT_MS = isLong ? 3_600_000 : 600_000;

describe('netnsd is killed in the middle of a change, and started again', () => {
  it('leaves nothing half at any step of a tool', { timeout: TIMEOUT_MS }, async () => {
    const tools = watchTools();
    const world = await World.make();
    let count = 0;
    for (const { of, before, change } of all) {
      await world.rebuild(before, change);
      const points = await tools.pointsOf(async () => world.change());
      expect(points.length).toBeGreaterThan(0);
      await world.rebuild(before, change);
      const chosen = spread(points, 1);
      for (const [at, point] of chosen.entries()) {
        tools.stopAt(point);
        let isOver = false;
        const answer = world.change().finally(() => (isOver = true));
        const stopped = await tools.stopped(() => isOver);
        await world.kill();
        await answer;
        // Sometimes the tool goes on with what it was given while nobody is there, sometimes until netnsd is.
        if (stopped !== null && at % 2 === 1) await goOn(stopped);
        tools.disarm();
        await world.restart(`${of}: ${JSON.stringify(point)} of ${points.length}`);
      }
      count += chosen.length;
    }
    report('each step of a tool', count);
  });

  it('leaves nothing half at any write of the store', { timeout: TIMEOUT_MS }, async () => {
    const world = await World.make();
    let count = 0;
    for (const { of, before, change } of all) {
      await world.rebuild(before, change);
      const points = await storePointsOf(world.pid, async () => world.change());
      expect(points.length).toBeGreaterThan(1);
      await world.rebuild(before, change);
      const chosen = spread(points, 1);
      for (const point of chosen) {
        await killAt(world.pid, point);
        // When SQLite moves the log into the database is its own affair: some writes come only at times.
        count += Number((await world.change()) === null);
        await world.kill();
        await world.restart(`${of}: ${JSON.stringify(point)} of ${points.length}`);
      }
    }
    expect(count).toBeGreaterThan(all.length / 2);
    report('each write of the journal and the store', count);
  });
});

function report(where: string, count: number): void {
  reportFigures(
    `dying anywhere converges: ${where}`,
    `${count} points of ${all.length} changes`,
    'each time all as before, or all made',
  );
}

async function goOn(pid: number): Promise<void> {
  try {
    process.kill(pid, 'SIGCONT');
  } catch {
    // Its tracer has ended with netnsd, and it with that.
  }
  await sleep(20);
}
