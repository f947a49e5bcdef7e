import fc from 'fast-check';
import { ACCEPT_RA, refusesAdvertisements, refusingLink } from '../../src/plan/advertisement.ts';
import type { Intent } from '../../src/plan/intent.ts';
import { refText } from '../../src/schemas/common.ts';
import type { BridgeFirewall } from '../../src/schemas/bridge-firewall.ts';
import type { AnyPlaced, Placed } from '../../src/schemas/resource.ts';
import { sysctlOfInterface } from '../../src/schemas/end.ts';
import { endNames, type EndIntent } from '../../src/schemas/link.ts';
import { bridgeKind } from '../../src/services/bridge.ts';
import { localnetKey } from '../../src/schemas/nat.ts';
import { linkKind } from '../../src/services/link.ts';
import { natKind } from '../../src/services/nat.ts';
import { drawnOptions, offBridge, type DrawnOptions } from './drawn-options.ts';
import { singleDraws, singleOf, type SingleDraw } from './single-intents.ts';

const NAMESPACES = ['host', 'n1', 'n2', 'n3'];

/** What a random network is drawn from: few names, so that two networks have much in common and much not. */
type DrawnFirewall = Omit<BridgeFirewall, 'reachableFrom'> & { isReachable: boolean };

interface Draw {
  namespaces: { name: string; sysctl: boolean }[];
  bridges: {
    name: number;
    namespace: string;
    suffix: string;
    addresses: number[];
    mtu: number;
    stp: boolean;
    up: boolean;
    six: boolean;
    firewall: DrawnFirewall | null;
  }[];
  links: {
    name: number;
    ends: {
      namespace: string;
      suffix: string;
      addresses: number[];
      routes: number[];
      mtu: number;
      mac: number;
      up: boolean;
      bridged: boolean;
      options: DrawnOptions;
    }[];
  }[];
  singles: SingleDraw[];
  nats: {
    name: number;
    namespace: string;
    type: 'masquerade' | 'dnat';
    forward: 'established' | 'any' | 'none';
    six: boolean;
    port: number;
    more: { protocol: 'tcp' | 'udp'; isRange: boolean; address: number; at: 'bridge' | 'link' | 'nowhere' };
  }[];
}

const end = fc.record({
  namespace: fc.constantFrom(...NAMESPACES),
  suffix: fc.constantFrom('', 'x'),
  addresses: fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
  routes: fc.uniqueArray(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }),
  mtu: fc.constantFrom(1500, 1400),
  mac: fc.constantFrom(0, 1),
  up: fc.boolean(),
  bridged: fc.boolean(),
  options: drawnOptions,
});

const firewall: fc.Arbitrary<DrawnFirewall> = fc.record({
  isolated: fc.boolean(),
  isReachable: fc.boolean(),
  intercom: fc.boolean(),
  internal: fc.boolean(),
  inbound: fc.constantFrom('published', 'any'),
  hostAccess: fc.boolean(),
});

