import { once } from 'node:events';
import { statSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

interface Asked {
  path?: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  socketPath?: string;
  origin?: string;
}

/** A request with just the headers that are given; its answer has to be a documented one. */
async function ask({ path = '/links', method = 'GET', headers = {}, body, socketPath, origin }: Asked) {
  const { origin: shared, complaints } = daemon();
  const where =
    socketPath === undefined ? { host: '127.0.0.1', port: new URL(origin ?? shared).port } : { socketPath };
  const request = httpRequest({ ...where, path, method, headers });
  request.end(body);
  const [response] = await once(request, 'response');
  const received = await text(response);
  const status = response.statusCode as number;
  expect(complaints({ method, url: path, status, headers: response.headers, body: received })).toEqual([]);
  return { status, headers: response.headers as Record<string, string>, body: received };
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

const paths = [
  '/namespaces',
  '/namespaces/blue',
  '/links',
  '/bridges',
  '/nat',
  '/operations',
  '/operations/1',
  '/system',
  '/namespaces/host/sockets',
  '/none',
];
const publicPaths = [
  '/docs',
  '/docs/static/index.html',
  '/docs/json',
  '/openapi.json',
  '/healthz',
  '/problems/in-use',
];

describe('over TCP', () => {
  test.each(paths)(
    'a request for %s without a token is answered with 401, saying what is asked for',
    async (path) => {
      const { status, headers, body } = await ask({ path });
      expect(status).toBe(401);
      expect(headers['www-authenticate']).toBe('Bearer realm="netnsd"');
      expect(JSON.parse(body)).toMatchObject({
        type: '/problems/unauthenticated',
        detail: expect.stringContaining('`token`'),
      });
    },
  );

  test.each([
    ['another', () => 'Bearer aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'],
    ['none', () => 'Bearer '],
    ['part of ours', () => `Bearer ${daemon().token.slice(0, -1)}`],
    ['ours and more', () => `Bearer ${daemon().token}x`],
    ['ours in other letters', () => `Bearer ${daemon().token.toLowerCase()}`],
    ['ours by another scheme', () => `Basic ${Buffer.from(`:${daemon().token}`).toString('base64')}`],
    ['ours without a scheme', () => daemon().token],
    ['ours twice', () => `Bearer ${daemon().token}, Bearer ${daemon().token}`],
  ])('a token that is %s is answered with 401', async (_what, authorization) => {
    const { status, body } = await ask({ headers: { authorization: authorization() } });
    expect(status).toBe(401);
    expect(body).not.toContain(daemon().token);
  });

  test('the token in the query is none', async () => {
    const { status } = await ask({ path: `/links?token=${daemon().token}` });
    expect(status).toBe(401);
  });

  test.each(['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])(
    '%s without a token is answered with 401, whether there is such a thing or not',
    async (method) => {
      const { status } = await ask({
        path: '/bridges/br00',
        method,
        headers: { 'content-type': 'application/json' },
        body: '{"name":"br00"}',
      });
      expect(status).toBe(401);
    },
  );

  test('the token lets in', async () => {
    const { status } = await ask({ headers: bearer(daemon().token) });
    expect(status).toBe(200);
  });

  test.each(publicPaths)('%s needs none', async (path) => {
    const { status } = await ask({ path });
    expect([200, 302]).toContain(status);
  });

  test('the file with the token is for its owner only', () => {
    const { stateDir } = daemon();
    expect(statSync(`${stateDir}/token`).mode & 0o777).toBe(0o600);
    expect(daemon().token).toMatch(/^[A-Za-z0-9_-]{43}$/);
  });
});

describe('what a web page that attacks a local service looks like', () => {
  test.each([
    'evil.example',
    'evil.example:80',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'evil-localhost',
    'localhost@evil.example',
    '[evil.example]',
    '2130706433',
    '0x7f.1',
  ])('Host: %j is answered with 403, the right token or not, public or not', async (host) => {
    for (const path of ['/links', '/healthz', '/openapi.json', '/docs']) {
      const { status, body } = await ask({ path, headers: { host, ...bearer(daemon().token) } });
      expect(status).toBe(403);
      expect(JSON.parse(body)).toMatchObject({
        type: '/problems/forbidden',
        detail: expect.stringContaining('Host'),
      });
    }
  });

  test.each([
    'localhost',
    'localhost:1',
    'LOCALHOST',
    '127.0.0.1',
    '127.0.0.1:8470',
    '[::1]',
    '[::1]:8470',
    '192.0.2.1',
  ])('Host: %s is let in: it is no name of others', async (host) => {
    const { status } = await ask({ headers: { host, ...bearer(daemon().token) } });
    expect(status).toBe(200);
  });

  test.each([
    'http://evil.example',
    'https://127.0.0.1',
    'http://localhost',
    'http://127.0.0.1:1',
    'null',
    'file://',
    'chrome-extension://abc',
    '',
  ])('Origin: %j is answered with 403', async (origin) => {
    const { status, body } = await ask({
      method: 'POST',
      path: '/bridges',
      headers: { origin, 'content-type': 'application/json', ...bearer(daemon().token) },
      body: '{"name":"br00"}',
    });
    expect(status).toBe(403);
    expect(JSON.parse(body)).toMatchObject({
      type: '/problems/forbidden',
      detail: expect.stringContaining('Origin'),
    });
  });

  test('our own Origin is let in', async () => {
    const { origin, token } = daemon();
    const { status } = await ask({ headers: { origin, host: new URL(origin).host, ...bearer(token) } });
    expect(status).toBe(200);
  });

  test('no other site is allowed to read an answer', async () => {
    const { headers } = await ask({ headers: bearer(daemon().token) });
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
  });

  test('the page with Swagger UI runs no script of others, and is shown in no frame', async () => {
    const { headers } = await ask({ path: '/docs/static/index.html' });
    expect(headers['content-security-policy']).toContain("default-src 'self'");
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'");
  });
});

describe('over the unix socket', () => {
  test('no token is needed, nor a Host that we know', async () => {
    const { socketPath } = daemon();
    const { status } = await ask({ socketPath, headers: { host: 'anything' } });
    expect(status).toBe(200);
  });

  test('changes can be made, and the journal says by which way', async () => {
    const { socketPath } = daemon();
    const { status, headers } = await ask({
      socketPath,
      method: 'POST',
      path: '/bridges',
      headers: { 'content-type': 'application/json' },
      body: '{"name":"br00"}',
    });
    expect(status).toBe(201);
    const { body } = await ask({ socketPath, path: headers['operation'] ?? '' });
    expect(JSON.parse(body)).toMatchObject({ actor: 'unix socket' });
  });

  test('the file permissions say who may: its owner and group', () => {
    expect(statSync(daemon().socketPath).mode & 0o777).toBe(0o660);
  });
});
