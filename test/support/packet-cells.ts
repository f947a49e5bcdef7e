import { firewallCombinations, type FirewallFields } from './golden.ts';
import { pairwise } from './pairwise.ts';
import type { Protocol } from './prober.ts';

/**
 * Where packets are sent from. `web` and `sibling` are ports of the bridge with the firewall, `other` is on one with
 * `"isolated": false`, `plain` on one without a firewall, `lan` on a network of the host that is none of netnsd's.
 * `neighbor` is on the uplink's network and sends to our networks directly, `far` is behind a router that does so.
 */
export const clients = ['web', 'sibling', 'other', 'plain', 'host', 'lan', 'neighbor', 'far'] as const;
export type Client = (typeof clients)[number];

/** What is asked that is not simply a client's own service. */
export const special = [
  /** A port of `web` that nothing publishes. */
  'unpublished',
  /** Addresses of the host on the bridge with the firewall, and on that of `other`. */
  'gateway',
  'otherGateway',
  'dns',
  'dhcp',
  /** The port of the host that is published for `web`: at its address on the uplink, and at those of the bridges. */
  'published',
  'publishedGateway',
  'publishedOtherGateway',
  /** The same number at an address that is not the host's. */
  'elsewhere',
  /** The host's own 127.0.0.1 and ::1, asked by itself. */
  'localhost',
  /** 127.0.0.1 of the host, asked by those who have a route to it (CVE-2020-8558): a service, and what is published. */
  'loopback',
  'publishedLoopback',
  /** The host's link-local address on the uplink, asked from another: a service, and what is published. */
  'linkLocal',
  'publishedLinkLocal',
] as const;
export type Target = Client | (typeof special)[number];

export interface Cell {
  from: Client;
  to: Target;
  protocol: Protocol;
  family: 4 | 6;
  /** More than the way to `far` takes in one packet: it gets there if the router's word of that does (RFC 1191, 8201). */
  big: boolean;
}

/** What is around the bridge: nothing of this is to make a difference, but for what docs/packet-path.md names. */
export interface Environment {
  tool: 'nft' | 'legacy';
  /** Of FORWARD. */
  policy: 'ACCEPT' | 'DROP';
  /** bridge-nf-call-iptables and -ip6tables. */
  bridgeFilter: boolean;
  /** Whether net.ipv4.conf.all.rp_filter and default are 1. */
  strict: boolean;
  /** Whether others have rules that accept everything, made by the tool that is not netnsd's. */
  bothTools: boolean;
}

export interface Expectation {
  reached: boolean;
  why: string;
}

const both = [true, false];
const everyEnvironment = (['nft', 'legacy'] as const).flatMap((tool) =>
  (['ACCEPT', 'DROP'] as const).flatMap((policy) =>
    both.flatMap((bridgeFilter) =>
      both.flatMap((strict) =>
        both.map((bothTools): Environment => ({ tool, policy, bridgeFilter, strict, bothTools })),
      ),
    ),
  ),
);

/**
 * What is run: everything, or every tool, policy and bridgeFilter with one of the four that the rest can be, so that each
 * two values of an environment are together in one. In each every two fields of the firewall have every two values, and
 * all combinations are there where most is in the way.
 */
export function runs(isAll: boolean): { environment: Environment; firewalls: FirewallFields[] }[] {
  const firewalls = firewallCombinations('br02');
  const environments = everyEnvironment.filter(
    ({ tool, policy, bridgeFilter, strict, bothTools }) =>
      isAll ||
      (strict === ((policy === 'DROP') === bridgeFilter) &&
        bothTools === ((tool === 'nft') === bridgeFilter)),
  );
  return environments.map((environment, at) => {
    const { tool, policy, bridgeFilter } = environment;
    const isFull = isAll || (tool === 'nft' && policy === 'DROP' && bridgeFilter);
    return { environment, firewalls: isFull ? firewalls : pairwise(firewalls, at * 5) };
  });
}

const ways: Record<Client, Target[]> = {
  web: [
    ...(['sibling', 'other', 'plain', 'lan', 'neighbor', 'far', 'elsewhere'] as const),
    ...(['gateway', 'otherGateway', 'dns', 'dhcp', 'host', 'loopback', 'publishedLoopback'] as const),
    ...(['published', 'publishedGateway'] as const),
  ],
  sibling: ['web', 'other', 'far', 'gateway', 'published', 'publishedGateway'],
  other: [
    ...(['web', 'unpublished', 'sibling', 'plain', 'neighbor', 'far', 'gateway', 'host'] as const),
    ...(['published', 'publishedGateway', 'publishedOtherGateway'] as const),
  ],
  plain: ['web', 'sibling', 'other', 'neighbor', 'gateway', 'published'],
  host: [
    'web',
    'sibling',
    'other',
    'plain',
    'lan',
    'neighbor',
    'far',
    'published',
    'publishedGateway',
    'localhost',
  ],
  lan: ['web', 'unpublished', 'other', 'plain', 'neighbor', 'gateway', 'published'],
  neighbor: [
    ...([
      'web',
      'unpublished',
      'sibling',
      'other',
      'plain',
      'lan',
      'gateway',
      'linkLocal',
      'loopback',
    ] as const),
    ...(['published', 'publishedGateway', 'publishedLinkLocal', 'publishedLoopback'] as const),
  ],
  far: ['web', 'unpublished', 'sibling', 'other', 'plain', 'lan', 'gateway', 'published', 'publishedGateway'],
};

