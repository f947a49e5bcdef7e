import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

const send = async (method: 'post' | 'put' | 'patch', path: string, body: object) =>
  daemon().request[method](path).send(body);

const make = async (path: string, ...bodies: object[]): Promise<void> =>
  create(daemon().request, path, ...bodies);

async function createNetwork(fields: object = {}): Promise<void> {
  for (const name of ['blue', 'red']) await make('/namespaces', { name });
  await make('/bridges', { name: 'b1', subnets: ['10.1.1.0/24'], ...fields });
}

const auto = { name: 'v1', type: 'veth', bridge: 'b1', peer: { interface: 'eth0', namespace: 'blue' } };
const link = { ...auto, peer: { ...auto.peer, addresses: ['auto'] } };
const joint = {
  name: 'j',
  type: 'veth',
  bridge: 'b1',
  peer: { interface: 'jp', namespace: 'red', bridge: 'bx' },
};

async function given(): Promise<string[]> {
  const { body } = await daemon().request.get('/bridges/b1/leases').expect(200);
  return body.items.map(({ address }: { address: string }) => address);
}

async function expectTaken(
  method: 'post' | 'patch',
  path: string,
  body: object,
  holder: string,
): Promise<void> {
  const { status, body: answer } = await send(method, path, body);
  expect([status, answer.detail]).toEqual([422, expect.stringContaining(holder)]);
}

describe('an address on the network of a bridge', () => {
  it.each<[string, () => Promise<void>]>([
    [
      'the bridge itself, as a further one',
      async () => createNetwork({ addresses: ['10.1.1.1/24', '10.1.1.2/24'] }),
    ],
    [
      'a port of the bridge',
      async () => {
        await createNetwork();
        await make('/links', {
          ...auto,
          name: 'v0',
          addresses: ['10.1.1.2/24'],
          peer: { interface: 'e0', namespace: 'red' },
        });
      },
    ],
    [
      'a tap on the bridge',
      async () => {
        await createNetwork();
        await make('/links', { name: 't0', type: 'tap', bridge: 'b1', addresses: ['10.1.1.2/24'] });
      },
    ],
    [
      'a bridge that a veth pair joins to it',
      async () => {
        await createNetwork();
        await make('/bridges', { name: 'bx', namespace: 'red', addresses: ['10.1.1.2/24'] });
        await make('/links', joint);
      },
    ],
    [
      'what is on a bridge that is joined to it',
      async () => {
        await createNetwork();
        await make('/bridges', { name: 'bx', namespace: 'red' });
        await make('/links', joint);
        const peer = { interface: 'e0', namespace: 'blue', addresses: ['10.1.1.2/24'] };
        await make('/links', { name: 'v0', type: 'veth', namespace: 'red', bridge: 'bx', peer });
      },
    ],
  ])('is given to nobody else if it belongs to %s', async (_, prepare) => {
    await prepare();
    await make('/links', link);
    expect(await given()).toEqual(['10.1.1.3']);
  });

  it('that was given is nobody else’s any more', async () => {
    await createNetwork();
    await make('/links', link);
    await make('/bridges', { name: 'bx', namespace: 'red' });
    const both = { addresses: ['10.1.1.1/24', '10.1.1.2/24'] };
    await expectTaken('patch', '/bridges/b1', both, 'link/v1');
    const tap = { name: 't0', type: 'tap', bridge: 'b1', addresses: ['10.1.1.2/24'] };
    await expectTaken('post', '/links', tap, 'link/v1');
    await make('/links', joint);
    await expectTaken('patch', '/bridges/bx', { addresses: ['10.1.1.2/24'] }, 'link/v1');
    const peer = { interface: 'e0', namespace: 'red', addresses: ['10.1.1.2/24'] };
    const onOther = { name: 'v0', type: 'veth', namespace: 'red', bridge: 'bx', peer };
    await expectTaken('post', '/links', onOther, 'link/v1');
    await daemon().request.delete('/links/v1').expect(204);
    expect((await send('patch', '/bridges/b1', both)).status).toBe(200);
    await expectTaken('post', '/links', onOther, 'bridge/b1');
  });

  it('keeps bridges apart that both have it', async () => {
    await createNetwork();
    await make('/links', link);
    await make('/bridges', { name: 'bx', namespace: 'red', addresses: ['10.1.1.2/24'] });
    await expectTaken('post', '/links', joint, 'link/v1');
    expect((await send('patch', '/bridges/bx', { addresses: ['10.1.1.9/24'] })).status).toBe(200);
    await make('/links', joint);
  });

  it('is one of each bridge at both ends of a link, if these have the same subnet', async () => {
    await make('/namespaces', { name: 'blue' });
    await make('/namespaces', { name: 'red' });
    const subnets = ['10.1.1.0/24'];
    await make('/bridges', { name: 'b1', namespace: 'blue', subnets });
    await make('/bridges', { name: 'bx', namespace: 'red', subnets, addresses: ['10.1.1.9/24'] });
    const peer = { ...joint.peer, addresses: ['auto'] };
    const { status, body } = await send('post', '/links', {
      ...joint,
      namespace: 'blue',
      addresses: ['auto'],
      peer,
    });
    expect(status).toBe(201);
    expect([body.status.leases[0].address, body.status.peer.leases[0].address]).toEqual([
      '10.1.1.2',
      '10.1.1.3',
    ]);
  });
});