const draws: fc.Arbitrary<Draw> = fc.record({
  namespaces: fc.uniqueArray(fc.record({ name: fc.constantFrom('n1', 'n2', 'n3'), sysctl: fc.boolean() }), {
    selector: ({ name }) => name,
    maxLength: 3,
  }),
  bridges: fc.uniqueArray(
    fc.record({
      name: fc.integer({ min: 0, max: 2 }),
      namespace: fc.constantFrom(...NAMESPACES),
      suffix: fc.constantFrom('', 'x'),
      addresses: fc.uniqueArray(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
      mtu: fc.constantFrom(1500, 1400),
      stp: fc.boolean(),
      up: fc.boolean(),
      six: fc.boolean(),
      firewall: fc.option(firewall),
    }),
    { selector: ({ name }) => name, maxLength: 3 },
  ),
  links: fc.uniqueArray(
    fc.record({ name: fc.integer({ min: 0, max: 3 }), ends: fc.array(end, { minLength: 2, maxLength: 2 }) }),
    {
      selector: ({ name }) => name,
      maxLength: 4,
    },
  ),
  singles: singleDraws(NAMESPACES),
  nats: fc.uniqueArray(
    fc.record({
      name: fc.integer({ min: 0, max: 2 }),
      namespace: fc.constantFrom(...NAMESPACES),
      type: fc.constantFrom('masquerade', 'dnat'),
      forward: fc.constantFrom('established', 'any', 'none'),
      six: fc.boolean(),
      port: fc.integer({ min: 8000, max: 8002 }),
      more: fc.record({
        protocol: fc.constantFrom('tcp', 'udp'),
        isRange: fc.boolean(),
        address: fc.integer({ min: 0, max: 2 }),
        at: fc.constantFrom('bridge', 'link', 'nowhere'),
      }),
    }),
    { selector: ({ name }) => name, maxLength: 3 },
  ),
});

/** Nothing is said that contradicts itself. */
function firewallOf(
  { isReachable: _isReachable, inbound, ...rest }: DrawnFirewall,
  reachableFrom: string[],
): BridgeFirewall {
  return { ...rest, inbound: rest.internal ? 'published' : inbound, reachableFrom };
}

/** Random networks that a real machine could have: what refers to something that is not there is left out. */
export const intents: fc.Arbitrary<Intent> = draws.map(build);

/** Nothing at all. */
export const nothing: Intent = { resources: new Map(), otherFirewalls: new Set(), sysctlsBefore: new Map() };

/** What stands in each sysctl that is ever written, before it is. */
export const sysctlDefaults: ReadonlyMap<string, string> = new Map(
  NAMESPACES.flatMap((namespace) => [
    ...ofInterfaces(namespace),
    ...['net.ipv4.ip_forward', 'net.ipv6.conf.all.forwarding', 'net.ipv4.ping_group_range'].map(
      (key) => [`${namespace} ${key}`, key.endsWith('range') ? '1\t0' : '0'] as const,
    ),
  ]),
);

function ofInterfaces(namespace: string): [string, string][] {
  const kinds = ['o', 'p', 's', 'br'];
  const names = kinds.flatMap((kind) => [0, 1, 2, 3, 4].flatMap((n) => [`${kind}${n}`, `${kind}${n}x`]));
  const bridges = [0, 1, 2].flatMap((n) => [`br${n}`, `br${n}x`]);
  const localnets = bridges.map((name): [string, string] => [`${namespace} ${localnetKey(name)}`, '0']);
  const ofEnds = names.flatMap((name): [string, string][] => [
    [`${namespace} ${sysctlOfInterface(name, 'ipv4.conf.rp_filter')}`, '0'],
    [`${namespace} ${sysctlOfInterface(name, ACCEPT_RA)}`, '1'],
    [`${namespace} ${sysctlOfInterface(name, 'ipv6.neigh.gc_stale_time')}`, '60'],
  ]);
  return [...localnets, ...ofEnds];
}

function build(draw: Draw): Intent {
  const resources = new Map<string, AnyPlaced>();
  const add = (placed: AnyPlaced): unknown => resources.set(refText(placed), placed);
  add(namespaceOf('host', false));
  for (const { name, sysctl } of draw.namespaces) add(namespaceOf(name, sysctl));
  const isThere = (namespace: string): boolean => resources.has(`namespace/${namespace}`);

  for (const { name, namespace, suffix, addresses, mtu, stp, up, six, firewall: drawn } of draw.bridges) {
    if (!isThere(namespace)) continue;
    const others = draw.bridges.filter((other) => other.namespace === namespace && other.name !== name);
    const isReachable = drawn?.internal === false && drawn.isReachable;
    const spec = {
      name: `br${name}`,
      interface: `br${name}${suffix}`,
      namespace,
      addresses: addresses.map((n) => addressOf(90 + name, n)),
      subnets: six ? [subnetOf(name).asked] : [],
      mtu,
      stp,
      up,
      firewall:
        drawn === null
          ? null
          : firewallOf(drawn, isReachable ? others.map((other) => `br${other.name}`) : []),
    };
    add({
      kind: 'bridge',
      name: spec.name,
      intent: bridgeKind.complete(spec),
      assigned: { mac: `06:00:00:00:00:0${name}`, ...(six ? { subnets: [subnetOf(name)] } : {}) },
    });
  }
  for (const { name, ends } of draw.links) {
    const [own, peer] = ends.map((drawn, side) => endOf(name, side, drawn, resources));
    if (own === undefined || peer === undefined || !isThere(own.namespace) || !isThere(peer.namespace))
      continue;
    if (own.bridge !== null && own.bridge === peer.bridge)
      Object.assign(peer, { bridge: null, isolatedPort: false, hairpin: false });
    const intent = linkKind.complete({ name: `l${name}`, type: 'veth', ...own, peer });
    const refusing = endNames.filter((side) => isOnSix(side === 'own' ? peer : own, resources));
    add({
      kind: 'link',
      name: intent.name,
      intent: refusingLink(intent, { refusing }),
      assigned: { mac: own.mac ?? '', peerMac: peer.mac ?? '' },
    });
  }
  for (const drawn of draw.singles) {
    const single = singleOf(drawn, resources);
    if (single !== null) add(single);
  }
  for (const drawn of draw.nats) if (isThere(drawn.namespace)) add(natOf(drawn, resources));
  return { resources, otherFirewalls: new Set(), sysctlsBefore: sysctlDefaults };
}

/** No address is made of it here. */
function subnetOf(bridge: number) {
  return { asked: 'auto-ipv6', subnet: `fd01:${bridge}::/64`, gateway: `fd01:${bridge}::1` };
}

/** Whether an end is on a bridge on which nobody takes router advertisements. */
function isOnSix({ bridge }: EndIntent, resources: ReadonlyMap<string, AnyPlaced>): boolean {
  const placed = resources.get(`bridge/${String(bridge)}`);
  return placed?.kind === 'bridge' && refusesAdvertisements(placed.assigned.subnets);
}

function namespaceOf(name: string, sysctl: boolean): AnyPlaced {
  const sysctls: Record<string, string> = sysctl ? { 'net.ipv4.ping_group_range': '0 100' } : {};
  return {
    kind: 'namespace',
    name,
    intent: { name, pid: null, sysctls, labels: {} },
    assigned: { bootId: 'b', inode: 1 },
  };
}

function natOf(
  { name, namespace, type, forward, six, port, more }: Draw['nats'][number],
  resources: ReadonlyMap<string, AnyPlaced>,
): Placed<'nat'> {
  const common = { name: `nat${name}`, namespace };
  const bridge = [...resources.values()].find(
    (each): each is Placed<'bridge'> => each.kind === 'bridge' && each.intent.namespace === namespace,
  );
  if (type === 'masquerade') {
    const source = six ? 'fd00::/64' : `10.0.${name}.0/24`;
    const intent = natKind.complete({ ...common, type, source, inInterface: 'br0', forward });
    return { kind: 'nat', name: common.name, intent, assigned: {} };
  }
  const { protocol, isRange, address, at } = more;
  const [first, ...others] = six ? ['2001:db8::1', '2001:db8::2'] : ['198.51.100.2', '127.0.0.1'];
  const ports = (from: number): string => (isRange ? `${from}-${from + 20}` : String(from));
  const [target, network] = six ? ['fd00::1', 'fd00::/64'] : ['10.0.0.1', '10.0.0.0/24'];
  const intent = natKind.complete({
    ...common,
    type,
    protocol,
    port: ports(port),
    ...(address === 0 ? {} : { address: (address === 1 ? first : others[0]) ?? '' }),
    to: { ...(at === 'link' ? { link: 'l0', family: six ? 6 : 4 } : { address: target }), port: ports(80) },
  });
  const via =
    at === 'bridge' && bridge !== undefined ? { via: { interface: bridge.intent.interface, network } } : {};
  return {
    kind: 'nat',
    name: common.name,
    intent,
    assigned: { ...(at === 'link' ? { address: target } : {}), ...via },
  };
}

function endOf(
  link: number,
  side: number,
  drawn: Draw['links'][number]['ends'][number],
  resources: ReadonlyMap<string, AnyPlaced>,
): EndIntent {
  const { namespace, suffix, addresses, routes, mtu, mac, up, bridged, options } = drawn;
  const net = 10 * (side + 1) + link;
  const bridge = bridged
    ? ([...resources.values()].find((each) => each.kind === 'bridge' && each.intent.namespace === namespace)
        ?.name ?? null)
    : null;
  const chosen = addresses.map((n) => addressOf(net, n));
  const hasIpv4 = chosen.some((address) => address.startsWith(`10.${net}.0.`));
  return {
    interface: `${side === 0 ? 'o' : 'p'}${link}${suffix}`,
    namespace,
    bridge,
    addresses: chosen,
    routes: hasIpv4 ? routes.map((n) => routeOf(net, n)) : [],
    mtu,
    mac: `0${side === 0 ? '2' : '6'}:00:00:00:${link}0:0${mac}`,
    up,
    ...(bridge === null ? offBridge(options) : options),
  };
}

/** Several networks an end, two families, and two addresses in one network. */
function addressOf(net: number, n: number): string {
  return (
    [
      `10.${net}.0.1/24`,
      `10.${net}.0.2/24`,
      `10.${net}.1.1/24`,
      `fd00:${net}::1/64`,
      `fd00:${net}::2/64`,
      `10.${net}.0.3/24`,
    ][n] ?? ''
  );
}

function routeOf(net: number, n: number) {
  const route = (to: string, via: string | null, metric: number | null) => ({
    to,
    via,
    metric,
    src: null,
    table: 100 + net,
  });
  return (
    [
      route('default', `10.${net}.0.9`, null),
      route(`10.200.${net}.0/24`, null, null),
      route(`10.201.${net}.0/24`, `10.${net}.0.9`, 50),
      route(`10.202.${net}.0/24`, `10.${net}.0.8`, null),
    ][n] ?? route('default', null, null)
  );
}
