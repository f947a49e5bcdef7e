import { describe, expect, test } from 'vitest';
import { kernelState } from '../support/kernel-state.ts';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

/** Everything that a dry run must leave as it is. */
async function everything(): Promise<unknown> {
  const collections = ['/namespaces', '/links', '/bridges', '/nat', '/operations'];
  const recorded = await Promise.all(
    collections.map(async (path) => (await daemon().request.get(path).expect(200)).body as unknown),
  );
  return { recorded, kernel: await kernelState() };
}

async function createNetwork(): Promise<void> {
  const { request } = daemon();
  await request.post('/namespaces').send({ name: 'blue' }).expect(201);
  await request
    .post('/bridges')
    .send({ name: 'br00', addresses: ['10.1.1.3/24'] })
    .expect(201);
  await request
    .post('/links')
    .send({ name: 'veth00', type: 'veth', bridge: 'br00', peer: { interface: 'veth10', namespace: 'blue' } })
    .expect(201);
}

describe('?dryRun=true says what would be done, and does nothing', () => {
  test.each([
    [
      'post',
      '/namespaces',
      { name: 'red' },
      [{ action: 'create', kind: 'namespace', name: 'red' }],
      'ip netns add red',
    ],
    [
      'put',
      '/namespaces/red',
      {},
      [{ action: 'create', kind: 'namespace', name: 'red' }],
      'ip -n red link set dev lo up',
    ],
    [
      'put',
      '/bridges/br00',
      {},
      [{ action: 'change', kind: 'bridge', name: 'br00' }],
      'ip address delete 10.1.1.3/24 dev br00',
    ],
    [
      'patch',
      '/links/veth00',
      { bridge: null },
      [{ action: 'change', kind: 'link', name: 'veth00' }],
      'ip link set dev veth00 nomaster',
    ],
    [
      'post',
      '/nat',
      { name: 'out', type: 'masquerade', source: '10.1.1.0/24' },
      [{ action: 'create', kind: 'nat', name: 'out' }],
      'sysctl -w net.ipv4.ip_forward=1',
    ],
    [
      'delete',
      '/bridges/br00?cascade=true',
      undefined,
      [
        { action: 'delete', kind: 'link', name: 'veth00' },
        { action: 'delete', kind: 'bridge', name: 'br00' },
      ],
      'ip link delete dev br00',
    ],
  ] as const)('%s %s', async (method, path, sent, changes, command) => {
    await createNetwork();
    const before = await everything();
    const { body, headers } = await daemon()
      .request[method](path)
      .query({ dryRun: true })
      .send(sent)
      .expect(200);
    expect(body.changes).toEqual(changes);
    expect(body.commands).toContain(command);
    for (const name of ['operation', 'etag', 'location']) expect(headers).not.toHaveProperty(name);
    expect(await everything()).toEqual(before);
  });

  test('is empty where the change would change nothing', async () => {
    await createNetwork();
    const { body } = await daemon()
      .request.patch('/bridges/br00?dryRun=true')
      .send({ mtu: 1500 })
      .expect(200);
    expect(body).toEqual({ commands: [], changes: [] });
  });

  test('prints the commands that the change then runs', async () => {
    const sent = { name: 'br00', addresses: ['10.1.1.3/24'], mac: '02:00:5e:10:00:01' };
    const { body } = await daemon().request.post('/bridges?dryRun=true').send(sent).expect(200);
    const { headers } = await daemon().request.post('/bridges').send(sent).expect(201);
    const { body: operation } = await daemon()
      .request.get(headers['operation'] ?? '')
      .expect(200);
    expect(operation.commands.map(({ command }: { command: string }) => command)).toEqual(body.commands);
  });
});

describe('?dryRun=true is refused as the change would be, without a trace', () => {
  test.each([
    ['post', '/bridges', { name: 'br00' }, 409, 'name-conflict'],
    ['post', '/bridges', { name: 'br01', namespace: 'nowhere' }, 422, 'unprocessable'],
    ['post', '/bridges', { name: 'br01', addresses: ['10.1.1.3/16'] }, 422, 'unprocessable'],
    ['post', '/bridges', { name: 'br01', mtu: 1 }, 400, 'invalid-request'],
    ['patch', '/links/none', {}, 404, 'not-found'],
    ['delete', '/namespaces/blue', undefined, 409, 'in-use'],
    ['delete', '/links/none', undefined, 404, 'not-found'],
  ] as const)('%s %s %j: %i %s', async (method, path, sent, status, slug) => {
    await createNetwork();
    const before = await everything();
    const { body, headers } = await daemon().request[method](`${path}?dryRun=true`).send(sent).expect(status);
    expect(headers).not.toHaveProperty('operation');
    expect(await everything()).toEqual(before);
    const { body: real } = await daemon().request[method](path).send(sent).expect(status);
    expect(body).toEqual({ ...real, requestId: body.requestId });
    expect(body.type).toBe(`/problems/${slug}`);
  });

  test('the conditions count', async () => {
    await createNetwork();
    const { body } = await daemon()
      .request.patch('/bridges/br00?dryRun=true')
      .set('if-match', '"2"')
      .send({})
      .expect(412);
    expect(body.type).toBe('/problems/revision-mismatch');
  });
});

test.each(['1', 'yes', '', 'true&dryRun=true'])(
  '?dryRun=%s is refused: a change that was meant as a question is not made',
  async (value) => {
    const { body } = await daemon()
      .request.post(`/bridges?dryRun=${value}`)
      .send({ name: 'br00' })
      .expect(400);
    expect(body.errors).toEqual([expect.objectContaining({ pointer: 'dryRun' })]);
  },
);
