import { expect, it } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { directoryToTearDown, startServer } from '../support/server.ts';

const send = async (method: 'post' | 'patch', path: string, body: object, { request }: Daemon) =>
  request[method](path).send(body);

function linkOf(name: string): object {
  const peer = { interface: `e-${name}`, namespace: 'blue', addresses: ['auto'] };
  return { name, type: 'veth', bridge: 'br00', peer };
}

it('a link keeps its address through changes and restarts, and it is free again afterwards', async () => {
  const stateDir = directoryToTearDown();
  const first = await startDaemon({ stateDir, cleansUp: false });
  await send('post', '/bridges', { name: 'br00', subnets: ['10.1.1.0/24'] }, first);
  for (const name of ['blue', 'red']) await send('post', '/namespaces', { name }, first);
  for (const name of ['v1', 'v2']) await send('post', '/links', linkOf(name), first);
  const of = async (on: Daemon) => (await on.request.get('/bridges/br00/leases')).body.items[1];
  const lease = await of(first);
  expect(lease).toMatchObject({ address: '10.1.1.3', link: 'v2' });
  await send('patch', '/links/v2', { peer: { mtu: 1400 } }, first);
  await send('patch', '/links/v2', { peer: { namespace: 'red' } }, first);
  await first.request.delete('/links/v1');
  await first.stop();
  const second = await startDaemon({ stateDir, cleansUp: false });
  const { body } = await second.request.get('/bridges/br00/leases');
  expect(body.items).toEqual([{ ...lease, namespace: 'red' }]);
  const next = await send('post', '/links', linkOf('v3'), second);
  expect(next.body.status.peer.leases[0].address).toBe('10.1.1.2');
  const read = await second.request.get('/links/v2');
  expect(read.body.status).toMatchObject({ state: 'ready', peer: { leases: [{ address: '10.1.1.3' }] } });
  await second.stop();
});

it('leases are the same after netnsd was killed, and so is what the kernel has', async () => {
  const stateDir = directoryToTearDown();
  const first = await startServer([], { stateDir });
  await first.curl('/bridges', 'POST', { name: 'br00', subnets: ['auto', 'auto-ipv6'] });
  await first.curl('/namespaces', 'POST', { name: 'blue' });
  for (const name of ['v1', 'v2'])
    expect((await first.curl('/links', 'POST', linkOf(name))).status).toBe(201);
  const leases = await first.curl('/bridges/br00/leases');
  expect(leases.body['items']).toHaveLength(4);
  await first.end('SIGKILL');
  const second = await startServer([], { stateDir });
  expect(await second.curl('/bridges/br00/leases')).toEqual(leases);
  const link = await second.curl('/links/v2');
  expect(link.body).toMatchObject({ revision: 1, status: { state: 'ready' } });
  await second.end();
});

it('a subnet is chosen out of the pools that were given, until these are used up', async () => {
  const { request } = await startDaemon({ addressPools: [{ network: '10.77.0.0/23', prefixLength: 24 }] });
  const make = async (name: string, subnet: string) =>
    request.post('/bridges').send({ name, subnets: [subnet] });
  for (const [name, subnet] of [
    ['b0', '10.77.0.0/24'],
    ['b1', '10.77.1.0/24'],
  ] as const)
    expect((await make(name, 'auto')).body.status.subnets).toMatchObject([{ subnet }]);
  for (const subnet of ['auto', 'auto-ipv6']) {
    const { status, body } = await make('b2', subnet);
    expect([status, body.detail]).toEqual([507, expect.stringContaining('--address-pool')]);
  }
  await request.delete('/bridges/b0').expect(204);
  expect((await make('b2', 'auto')).body.status.subnets).toMatchObject([{ subnet: '10.77.0.0/24' }]);
});