/** Packets that are too big for the way: the router tells `web`, whose flow is masqueraded, or was translated. */
const bigWays: [Client, Target][] = [
  ['web', 'far'],
  ['far', 'published'],
];

/** All cells of one configuration. */
export function cells(): Cell[] {
  const small = clients.flatMap((from) => ways[from].flatMap((to) => variants(from, to, false)));
  const big = bigWays.flatMap(([from, to]) => variants(from, to, true));
  return [...small, ...big.filter(({ protocol }) => protocol !== 'icmp')];
}

function variants(from: Client, to: Target, big: boolean): Cell[] {
  return (['tcp', 'udp', 'icmp'] as const)
    .filter((protocol) => protocols(to).includes(protocol))
    .flatMap((protocol) => families(to).map((family) => ({ from, to, protocol, family, big })));
}

/** A port that is published is no more than that: ICMP to it would be answered by the host. */
function protocols(to: Target): Protocol[] {
  if (to === 'dhcp') return ['udp'];
  return to.startsWith('published') || ['unpublished', 'elsewhere', 'localhost'].includes(to)
    ? ['tcp', 'udp']
    : ['tcp', 'udp', 'icmp'];
}

/** Of ::1 the kernel lets nothing in or out, and IPv4 has no link-local addresses here. */
function families(to: Target): (4 | 6)[] {
  if (to.endsWith('oopback')) return [4];
  return to.endsWith('inkLocal') ? [6] : [4, 6];
}

/** The same port at other addresses of the host: what is published is published at every one. */
const alike: Partial<Record<Target, Target>> = {
  publishedGateway: 'published',
  publishedOtherGateway: 'published',
  unpublished: 'web',
};

/**
 * What docs/api.md says of a cell ("Firewall of a bridge", "Address translation").
 */
export function expected(cell: Cell, firewall: FirewallFields, environment: Environment): Expectation {
  const { bridgeFilter } = environment;
  const { from, protocol } = cell;
  const to = alike[cell.to] ?? cell.to;
  if (cell.to === 'localhost')
    return { reached: cell.family === 4, why: '127.0.0.1 is published too, if all is; ::1 is not' };
  if (cell.big && protocol === 'udp' && cell.family === 6 && bridgeFilter)
    return {
      reached: false,
      why: 'br_netfilter joins the fragments of IPv6, and the kernel sends them on as one',
    };
  if (from === 'host') return { reached: true, why: 'the host reaches what is behind its bridges' };
  if (to === 'loopback' || to === 'publishedLoopback')
    return { reached: false, why: '127.0.0.1 of the host is for the host (CVE-2020-8558)' };
  if (to === 'publishedLinkLocal')
    return {
      reached: false,
      why: 'what has a link-local source is left to the host, which has nobody there',
    };
  if (to === 'published') {
    if (from === 'web' || from === 'sibling')
      return {
        reached: firewall.intercom || !bridgeFilter,
        why: 'published, unless the bridge itself translates, and keeps its ports apart',
      };
    return { reached: !firewall.internal, why: 'what is published comes in, but not if internal' };
  }
  if (from === 'web' || from === 'sibling') return fromBridge(to, protocol, firewall);
  return elsewhere(from, to, firewall, environment);
}

/** From the bridge with the firewall. */
function fromBridge(to: Target, protocol: Protocol, firewall: FirewallFields): Expectation {
  switch (to) {
    case 'web':
    case 'sibling':
      return { reached: firewall.intercom, why: 'intercom' };
    case 'other':
    case 'plain':
      return { reached: !firewall.isolated && !firewall.internal, why: 'isolated, internal' };
    case 'gateway':
    case 'otherGateway':
    case 'host':
      return { reached: firewall.hostAccess || protocol === 'icmp', why: 'hostAccess; ICMP is left' };
    case 'dns':
    case 'dhcp':
      return { reached: true, why: 'DNS and DHCP of the host are left whatever hostAccess says' };
    default:
      return { reached: !firewall.internal, why: 'out, unless internal' };
  }
}

/** From anywhere else, by what is asked. */
function elsewhere(from: Client, to: Target, firewall: FirewallFields, { policy }: Environment): Expectation {
  switch (to) {
    case 'gateway':
      return {
        reached: from === 'other' || from === 'plain' || firewall.inbound === 'any',
        why: 'the addresses of the bridge are for bridges of ours; outside, inbound',
      };
    case 'host':
    case 'linkLocal':
      return { reached: true, why: 'an address of the host is the host, behind no firewall of ours' };
    case 'web':
    case 'sibling':
      return intoBridge(from, firewall);
    case 'other':
      return { reached: from === 'plain', why: 'not isolated: other bridges, and what is published' };
    default:
      return from === 'other'
        ? { reached: true, why: 'out, and to a bridge, since it is not isolated' }
        : { reached: policy === 'ACCEPT', why: 'neither is behind a firewall: what others say of FORWARD' };
  }
}

/** Straight to a port of the bridge with the firewall. */
function intoBridge(from: Client, firewall: FirewallFields): Expectation {
  if (from === 'other' || from === 'plain')
    return {
      reached:
        !firewall.internal && (!firewall.isolated || (from === 'other' && firewall.reachableFrom.length > 0)),
      why: 'isolated, reachableFrom (that names the bridge of other alone), internal',
    };
  return { reached: firewall.inbound === 'any', why: 'inbound' };
}
