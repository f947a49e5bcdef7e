import { describe, expect, test } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

/** A namespace, a bridge, a link between them, and a rule for the bridge. */
async function createNetwork(): Promise<void> {
  const { request } = daemon();
  await request.post('/namespaces').send({ name: 'blue' }).expect(201);
  await request
    .post('/bridges')
    .send({ name: 'br00', addresses: ['10.1.1.3/24'] })
    .expect(201);
  const peer = { interface: 'veth10', namespace: 'blue', addresses: ['10.1.1.1/24'] };
  await request.post('/links').send({ name: 'veth00', type: 'veth', bridge: 'br00', peer }).expect(201);
  await request
    .post('/nat')
    .send({ name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' })
    .expect(201);
}

const linkRef = { kind: 'link', name: 'veth00', href: '/links/veth00' };
const natRef = { kind: 'nat', name: 'out', href: '/nat/out' };

describe('DELETE', () => {
  test('answers 204 without a body, with its operation, and 404 from then on', async () => {
    await daemon().request.post('/namespaces').send({ name: 'blue' }).expect(201);
    const { text, headers } = await daemon().request.delete('/namespaces/blue').expect(204);
    expect(text).toBe('');
    expect(headers['operation']).toMatch(/^\/operations\/\d+$/);
    await daemon().request.get('/namespaces/blue').expect(404);
    const { body } = await daemon().request.delete('/namespaces/blue').expect(404);
    expect(body.type).toBe('/problems/not-found');
  });

  test.each([
    ['namespace', '/namespaces/blue', [linkRef]],
    ['bridge', '/bridges/br00', [linkRef, natRef]],
  ])('answers 409 in-use for a %s that others name, and names them', async (_kind, path, references) => {
    await createNetwork();
    const { body } = await daemon().request.delete(path).expect(409);
    expect(body).toMatchObject({ type: '/problems/in-use', references: expect.arrayContaining(references) });
    expect(body.references).toHaveLength(references.length);
    expect(body.detail).toContain('?cascade=true');
    await daemon().request.get(path).expect(200);
  });

  test('deletes in reverse without cascade', async () => {
    await createNetwork();
    for (const path of ['/nat/out', '/links/veth00', '/bridges/br00', '/namespaces/blue'])
      await daemon().request.delete(path).expect(204);
    const { body } = await daemon().request.get('/bridges').expect(200);
    expect(body.items).toEqual([]);
  });

  test('takes a new name for the same interface once it is deleted', async () => {
    await daemon().request.post('/bridges').send({ name: 'a', interface: 'br00' }).expect(201);
    await daemon().request.delete('/bridges/a').expect(204);
    const { status } = await daemon().request.post('/bridges').send({ name: 'b', interface: 'br00' });
    expect(status).toBe(201);
  });
});

describe('?cascade=true', () => {
  test('deletes what refers to it as well, and nothing else', async () => {
    await createNetwork();
    await daemon().request.delete('/bridges/br00?cascade=true').expect(204);
    await daemon().request.get('/links/veth00').expect(404);
    await daemon().request.get('/nat/out').expect(404);
    const { body } = await daemon().request.get('/namespaces/blue').expect(200);
    expect(body.status).toMatchObject({ state: 'ready', interfaces: [{ name: 'lo' }] });
  });

  test('deletes what refers to that, too', async () => {
    await createNetwork();
    const { request } = daemon();
    await request.post('/bridges').send({ name: 'inner', namespace: 'blue' }).expect(201);
    await request
      .post('/links')
      .send({ name: 'v', type: 'veth', namespace: 'blue', bridge: 'inner', peer: { interface: 'w' } })
      .expect(201);
    await request.delete('/namespaces/blue?cascade=true').expect(204);
    for (const path of ['/bridges/inner', '/links/v', '/links/veth00']) await request.get(path).expect(404);
    const { body } = await request.get('/bridges/br00').expect(200);
    expect(body.status).toMatchObject({ state: 'ready', ports: [] });
  });

  test('is no error where nothing refers to it', async () => {
    await daemon().request.post('/namespaces').send({ name: 'blue' }).expect(201);
    const { status } = await daemon().request.delete('/namespaces/blue?cascade=true');
    expect(status).toBe(204);
  });

  test('is a parameter of DELETE alone', async () => {
    const { body } = await daemon().request.put('/bridges/br00?cascade=true').send({}).expect(400);
    expect(body.errors).toEqual([expect.objectContaining({ pointer: 'cascade' })]);
  });
});

describe('`host`', () => {
  test.each(['delete', 'put', 'patch'] as const)('can’t be changed by %s', async (method) => {
    const { body } = await daemon()
      .request[method]('/namespaces/host')
      .send(method === 'delete' ? undefined : {});
    expect(body).toMatchObject({
      type: '/problems/invalid-request',
      detail: expect.stringContaining('not `host`'),
    });
  });

  test('can’t be created', async () => {
    const { body } = await daemon().request.post('/namespaces').send({ name: 'host' }).expect(400);
    expect(body.errors).toEqual([{ pointer: '/name', message: expect.stringContaining('not `host`') }]);
  });

  test('is the namespace of what names none', async () => {
    await daemon().request.post('/bridges').send({ name: 'br00' }).expect(201);
    const { body } = await daemon().request.get('/namespaces/host/interfaces').expect(200);
    expect(body.items.map(({ name }: { name: string }) => name)).toEqual(
      expect.arrayContaining(['lo', 'uplink0', 'br00']),
    );
  });

  test('is in no list of what netnsd made', async () => {
    const { body } = await daemon().request.get('/namespaces').expect(200);
    expect(body.items).toEqual([]);
  });
});
