import { describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

describe('POST', () => {
  test('answers 201 with the resource, its path, its revision and its operation', async () => {
    const { body, headers } = await daemon()
      .request.post('/namespaces')
      .send({ name: 'blue', labels: { app: 'web' } })
      .expect(201);
    expect(headers).toMatchObject({
      location: '/namespaces/blue',
      etag: '"1"',
      operation: expect.stringMatching(/^\/operations\/[1-9]\d*$/),
    });
    expect(headers['content-type']).toBe('application/json; charset=utf-8');
    expect(body).toMatchObject({
      name: 'blue',
      pid: null,
      sysctls: {},
      labels: { app: 'web' },
      revision: 1,
      status: { state: 'ready', message: null },
    });
    expect(body.createdAt).toBe(body.updatedAt);
    const { body: read } = await daemon()
      .request.get(headers['location'] ?? '')
      .expect(200);
    expect(read).toEqual(body);
  });

  test('fills the defaults of a link in', async () => {
    const { body } = await daemon()
      .request.post('/links')
      .send({ name: 'veth00', type: 'veth', peer: { interface: 'veth10' } })
      .expect(201);
    const end = {
      namespace: 'host',
      bridge: null,
      addresses: [],
      routes: [],
      mtu: 1500,
      mac: null,
      up: true,
    };
    expect(body).toMatchObject({
      name: 'veth00',
      type: 'veth',
      interface: 'veth00',
      ...end,
      peer: { interface: 'veth10', ...end },
      labels: {},
    });
    expect(body.status).toMatchObject({ state: 'ready', mtu: 1500, up: true, peer: { mtu: 1500, up: true } });
  });

  test('fills the defaults of a bridge in', async () => {
    const { body } = await daemon().request.post('/bridges').send({ name: 'br00' }).expect(201);
    expect(body).toMatchObject({
      interface: 'br00',
      namespace: 'host',
      addresses: [],
      routes: [],
      stp: false,
      ageingSeconds: 300,
      mtu: 1500,
      mac: null,
      up: true,
      labels: {},
    });
    expect(body.status.bridgeId).toBe(`8000.${String(body.status.mac).replaceAll(':', '')}`);
  });

  test('fills the defaults of a masquerade rule in', async () => {
    const { body } = await daemon()
      .request.post('/nat')
      .send({ name: 'out', type: 'masquerade', source: '10.1.1.0/24' })
      .expect(201);
    expect(body).toMatchObject({
      namespace: 'host',
      inInterface: null,
      outInterface: null,
      forward: 'established',
      labels: {},
    });
  });

  test('fills the defaults of a dnat rule in: the same port', async () => {
    const rule = {
      name: 'web',
      type: 'dnat',
      protocol: 'tcp',
      port: '8000-8010',
      to: { address: '10.1.1.1' },
    };
    const { body } = await daemon().request.post('/nat').send(rule).expect(201);
    expect(body).toMatchObject({
      namespace: 'host',
      address: null,
      inInterface: null,
      to: { address: '10.1.1.1', port: '8000-8010' },
    });
  });

  test('fills the defaults of a route in', async () => {
    const bridge = {
      name: 'br00',
      addresses: ['10.1.1.3/24'],
      routes: [{ to: '10.2.0.0/16', via: '10.1.1.1' }],
    };
    const { body } = await daemon().request.post('/bridges').send(bridge).expect(201);
    expect(body.routes).toEqual([
      { to: '10.2.0.0/16', via: '10.1.1.1', metric: null, src: null, table: 254 },
    ]);
  });

  test('answers 409 name-conflict if a resource of that name is recorded, and leaves it as it is', async () => {
    await daemon().request.post('/namespaces').send({ name: 'blue' }).expect(201);
    const { body, headers } = await daemon()
      .request.post('/namespaces')
      .send({ name: 'blue', labels: { a: 'b' } })
      .expect(409);
    expect(body).toMatchObject({
      type: '/problems/name-conflict',
      instance: '/namespaces',
      references: [{ kind: 'namespace', name: 'blue', href: '/namespaces/blue' }],
    });
    expect(headers['operation']).toMatch(/^\/operations\/\d+$/);
    const { body: read } = await daemon().request.get('/namespaces/blue').expect(200);
    expect(read).toMatchObject({ revision: 1, labels: {} });
  });

  test('takes the name of a resource of another kind: names are per collection', async () => {
    await daemon().request.post('/namespaces').send({ name: 'blue' }).expect(201);
    const { status } = await daemon().request.post('/bridges').send({ name: 'blue' });
    expect(status).toBe(201);
  });

  test('answers 409 foreign-object if the kernel has such a device already, and leaves that alone', async () => {
    const { body } = await daemon().request.post('/bridges').send({ name: 'uplink0' }).expect(409);
    expect(body).toMatchObject({
      type: '/problems/foreign-object',
      exitCode: expect.any(Number),
      command: expect.stringContaining('uplink0'),
    });
    expect(body.stderr).toMatch(/File exists/);
  });

  test('answers 409 foreign-object if somebody has bound a namespace of that name', async () => {
    const { body } = await daemon().request.post('/namespaces').send({ name: 'internet' }).expect(409);
    expect(body).toMatchObject({ type: '/problems/foreign-object', command: 'ip netns add internet' });
  });

  test.each([
    ['namespace', '/bridges', { name: 'br00', namespace: 'nowhere' }, '/namespace'],
    [
      'namespace of the peer',
      '/links',
      { name: 'v', type: 'veth', peer: { interface: 'w', namespace: 'nowhere' } },
      '/peer/namespace',
    ],
    [
      'bridge',
      '/links',
      { name: 'v', type: 'veth', bridge: 'nobridge', peer: { interface: 'w' } },
      '/bridge',
    ],
    [
      'bridge of the peer',
      '/links',
      { name: 'v', type: 'veth', peer: { interface: 'w', bridge: 'nobridge' } },
      '/peer/bridge',
    ],
    [
      'namespace of a rule',
      '/nat',
      { name: 'n', type: 'masquerade', source: '10.1.1.0/24', namespace: 'nowhere' },
      '/namespace',
    ],
  ])('answers 422 for an unknown %s, saying where', async (_what, path, sent, pointer) => {
    const { body } = await daemon().request.post(path).send(sent).expect(422);
    expect(body).toMatchObject({ type: '/problems/unprocessable', errors: [{ pointer }] });
    expect(body.detail).toContain('which is not recorded; create it first');
  });

  test('answers 422 for an address that another resource has, naming it', async () => {
    await daemon()
      .request.post('/bridges')
      .send({ name: 'br00', addresses: ['10.1.1.3/24'] })
      .expect(201);
    const { body } = await daemon()
      .request.post('/bridges')
      .send({ name: 'br01', addresses: ['10.1.1.3/16'] })
      .expect(422);
    expect(body).toMatchObject({
      type: '/problems/unprocessable',
      references: [{ kind: 'bridge', name: 'br00', href: '/bridges/br00' }],
    });
  });

  test('answers 422 for an interface name that another resource has in that namespace', async () => {
    await daemon().request.post('/bridges').send({ name: 'br00', interface: 'eth0' }).expect(201);
    const { body } = await daemon()
      .request.post('/links')
      .send({ name: 'v', type: 'veth', interface: 'eth0', peer: { interface: 'w' } })
      .expect(422);
    expect(body.references).toEqual([{ kind: 'bridge', name: 'br00', href: '/bridges/br00' }]);
  });

  test('answers 422 for a gateway that is not reachable, with what the tool said', async () => {
    const bridge = {
      name: 'br00',
      addresses: ['10.1.1.3/24'],
      routes: [{ to: 'default', via: '10.9.9.9', metric: 7 }],
    };
    const { body } = await daemon().request.post('/bridges').send(bridge).expect(422);
    expect(body).toMatchObject({
      type: '/problems/unprocessable',
      command: expect.stringContaining('via 10.9.9.9'),
      exitCode: expect.any(Number),
    });
    await daemon().request.get('/bridges/br00').expect(404);
  });

  test('answers 422 for a link with both ends on one bridge', async () => {
    await daemon().request.post('/bridges').send({ name: 'br00' }).expect(201);
    const { body } = await daemon()
      .request.post('/links')
      .send({ name: 'v', type: 'veth', bridge: 'br00', peer: { interface: 'w', bridge: 'br00' } })
      .expect(422);
    expect(body.detail).toContain('loop');
  });

  test('answers 422 for a process that is not there', async () => {
    const { body } = await daemon()
      .request.post('/namespaces')
      .send({ name: 'blue', pid: 4_194_304 })
      .expect(422);
    expect(body.detail).toContain('no process 4194304');
  });

  test('answers 422 for a process in the namespace of the daemon itself', async () => {
    const { body } = await daemon()
      .request.post('/namespaces')
      .send({ name: 'blue', pid: process.pid })
      .expect(422);
    expect(body.detail).toContain('`host`');
  });
});
