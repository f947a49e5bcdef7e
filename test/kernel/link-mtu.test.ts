import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';

type Request = Daemon['request'];

async function stateOf(request: Request, name: string): Promise<unknown[]> {
  const { body } = await request.get(`/links/${name}`);
  const { state, differences = [] } = body.status as { state: string; differences?: { path: string }[] };
  return [state, ...differences.map(({ path }) => path)];
}

describe('an interface that links stand on', () => {
  it.each<[string, object, number, string]>([
    ['the own end of a veth', { parent: 'v0' }, 1400, 'v0'],
    ['the peer', { parent: 'v1', parentNamespace: 'blue' }, 1400, 'v0'],
    ['a bridge', { parent: 'br0' }, 1400, 'br0'],
  ])('keeps the MTU that a macvlan needs: %s', async (_what, fields, mtu, owner) => {
    const { request } = await startDaemon();
    await create(request, '/namespaces', { name: 'blue' });
    await create(request, '/bridges', { name: 'br0' });
    await create(request, '/links', {
      name: 'v0',
      type: 'veth',
      peer: { interface: 'v1', namespace: 'blue' },
    });
    await create(request, '/links', { name: 'm1', type: 'macvlan', ...fields });
    const path = owner === 'br0' ? '/bridges/br0' : '/links/v0';
    const change = (value: number): object =>
      'parentNamespace' in fields ? { peer: { mtu: value } } : { mtu: value };
    const lowered = await request.patch(path).send(change(mtu));
    expect([lowered.status, lowered.body]).toMatchObject([
      409,
      {
        type: '/problems/in-use',
        detail: expect.stringContaining('link/m1'),
        references: [{ kind: 'link', name: 'm1' }],
      },
    ]);
    expect(await stateOf(request, 'm1')).toEqual(['ready']);
    await request.patch(path).send(change(1600)).expect(200);
    await request.patch('/links/m1').send({ mtu: 1600 }).expect(200);
    expect((await request.patch(path).send(change(1500))).status).toBe(409);
    const above = await request.patch('/links/m1').send({ mtu: 1601 });
    expect([above.status, above.body.detail]).toEqual([
      422,
      expect.stringMatching(/\/mtu is 1601, .* has 1600; give 1600 or less/),
    ]);
    expect(above.body.references).toMatchObject([{ name: owner }]);
    await request.patch('/links/m1').send({ mtu: 1300 }).expect(200);
    await request.patch(path).send(change(1300)).expect(200);
    expect([await stateOf(request, 'm1'), (await request.get('/drift')).body.items]).toEqual([['ready'], []]);
  });

  it.each([
    ['10.5.0.2', 50],
    ['fd05::2', 70],
  ])('keeps the MTU that a vxlan to %s needs, and its headers', async (remote, headers) => {
    const { request } = await startDaemon();
    await create(request, '/links', { name: 'v0', type: 'veth', peer: { interface: 'v1' } });
    const vxlan = { name: 'x0', type: 'vxlan', id: 1, remote, device: 'v0' };
    const large = await request.post('/links').send({ ...vxlan, mtu: 1501 - headers });
    expect([large.status, large.body.detail]).toEqual([
      422,
      expect.stringContaining(`take ${headers}; give ${1500 - headers} or less`),
    ]);
    await create(request, '/links', vxlan);
    const lowered = await request.patch('/links/v0').send({ mtu: 1499 });
    expect([lowered.status, lowered.body.references]).toMatchObject([409, [{ name: 'x0' }]]);
    await request.patch('/links/x0').send({ mtu: 1280 }).expect(200);
    await request
      .patch('/links/v0')
      .send({ mtu: 1280 + headers })
      .expect(200);
    expect(await stateOf(request, 'x0')).toEqual(['ready']);
  });
});

describe('the MTU of a vxlan', () => {
  it('is the default of its family, as long as it is that', async () => {
    const { request } = await startDaemon();
    await create(request, '/links', { name: 'v0', type: 'veth', peer: { interface: 'v1' } });
    await create(request, '/links', { name: 'x0', type: 'vxlan', id: 1, remote: '10.5.0.2', device: 'v0' });
    for (const [change, mtu] of [
      [{ remote: 'fd05::2' }, 1430],
      [{ remote: '10.5.0.2' }, 1450],
      [{ remote: null, group: 'ff05::1' }, 1430],
      [{ group: null }, 1450],
      [{ mtu: 1400 }, 1400],
      [{ remote: 'fd05::2' }, 1400],
      [{ mtu: null }, 1430],
      [{ remote: '10.5.0.2', mtu: 1430 }, 1430],
      [{ remote: 'fd05::3' }, 1430],
    ] as const) {
      const { status, body } = await request.patch('/links/x0').send(change);
      expect([change, status, body.mtu, body.status.mtu]).toEqual([change, 200, mtu, mtu]);
    }
  });
});
