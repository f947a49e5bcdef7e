import { describe, expect, it } from 'vitest';
import { isSameValue } from '../../src/schemas/sysctl.ts';

describe('the values of a sysctl', () => {
  it.each([
    ['1', '1'],
    ['01', '1'],
    ['0x1', '1'],
    ['0XfF', '255'],
    ['+1', '1'],
    ['-0x1', '-1'],
    ['4294967296001', '0x3e800000001'],
    [' 0  5', '0\t5\n'],
    ['fd00::1', 'fd00:0000:0000:0000:0000:0000:0000:0001'],
    ['cubic', 'cubic'],
  ])('%j and %j are the same', (a, b) => {
    expect([isSameValue(a, b), isSameValue(b, a)]).toEqual([true, true]);
  });

  it.each([
    ['1', '2'],
    ['010', '8'],
    ['1', '-1'],
    ['1', ''],
    ['9007199254740992', '9007199254740993'],
    ['0 5', '0 5 5'],
    ['5,6', '5-6'],
    ['cubic', 'Cubic'],
    ['fd00::1', 'fd00::2'],
    ['00:00:00:00:00:01', '0:0:0:0:0:1'],
  ])('%j and %j are not', (a, b) => {
    expect([isSameValue(a, b), isSameValue(b, a)]).toEqual([false, false]);
  });
});
