import { describe, expect, it } from 'vitest';
import { devicesWithIngress, parseFilters, showFilters } from '../../src/kernel/policing.ts';
import { render } from '../../src/kernel/render.ts';
import type { Device } from '../../src/kernel/state.ts';
import type { Step } from '../../src/kernel/step.ts';
import { toolChanges } from '../../src/plan/end.ts';
import type { Policing } from '../../src/schemas/end.ts';

const ROOT = 'qdisc tbf 5173: root refcnt 3 rate 1Mbit burst 3000b lat 50ms \n';
const INGRESS = 'qdisc ingress ffff: parent ffff:fff1 ---------------- \n';

/** As iproute2 6.1 prints it. */
function matchall(handle: string, rate: string): string {
  return `filter protocol all pref 5173 matchall chain 0 
filter protocol all pref 5173 matchall chain 0 handle ${handle} 
  not_in_hw
	action order 1:  police 0x1 rate ${rate} burst 128Kb mtu 128Kb action drop overhead 0b 
	ref 1 bind 1 

`;
}

const OTHER = `filter protocol all pref 7 u32 chain 0 
filter protocol all pref 7 u32 chain 0 fh 800: ht divisor 1 
filter protocol all pref 7 u32 chain 0 fh 800::800 order 2048 key ht 800 bkt 0 not_in_hw 
  match 00000000/00000000 at 0
`;

describe('what `tc` tells of what a device receives', () => {
  it.each<[string, string, Policing | undefined]>([
    ['a filter of netnsd', matchall('0x3e8', '1Mbit'), { ingressKbit: 1000 }],
    ['none', '', { ingressKbit: null }],
    ['one beside that of others', OTHER + matchall('0x3e8', '1Mbit'), { ingressKbit: 1000, isShared: true }],
    ['that of others', OTHER, undefined],
    ['another kind at that place', OTHER.replaceAll('pref 7', 'pref 5173'), undefined],
    ['a filter without a rate', matchall('0x3e8', '1Mbit').replace(/\taction.*\n/, ''), undefined],
    ['a rate that somebody changed', matchall('0x3e8', '2500Kbit'), { ingressKbit: 2500 }],
    ['a rate without a handle of netnsd', matchall('0x1', '3Gbit'), { ingressKbit: 3_000_000 }],
    ['the smallest rate', matchall('0x1', '1Kbit'), { ingressKbit: 1 }],
    // These are printed rounded.
    ['a large odd rate', matchall('0xf4241', '1Gbit'), { ingressKbit: 1_000_001 }],
    ['a larger one', matchall('0x12d687', '1234Mbit'), { ingressKbit: 1_234_567 }],
    ['the largest rate', matchall('0x5f5e100', '100Gbit'), { ingressKbit: 100_000_000 }],
  ])('%s', (_what, filters, policing) => {
    const answer = `${ROOT}${INGRESS}${filters}${ROOT}${INGRESS}${OTHER}`;
    const expected = policing === undefined ? [] : [['mac0', policing]];
    expect(parseFilters(answer, ['mac0', 'eth1'])).toEqual(new Map(expected as [string, Policing][]));
  });

  it('is not read where a device has gone meanwhile, or where its place for filters is another one', () => {
    expect(parseFilters(`${ROOT}${INGRESS}${OTHER}`, ['mac0', 'eth1'])).toBeNull();
    expect(parseFilters(`${ROOT}qdisc clsact ffff: parent ffff:fff1 \n`, ['mac0'])).toBeNull();
    expect(parseFilters('', [])).toEqual(new Map());
  });

  it('is asked of those devices that may have it, and have a name that is no more than that', () => {
    const qdisc = (dev: string, kind: string, more: object = {}) => ({ kind, dev, options: {}, ...more });
    const names = devicesWithIngress([
      qdisc('mac0', 'noqueue'),
      qdisc('mac0', 'ingress'),
      qdisc('mac1', 'clsact'),
      qdisc('mac2', 'ingress', { ingress_block: 22 }),
      qdisc('a\nb', 'ingress'),
      qdisc('-x', 'ingress'),
      'what is this',
    ]);
    expect(names).toEqual(['mac0']);
    expect(showFilters(['mac0'])).toBe('qdisc show dev mac0\nfilter show dev mac0 ingress\n');
  });
});

const DEVICE: Device = {
  key: 'link/mac0 own',
  serves: { kind: 'link', name: 'mac0' },
  namespace: 'blue',
  name: 'mac0',
  mac: '02:00:00:00:00:01',
  mtu: 1500,
  up: true,
  master: null,
  addresses: [],
  routes: [],
  kind: { type: 'macvlan', mode: 'bridge', parent: { namespace: 'host', name: 'eth0' } },
};

describe('the steps that police what a device receives', () => {
  const none = { ...DEVICE };
  const half = { ...DEVICE, options: { policing: { ingressKbit: null } } };
  const slow = { ...DEVICE, options: { policing: { ingressKbit: 1000 } } };
  const fast = { ...DEVICE, options: { policing: { ingressKbit: 2000 } } };
  const shared = { ...DEVICE, options: { policing: { ingressKbit: 1000, isShared: true as const } } };

  it.each<[string, Device, Device, Step['step'][]]>([
    ['out of nothing', none, slow, ['ingress.add', 'police.add']],
    ['out of one half', half, slow, ['police.add']],
    ['at another rate', slow, fast, ['police.delete', 'police.add']],
    ['at the same rate', slow, slow, []],
    ['at the same rate, with another MTU', { ...slow, mtu: 9000 }, slow, []],
    ['no more', slow, none, ['ingress.delete']],
    ['no more, where it was made by half', half, none, ['ingress.delete']],
    ['beside filters of others', shared, slow, []],
    ['at another rate beside filters of others', shared, fast, ['police.delete', 'police.add']],
    ['no more, beside filters of others', shared, none, ['police.delete']],
    ['never', none, none, []],
  ])('%s', (_what, have, want, steps) => {
    expect(toolChanges(have, want).map(({ step }) => step)).toEqual(steps);
  });

  it.each([
    [1, 33_750],
    [8, 131_072],
    [1000, 131_072],
    [4195, 131_094],
    [100_000_000, 3_125_000_000],
  ])('%i kbit/s has a bucket of %i bytes', (ingressKbit, burst) => {
    const step: Step = {
      step: 'police.add',
      serves: DEVICE.serves,
      device: { namespace: 'blue', name: 'mac0' },
      ingressKbit,
    };
    expect(render(step)).toEqual({
      tool: 'tc',
      namespace: 'blue',
      line: `filter add dev mac0 ingress protocol all pref 5173 handle 0x${ingressKbit.toString(16)} matchall action police rate ${ingressKbit}kbit burst ${burst} mtu 131072 conform-exceed drop`,
    });
  });
});
