import fc from 'fast-check';
import { bridgeExamples, linkExamples, namespaceExamples, natExamples } from '../../src/routes/examples.ts';

/**
 * A request that changes nothing, in one of these ways: it reads; it is a dry run; it is guarded by a condition that
 * never holds, so that it is refused whatever else it says; or it is spoilt in a way that no body makes up for.
 */
export interface Generated {
  way: 'read' | 'dry run' | 'guarded' | 'spoilt';
  method: string;
  /** With its query. */
  url: string;
  headers: Record<string, string>;
  body: string | null;
}

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** What is known to mean something to a parser, a shell, a tool or a kernel. */
const evil = fc.constantFrom(
  ...[
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
  ],
  ...[
    '010.1.0.3',
    '010.1.0.3/24',
    '10.1.1.3/24',
    '10.1.1.255/24',
    '10.1.1.3/33',
    '::/0',
    'fd00::1/64',
    'localhost',
    'default',
    'all',
    'lo',
  ],
  ...[
    '__proto__',
    'constructor',
    'toString',
    '../../etc/passwd',
    'net.ipv4.ip_forward',
    'net/../x',
    '65536',
    '1e9',
    '00:00:00:00:00:00',
    'ä',
    '\ud800',
  ],
);
const known = fc.constantFrom('host', 'blue', 'br00', 'veth00', 'veth10', 'out', 'uplink0', 'internet', '1');
const word = fc.oneof(
  evil,
  known,
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.string({ minLength: 60, maxLength: 300 }),
);
const number = fc.oneof(
  fc.integer(),
  fc.constantFrom(0, -1, 1.5, 2 ** 31, 2 ** 32, 2 ** 53, Number.MAX_VALUE, 254, 68, 1280),
);
const value = fc.oneof(
  { weight: 4, arbitrary: word as fc.Arbitrary<Json> },
  { weight: 2, arbitrary: number },
  { weight: 2, arbitrary: fc.constantFrom<Json>(null, true, false, [], {}, [null], [[]]) },
  { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 4 }) as fc.Arbitrary<Json> },
);

const bodies: readonly Json[] = [
  ...[namespaceExamples, linkExamples, bridgeExamples, natExamples].flatMap(
    ({ create, patch, resource }) => [create, patch, resource] as Json[],
  ),
  { name: 'red', pid: 1, sysctls: { 'net.ipv4.ping_group_range': '0 1' } },
  {
    name: 'v1',
    type: 'veth',
    interface: 'a',
    addresses: ['10.7.0.1/24', 'fd07::1/64'],
    mtu: 1400,
    peer: { interface: 'b', namespace: 'blue', bridge: null, mac: '02:00:00:00:00:01', up: false },
  },
  { name: 'lan', type: 'snat', source: '10.2.0.0/16', toAddress: '198.51.100.2', inInterface: 'br00' },
  {
    name: 'web',
    type: 'dnat',
    protocol: 'tcp',
    port: '8080-8081',
    address: null,
    to: { address: '10.1.1.1', port: '80' },
  },
  {
    name: 'br1',
    interface: 'br1',
    namespace: 'blue',
    routes: [{ to: 'default', via: '10.1.1.9', metric: 5, src: null, table: 100 }],
    stp: true,
    mac: null,
  },
  { peer: { namespace: 'host', routes: [{ to: '10.9.0.0/16' }] }, labels: { a: null } },
];

