import { describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

const changes = [
  ['POST', '/bridges'],
  ['PUT', '/bridges/br00'],
  ['PATCH', '/bridges/br00'],
] as const;

/** Sends bytes as they are. */
async function send(
  method: string,
  path: string,
  body: string | Uint8Array<ArrayBuffer> | null,
  headers: Record<string, string> = {},
) {
  const { origin, token, complaints } = daemon();
  const answer = await fetch(`${origin}${path}`, {
    method,
    body,
    headers: { authorization: `Bearer ${token}`, ...headers },
  });
  const text = await answer.text();
  const found = complaints({
    method,
    url: path,
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    body: text,
  });
  expect(found).toEqual([]);
  return {
    status: answer.status,
    headers: answer.headers,
    body: JSON.parse(text) as Record<string, unknown>,
  };
}

const json = { 'content-type': 'application/json' };

describe.each(changes)('the body of %s %s', (method, path) => {
  test.each([
    ['nothing', ''],
    ['white space', '  \n'],
    ['half an object', '{"name":"br00"'],
    ['an object and more', '{"name":"br00"}x'],
    ['two objects', '{"name":"br00"}{"name":"br01"}'],
    ['single quotes', "{'name':'br00'}"],
    ['a comment', '{"name":"br00"/* */}'],
    ['a trailing comma', '{"name":"br00",}'],
    ['a bare word', 'br00'],
    ['NaN', '{"mtu":NaN}'],
    ['a control character', '{"name":"br\u000100"}'],
    ['a form', 'name=br00'],
    ['XML', '<name>br00</name>'],
  ])('is refused with 400 if it is %s', async (_what, text) => {
    const { status, body } = await send(method, path, text, json);
    expect(status).toBe(400);
    expect(body['type']).toBe('/problems/invalid-request');
  });

  test.each(['null', '[]', '[{"name":"br00"}]', '"br00"', '1', 'true'])(
    'is refused with 400 if it is no object: %s',
    async (text) => {
      const { status, body } = await send(method, path, text, json);
      expect(status).toBe(400);
      expect(body['detail']).toMatch(/the body/);
    },
  );

  test.each([
    '{"__proto__":{"mtu":1400}}',
    '{"constructor":{"prototype":{"mtu":1400}}}',
    '{"labels":{"__proto__":"x"}}',
    '{"labels":{"constructor":{"prototype":{}}}}',
  ])('is refused with 400 if it reaches for a prototype: %s', async (text) => {
    const { status } = await send(method, path, text, json);
    expect(status).toBe(400);
    expect(Object.prototype).not.toHaveProperty('mtu');
  });

  test('is refused with 400 if it is deeper than any schema', async () => {
    const { status } = await send(
      method,
      path,
      `{"labels":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
      json,
    );
    expect(status).toBe(400);
  });

  test.each([
    ['text/plain', 'text/plain'],
    ['a form', 'application/x-www-form-urlencoded'],
    ['a form with files', 'multipart/form-data; boundary=x'],
    ['XML', 'application/xml'],
    ['YAML', 'application/yaml'],
    ['a JSON Patch', 'application/json-patch+json'],
    ['something like JSON', 'application/jsonx'],
    ['no media type at all', 'json'],
  ])('is refused with 415 if it is said to be %s', async (_what, type) => {
    const { status, body } = await send(method, path, '{"name":"br00"}', { 'content-type': type });
    expect(status).toBe(415);
    expect(body['type']).toBe('/problems/unsupported-media-type');
  });

  test('is refused with 415 if nothing says what it is', async () => {
    const { status } = await send(method, path, new TextEncoder().encode('{"name":"br00"}'));
    expect(status).toBe(415);
  });

  test('is needed', async () => {
    const { status, body } = await send(method, path, null);
    expect(status).toBe(400);
    expect(body['detail']).toMatch(/the body/);
  });

  test('is refused with 413 if it is over 256 KiB, however it is sent', async () => {
    const text = JSON.stringify({ name: 'br00', labels: { a: 'x'.repeat(256 * 1024) } });
    const { status, body } = await send(method, path, text, json);
    expect(status).toBe(413);
    expect(body).toMatchObject({ type: '/problems/too-large', detail: expect.stringContaining('256 KiB') });
  });

  test('is looked at if it is 256 KiB', async () => {
    const frame = JSON.stringify({ unknown: '' });
    const { status } = await send(
      method,
      path,
      JSON.stringify({ unknown: 'x'.repeat(256 * 1024 - frame.length) }),
      json,
    );
    expect(status).toBe(400);
  });

  test('may say its character set', async () => {
    const { status } = await send(method, `${path}?dryRun=true`, '{"name":"br09","unknown":1}', {
      'content-type': 'Application/JSON; charset=utf-8',
    });
    expect(status).toBe(400);
  });
});

test('what is not UTF-8 is no name', async () => {
  const { status } = await send(
    'POST',
    '/bridges',
    new Uint8Array([
      ...new TextEncoder().encode('{"name":"br'),
      0xff,
      0xfe,
      ...new TextEncoder().encode('"}'),
    ]),
    json,
  );
  expect(status).toBe(400);
});

test('of a key that is there twice the last counts, and is checked', async () => {
  const { body } = await send('POST', '/bridges?dryRun=true', '{"name":"br00","name":"-a"}', json);
  expect(body['errors']).toMatchObject([{ pointer: '/name' }]);
});

test('DELETE needs none', async () => {
  const { status } = await send('DELETE', '/bridges/br00', null, json);
  expect(status).toBe(404);
});

test('all that is wrong is told at once, each with its place', async () => {
  const { body } = await daemon()
    .request.post('/links')
    .send({ name: '-a', type: 'tun', mtu: 1, speed: 1, peer: { addresses: ['x'] } })
    .expect(400);
  const pointers = body.errors.map(({ pointer }: { pointer: string }) => pointer).toSorted();
  expect(pointers).toEqual(['/mtu', '/name', '/peer/addresses/0', '/peer/interface', '/speed', '/type']);
  expect(body.detail).toMatch(/and 5 more, see `errors`/);
});

test.each<[string, object, RegExp]>([
  ['POST', { name: 'a', type: 'foo' }, /\/type: "foo" is none of \["veth","macvlan","vxlan","tap"\] \(and/],
  ['POST', { name: 'a' }, /\/type: is required/],
  ['PUT', { type: 'foo', remote: '10.0.0.1' }, /\/type: "foo" is none of/],
])('the type of a link is told first if there is no such: %s %o', async (method, body, says) => {
  const path = method === 'POST' ? '/links' : '/links/a';
  const answer = await send(method, path, JSON.stringify(body), json);
  expect([answer.status, answer.body['detail']]).toEqual([400, expect.stringMatching(says)]);
});

test('a refusal quotes no more of a value than a line', async () => {
  const { body } = await daemon()
    .request.post('/bridges')
    .send({ name: 'x'.repeat(100_000) })
    .expect(400);
  expect(body.detail.length).toBeLessThan(500);
  expect(body.errors[0].message.length).toBeLessThan(500);
});
