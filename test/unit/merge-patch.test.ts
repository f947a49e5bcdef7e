import { describe, expect, it } from 'vitest';
import { mergePatch } from '../../src/services/merge-patch.ts';

describe('JSON Merge Patch', () => {
  // RFC 7396, appendix A.
  it.each([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('makes of %j by %j', (target, patch, result) => {
    expect(mergePatch(target, patch)).toEqual(result);
  });

  // A bridge without a firewall is not one of which nothing is said.
  it.each([
    [{ firewall: { internal: true } }, { firewall: null }, { firewall: null }],
    [{}, { firewall: null }, { firewall: null }],
    [
      { labels: { firewall: 'on', a: 'b' }, firewall: null },
      { labels: { firewall: null } },
      { labels: { a: 'b' }, firewall: null },
    ],
    [{ a: 'b' }, { labels: { firewall: null } }, { a: 'b', labels: {} }],
  ])(
    'makes of %j by %j: null stands for no firewall only where a bridge has its own',
    (target, patch, result) => {
      expect(mergePatch(target, patch)).toEqual(result);
    },
  );
});
