import { beforeEach, describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

const PATCH_TYPE = 'application/merge-patch+json';

async function patch(path: string, body: unknown, status = 200) {
  const { body: answer } = await daemon()
    .request.patch(path)
    .type(PATCH_TYPE)
    .send(JSON.stringify(body))
    .expect(status);
  return answer;
}

/** The addresses that the kernel has, without those that it makes up itself. */
function givenAddresses(body: { status: { addresses: string[] } }): string[] {
  return body.status.addresses.filter((address) => !address.startsWith('fe80:'));
}

beforeEach(async () => {
  const { request } = daemon();
  await request.post('/namespaces').send({ name: 'blue' }).expect(201);
  await request.post('/namespaces').send({ name: 'red' }).expect(201);
  await request
    .post('/bridges')
    .send({ name: 'br00', addresses: ['10.1.1.3/24'], mtu: 1400, labels: { a: '1', b: '2' } })
    .expect(201);
  const peer = {
    interface: 'veth10',
    namespace: 'blue',
    addresses: ['10.1.1.1/24'],
    routes: [{ to: 'default', via: '10.1.1.3' }],
  };
  await request.post('/links').send({ name: 'veth00', type: 'veth', bridge: 'br00', peer }).expect(201);
});

describe('PATCH', () => {
  test('changes what is given and leaves the rest', async () => {
    const body = await patch('/bridges/br00', { ageingSeconds: 60 });
    expect(body).toMatchObject({ ageingSeconds: 60, mtu: 1400, addresses: ['10.1.1.3/24'], revision: 2 });
    expect(body.status).toMatchObject({ state: 'ready', mtu: 1400 });
  });

  test.each(['/namespaces/blue', '/bridges/br00', '/links/veth00'])(
    'removes a label of %s with null, whatever it is called',
    async (path) => {
      const given = await patch(path, { labels: { firewall: 'on', mtu: 'high' } });
      expect(given.labels).toMatchObject({ firewall: 'on', mtu: 'high' });
      const body = await patch(path, { labels: { firewall: null, a: null, b: null } });
      expect(body.labels).toEqual({ mtu: 'high' });
    },
  );

  test.each<[string, object, string]>([
    ['/bridges/br00', { addresses: ['10.1.1.255/24'] }, '/addresses/0'],
    ['/links/veth00', { rate: { egressKbit: 0 } }, '/rate/egressKbit'],
    [
      '/links/veth00',
      { peer: { sysctls: { 'ipv4.conf.rp_filter': 1 } } },
      '/peer/sysctls/ipv4.conf.rp_filter',
    ],
    ['/links/veth00', { peer: { sysctls: { 'net.ipv4': '1' } } }, '/peer/sysctls/net.ipv4'],
  ])('of %s by %j says once what is wrong, where it is', async (path, body, pointer) => {
    const { errors, detail } = await patch(path, body, 400);
    expect(errors).toEqual([{ pointer, message: expect.not.stringContaining('null') }]);
    expect(detail).not.toContain('more');
  });

  test('is taken as application/json as well', async () => {
    const { body, headers } = await daemon().request.patch('/bridges/br00').send({ stp: true }).expect(200);
    expect(body).toMatchObject({ stp: true, status: { stp: true } });
    expect(headers).toMatchObject({ etag: '"2"', operation: expect.any(String) });
  });

  test('brings the default back with null', async () => {
    const body = await patch('/bridges/br00', { mtu: null, addresses: null, labels: null });
    expect(body).toMatchObject({
      mtu: 1500,
      addresses: [],
      labels: {},
      status: { state: 'ready', mtu: 1500 },
    });
    expect(givenAddresses(body)).toEqual([]);
  });

  test('merges objects: null removes one label and leaves the others', async () => {
    const body = await patch('/bridges/br00', { labels: { a: null, c: '3' } });
    expect(body.labels).toEqual({ b: '2', c: '3' });
  });

  test('removes one sysctl with null', async () => {
    await patch('/namespaces/blue', {
      sysctls: { 'net.ipv4.ip_forward': '1', 'net.ipv4.ip_default_ttl': '63' },
    });
    const body = await patch('/namespaces/blue', { sysctls: { 'net.ipv4.ip_forward': null } });
    expect(body.sysctls).toEqual({ 'net.ipv4.ip_default_ttl': '63' });
  });

  test('replaces lists as a whole', async () => {
    const body = await patch('/bridges/br00', { addresses: ['10.1.2.3/24', '10.1.1.3/24'] });
    expect(givenAddresses(body).toSorted()).toEqual(['10.1.1.3/24', '10.1.2.3/24']);
    const emptied = await patch('/bridges/br00', { addresses: [] });
    expect(emptied.addresses).toEqual([]);
    expect(givenAddresses(emptied)).toEqual([]);
  });

  test('that changes nothing leaves the revision as it is', async () => {
    const body = await patch('/bridges/br00', { mtu: 1400, labels: {}, name: 'br00' });
    expect(body.revision).toBe(1);
    expect((await patch('/bridges/br00', {})).revision).toBe(1);
  });

  test('detaches from a bridge with null, and attaches again', async () => {
    const detached = await patch('/links/veth00', { bridge: null });
    expect(detached).toMatchObject({ bridge: null, status: { state: 'ready' } });
    const { body: empty } = await daemon().request.get('/bridges/br00').expect(200);
    expect(empty.status.ports).toEqual([]);
    const attached = await patch('/links/veth00', { bridge: 'br00' });
    expect(attached).toMatchObject({ bridge: 'br00', status: { state: 'ready' } });
    const { body: full } = await daemon().request.get('/bridges/br00').expect(200);
    expect(full.status.ports).toEqual(['veth00']);
  });

  test('moves the peer with its addresses and routes', async () => {
    const body = await patch('/links/veth00', { peer: { namespace: 'red' } });
    expect(body.peer).toMatchObject({
      namespace: 'red',
      interface: 'veth10',
      addresses: ['10.1.1.1/24'],
      routes: [{ to: 'default', via: '10.1.1.3' }],
    });
    expect(body.status).toMatchObject({
      state: 'ready',
      peer: { up: true, addresses: expect.arrayContaining(['10.1.1.1/24']) },
    });
    const { body: routes } = await daemon().request.get('/namespaces/red/routes').expect(200);
    expect(routes.items).toContainEqual(
      expect.objectContaining({ to: 'default', via: '10.1.1.3', dev: 'veth10' }),
    );
    const { body: left } = await daemon().request.get('/namespaces/blue/interfaces').expect(200);
    expect(left.items.map(({ name }: { name: string }) => name)).toEqual(['lo']);
  });

  test('renames the interfaces of a link, not the link', async () => {
    const body = await patch('/links/veth00', { interface: 'uplink', peer: { interface: 'eth0' } });
    expect(body).toMatchObject({
      name: 'veth00',
      interface: 'uplink',
      peer: { interface: 'eth0' },
      status: { state: 'ready' },
    });
    expect(await patch('/links/veth00', { interface: null })).toMatchObject({ interface: 'veth00' });
  });

  test.each([{ name: 'br01' }, { name: null }])('does not rename a resource: %j', async (body) => {
    const problem = await patch('/bridges/br00', body, 400);
    expect(problem).toMatchObject({ type: '/problems/invalid-request', errors: [{ pointer: '/name' }] });
  });

  test('makes a rule one of another type, if it is whole then', async () => {
    await daemon()
      .request.post('/nat')
      .send({ name: 'out', type: 'masquerade', source: '10.1.1.0/24' })
      .expect(201);
    const incomplete = await patch('/nat/out', { type: 'snat' }, 400);
    expect(incomplete.errors).toEqual([{ pointer: '/toAddress', message: 'is required' }]);
    expect(await patch('/nat/out', { type: 'snat', toAddress: '198.51.100.2' })).toMatchObject({
      type: 'snat',
      status: { state: 'ready' },
    });
  });

  test.each<[string, unknown, string]>([
    ['a field that is needed is removed', { peer: null }, '/peer'],
    ['a field within one that is needed is removed', { peer: { interface: null } }, '/peer/interface'],
    ['a field is not known', { speed: 10 }, '/speed'],
    ['a field of the peer is not known', { peer: { speed: 10 } }, '/peer/speed'],
    ['a value does not fit', { mtu: '1400' }, '/mtu'],
    ['the type is another', { type: 'vxlan' }, '/type'],
  ])('answers 400 if %s, and changes nothing', async (_when, body, pointer) => {
    const problem = await patch('/links/veth00', body, 400);
    expect(problem.errors.map(({ pointer: at }: { pointer: string }) => at)).toContain(pointer);
    const { body: read } = await daemon().request.get('/links/veth00').expect(200);
    expect(read.revision).toBe(1);
  });

  test.each([[[]], ['text'], [1], [null], [true], [[{ op: 'remove', path: '/mtu' }]]])(
    'answers 400 for a patch that is no object: %j',
    async (body) => {
      const problem = await patch('/bridges/br00', body, 400);
      expect(problem.type).toBe('/problems/invalid-request');
    },
  );

  test('answers 404 for what is not there, and creates nothing', async () => {
    const problem = await patch('/bridges/br09', { mtu: 1400 }, 404);
    expect(problem.type).toBe('/problems/not-found');
    await daemon().request.get('/bridges/br09').expect(404);
  });

  test('answers 422 for a bridge in another namespace', async () => {
    await daemon().request.post('/bridges').send({ name: 'br01', namespace: 'red' }).expect(201);
    const problem = await patch('/links/veth00', { bridge: 'br01' }, 422);
    expect(problem.detail).toContain('a port is where its bridge is');
  });

  test('answers 409 in-use for moving a bridge that has ports', async () => {
    const problem = await patch('/bridges/br00', { namespace: 'red' }, 409);
    expect(problem).toMatchObject({
      type: '/problems/in-use',
      references: [{ kind: 'link', name: 'veth00', href: '/links/veth00' }],
    });
  });
});