/** One place of a body changed: another value, one less, or one more. */
function mutated(body: Json, draws: readonly { at: number; how: number; value: Json; name: string }[]): Json {
  return draws.reduce((given: Json, { at, how, value: drawn, name }) => {
    const copy = structuredClone(given);
    const holders: (Json[] | { [name: string]: Json })[] = [];
    const visit = (node: Json): void => {
      if (typeof node !== 'object' || node === null) return;
      holders.push(node);
      for (const child of Object.values(node)) visit(child);
    };
    visit(copy);
    const holder = holders[at % Math.max(holders.length, 1)];
    if (holder === undefined) return drawn;
    const keys = Object.keys(holder);
    const key = keys[how % Math.max(keys.length, 1)] ?? '0';
    if (how % 5 === 0) Reflect.deleteProperty(holder, key);
    else if (how % 5 === 1)
      Object.defineProperty(holder, Array.isArray(holder) ? holder.length : name, {
        value: drawn,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    else
      Object.defineProperty(holder, key, {
        value: drawn,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    return copy;
  }, body);
}

const draw = fc.record({ at: fc.nat(20), how: fc.nat(50), value, name: word });
const body: fc.Arbitrary<Json> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(fc.constantFrom(...bodies), fc.array(draw, { maxLength: 3 }))
      .map(([given, draws]) => mutated(given, draws)),
  },
  { weight: 1, arbitrary: value },
);

/** JSON as it is, spelt otherwise, or broken. */
const text = fc.tuple(body, fc.nat(30)).map(([given, how]) => {
  const plain = JSON.stringify(given);
  if (how === 0) return plain.slice(0, -1);
  if (how === 1) return `${plain}${plain}`;
  if (how === 2) return plain.replace('{', '{"__proto__":{"a":1},');
  if (how === 3) return JSON.stringify(given, null, '\t');
  return plain;
});

const segment = fc.oneof(
  { weight: 4, arbitrary: known },
  { weight: 2, arbitrary: word.map((name) => encodeURIComponent(name.toWellFormed())) },
  { weight: 1, arbitrary: fc.stringMatching(/^[!$-.0-;=@-Z_a-z~%]{0,30}$/) },
);
const collection = fc.constantFrom('namespaces', 'links', 'bridges', 'nat');
const printable = fc.stringMatching(/^[ -~\u00a1-\u00ff]{0,40}$/).map((given) => given.trim());

const parameter = fc.tuple(
  fc.oneof(
    fc.constantFrom(
      'limit',
      'after',
      'label',
      'namespace',
      'bridge',
      'all',
      'cascade',
      'dryRun',
      '__proto__',
    ),
    word,
  ),
  fc.oneof(fc.constantFrom('true', 'false', '1', '', '0', '1000', 'app=web', 'a'), word),
);
const query = fc
  .array(parameter, { maxLength: 3 })
  .map((parameters) =>
    parameters.map(
      ([name, given]) =>
        `${encodeURIComponent(name.toWellFormed())}=${encodeURIComponent(given.toWellFormed())}`,
    ),
  );

const header = fc.tuple(
  fc.constantFrom(
    'accept',
    'if-none-match',
    'content-type',
    'authorization',
    'origin',
    'host',
    'expect',
    'range',
    'content-encoding',
    'x-http-method-override',
    'x-forwarded-for',
    'cookie',
    'te',
    'x-y',
  ),
  fc.oneof(
    printable,
    fc.constantFrom(
      '*',
      '"1"',
      'W/"1"',
      'application/json',
      'text/plain',
      'gzip',
      'null',
      '100-continue',
      'DELETE',
    ),
  ),
);
const headers = fc.oneof(
  { weight: 3, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc
      .array(header, { maxLength: 3 })
      .map((pairs) => Object.fromEntries(pairs) as Record<string, string>),
  },
);

const change = fc.oneof(
  fc.record({ method: fc.constant('POST'), path: collection.map((name) => `/${name}`) }),
  fc.record({
    method: fc.constantFrom('PUT', 'PATCH', 'PUT', 'PATCH', 'DELETE'),
    path: fc.tuple(collection, segment).map((parts) => `/${parts.join('/')}`),
  }),
);

const type = fc.oneof(
  { weight: 9, arbitrary: fc.constant('application/json') },
  { weight: 2, arbitrary: fc.constant('application/merge-patch+json') },
  { weight: 1, arbitrary: printable },
);

const candidate = fc
  .record({ change, query, headers, text, type })
  .map(({ change: { method, path }, query: parameters, headers: given, text: sent, type: mediaType }) => ({
    method,
    path,
    parameters,
    headers: { 'content-type': mediaType, ...given } as Record<string, string>,
    body: method === 'DELETE' ? null : sent,
  }));
type Candidate = typeof candidate extends fc.Arbitrary<infer T> ? T : never;

function urlOf({ path, parameters }: Candidate, ...more: string[]): string {
  return `${path}?${[...more, ...parameters].join('&')}`;
}

const dryRun = candidate.map((given): Generated => {
  const { method, headers: sent, body: content } = given;
  return { way: 'dry run', method, url: urlOf(given, 'dryRun=true'), headers: sent, body: content };
});

const guarded = candidate.map((given): Generated => {
  const { method, headers: sent, body: content } = given;
  return {
    way: 'guarded',
    method,
    url: urlOf(given),
    headers: { ...sent, 'if-match': '"never"' },
    body: content,
  };
});

/** Each makes any request one that has to be refused. */
const spoilers: readonly ((given: Candidate & { body: string }) => Partial<Generated>)[] = [
  ({ body: content }) => ({ body: withUnknownField(content) }),
  ({ body: content }) => ({ body: `${content} x` }),
  ({ headers: sent }) => ({ headers: { ...sent, 'content-type': 'text/plain' } }),
  (given) => ({ url: urlOf(given, 'no-such-parameter=1') }),
];

const spoilt = fc.tuple(candidate, fc.constantFrom(...spoilers)).map(([given, spoil]): Generated => {
  const { method, headers: sent, body: content } = given;
  const request = { way: 'spoilt', method, url: urlOf(given), headers: sent, body: content } as const;
  if (content === null) return { ...request, url: urlOf(given, 'no-such-parameter=1') };
  return { ...request, ...spoil({ ...given, body: content }) };
});

/** What is no object is refused as it is. */
function withUnknownField(json: string): string {
  if (!/^\{[^]*\}$/.test(json)) return '[]';
  return json.replace(/\s*\}$/, `${/^\{\s*\}$/.test(json) ? '' : ','}"no such field":1}`);
}

const ping = text.map((content): Generated => ({
  way: 'spoilt',
  method: 'POST',
  url: '/namespaces/host/ping',
  headers: { 'content-type': 'application/json' },
  body: withUnknownField(content),
}));

const readPath = fc.oneof(
  { weight: 4, arbitrary: collection.map((name) => `/${name}`) },
  { weight: 4, arbitrary: fc.tuple(collection, segment).map((parts) => `/${parts.join('/')}`) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(segment, fc.constantFrom('interfaces', 'routes', 'neighbors', 'processes', 'sockets', 'x'))
      .map(([name, table]) => `/namespaces/${name}/${table}`),
  },
  {
    weight: 3,
    arbitrary: fc
      .tuple(fc.constantFrom('operations', 'problems', 'x'), segment)
      .map((parts) => `/${parts.join('/')}`),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      '/operations',
      '/system',
      '/healthz',
      '/readyz',
      '/openapi.json',
      '/docs',
      '/',
    ),
  },
);

const read = fc
  .record({ method: fc.constantFrom('GET', 'GET', 'GET', 'HEAD', 'OPTIONS'), path: readPath, query, headers })
  .map(({ method, path, query: parameters, headers: sent }): Generated => {
    const url = parameters.length === 0 ? path : `${path}?${parameters.join('&')}`;
    return { way: 'read', method, url, headers: sent, body: null };
  });

/** Requests to all routes, garbage and near misses, none of which may change anything. */
export const harmlessRequests: fc.Arbitrary<Generated> = fc.oneof(
  { weight: 4, arbitrary: dryRun },
  { weight: 3, arbitrary: guarded },
  { weight: 3, arbitrary: spoilt },
  { weight: 2, arbitrary: read },
  { weight: 1, arbitrary: ping },
);
