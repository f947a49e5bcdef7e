import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { sharedDaemon } from '../support/daemon.ts';
import { ipJson, run } from '../support/shell.ts';

const daemon = sharedDaemon();

const SUBNETS = ['10.1.1.0/24', 'fd00:1::/64'];
const ROGUE = 'fe80::bad';

const make = async (path: string, ...bodies: object[]): Promise<void> =>
  create(daemon().request, path, ...bodies);

/** A namespace on the bridge by a link of its name; `more` is about the end inside. */
async function join(name: string, more: object = {}, bridge = 'br0'): Promise<void> {
  await make('/namespaces', { name });
  const peer = { interface: 'eth0', namespace: name, addresses: ['auto'], ...more };
  await make('/links', { name, type: 'veth', bridge, peer });
}

async function acceptsIn(namespace: string | null, device = 'eth0'): Promise<string> {
  const path = `/proc/sys/net/ipv6/conf/${device}/accept_ra`;
  return namespace === null ? run('cat', path) : run('ip', 'netns', 'exec', namespace, 'cat', path);
}

/** A router advertisement (RFC 4861, section 4.2) to all on the link: a router for half an hour. */
const advertise = `
import socket
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
index = socket.if_nametoindex('eth0')
s.bind(('${ROGUE}', 0, 0, index))
s.sendto(bytes([134, 0, 0, 0, 64, 0, 7, 8]) + bytes(8), ('ff02::1', 0, 0, index))
`;

/** Has the neighbour say that it is a router. */
async function mislead(from: string): Promise<void> {
  await run('ip', '-n', from, 'address', 'replace', `${ROGUE}/64`, 'dev', 'eth0', 'nodad');
  await run('ip', 'netns', 'exec', from, 'python3', '-c', advertise);
}

/** The default routes in a namespace that a router advertisement has made, by any interface. */
async function misledIn(namespace: string | null): Promise<unknown[]> {
  const where = namespace === null ? [] : ['-n', namespace];
  const routes = await ipJson('-6', ...where, 'route', 'show', 'default', 'proto', 'ra');
  return routes.map(({ gateway }) => gateway);
}

/**
 * Has mallory say so until one that takes it has: what is sent by a device that has just come up may be lost. By then it
 * has been sent to all.
 */
async function untilMisled(namespace: string | null): Promise<void> {
  await expect
    .poll(async () => {
      await mislead('mallory');
      return misledIn(namespace);
    })
    .toEqual([ROGUE]);
}

