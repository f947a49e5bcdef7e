import { describe, expect, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { chooseSubnet, firstGap, gatewayIn, usableOf } from '../../src/plan/ipam.ts';
import { DEFAULT_POOLS, explainSubnet, parsePool } from '../../src/schemas/ipam.ts';
import {
  addressOf,
  explainReserved,
  numberOf,
  parseReserved,
  rangeOfNetwork,
} from '../../src/schemas/range.ts';

/** The first free address of a subnet where ranges are taken. */
function free(subnet: string, taken: string[] = []): string | null {
  const usable = usableOf(subnet);
  const gap = firstGap(usable, taken.map(parseReserved));
  return gap === null ? null : addressOf(usable.family, gap);
}

describe('addresses as numbers', () => {
  test.each(['0.0.0.0', '10.1.1.3', '255.255.255.255', '::', '::1', 'fd00::1:0:0:3', 'ffff::'])(
    'are the same there and back: %s',
    (address) => {
      expect(addressOf(address.includes(':') ? 6 : 4, numberOf(address))).toBe(address);
    },
  );

  test('make ranges of networks of any size', () => {
    expect(rangeOfNetwork('10.1.1.7/24')).toEqual({
      family: 4,
      first: numberOf('10.1.1.0'),
      last: numberOf('10.1.1.255'),
    });
    const { first, last } = rangeOfNetwork('fd00::/64');
    expect(last - first + 1n).toBe(2n ** 64n);
    expect(rangeOfNetwork('10.1.1.7')).toMatchObject({
      first: numberOf('10.1.1.7'),
      last: numberOf('10.1.1.7'),
    });
  });
});

describe('the first free address', () => {
  test.each<[string, string[], string | null]>([
    ['10.1.1.0/24', [], '10.1.1.1'],
    ['10.1.1.0/24', ['10.1.1.1', '10.1.1.2', '10.1.1.4'], '10.1.1.3'],
    ['10.1.1.0/24', ['10.1.1.4', '10.1.1.2', '10.1.1.1'], '10.1.1.3'],
    ['10.1.1.0/24', ['10.1.1.1-10.1.1.100', '10.1.1.50-10.1.1.60', '10.1.1.101'], '10.1.1.102'],
    ['10.1.1.0/24', ['10.1.0.0-10.1.1.9', '10.1.1.11-10.9.0.0'], '10.1.1.10'],
    ['10.1.1.0/24', ['10.1.1.1-10.1.1.254'], null],
    ['10.1.1.0/24', ['fd00::1-fd00::ffff'], '10.1.1.1'],
    ['10.1.1.0/30', ['10.1.1.1'], '10.1.1.2'],
    ['10.1.1.0/30', ['10.1.1.1', '10.1.1.2'], null],
    ['10.1.1.0/31', ['10.1.1.0'], '10.1.1.1'],
    ['10.0.0.0/8', ['10.0.0.1-10.255.255.253'], '10.255.255.254'],
    ['fd00::/64', [], 'fd00::1'],
    ['fd00::/64', ['fd00::1-fd00::ffff:ffff:ffff:fffe'], 'fd00::ffff:ffff:ffff:ffff'],
    ['fd00::/64', ['fd00::1-fd00::ffff:ffff:ffff:ffff'], null],
    ['fd00::/127', ['fd00::'], 'fd00::1'],
  ])('of %s without %j is %s', (subnet, taken, expected) => {
    expect(free(subnet, taken)).toBe(expected);
  });

  test('is what a walk through all of them finds', () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      // The middle square of a linear generator: any numbers will do, if they are the same each time.
      const at = (n: number): number => ((seed * 7919 + n * 104_729) % 1009) % 32;
      const taken = Array.from({ length: seed % 7 }, (_, n) => {
        const from = at(n);
        return { from, to: from + at(n + 50) / 4 };
      });
      const texts = taken.map(({ from, to }) => `10.1.1.${from}-10.1.1.${Math.floor(to)}`);
      const walk = Array.from({ length: 30 }, (_, n) => n + 1).find(
        (n) => !taken.some(({ from, to }) => from <= n && n <= to),
      );
      expect(free('10.1.1.0/27', texts)).toBe(walk === undefined ? null : `10.1.1.${walk}`);
    }
  });
});

