import fc from 'fast-check';
import { bodyLike, known, samples, word, type Json } from './bodies.ts';

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
  .oneof(
    { weight: 4, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(parameter, { minLength: 1, maxLength: 3 }) },
  )
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
    'idempotency-key',
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

/** JSON as it is, spelt otherwise, or broken. */
function textOf(body: Json): fc.Arbitrary<string> {
  const text = JSON.stringify(body);
  return fc.oneof(
    { weight: 20, arbitrary: fc.constant(text) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        text.slice(0, -1),
        `${text}${text}`,
        text.replace('{', '{"__proto__":{"a":1},'),
        '',
      ),
    },
    { weight: 1, arbitrary: fc.constant(JSON.stringify(body, null, '\t')) },
  );
}

const pathLike = (path: string) => {
  const [, name = ''] = path.split('/');
  return fc.oneof(
    { weight: 9, arbitrary: fc.constant(path) },
    { weight: 1, arbitrary: segment.map((other) => `/${name}/${other}`) },
  );
};

const mediaType = fc.oneof(
  { weight: 20, arbitrary: fc.constant('application/json') },
  { weight: 4, arbitrary: fc.constant('application/merge-patch+json') },
  { weight: 1, arbitrary: printable },
);

const candidate = fc.constantFrom(...samples).chain(({ method, path, body }) =>
  fc
    .record({
      path: method === 'POST' ? fc.constant(path) : pathLike(path),
      parameters: query,
      headers,
      mediaType,
      body: bodyLike(body).chain(textOf),
    })
    .map((drawn) => ({
      method,
      path: drawn.path,
      parameters: drawn.parameters,
      headers: { 'content-type': drawn.mediaType, ...drawn.headers } as Record<string, string>,
      body: method === 'DELETE' ? null : drawn.body,
    })),
);
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

const ping = bodyLike({ to: '10.1.1.1', count: 1 })
  .chain(textOf)
  .map((content): Generated => ({
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
