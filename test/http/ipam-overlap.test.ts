import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

const send = async (method: 'post' | 'put' | 'patch', path: string, body: object) =>
  daemon().request[method](path).send(body);

const make = async (path: string, ...bodies: object[]): Promise<void> =>
  create(daemon().request, path, ...bodies);

async function expectOverlap(
  method: 'post' | 'patch',
  path: string,
  body: object,
  owner = 'b1',
): Promise<void> {
  const { status, body: answer } = await send(method, path, body);
  expect([status, answer.detail]).toEqual([422, expect.stringContaining(`of bridge/${owner} in `)]);
  expect(answer.references).toEqual([expect.objectContaining({ kind: 'bridge', name: owner })]);
}

const vethTo = (namespace: string, fields: object = {}, peer: object = {}): object => ({
  name: 'v1',
  type: 'veth',
  ...fields,
  peer: { interface: 'e1', namespace, ...peer },
});

describe('what would overlap the subnet of a bridge', () => {
  it.each<[string, string, object]>([
    ['the address of another bridge', '/bridges', { name: 'b2', addresses: ['10.1.1.193/26'] }],
    ['a single address there', '/bridges', { name: 'b2', addresses: ['10.1.1.3/32'] }],
    [
      'the route of another bridge',
      '/bridges',
      { name: 'b2', addresses: ['10.7.0.1/24'], routes: [{ to: '10.1.1.64/26', via: '10.7.0.2' }] },
    ],
    ['the address of an end in host', '/links', vethTo('gold', { addresses: ['10.1.1.4/24'] })],
    [
      'the route of an end in host',
      '/links',
      vethTo('gold', { addresses: ['10.7.0.1/24'], routes: [{ to: '10.1.1.128/25', via: '10.7.0.2' }] }),
    ],
    ['the address of a tap', '/links', { name: 't1', type: 'tap', addresses: ['10.1.0.1/16'] }],
  ])('is refused after it as before it: %s', async (_, path, body) => {
    await make('/namespaces', { name: 'gold' });
    await make('/bridges', { name: 'b1', subnets: ['10.1.1.0/24'] });
    await expectOverlap('post', path, body);
    await daemon().request.delete('/bridges/b1').expect(204);
    await make(path, body);
    const { status } = await send('post', '/bridges', { name: 'b1', subnets: ['10.1.1.0/24'] });
    expect(status).toBe(422);
  });

  it('is refused where a change brings it in, and what was so before stays', async () => {
    await make('/namespaces', { name: 'gold' });
    await make('/bridges', { name: 'b1', subnets: ['10.1.1.0/24'] });
    await make('/bridges', { name: 'b2', addresses: ['10.7.0.1/24'] });
    await make('/links', vethTo('gold', {}, { addresses: ['10.1.1.4/24'] }));
    await expectOverlap('patch', '/bridges/b2', { addresses: ['10.7.0.1/24', '10.1.1.4/24'] });
    await expectOverlap('patch', '/links/v1', { peer: { namespace: 'host' } });
    await expectOverlap('patch', '/links/v1', { routes: [{ to: '10.1.1.128/25', via: null }] });
    for (const path of ['/bridges/b2', '/links/v1'])
      expect((await send('patch', path, { labels: { a: 'b' } })).status).toBe(200);
  });

  it('is what is on the bridge by right, and no longer once that is taken off it', async () => {
    await make('/namespaces', { name: 'gold' });
    await make('/bridges', { name: 'b1', subnets: ['10.1.1.0/24'] });
    const peer = { interface: 'e1', namespace: 'host', addresses: ['10.1.1.4/24'] };
    await make('/links', { name: 'v1', type: 'veth', bridge: 'b1', peer });
    await expectOverlap('patch', '/links/v1', { bridge: null });
  });

  it('may be in another namespace, and counts in the namespace of the bridge', async () => {
    await make('/namespaces', { name: 'gold' });
    await make('/namespaces', { name: 'red' });
    await make('/bridges', { name: 'b1', namespace: 'gold', subnets: ['10.1.1.0/24'] });
    await make('/bridges', { name: 'b2', namespace: 'red', subnets: ['10.1.1.0/24'] });
    await expectOverlap('post', '/links', vethTo('gold', {}, { addresses: ['10.1.1.4/24'] }));
    await make('/bridges', { name: 'b3', namespace: 'red', addresses: ['10.7.0.1/24'] });
    await expectOverlap('patch', '/bridges/b3', { addresses: ['10.1.1.4/25'] }, 'b2');
  });

  it('is the same in whichever order bridges of host and of another namespace come', async () => {
    await make('/namespaces', { name: 'gold' });
    const inHost = { name: 'b1', subnets: ['10.1.1.0/24'] };
    const inGold = { name: 'b2', namespace: 'gold', subnets: ['10.1.1.0/24'] };
    await make('/bridges', inHost);
    await expectOverlap('post', '/bridges', inGold);
    await daemon().request.delete('/bridges/b1').expect(204);
    await make('/bridges', inGold);
    await expectOverlap('post', '/bridges', inHost, 'b2');
    await expectOverlap('post', '/bridges', { name: 'b1', addresses: ['10.1.1.9/32'] }, 'b2');
  });

  it('is what is chosen for an end too, where that is in the way of another bridge', async () => {
    for (const name of ['gold', 'red', 'blue']) await make('/namespaces', { name });
    await make('/bridges', { name: 'b1', namespace: 'gold', subnets: ['10.1.1.0/24'] });
    await make('/bridges', { name: 'b2', namespace: 'red', subnets: ['10.1.1.0/24'] });
    const to = (namespace: string): object =>
      vethTo(namespace, { namespace: 'red', bridge: 'b2' }, { addresses: ['auto'] });
    await expectOverlap('post', '/links', to('host'));
    await expectOverlap('post', '/links', to('gold'));
    await make('/links', to('blue'));
    await expectOverlap('patch', '/links/v1', { peer: { namespace: 'gold' } });
    // The same is so of what is chosen again.
    await daemon()
      .request.patch('/bridges/b2')
      .send({ subnets: ['10.2.1.0/24'] })
      .expect(200);
    await daemon()
      .request.patch('/links/v1')
      .send({ peer: { namespace: 'host' } })
      .expect(200);
    const { status, body } = await send('patch', '/bridges/b2', { subnets: ['10.1.1.0/24'] });
    expect([status, body.detail]).toEqual([409, expect.stringContaining('of bridge/b1 in gold')]);
    await daemon()
      .request.get('/links/v1')
      .expect(200, /10\.2\.1\.2/);
  });

  it('is no route of host to a bridge in another namespace, in whichever order they come', async () => {
    await make('/namespaces', { name: 'gold' });
    const bridge = { name: 'b1', namespace: 'gold', subnets: ['10.1.1.0/24'] };
    const way = vethTo(
      'gold',
      { addresses: ['10.7.0.1/30'], routes: [{ to: '10.1.1.0/24', via: '10.7.0.2' }] },
      { addresses: ['10.7.0.2/30'] },
    );
    await make('/bridges', bridge);
    await make('/links', way);
    await daemon().request.delete('/bridges/b1').expect(204);
    await make('/bridges', bridge);
  });

  it('is no default route, whole or in halves', async () => {
    await make('/namespaces', { name: 'gold' });
    await make('/bridges', { name: 'b1', subnets: ['10.1.1.0/24'] });
    const routes = ['default', '0.0.0.0/1', '128.0.0.0/1'].map((to) => ({ to, via: '10.7.0.2', table: 77 }));
    await make('/links', vethTo('gold', { addresses: ['10.7.0.1/24'], routes }));
  });
});
