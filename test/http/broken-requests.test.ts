import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { pino } from 'pino';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Listeners, clientBounds } from '../../src/plugins/listeners.ts';
import { sharedDaemon } from '../support/daemon.ts';
import { sendRaw, type RawAnswer } from '../support/raw.ts';

const daemon = sharedDaemon();

function problemIn({ headers, body }: RawAnswer): {
  type: string;
  status: number;
  detail: string;
  requestId: string;
} {
  expect(headers).toMatchObject({
    'content-type': 'application/problem+json; charset=utf-8',
    connection: 'close',
  });
  return JSON.parse(body) as ReturnType<typeof problemIn>;
}

describe('what is no HTTP request', () => {
  test.each([
    ['noise', 'hello\r\n\r\n'],
    ['bytes', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['another version', 'GET /healthz HTTP/9.9\r\nhost: localhost\r\n\r\n'],
    ['a header without a colon', 'GET /healthz HTTP/1.1\r\nhost\r\n\r\n'],
    ['a header with a NUL', 'GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n'],
    ['a header that is folded', 'GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b: c\r\n\r\n'],
    ['a space before the colon', 'GET /healthz HTTP/1.1\r\nhost : localhost\r\n\r\n'],
    [
      'two lengths',
      'POST /links HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}',
    ],
    [
      'a length and chunks',
      'POST /links HTTP/1.1\r\nhost: localhost\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    ['a length that is none', 'POST /links HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n'],

    ['a space in the path', 'GET /a b HTTP/1.1\r\nhost: localhost\r\n\r\n'],
  ])('is answered with 400, and the connection closed: %s', async (_what, bytes) => {
    const answer = await sendRaw(daemon().origin, [bytes]);
    expect(answer.status).toBe(400);
    const problem = problemIn(answer);
    expect(problem).toMatchObject({ type: '/problems/invalid-request', status: 400 });
    expect(problem.requestId).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('is answered with 400 in the middle of a body as well', async () => {
    const { origin, token } = daemon();
    const head = ['POST /links HTTP/1.1', `host: ${new URL(origin).host}`, `authorization: Bearer ${token}`];
    const answer = await sendRaw(origin, [
      [...head, 'content-type: application/json', 'transfer-encoding: chunked', '', 'zz', ''].join('\r\n'),
    ]);
    expect(problemIn(answer)).toMatchObject({ type: '/problems/invalid-request', status: 400 });
  });

  test('a request without Host is answered with 400', async () => {
    const answer = await sendRaw(daemon().origin, ['GET /healthz HTTP/1.1\r\nconnection: close\r\n\r\n']);
    expect(answer.status).toBe(400);
  });

  test('is not a request with an expectation that we don’t know', async () => {
    const head =
      'GET /healthz HTTP/1.1\r\nhost: localhost\r\nexpect: the-unexpected\r\nconnection: close\r\n\r\n';
    expect((await sendRaw(daemon().origin, [head])).status).toBe(200);
  });

  test('leaves the daemon as it was', async () => {
    const { body } = await daemon().request.get('/healthz').expect(200);
    expect(body.status).toBe('ok');
  });
});

describe('who is slow', () => {
  /** The listeners of netnsd with bounds that a test can wait for. */
  async function listenBriefly(bounds: Partial<typeof clientBounds> = {}): Promise<string> {
    const listeners = new Listeners(pino({ level: 'silent' }), {
      requestTimeout: 400,
      headersTimeout: 200,
      keepAliveTimeout: 100,
      connectionsCheckingInterval: 50,
      maxConnections: 10,
      ...bounds,
    });
    const address = await listeners.listen(
      { transport: 'tcp', host: '127.0.0.1', port: 0 },
      true,
      (request, response) => {
        request.resume().on('end', () => response.end('done'));
      },
    );
    onTestFinished(async () => listeners.close());
    return `http://127.0.0.1:${address.transport === 'tcp' ? address.port : 0}`;
  }

  /** Ten seconds of it. */
  const drip = (text: string): string[] => Array.from({ length: 500 }, () => text);

  test('with the headers is answered with 400 and cut off', async () => {
    const answer = await sendRaw(
      await listenBriefly(),
      ['GET / HTTP/1.1\r\nhost: localhost\r\n', ...drip('x: y\r\n')],
      20,
    );
    expect(problemIn(answer)).toMatchObject({ status: 400, detail: 'the request was not complete in time' });
    expect(answer.durationMs).toBeLessThan(8000);
  });

  test('with the body is answered with 400 and cut off', async () => {
    const head = 'POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n';
    const answer = await sendRaw(await listenBriefly(), [head, ...drip('x')], 20);
    expect(problemIn(answer)).toMatchObject({ status: 400, detail: 'the request was not complete in time' });
    expect(answer.durationMs).toBeLessThan(8000);
  });

  test('with the next request is cut off', async () => {
    const answer = await sendRaw(await listenBriefly(), ['GET / HTTP/1.1\r\nhost: localhost\r\n\r\n']);
    expect(answer).toMatchObject({ status: 200, body: expect.stringContaining('done') });
    expect(answer.durationMs).toBeLessThan(3000);
  });

  test('holds no more connections than there may be', async () => {
    const origin = await listenBriefly({ headersTimeout: 10_000, requestTimeout: 10_000, maxConnections: 2 });
    const held = [0, 1].map(() => connect(Number(new URL(origin).port), '127.0.0.1'));
    await Promise.all(held.map(async (socket) => once(socket, 'connect')));
    const request = ['GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n'];
    expect(await sendRaw(origin, request)).toMatchObject({ status: 0, body: '' });
    for (const socket of held) socket.destroy();
    await expect.poll(async () => (await sendRaw(origin, request)).status).toBe(200);
  });

  test('has seconds, not minutes', () => {
    expect(clientBounds).toEqual({
      requestTimeout: 60_000,
      headersTimeout: 10_000,
      keepAliveTimeout: 30_000,
      connectionsCheckingInterval: 5_000,
      maxConnections: 1_000,
    });
  });
});

test('a port that somebody else listens on is said to be in use', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  onTestFinished(() => void other.close());
  const address = other.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const listening = new Listeners(pino({ level: 'silent' })).listen(
    { transport: 'tcp', host: '127.0.0.1', port },
    true,
    () => undefined,
  );
  await expect(listening).rejects.toMatchObject({ name: 'ListenError', inUse: true });
});
