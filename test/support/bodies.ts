import fc from 'fast-check';
import { bridgeExamples, namespaceExamples, natExamples } from '../../src/routes/examples.ts';
import { linkExamples } from '../../src/routes/link-examples.ts';

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** What means something to a parser, a shell, a tool or a kernel. */
const evilTexts = [
  '',
  ' ',
  '.',
  '..',
  '/',
  '-a',
  '--help',
  '%d',
  '+',
  '!',
  '*',
  'a,b',
  'a b',
  'a\nlink delete dev br00',
  '\0',
  '$(reboot)',
  '`reboot`',
  '010.1.0.3',
  '010.1.0.3/24',
  '10.1.1.255/24',
  '10.1.1.3/33',
  '::/0',
  'localhost',
  'lo',
  'default',
  'all',
  '__proto__',
  'constructor',
  'toString',
  '../../etc/passwd',
  'net/../x',
  '65536',
  '1e9',
  'ä',
  '\ud800',
];
const evil = fc.constantFrom(...evilTexts);

/** Names of what a test has made, of what is there without it, and of what is not there. */
export const known = fc.constantFrom(
  'host',
  'blue',
  'br00',
  'veth00',
  'veth10',
  'out',
  'mac0',
  'vx0',
  'tap0',
  'uplink0',
  'internet',
  '1',
  'new',
);
export const word = fc.oneof(
  { weight: 3, arbitrary: evil },
  { weight: 3, arbitrary: known },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
  { weight: 1, arbitrary: fc.string({ minLength: 60, maxLength: 300 }) },
);
const number = fc.oneof(
  fc.integer(),
  fc.constantFrom(0, -1, 1.5, 2 ** 31, 2 ** 32, 2 ** 53, Number.MAX_VALUE, 254, 68, 1280),
);

/** Any value at all. */
const garbage: fc.Arbitrary<Json> = fc.oneof(
  { weight: 4, arbitrary: word },
  { weight: 2, arbitrary: number },
  { weight: 2, arbitrary: fc.constantFrom<Json>(null, true, false, [], {}, [null], [[]]) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<Json> },
);

const address = fc.constantFrom(
  '10.1.1.3/24',
  '10.1.1.4/16',
  '10.9.0.1/31',
  'fd00::1/64',
  '10.1.1.3/25',
  '10.1.1.0/24',
);
const host = fc.constantFrom<Json>('10.1.1.9', '10.77.0.1', 'fd00::9', '198.51.100.2', null);
const route = fc.record<Record<string, Json>>(
  {
    to: fc.constantFrom('default', '10.9.0.0/16', '::/0', '10.1.1.0/24'),
    via: host,
    src: host,
    metric: fc.constantFrom(0, 7, null),
    table: fc.constantFrom(254, 100),
  },
  { requiredKeys: ['to'] },
);

/** Values that a field may have, at least somewhere. */
const plausible: Record<string, fc.Arbitrary<Json>> = {
  name: known,
  interface: known,
  inInterface: known,
  outInterface: known,
  namespace: known,
  bridge: known,
  addresses: fc.uniqueArray(address, { maxLength: 3 }),
  routes: fc.array(route, { maxLength: 3 }),
  mtu: fc.constantFrom(68, 1279, 1500, 65_535),
  mac: fc.constantFrom('02:00:00:00:00:01', '01:00:00:00:00:01', null),
  up: fc.boolean(),
  stp: fc.boolean(),
  ageingSeconds: fc.constantFrom(0, 1_000_000),
  labels: fc.dictionary(known, fc.string(), { maxKeys: 3 }),
  sysctls: fc.dictionary(
    fc.constantFrom('net.ipv4.ip_forward', 'net.ipv4.no_such', 'net.all'),
    fc.constantFrom('0', '1', ' '),
    { maxKeys: 2 },
  ),
  pid: fc.constantFrom(1, 4_194_304, null),
  type: fc.constantFrom('veth', 'macvlan', 'vxlan', 'tap', 'masquerade', 'snat', 'dnat'),
  parent: known,
  parentNamespace: known,
  mode: fc.constantFrom('bridge', 'private', 'vepa', 'passthru'),
  id: fc.constantFrom(0, 42, 16_777_215, 16_777_216),
  remote: host,
  group: fc.constantFrom<Json>('239.1.1.1', 'ff05::100', 5, null),
  device: known,
  owner: fc.constantFrom(0, 1000, 4_294_967_295, null),
  txQueueLength: fc.constantFrom(0, 500, null),
  isolatedPort: fc.boolean(),
  hairpin: fc.boolean(),
  rate: fc.constantFrom<Json>({ egressKbit: 1000 }, { ingressKbit: 1000 }, { egressKbit: null }, null),
  offload: fc.constantFrom<Json>({ checksum: false }, null),
  subnets: fc.uniqueArray(fc.constantFrom('10.1.1.0/24', '10.6.0.0/31', 'fd00::/64', 'auto', 'auto-ipv6'), {
    maxLength: 3,
  }),
  source: fc.constantFrom('10.1.1.0/24', '0.0.0.0/0', 'fd00::/64', '10.1.1.0/25'),
  toAddress: host,
  forward: fc.constantFrom('established', 'any', 'none'),
  protocol: fc.constantFrom('tcp', 'udp', 'sctp'),
  port: fc.constantFrom('80', '8000-8010', '65535'),
  address: host,
  to: fc.record({ address: host, port: fc.constantFrom('80', '8000-8010', null) }),
};

