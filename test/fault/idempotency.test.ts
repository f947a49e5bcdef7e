import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { describe, expect, onTestFinished, test } from 'vitest';
import { run } from '../support/shell.ts';
import { startServer, temporaryDirectory, type Server } from '../support/server.ts';
import { prepareInFront } from '../support/wrapper.ts';

const KEY = 'the key of this change';
const BODY = { name: 'br00', addresses: ['10.1.1.3/24'] };

/** Asks for the bridge; null if the connection was cut before there was an answer. */
async function create({ socketPath }: Server, key = KEY) {
  const request = httpRequest({
    socketPath,
    method: 'POST',
    path: '/bridges',
    headers: { host: 'localhost', 'content-type': 'application/json', 'idempotency-key': key },
  });
  request.end(JSON.stringify(BODY));
  try {
    const [response] = await once(request, 'response');
    const { 'idempotent-replayed': replayed, operation, location, etag } = response.headers;
    const body = JSON.parse(await text(response)) as Record<string, unknown>;
    return { status: response.statusCode as number, replayed, body, headers: { operation, location, etag } };
  } catch {
    // The process at the other end was killed, which is what the test is about.
    return null;
  }
}

const SYNCS = 'fsync,fdatasync';

/** Starts netnsd under strace, and makes a namespace: with the log of the store begun, the next sync is a commit. */
async function startTraced(
  stateDir: string,
  ...options: string[]
): Promise<{ server: Server; trace: string }> {
  const trace = join(temporaryDirectory(), 'trace');
  const server = await startServer(['--reconcile', 'off'], {
    stateDir,
    through: ['strace', '-D', '-f', '-qq', '-e', `trace=${SYNCS}`, ...options, '-o', trace],
  });
  await server.curl('/namespaces', 'POST', { name: 'blue' });
  return { server, trace };
}

/**
 * Starts netnsd so that something befalls it as it enters the sync of the change after that: SQLite has written the
 * commit then, and nobody is answered yet.
 */
