import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';
import { putInFront } from '../support/wrapper.ts';

const HOUR_MS = 3_600_000;

let nowMs = Date.parse('2026-01-01T00:00:00.000Z');
const stateDir = mkdtempSync(join(tmpdir(), 'netnsd-test-'));
const daemon = sharedDaemon({ stateDir, now: () => nowMs });
afterAll(() => rmSync(stateDir, { recursive: true, force: true }));

let keys = 0;
const newKey = (): string => `key ${(keys += 1)}`;

async function post(key: string, path: string, body: object) {
  return daemon().request.post(path).set('idempotency-key', key).send(body);
}

type Answer = Awaited<ReturnType<typeof post>>;

/** All that has to be the same when an answer comes again. */
function told({ status, text, headers }: Answer) {
  const { 'content-type': type, location, etag, operation } = headers;
  return { status, text, type, location, etag, operation };
}

async function newestOperation(): Promise<unknown> {
  const { body } = await daemon().request.get('/operations?limit=1').expect(200);
  return body.items[0]?.id;
}

const creations: [path: string, body: object][] = [
  ['/namespaces', { name: 'blue', sysctls: { 'net.ipv4.ip_forward': '1' } }],
  ['/bridges', { name: 'br00', addresses: ['10.1.1.3/24'] }],
  ['/links', { name: 'veth00', type: 'veth', peer: { interface: 'veth10' } }],
  ['/nat', { name: 'out', type: 'masquerade', source: '10.1.1.0/24' }],
];

