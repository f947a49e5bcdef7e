import { describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';
import { sendRaw } from '../support/raw.ts';

const daemon = sharedDaemon();

/** Asks for a path that no client library would leave as it is. */
async function get(path: string, method = 'GET') {
  const { origin, token, complaints } = daemon();
  const { host } = new URL(origin);
  const head = `${method} ${path} HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${token}\r\nconnection: close\r\n\r\n`;
  const answer = await sendRaw(origin, [head]);
  expect(complaints({ ...answer, method, url: path })).toEqual([]);
  return {
    ...answer,
    problem: JSON.parse(answer.body) as { type: string; detail: string; errors?: { pointer: string }[] },
  };
}

const bad: [string, string][] = [
  ['a NUL', 'a%00b'],
  ['a path upwards', '..%2f..%2fetc'],
  ['a path upwards, in other letters', '%2E%2E%2Fetc%2Fpasswd'],
  ['an absolute path', '%2fproc%2f1%2fns%2fnet'],
  ['a newline and a command', 'a%0aip%20link'],
  ['a carriage return', 'a%0d'],
  ['an escape', 'a%1b[31m'],
];

describe.each([
  '/namespaces/*',
  '/bridges/*',
  '/links/*',
  '/nat/*',
  '/namespaces/*/interfaces',
  '/namespaces/*/sockets',
])('GET %s', (path) => {
  test.each(bad)('answers 400 for %s: %s', async (_what, name) => {
    const { status, problem } = await get(path.replace('*', name));
    expect(status).toBe(400);
    expect(problem.errors).toEqual([
      expect.objectContaining({ pointer: path.includes('/*/') ? 'ns' : 'name' }),
    ]);
  });

  test.each([
    '.',
    '..',
    '%2e',
    '%2e%2e',
    '%252e%252e',
    '-a',
    '--help',
    'a%20b',
    '%7e',
    '$(reboot)',
    "'or'1",
    '%25d',
    'a%2500',
    '%c3%a4',
    '%f0%9f%99%82',
  ])('answers 400 or 404 for %s, and never with another file', async (name) => {
    const { status } = await get(path.replace('*', name));
    expect([400, 404]).toContain(status);
  });
});

describe.each(['DELETE', 'PUT', 'PATCH'])('%s', (method) => {
  test.each([
    ...bad,
    ['a leading hyphen', '-a'],
    ['an option', '--help'],
    ['a space', 'a%20b'],
    ['two dots', '..'],
    ['a percent sign', '%25d'],
  ])('answers 400 for %s: %s', async (_what, name) => {
    for (const collection of ['namespaces', 'bridges', 'links', 'nat'])
      expect((await get(`/${collection}/${name}`, method)).status).toBe(400);
  });
});

test.each(['%', '%z', '%zz', '%e4', '%c3', '%ff%fe', 'a%u0041'])(
  'what can’t be decoded is answered with 400: %s',
  async (name) => {
    const { status, problem } = await get(`/namespaces/${name}`);
    expect(status).toBe(400);
    expect(problem.type).toBe('/problems/invalid-request');
  },
);

test.each([64, 256, 257, 1000, 8000])(
  'a name of %i characters is answered with 400 or 404',
  async (length) => {
    for (const path of ['/links/', '/namespaces/', '/operations/', '/problems/']) {
      const { status } = await get(path + '1'.repeat(length));
      expect([400, 404]).toContain(status);
    }
  },
);

test.each([
  ['a URL', `GET /namespaces?after=${'a'.repeat(20_000)} HTTP/1.1\r\nhost: localhost\r\n\r\n`],
  ['a header', `GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(20_000)}\r\n\r\n`],
])('%s over 16 KiB is answered with 413', async (_what, head) => {
  const { status, headers, body } = await sendRaw(daemon().origin, [head]);
  expect(status).toBe(413);
  expect(headers['content-type']).toBe('application/problem+json; charset=utf-8');
  expect(JSON.parse(body)).toMatchObject({
    type: '/problems/too-large',
    status: 413,
    detail: expect.stringContaining('16 KiB'),
  });
});

test.each(['__proto__', 'constructor', 'hasOwnProperty', 'toString'])(
  'a parameter with the name %s is unknown like any other',
  async (name) => {
    const { problem } = await get(`/links?${name}=x`);
    expect(problem.errors).toEqual([expect.objectContaining({ pointer: name })]);
  },
);

test.each([
  '?',
  '?&',
  '?=',
  '?limit',
  '?limit[]=1',
  '?limit[0]=1',
  '?label[a]=b',
  `?${'a&'.repeat(3000)}`,
  '?%',
  '?%00=%00',
  '?a=%zz',
])('a query that is none is answered with 200 or 400: %s', async (query) => {
  const { status } = await get(`/links${query}`);
  expect([200, 400]).toContain(status);
});

test('the detail of a problem shows a path as it was asked for, not decoded', async () => {
  const { problem } = await get('/no%0asuch%00path');
  expect(problem.detail).toContain('/no%0asuch%00path');
});