describe('the gateway of a subnet', () => {
  test.each<[string, string[], string]>([
    ['10.1.1.0/24', [], '10.1.1.1'],
    ['10.1.1.0/24', ['10.2.0.1/16', '10.1.1.254/24'], '10.1.1.254'],
    ['10.1.1.0/31', [], '10.1.1.0'],
    ['fd00:1::/64', ['10.1.1.3/24'], 'fd00:1::1'],
  ])('%s with %j is %s', (subnet, addresses, expected) => {
    expect(gatewayIn(subnet, addresses)).toBe(expected);
  });
});

describe('a subnet that is chosen', () => {
  test.each<[4 | 6, string[], string | null]>([
    [4, [], '10.192.0.0/24'],
    [4, ['10.192.0.0/24', '10.192.2.0/24'], '10.192.1.0/24'],
    [4, ['10.0.0.0/8'], null],
    [4, ['10.192.0.0/13'], '10.200.0.0/24'],
    [4, ['10.192.0.128/25', '10.192.1.0/32'], '10.192.2.0/24'],
    [6, ['10.0.0.0/8'], 'fd6e:6574:6e73::/64'],
    [6, ['fd6e:6574:6e73::/63'], 'fd6e:6574:6e73:2::/64'],
  ])('of IPv%i beside %j is %s', (family, taken, expected) => {
    expect(chooseSubnet(family, DEFAULT_POOLS, taken.map(rangeOfNetwork))).toBe(expected);
  });

  test('comes of the next pool where one is used up', () => {
    const pools = ['10.1.0.0/24:25', '10.3.0.0/16:24']
      .map(parsePool)
      .filter((pool) => typeof pool !== 'string');
    const taken = ['10.1.0.0/25', '10.1.0.128/25', '10.3.0.0/24'].map(rangeOfNetwork);
    expect(chooseSubnet(4, pools, taken)).toBe('10.3.1.0/24');
  });
});

describe('what is written', () => {
  test.each(['10.1.1.200-10.1.1.255', '10.1.1.7', 'fd00::1-fd00::ff'])('may be reserved: %s', (text) => {
    expect(explainReserved(text)).toBeNull();
  });
  test.each([
    '',
    '-',
    '10.1.1.1-',
    '10.1.1.1-2',
    '10.1.1.2-10.1.1.1',
    '10.1.1.1-fd00::1',
    '1-2-3',
    '010.1.1.1',
    'x',
  ])('may not be reserved: %j', (text) => {
    expect(explainReserved(text)).toEqual(expect.any(String));
  });
  test.each(['auto', 'auto-ipv6', '10.1.1.0/24', 'fd00:1::/64'])('may be a subnet: %s', (text) => {
    expect(explainSubnet(text)).toBeNull();
  });
  test.each(['', 'auto6', '10.1.1.1/24', '10.1.1.0', '0.0.0.0/0', 'fe80::/64', 'ff00::/16', '127.0.0.0/8'])(
    'may not be a subnet: %j',
    (text) => {
      expect(explainSubnet(text)).toEqual(expect.any(String));
    },
  );
  test.each([
    '',
    '10.1.0.0/16',
    '10.1.0.0/16:8',
    '10.1.0.0/16:33',
    '10.1.0.1/16:24',
    'auto:24',
    'fd00::/48:129',
  ])('is no pool: %j', (text) => {
    expect(parsePool(text)).toEqual(expect.any(String));
  });
});

describe('--address-pool', () => {
  test('replaces the default, and counts more than the variable', () => {
    const env = { NETNSD_ADDRESS_POOL: '10.1.0.0/16:24, fd00:1::/48:64' };
    expect(readConfig([], {}, '').addressPools).toEqual(DEFAULT_POOLS);
    expect(readConfig([], env, '').addressPools).toEqual([
      { network: '10.1.0.0/16', prefixLength: 24 },
      { network: 'fd00:1::/48', prefixLength: 64 },
    ]);
    const args = ['--address-pool', '10.2.0.0/16:25', '--address-pool', '10.3.0.0/16:26'];
    expect(readConfig(args, env, '').addressPools).toEqual([
      { network: '10.2.0.0/16', prefixLength: 25 },
      { network: '10.3.0.0/16', prefixLength: 26 },
    ]);
    expect(() => readConfig(['--address-pool', '10.2.0.0/16'], {}, '')).toThrow(/10\.192\.0\.0\/12:24/);
    expect(() => readConfig([], { NETNSD_ADDRESS_POOL: 'x' }, '')).toThrow(/NETNSD_ADDRESS_POOL/);
  });
});
