import { describe, expect, it } from 'vitest';
import { firewallCombinations } from '../support/golden.ts';
import { runs } from '../support/packet-cells.ts';
import { pairsOf, pairwise } from '../support/pairwise.ts';

const pairsIn = (rows: readonly object[]): string[] => [...new Set(rows.flatMap(pairsOf))].toSorted();

describe('pairwise', () => {
  it('lists each two values of a row once', () => {
    expect(pairsOf({ a: 1, b: true, c: [] })).toEqual(['a=1 b=true', 'a=1 c=[]', 'b=true c=[]']);
  });

  it('chooses few rows that have every pair that is in all of them, wherever it begins', () => {
    const all = firewallCombinations('br02');
    for (const start of all.keys()) {
      const chosen = pairwise(all, start);
      expect(pairsIn(chosen)).toEqual(pairsIn(all));
      expect(chosen.length).toBeLessThanOrEqual(8);
    }
  });

  it('chooses nothing of nothing', () => {
    expect(pairwise([])).toEqual([]);
  });
});

describe('the runs of the packet matrix', () => {
  const rowsOf = (isAll: boolean): object[] =>
    runs(isAll).flatMap(({ environment, firewalls }) =>
      firewalls.map((firewall) => ({ ...firewall, ...environment })),
    );

  it('have every two values of fields and environments together', () => {
    expect(pairsIn(rowsOf(false))).toEqual(pairsIn(rowsOf(true)));
  });

  it('have every two values of fields together in each environment', () => {
    const all = pairsIn(firewallCombinations('br02'));
    for (const { firewalls } of runs(false)) expect(pairsIn(firewalls)).toEqual(all);
  });

  it('are everything when they are to be long', () => {
    expect(rowsOf(true).length).toBe(32 * 40);
    expect(new Set(rowsOf(true).map((row) => JSON.stringify(row))).size).toBe(32 * 40);
  });

  it('are all combinations of the fields, in eight environments, when they are short', () => {
    expect(runs(false).length).toBe(8);
    expect(rowsOf(false).length).toBeLessThanOrEqual(96);
  });
});