describe.each(creations)('POST %s', (path, body) => {
  test('with the same key again gives the first answer, and nothing is done', async () => {
    const key = newKey();
    const first = await post(key, path, body);
    expect(first.status).toBe(201);
    expect(first.headers).not.toHaveProperty('idempotent-replayed');
    const processes = daemon().app.processesStarted();
    const operation = await newestOperation();
    const again = await post(key, path, body);
    expect(told(again)).toEqual(told(first));
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(again.headers).toMatchObject({
      etag: '"1"',
      location: expect.stringMatching(`^${path}/`),
      operation: expect.stringMatching(/^\/operations\//),
    });
    expect(daemon().app.processesStarted()).toBe(processes);
    expect(await newestOperation()).toBe(operation);
  });

  test('answers what a read answers, as without a key', async () => {
    const { status: _status, ...made } = (await post(newKey(), path, body)).body;
    const { body: read } = await daemon().request.get(`${path}/${made.name}`).expect(200);
    expect(read).toMatchObject({ ...made, status: { state: 'ready' } });
  });
});

describe('the first answer', () => {
  test('comes again whatever became of the resource', async () => {
    const key = newKey();
    const first = await post(key, '/bridges', { name: 'br00' });
    await daemon().request.delete('/bridges/br00').expect(204);
    expect(told(await post(key, '/bridges', { name: 'br00' }))).toEqual(told(first));
    await daemon().request.get('/bridges/br00').expect(404);
  });

  test('comes again for the same body with its fields in another order', async () => {
    const key = newKey();
    const first = await post(key, '/bridges', { name: 'br00', labels: { a: '1', b: '2' }, mtu: 1400 });
    const again = await post(key, '/bridges', { mtu: 1400, labels: { b: '2', a: '1' }, name: 'br00' });
    expect(told(again)).toEqual(told(first));
  });

  test('comes again for 24 hours, and then the request is made anew', async () => {
    const key = newKey();
    const first = await post(key, '/bridges', { name: 'br00' });
    nowMs += 24 * HOUR_MS - 1;
    expect(told(await post(key, '/bridges', { name: 'br00' }))).toEqual(told(first));
    nowMs += 1;
    await daemon().request.delete('/bridges/br00').expect(204);
    const anew = await post(key, '/bridges', { name: 'br00' });
    expect([anew.status, anew.headers['idempotent-replayed']]).toEqual([201, undefined]);
    expect(anew.headers['operation']).not.toBe(first.headers['operation']);
    expect(told(await post(key, '/bridges', { name: 'br00' }))).toEqual(told(anew));
  });

  test('is of its key alone', async () => {
    await post(newKey(), '/bridges', { name: 'br00' });
    const other = await post(newKey(), '/bridges', { name: 'br00' });
    expect([other.status, other.body.type]).toEqual([409, '/problems/name-conflict']);
  });
});

describe('the same key with another request is answered with 422, and nothing is done', () => {
  test.each([
    ['another body', '/bridges', { name: 'br01' }],
    ['a field more', '/bridges', { name: 'br00', mtu: 1500 }],
    ['another collection', '/namespaces', { name: 'br00' }],
    ['another query', '/bridges?dryRun=false', { name: 'br00' }],
  ])('%s', async (_what, path, body) => {
    const key = newKey();
    const first = await post(key, '/bridges', { name: 'br00' });
    const operation = await newestOperation();
    const other = await post(key, path, body);
    expect(other.status).toBe(422);
    expect(other.body).toMatchObject({
      type: '/problems/unprocessable',
      detail: expect.stringContaining('with a new key'),
      errors: [{ pointer: 'idempotency-key' }],
    });
    expect(other.headers).not.toHaveProperty('operation');
    expect(await newestOperation()).toBe(operation);
    // The first answer is still there.
    expect(told(await post(key, '/bridges', { name: 'br00' }))).toEqual(told(first));
  });
});

describe('while the first request is being answered', () => {
  test('the same is answered with 409, then as the first', async () => {
    putInFront('ip', () => 'sleep 0.3; exec /usr/sbin/ip "$@"');
    const key = newKey();
    const answers = await Promise.all([1, 2, 3].map(async () => post(key, '/bridges', { name: 'br00' })));
    const [first, ...others] = answers.toSorted((a, b) => a.status - b.status);
    expect(first?.status).toBe(201);
    for (const { status, body, headers } of others) {
      expect([status, body.type]).toEqual([409, '/problems/request-in-flight']);
      expect(headers['retry-after']).toBe('1');
    }
    const again = await post(key, '/bridges', { name: 'br00' });
    expect(told(again)).toEqual(first === undefined ? null : told(first));
  });

  test('another with the same key is answered with 422', async () => {
    putInFront('ip', () => 'sleep 0.3; exec /usr/sbin/ip "$@"');
    const key = newKey();
    const answers = await Promise.all(['br00', 'br01'].map(async (name) => post(key, '/bridges', { name })));
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([201, 422]);
  });

  test('those with other keys go on, together with it', async () => {
    const names = ['br00', 'br01', 'br02'];
    const withKeys = names.map((name) => ({ name, key: newKey() }));
    const send = async () =>
      Promise.all(withKeys.map(async ({ name, key }) => post(key, '/bridges', { name })));
    const first = await send();
    expect(first.map(({ status }) => status)).toEqual([201, 201, 201]);
    expect((await send()).map(told)).toEqual(first.map(told));
  });
});

describe('a refusal', () => {
  test.each([
    ['a name that is taken', { name: 'br00' }, 409, 'name-conflict'],
    ['a namespace that is not there', { name: 'br01', namespace: 'nowhere' }, 422, 'unprocessable'],
    ['a device of somebody else', { name: 'uplink0' }, 409, 'foreign-object'],
  ])('comes again: %s', async (_what, body, status, slug) => {
    await daemon().request.post('/bridges').send({ name: 'br00' }).expect(201);
    const key = newKey();
    const first = await post(key, '/bridges', body);
    expect([first.status, first.body.type]).toEqual([status, `/problems/${slug}`]);
    const operation = await newestOperation();
    // What stood in the way may be gone: the answer stays.
    await daemon().request.delete('/bridges/br00').expect(204);
    const deletion = await newestOperation();
    const again = await post(key, '/bridges', body);
    expect(told(again)).toEqual(told(first));
    expect(again.headers['idempotent-replayed']).toBe('true');
    expect(again.headers['operation']).toBe(`/operations/${String(operation)}`);
    expect(await newestOperation()).toBe(deletion);
  });

  test('that the client can mend is not kept: 400', async () => {
    const key = newKey();
    expect((await post(key, '/bridges', { name: 'br00', mtu: 'big' })).status).toBe(400);
    expect((await post(key, '/bridges', { name: 'br00' })).status).toBe(201);
  });

  test('that is about a revision is not kept: 412', async () => {
    const key = newKey();
    const send = () => daemon().request.post('/bridges').set('idempotency-key', key).send({ name: 'br00' });
    expect((await send().set('if-match', '"1"')).status).toBe(412);
    expect((await send()).status).toBe(201);
  });

  test('for want of a token is not kept: 401', async () => {
    const key = newKey();
    await daemon()
      .request.post('/bridges')
      .set('idempotency-key', key)
      .set('authorization', 'Bearer wrong')
      .send({ name: 'br00' })
      .expect(401);
    expect((await post(key, '/bridges', { name: 'br00' })).status).toBe(201);
  });
});

test('a failure is not kept: the same key makes the request anew', async () => {
  const restore = putInFront('ip', () => 'echo "Error: no luck today." >&2; exit 1');
  const key = newKey();
  const failed = await post(key, '/bridges', { name: 'br00' });
  expect(failed.status).toBe(500);
  restore();
  const made = await post(key, '/bridges', { name: 'br00' });
  expect([made.status, made.headers['idempotent-replayed']]).toEqual([201, undefined]);
});

test('one of a batch that fails is made alone, and each answer is kept as it was given', async () => {
  // A bridge of this name is there, and is none of ours: the batch fails, and each is tried again alone.
  const names = ['br00', 'uplink0', 'br01'];
  const withKeys = names.map((name) => ({ name, key: newKey() }));
  const send = async () =>
    Promise.all(withKeys.map(async ({ name, key }) => post(key, '/bridges', { name })));
  const first = await send();
  expect(first.map(({ status }) => status)).toEqual([201, 409, 201]);
  expect((await send()).map(told)).toEqual(first.map(told));
});

describe('with ?dryRun=true', () => {
  test('the key is neither kept nor looked at', async () => {
    const key = newKey();
    const dry = await post(key, '/bridges?dryRun=true', { name: 'br00' });
    expect([dry.status, dry.headers['idempotent-replayed']]).toEqual([200, undefined]);
    expect((await post(key, '/bridges', { name: 'br00' })).status).toBe(201);
    const { body } = await post(key, '/bridges?dryRun=true', { name: 'br01' });
    expect(body.changes).toEqual([{ action: 'create', kind: 'bridge', name: 'br01' }]);
  });
});

describe('the key', () => {
  test.each(['', 'ä', 'a\tb', 'a'.repeat(256)])('%j is refused with 400', async (key) => {
    const { status, body } = await post(key, '/bridges', { name: 'br00' });
    expect([status, body.type]).toEqual([400, '/problems/invalid-request']);
    expect(body.errors).toEqual([expect.objectContaining({ pointer: 'idempotency-key' })]);
    await daemon().request.get('/bridges/br00').expect(404);
  });

  test.each(['a', '"6f1c"', "'; DROP TABLE idempotency; --", '~'.repeat(255)])('%j is taken', async (key) => {
    const first = await post(key, '/bridges', { name: 'br00' });
    expect(first.status).toBe(201);
    expect(told(await post(key, '/bridges', { name: 'br00' }))).toEqual(told(first));
  });

  test('is ignored by what is no creation', async () => {
    const key = newKey();
    const { request } = daemon();
    for (const mtu of [1400, 1300])
      await request
        .put('/bridges/br00')
        .set('idempotency-key', key)
        .send({ mtu })
        .expect(mtu === 1400 ? 201 : 200);
    for (const count of [1, 2]) {
      const { headers } = await request
        .post('/namespaces/host/ping')
        .set('idempotency-key', key)
        .send({ to: '127.0.0.1', count, timeoutMs: 200 })
        .expect(200);
      expect(headers).not.toHaveProperty('idempotent-replayed');
    }
  });
});