describe('a router advertisement from a neighbour', () => {
  it('is taken by nobody on a bridge with an IPv6 subnet, unless asked to', async () => {
    await make('/bridges', { name: 'br0', subnets: SUBNETS });
    await join('mallory');
    await join('blue');
    await join('green', { sysctls: { 'ipv6.conf.accept_ra': '1' } });
    await make('/namespaces', { name: 'red' });
    const fixed = { addresses: ['10.1.1.77/24'] };
    await make('/links', { name: 'm0', type: 'macvlan', parent: 'br0', namespace: 'red', ...fixed });
    await untilMisled('green');
    expect([await misledIn('blue'), await misledIn('red'), await misledIn(null)]).toEqual([[], [], []]);
    const { body } = await daemon().request.get('/links/blue');
    expect([body.peer.sysctls, body.status.state]).toEqual([{}, 'ready']);
    expect((await daemon().request.get('/drift')).body.items).toEqual([]);
  });

  it('is taken as ever behind a bridge without one, but not by the host', async () => {
    await make('/bridges', { name: 'br0', subnets: ['10.1.1.0/24'] });
    await join('mallory');
    await join('blue');
    await untilMisled('blue');
    expect(await misledIn(null)).toEqual([]);
  });

  it('is taken as ever on a plain bridge, which may have the network of the machine as a port', async () => {
    await make('/bridges', { name: 'br0', addresses: ['10.1.1.3/24'] });
    await join('mallory', { addresses: ['10.1.1.4/24'] });
    await untilMisled(null);
    await run('ip', '-6', 'route', 'delete', 'default', 'proto', 'ra');
  });

  it.each([{ addresses: ['10.1.1.3/24', 'fd00:1::3/64'] }, { addresses: [] }])(
    'is not taken by the host from a bridge with a firewall and $addresses',
    async ({ addresses }) => {
      await make('/bridges', { name: 'br0', addresses, firewall: {} });
      await join('mallory', { addresses: ['10.1.1.4/24'] });
      await join('blue', { addresses: ['10.1.1.5/24'] });
      await untilMisled('blue');
      expect(await misledIn(null)).toEqual([]);
      const { request } = daemon();
      expect((await request.get('/drift')).body.items).toEqual([]);
      await run('sysctl', '-w', 'net.ipv6.conf.br0.accept_ra=2');
      expect((await request.get('/bridges/br0')).body.status.differences).toMatchObject([
        { path: '/firewall', intended: 'net.ipv6.conf.br0.accept_ra=0' },
      ]);
      await request.patch('/bridges/br0').send({ firewall: null }).expect(200);
      expect(await acceptsIn(null, 'br0')).toBe('1');
    },
  );

  it('is not taken in another namespace from a bridge with a firewall and an IPv6 address there', async () => {
    await make('/namespaces', { name: 'router' });
    const bridge = { name: 'br0', namespace: 'router', firewall: {} };
    await make('/bridges', { ...bridge, addresses: ['fd00:1::3/64'] });
    expect(await acceptsIn('router', 'br0')).toBe('0');
    await daemon().request.patch('/bridges/br0').send({ addresses: [] }).expect(200);
    expect(await acceptsIn('router', 'br0')).toBe('1');
  });

  it('is not taken by the host from the other end of a veth, unless asked to', async () => {
    await make('/namespaces', { name: 'mallory' });
    const peer = { interface: 'eth0', namespace: 'mallory' };
    const processes = async (): Promise<unknown> =>
      (await daemon().request.get('/operations?limit=1')).body.items[0].processes;
    await make('/links', { name: 'v0', type: 'veth', peer });
    const cost = await processes();
    expect(await acceptsIn(null, 'v0')).toBe('0');
    await mislead('mallory');
    const asked = { 'ipv6.conf.accept_ra': '1' };
    await daemon().request.patch('/links/v0').send({ sysctls: asked }).expect(200);
    expect(await misledIn(null)).toEqual([]);
    await untilMisled(null);
    expect((await daemon().request.get('/links/v0')).body).toMatchObject({
      sysctls: asked,
      status: { state: 'ready' },
    });
    await daemon().request.delete('/links/v0').expect(204);
    // The same as where nothing is refused.
    await make('/links', { name: 'v0', type: 'veth', sysctls: asked, peer });
    expect(await processes()).toBe(cost);
    await make('/links', { name: 't0', type: 'tap' });
    expect(await acceptsIn(null, 't0')).toBe('0');
  });
});

