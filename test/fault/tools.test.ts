import { describe, expect, it } from 'vitest';
import { changes, networkChanges, optionChanges, ruleChanges, singleChanges } from '../support/changes.ts';
import { MESSAGES, watchTools } from '../support/points.ts';
import { isLong, reportFigures, spread } from '../support/rounds.ts';
import { World } from '../support/world.ts';

const all = [...changes, ...singleChanges, ...ruleChanges, ...networkChanges, ...optionChanges];
const TIMEOUT_MS = isLong ? 3_600_000 : 600_000;

/** That a message is not sent, and that its answer is not received, which is to have failed with it done. */
const faults = [
  { fault: 'error=EIO', says: 'a call fails' },
  { fault: 'signal=SIGKILL', says: 'the tool is killed' },
];

describe('a tool that fails at any message that it sends or receives, or at any mount', () => {
  it.each(faults)(
    'changes nothing, or all was made after all, when $says',
    { timeout: TIMEOUT_MS },
    async ({ fault, says }) => {
      const tools = watchTools();
      const world = await World.make();
      let [count, refused] = [0, 0];
      for (const { of, before, change } of all) {
        await world.rebuild(before, change);
        const points = await tools.pointsOf(async () => world.change(), true);
        await world.rebuild(before, change);
        const messages = points.filter(({ call }) => MESSAGES.has(call));
        const others = points.filter(({ call }) => call !== 'start' && !MESSAGES.has(call));
        const chosen = [...spread(messages, 3), ...others];
        for (const point of chosen) {
          tools.failAt(point, fault);
          const status = await world.change();
          tools.disarm();
          expect(status).not.toBeNull();
          await world.check(`${of}: ${JSON.stringify(point)}`, (status ?? 500) >= 300);
          count += 1;
          refused += Number((status ?? 500) >= 300);
        }
      }
      expect(count).toBeGreaterThan(all.length);
      reportFigures(
        `a failed request changes nothing: ${says}`,
        `${count} points of ${all.length} changes`,
        `${refused} refused with kernel and store as before, the others made at the second attempt`,
      );
    },
  );
});
