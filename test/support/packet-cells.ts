import type { FirewallFields } from './golden.ts';
import type { Protocol } from './prober.ts';

/** Where packets are sent from; `neighbor` and `far` are both in `internet`, which sends to our networks directly. */
export const clients = ['web', 'sibling', 'other', 'host', 'neighbor', 'far'] as const;
export type Client = (typeof clients)[number];

/** What is asked: a service of a place itself, or the port of the host that is published for `web`. */
export type Target = Client | 'gateway' | 'dns' | 'published' | 'localhost';

export interface Cell {
  from: Client;
  to: Target;
  protocol: Protocol;
  family: 4 | 6;
}

/** What is around the bridge: nothing of this is to make a difference, but for what docs/packet-path.md names. */
export interface Environment {
  policy: 'ACCEPT' | 'DROP';
  bridgeFilter: boolean;
  tool: 'nft' | 'legacy';
}

export interface Expectation {
  reached: boolean;
  why: string;
}

const ways: [Client, Target[]][] = [
  ['web', ['sibling', 'other', 'gateway', 'dns', 'host', 'neighbor', 'far', 'published']],
  ['sibling', ['web', 'published']],
  ['other', ['web', 'published']],
  ['host', ['web', 'published', 'localhost']],
  ['neighbor', ['web', 'other', 'published']],
  ['far', ['web', 'other', 'published']],
];

/** All cells of one configuration. What is published is a port: ICMP to it would be answered by the host. */
export function cells(): Cell[] {
  return ways.flatMap(([from, targets]) =>
    targets.flatMap((to) =>
      (['tcp', 'udp', 'icmp'] as const).flatMap((protocol) =>
        ([4, 6] as const)
          .filter((family) => to !== 'localhost' || family === 4)
          .filter(() => protocol !== 'icmp' || (to !== 'published' && to !== 'localhost'))
          .map((family) => ({ from, to, protocol, family })),
      ),
    ),
  );
}

/**
 * What docs/api.md says of a cell ("Firewall of a bridge", "Address translation"): `web` and `sibling` are ports of the
 * bridge with the firewall, `other` is on a bridge with `"isolated": false`.
 */
export function expected(cell: Cell, firewall: FirewallFields, { bridgeFilter }: Environment): Expectation {
  const { from, to, protocol } = cell;
  if (from === 'host') return { reached: true, why: 'the host reaches what is behind its bridges' };
  if (to === 'published') {
    if (from === 'web' || from === 'sibling')
      return {
        reached: firewall.intercom || !bridgeFilter,
        why: 'published, unless the bridge itself translates, and keeps its ports apart',
      };
    return { reached: !firewall.internal, why: 'what is published comes in, but not if internal' };
  }
  if (from === 'web') return fromWeb(to, protocol, firewall);
  if (from === 'sibling') return { reached: firewall.intercom, why: 'intercom' };
  if (to === 'other') return { reached: false, why: 'the other bridge takes what is published only' };
  if (from === 'other')
    return {
      reached: !firewall.internal && (!firewall.isolated || firewall.reachableFrom.length > 0),
      why: 'isolated, reachableFrom, internal',
    };
  return { reached: firewall.inbound === 'any', why: 'inbound' };
}

function fromWeb(to: Target, protocol: Protocol, firewall: FirewallFields): Expectation {
  if (to === 'sibling') return { reached: firewall.intercom, why: 'intercom' };
  if (to === 'other') return { reached: !firewall.isolated && !firewall.internal, why: 'isolated, internal' };
  if (to === 'gateway' || to === 'host')
    return { reached: firewall.hostAccess || protocol === 'icmp', why: 'hostAccess; ICMP is left' };
  if (to === 'dns') return { reached: true, why: 'DNS of the host is left whatever hostAccess says' };
  return { reached: !firewall.internal, why: 'out, unless internal' };
}
