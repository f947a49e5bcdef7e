import { describe, expect, it } from 'vitest';
import { Pacing } from '../../src/services/pacing.ts';

/** A pacing with a clock that stands still until it is moved. */
function paced(): { pacing: Pacing; pass: (milliseconds: number) => void } {
  let now = 1_000;
  return { pacing: new Pacing(() => now), pass: (milliseconds) => (now += milliseconds) };
}

describe('the attempts on a resource', () => {
  it('are free as long as there was none', () => {
    const { pacing } = paced();
    expect([pacing.delayOf('a'), pacing.isQuiet('a')]).toEqual([0, true]);
  });

  it('come after a delay that doubles from one second to five minutes, from the third on', () => {
    const { pacing, pass } = paced();
    const delays = Array.from({ length: 13 }, () => {
      const { delayMs } = pacing.tried('a');
      expect(pacing.delayOf('a')).toBe(delayMs);
      pass(delayMs);
      expect(pacing.delayOf('a')).toBe(0);
      return delayMs / 1000;
    });
    expect(delays).toEqual([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
  });

  it('are a fight from the fourth on, one soon after the other', () => {
    const { pacing, pass } = paced();
    const fights = Array.from({ length: 5 }, () => {
      const { delayMs, isFight, streak } = pacing.tried('a');
      pass(delayMs);
      return [streak, isFight];
    });
    expect(fights).toEqual([
      [1, false],
      [2, false],
      [3, false],
      [4, true],
      [5, true],
    ]);
  });

  it('begin anew after a quiet time, which is as long as the delay and ten seconds', () => {
    const { pacing, pass } = paced();
    for (let attempt = 0; attempt < 4; attempt++) pass(pacing.tried('a').delayMs);
    pass(4_000 + 10_000);
    expect(pacing.isQuiet('a')).toBe(false);
    pass(1);
    expect(pacing.isQuiet('a')).toBe(true);
    expect(pacing.tried('a')).toMatchObject({ streak: 1, delayMs: 0, isFight: false });
  });

  it('begin anew when something else is asked for, and don’t count for another resource', () => {
    const { pacing } = paced();
    for (let attempt = 0; attempt < 4; attempt++) pacing.tried('a');
    expect(pacing.tried('b')).toMatchObject({ streak: 1, delayMs: 0 });
    pacing.forget('a');
    expect([pacing.delayOf('a'), pacing.tried('a').streak]).toEqual([0, 1]);
  });
});