describe('what refuses router advertisements', () => {
  it('follows the subnets of the bridge, and has its value back afterwards', async () => {
    await make('/bridges', { name: 'br0', subnets: ['10.1.1.0/24'] });
    await join('blue');
    await join('red', { addresses: ['10.1.1.99/24'] });
    const all = async () => [await acceptsIn(null, 'br0'), await acceptsIn('blue'), await acceptsIn('red')];
    const [before] = await all();
    expect(await all()).toEqual([before, '1', '1']);
    const { request } = daemon();
    await request.patch('/bridges/br0').send({ subnets: SUBNETS }).expect(200);
    expect(await all()).toEqual(['0', '0', '0']);
    await request
      .patch('/links/blue')
      .send({ peer: { sysctls: { 'ipv6.conf.accept_ra': '2' } } })
      .expect(200);
    await request
      .patch('/links/red')
      .send({ peer: { interface: 'eth1' } })
      .expect(200);
    expect([await acceptsIn('blue'), await acceptsIn('red', 'eth1')]).toEqual(['2', '0']);
    await request
      .patch('/links/blue')
      .send({ peer: { sysctls: null } })
      .expect(200);
    expect(await acceptsIn('blue')).toBe('0');
    await request
      .patch('/links/red')
      .send({ peer: { interface: 'eth0' } })
      .expect(200);
    await request
      .patch('/bridges/br0')
      .send({ subnets: ['10.1.1.0/24'] })
      .expect(200);
    expect(await all()).toEqual([before, '1', '1']);
  });

  it('is put back when somebody changes it, and when what it is of is made anew', async () => {
    await make('/bridges', { name: 'br0', subnets: SUBNETS });
    await join('blue');
    const { request } = daemon();
    await run('sysctl', '-w', 'net.ipv6.conf.br0.accept_ra=2');
    await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-w', 'net.ipv6.conf.eth0.accept_ra=1');
    const bridge = (await request.get('/bridges/br0')).body.status;
    expect(bridge.differences).toEqual([
      {
        path: '/subnets',
        intended: 'net.ipv6.conf.br0.accept_ra=0',
        observed: 'net.ipv6.conf.br0.accept_ra=2',
      },
    ]);
    const link = (await request.get('/links/blue')).body.status;
    expect(link.differences).toEqual([
      { path: '/peer/sysctls/ipv6.conf.accept_ra', intended: '0', observed: '1' },
    ]);
    expect((await request.get('/drift')).body.items).toHaveLength(2);
    await request.post('/reconcile?wait=true').expect(200);
    expect([await acceptsIn(null, 'br0'), await acceptsIn('blue')]).toEqual(['0', '0']);
    await run('ip', 'link', 'delete', 'br0');
    await run('ip', '-n', 'blue', 'link', 'delete', 'eth0');
    await request.post('/reconcile?wait=true').expect(200);
    expect([await acceptsIn(null, 'br0'), await acceptsIn('blue')]).toEqual(['0', '0']);
    expect((await request.get('/drift')).body.items).toEqual([]);
  });

  it('is as it was after a change that fails', async () => {
    await make('/bridges', { name: 'br0', subnets: ['10.1.1.0/24'] });
    await join('blue');
    const before = await acceptsIn(null, 'br0');
    const failing = { subnets: SUBNETS, routes: [{ to: '10.9.0.0/16', via: '10.8.0.1' }] };
    expect((await daemon().request.patch('/bridges/br0').send(failing)).status).toBe(422);
    expect([await acceptsIn(null, 'br0'), await acceptsIn('blue')]).toEqual([before, '1']);
    expect((await daemon().request.get('/drift')).body.items).toEqual([]);
  });

  it('is what the namespace says, where that says it', async () => {
    await make('/bridges', { name: 'br0', subnets: SUBNETS });
    await join('blue');
    const { request } = daemon();
    const sysctls = { 'net.ipv6.conf.eth0.accept_ra': '2' };
    await request.patch('/namespaces/blue').send({ sysctls }).expect(200);
    expect(await acceptsIn('blue')).toBe('2');
    expect((await request.get('/links/blue')).body.status.state).toBe('ready');
    expect((await request.get('/drift')).body.items).toEqual([]);
    await request.patch('/namespaces/blue').send({ sysctls: null }).expect(200);
    await request
      .patch('/links/blue')
      .send({ labels: { a: 'b' } })
      .expect(200);
    await request.post('/reconcile?wait=true').expect(200);
    expect(await acceptsIn('blue')).toBe('0');
  });

  it('is set before it comes up, in the same processes', async () => {
    const { request } = daemon();
    await make('/namespaces', { name: 'blue' });
    const steps = async (path: string, body: object): Promise<string[]> =>
      (await request.post(`${path}?dryRun=true`).send(body).expect(200)).body.commands as string[];
    const bridge = await steps('/bridges', { name: 'br0', subnets: SUBNETS });
    expect(bridge.findIndex((line) => line.includes('accept_ra'))).toBeLessThan(
      bridge.indexOf('ip link set dev br0 up'),
    );
    for (const subnets of [['10.1.1.0/24'], SUBNETS]) {
      await make('/bridges', { name: 'br0', subnets });
      const peer = { interface: 'eth0', namespace: 'blue', addresses: ['auto'] };
      const { headers } = await request
        .post('/links')
        .send({ name: 'v0', type: 'veth', bridge: 'br0', peer });
      const operation = await request.get(String(headers['operation']));
      const lines = (operation.body.commands as { command: string }[]).map(({ command }) => command);
      expect([operation.body.processes, lines.some((line) => line.includes('accept_ra'))]).toEqual([
        2,
        subnets === SUBNETS,
      ]);
      await request.delete('/links/v0').expect(204);
      await request.delete('/bridges/br0').expect(204);
    }
  });
});
