import { describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

describe('PUT', () => {
  test('answers 201 with Location if the resource was not there', async () => {
    const { body, headers } = await daemon()
      .request.put('/bridges/br00')
      .send({ addresses: ['10.1.1.3/24'] })
      .expect(201);
    expect(headers).toMatchObject({ location: '/bridges/br00', etag: '"1"' });
    expect(body).toMatchObject({ name: 'br00', interface: 'br00', addresses: ['10.1.1.3/24'], revision: 1 });
  });

  test('answers 200 with the next revision if it changed the resource', async () => {
    const { body: before } = await daemon()
      .request.put('/bridges/br00')
      .send({ addresses: ['10.1.1.3/24'], stp: true })
      .expect(201);
    const { body, headers } = await daemon()
      .request.put('/bridges/br00')
      .send({ ageingSeconds: 60 })
      .expect(200);
    expect(headers['location']).toBeUndefined();
    expect(headers['etag']).toBe('"2"');
    expect(body).toMatchObject({
      addresses: [],
      stp: false,
      ageingSeconds: 60,
      revision: 2,
      createdAt: before.createdAt,
      status: { state: 'ready' },
    });
    expect(body.status.addresses).not.toContain('10.1.1.3/24');
  });

  test.each([
    ['namespace', '/namespaces/blue', { sysctls: { 'net.ipv4.ip_forward': '1' }, labels: { a: 'b' } }],
    [
      'bridge',
      '/bridges/br00',
      { addresses: ['10.1.1.3/24'], routes: [{ to: '10.2.0.0/16', via: '10.1.1.1' }] },
    ],
    ['link', '/links/veth00', { type: 'veth', peer: { interface: 'veth10', addresses: ['10.1.1.1/24'] } }],
    ['rule', '/nat/out', { type: 'masquerade', source: '10.1.1.0/24' }],
  ])('with the same body again changes nothing of a %s, not even the revision', async (_kind, path, sent) => {
    const { body: first } = await daemon().request.put(path).send(sent).expect(201);
    const { body, headers } = await daemon().request.put(path).send(sent).expect(200);
    expect({ ...body, status: null }).toEqual({ ...first, status: null });
    expect(body.status.state).toBe('ready');
    const { body: operation } = await daemon()
      .request.get(headers['operation'] ?? '')
      .expect(200);
    expect(operation).toMatchObject({ action: 'replace', state: 'unchanged', commands: [], processes: 0 });
  });

  test('with the defaults written out is the same body', async () => {
    await daemon().request.put('/bridges/br00').send({}).expect(201);
    const { body } = await daemon()
      .request.put('/bridges/br00')
      .send({ name: 'br00', namespace: 'host', mtu: 1500, mac: null, up: true, labels: {} })
      .expect(200);
    expect(body.revision).toBe(1);
  });

  test('takes the name in the body if it is that of the path, and no other', async () => {
    await daemon().request.put('/bridges/br00').send({ name: 'br00' }).expect(201);
    const { body } = await daemon().request.put('/bridges/br00').send({ name: 'br01' }).expect(400);
    expect(body).toMatchObject({ type: '/problems/invalid-request', errors: [{ pointer: '/name' }] });
  });

  test('keeps the MAC address that was chosen at first', async () => {
    const { body: first } = await daemon().request.put('/bridges/br00').send({}).expect(201);
    const { body } = await daemon().request.put('/bridges/br00').send({ mtu: 1400 }).expect(200);
    expect(body.mac).toBeNull();
    expect(body.status).toMatchObject({ mac: first.status.mac, mtu: 1400 });
  });

  test.each(['/namespaces/host', '/namespaces/-a', '/links/a%20b'])(
    'to a name that can’t be answers 400: %s',
    async (path) => {
      const { body } = await daemon().request.put(path).send({}).expect(400);
      expect(body.type).toBe('/problems/invalid-request');
    },
  );
});

describe('If-None-Match: *', () => {
  test('creates', async () => {
    const { status } = await daemon()
      .request.put('/bridges/br00')
      .set('if-none-match', '*')
      .send({})
      .expect(201);
    expect(status).toBe(201);
  });

  test('answers 412 if the resource is there, and changes nothing', async () => {
    await daemon().request.put('/bridges/br00').send({}).expect(201);
    const { body } = await daemon()
      .request.put('/bridges/br00')
      .set('if-none-match', '*')
      .send({ mtu: 1400 })
      .expect(412);
    expect(body.type).toBe('/problems/revision-mismatch');
    const { body: read } = await daemon().request.get('/bridges/br00').expect(200);
    expect(read).toMatchObject({ mtu: 1500, revision: 1 });
  });

  test('takes no entity tag with a change', async () => {
    const { body } = await daemon()
      .request.put('/bridges/br00')
      .set('if-none-match', '"1"')
      .send({})
      .expect(400);
    expect(body.errors).toEqual([expect.objectContaining({ pointer: 'if-none-match' })]);
  });
});