interface Draw {
  /** Which of the objects and lists in the body. */
  at: number;
  field: string;
  value: Json;
  action: 'set' | 'replace' | 'remove';
}

const plausibleDraw: fc.Arbitrary<Draw> = fc
  .constantFrom(...Object.entries(plausible))
  .chain(([field, values]) =>
    fc.record({
      at: fc.nat(1),
      field: fc.constant(field),
      value: values,
      action: fc.constantFrom('set', 'set', 'remove'),
    }),
  );
const garbageDraw: fc.Arbitrary<Draw> = fc.record({
  at: fc.nat(9),
  field: word,
  value: garbage,
  action: fc.constantFrom('set', 'replace', 'replace', 'remove'),
});

function mutated(body: Json, draws: readonly Draw[]): Json {
  const copy = structuredClone(body);
  for (const { at, field, value: drawn, action } of draws) {
    // A copy, or a value that is put into itself would have no end.
    const value = structuredClone(drawn);
    const holders = holdersIn(copy);
    const holder = holders[at % Math.max(holders.length, 1)];
    if (holder === undefined) return value;
    const keys = Object.keys(holder);
    const key =
      action === 'replace' || Array.isArray(holder)
        ? (keys[field.length % Math.max(keys.length, 1)] ?? '0')
        : field;
    if (action === 'remove') Reflect.deleteProperty(holder, key);
    else Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true });
  }
  return copy;
}

/** The body, if it is an object or a list, and all objects and lists in it. */
function holdersIn(node: Json): object[] {
  return typeof node === 'object' && node !== null ? [node, ...Object.values(node).flatMap(holdersIn)] : [];
}

/** Changes that would be made, or nearly. */
export const samples: readonly { method: string; path: string; body: Json }[] = [
  ...Object.entries({
    namespaces: namespaceExamples,
    links: linkExamples,
    bridges: bridgeExamples,
    nat: natExamples,
  }).flatMap(([collection, { create, patch }]) => [
    { method: 'POST', path: `/${collection}`, body: { ...create, name: 'new' } },
    { method: 'PUT', path: `/${collection}/new`, body: { ...create, name: 'new' } },
    { method: 'PATCH', path: `/${collection}/new`, body: patch },
  ]),
  ...Object.values(linkExamples.others).flatMap(({ create, patch }) => [
    { method: 'POST', path: '/links', body: { ...create, name: 'new' } },
    { method: 'PUT', path: `/links/${create.name}`, body: create },
    { method: 'PATCH', path: `/links/${create.name}`, body: patch },
    { method: 'DELETE', path: `/links/${create.name}`, body: null },
  ]),
  {
    method: 'POST',
    path: '/namespaces',
    body: { name: 'red', sysctls: { 'net.ipv4.ping_group_range': '0 1' } },
  },
  {
    method: 'PATCH',
    path: '/namespaces/blue',
    body: { sysctls: { 'net.ipv4.ip_forward': null }, labels: { app: null } },
  },
  {
    method: 'PUT',
    path: '/links/veth00',
    body: {
      type: 'veth',
      addresses: ['10.7.0.1/24'],
      peer: { interface: 'b', namespace: 'blue', up: false },
    },
  },
  {
    method: 'PATCH',
    path: '/links/veth00',
    body: { bridge: null, peer: { namespace: 'host', routes: [{ to: '10.9.0.0/16' }] } },
  },
  {
    method: 'PUT',
    path: '/bridges/br00',
    body: { namespace: 'host', stp: true, routes: [{ to: 'default', via: '10.1.1.9', metric: 5 }] },
  },
  { method: 'PATCH', path: '/bridges/br00', body: { mtu: 1400, addresses: ['10.1.1.3/24', 'fd00::3/64'] } },
  {
    method: 'POST',
    path: '/nat',
    body: {
      name: 'lan',
      type: 'snat',
      source: '10.2.0.0/16',
      toAddress: '198.51.100.2',
      inInterface: 'br00',
    },
  },
  {
    method: 'POST',
    path: '/nat',
    body: {
      name: 'web',
      type: 'dnat',
      protocol: 'tcp',
      port: '8080-8081',
      to: { address: '10.1.1.1', port: '80' },
    },
  },
  { method: 'PATCH', path: '/nat/out', body: { forward: 'any', outInterface: 'uplink0' } },
  ...['/namespaces/blue', '/links/veth00', '/bridges/br00', '/nat/out'].map((path) => ({
    method: 'DELETE',
    path,
    body: null,
  })),
];

/** The body with a few changes that make sense at times, or with some that never do, or another altogether. */
export function bodyLike(body: Json): fc.Arbitrary<Json> {
  return fc.oneof(
    { weight: 2, arbitrary: fc.constant(body) },
    { weight: 6, arbitrary: fc.array(plausibleDraw, { maxLength: 3 }).map((draws) => mutated(body, draws)) },
    {
      weight: 3,
      arbitrary: fc.array(garbageDraw, { minLength: 1, maxLength: 3 }).map((draws) => mutated(body, draws)),
    },
    { weight: 1, arbitrary: garbage },
  );
}