async function startForNextSync(stateDir: string, injection: 'signal=KILL' | 'error=EIO'): Promise<Server> {
  const { server: counted, trace } = await startTraced(temporaryDirectory());
  const syncs = [...readFileSync(trace, 'utf8').matchAll(/ (?:fsync|fdatasync)\(/g)].length;
  expect((await counted.curl('/namespaces/blue', 'DELETE')).status).toBe(204);
  await counted.end();
  const inject = `inject=${SYNCS}:${injection}:when=${syncs + 1}`;
  return (await startTraced(stateDir, '-e', inject)).server;
}

async function operationsOf({ curl }: Server, path = '/bridges/br00') {
  const { body } = await curl('/operations?limit=1000');
  return (body['items'] as { kind: string; name: string; id: string }[]).filter(
    ({ kind, name }) => path === `/${kind}s/${name}`,
  );
}

describe('netnsd is killed', () => {
  test('after the commit and before the answer: the same key gives the first answer', async () => {
    const stateDir = temporaryDirectory();
    const killed = await startForNextSync(stateDir, 'signal=KILL');
    expect(await create(killed)).toBeNull();
    await killed.end();

    const server = await startServer([], { stateDir });
    const [operation, ...others] = await operationsOf(server);
    const again = await create(server);
    expect(again).toMatchObject({
      status: 201,
      replayed: 'true',
      headers: { operation: `/operations/${operation?.id ?? ''}`, location: '/bridges/br00', etag: '"1"' },
    });
    const { status: _status, ...intent } = again?.body ?? {};
    expect((await server.curl('/bridges/br00')).body).toMatchObject({
      ...intent,
      status: { state: 'ready' },
    });
    expect(others).toEqual([]);
    expect(await operationsOf(server)).toHaveLength(1);
    for (const path of ['/bridges/br00', '/namespaces/blue'])
      expect((await server.curl(path, 'DELETE')).status).toBe(204);
  });

  test('after the answer: the same key gives it again', async () => {
    const stateDir = temporaryDirectory();
    const killed = await startServer(['--reconcile', 'off'], { stateDir });
    const first = await create(killed);
    expect(first).toMatchObject({ status: 201, replayed: undefined });
    await killed.end('SIGKILL');

    const server = await startServer([], { stateDir });
    expect(await create(server)).toEqual({ ...first, replayed: 'true' });
    expect((await server.curl('/bridges/br00', 'DELETE')).status).toBe(204);
  });

  test('before the kernel is changed: the same key makes the request anew', async () => {
    const stateDir = temporaryDirectory();
    const { arm, restore } = prepareInFront('ip', () => 'kill -KILL $PPID; exit 1');
    const killed = await startServer(['--reconcile', 'off'], { stateDir });
    arm();
    expect(await create(killed)).toBeNull();
    await killed.end();
    restore();

    const server = await startServer([], { stateDir });
    expect((await server.curl('/bridges/br00')).status).toBe(404);
    expect(await create(server)).toMatchObject({ status: 201, replayed: undefined });
    expect(await create(server)).toMatchObject({ status: 201, replayed: 'true' });
    expect((await server.curl('/bridges/br00', 'DELETE')).status).toBe(204);
  });
});

test('a client that goes away gets the answer by the same key', async () => {
  const files = temporaryDirectory();
  const [begun, goOn] = [join(files, 'begun'), join(files, 'go-on')];
  const { arm } = prepareInFront(
    'ip',
    () => `touch ${begun}; until [ -e ${goOn} ]; do sleep 0.02; done; exec /usr/sbin/ip "$@"`,
  );
  const server = await startServer(['--reconcile', 'off']);
  onTestFinished(() => writeFileSync(goOn, ''));
  arm();
  const client = execa(
    'curl',
    [
      '-s',
      '--unix-socket',
      server.socketPath,
      '-H',
      `Idempotency-Key: ${KEY}`,
      '--json',
      JSON.stringify(BODY),
      'http://localhost/bridges',
    ],
    { reject: false },
  );
  await expect.poll(() => existsSync(begun)).toBe(true);
  client.kill('SIGKILL');
  expect(await client).toMatchObject({ signal: 'SIGKILL', stdout: '' });
  let again = await create(server);
  expect(again).toMatchObject({ status: 409, body: { type: '/problems/request-in-flight' } });
  writeFileSync(goOn, '');
  while (again?.status === 409) {
    await sleep(50);
    again = await create(server);
  }
  expect(again).toMatchObject({ status: 201, replayed: 'true' });
  expect((await server.curl('/bridges/br00', 'DELETE')).status).toBe(204);
});

test('a change that fails in the kernel leaves its key free', async () => {
  const { arm, restore } = prepareInFront(
    'ip',
    (directory) => `mkdir ${directory}/used 2>/dev/null || exec /usr/sbin/ip "$@"
      exec strace -qq -o /dev/null -e trace=sendmsg -e inject=sendmsg:error=EMSGSIZE:when=3 /usr/sbin/ip "$@"`,
  );
  const server = await startServer(['--reconcile', 'off']);
  arm();
  const failed = await create(server);
  restore();
  expect(failed).toMatchObject({ replayed: undefined });
  expect(failed?.status).toBeGreaterThanOrEqual(500);
  expect(await run('ip', '-br', 'link', 'show')).not.toContain('br00');
  const made = await create(server);
  expect(made).toMatchObject({ status: 201, replayed: undefined });
  expect(made?.headers.operation).not.toBe(failed?.headers.operation);
  expect(await create(server)).toEqual({ ...made, replayed: 'true' });
  expect((await server.curl('/bridges/br00', 'DELETE')).status).toBe(204);
});

test('a change that can’t be written to the disk leaves its key free', async () => {
  const server = await startForNextSync(temporaryDirectory(), 'error=EIO');
  const failed = await create(server);
  expect(failed).toMatchObject({
    status: 503,
    replayed: undefined,
    body: { type: '/problems/store-unavailable' },
  });
  expect(await run('ip', '-br', 'link', 'show')).not.toContain('br00');
  const made = await create(server);
  expect(made).toMatchObject({ status: 201, replayed: undefined });
  for (const path of ['/bridges/br00', '/namespaces/blue'])
    expect((await server.curl(path, 'DELETE')).status).toBe(204);
});
