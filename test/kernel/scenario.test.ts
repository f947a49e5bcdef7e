import { once } from 'node:events';
import { createServer } from 'node:net';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { kernelState, leftBehind } from '../support/kernel-state.ts';
import { ipJson, pings, rulesOf, run } from '../support/shell.ts';

const FAR_HOST = '203.0.113.10';

/** A process in a network namespace of its own, as `unshare --net sleep` makes one. */
async function startLonelyProcess(): Promise<{ pid: number; inode: string }> {
  const child = execa('unshare', ['--net', 'sleep', '60'], { reject: false });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  const own = await run('readlink', '/proc/self/ns/net');
  for (;;) {
    const link = await run('readlink', `/proc/${String(child.pid)}/ns/net`);
    if (link !== own) return { pid: child.pid ?? 0, inode: /\d+/.exec(link)?.[0] ?? '' };
  }
}

/** A server inside a namespace that says hello to whoever connects. */
async function startServer(namespace: string, port: number): Promise<void> {
  const script = `require('node:net').createServer((s) => s.end('hello from inside\\n')).listen(${port}, () => console.log('ready'))`;
  const child = execa('ip', ['netns', 'exec', namespace, process.execPath, '-e', script], { reject: false });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  await once(child.stdout, 'data');
}

async function makeRouterNetwork({ request }: Daemon, name: string): Promise<void> {
  await request
    .post('/bridges')
    .send({ name: 'br00', addresses: ['10.1.1.3/24'] })
    .expect(201);
  const peer = {
    interface: 'veth10',
    namespace: name,
    addresses: ['10.1.1.1/24'],
    routes: [{ to: 'default', via: '10.1.1.3' }],
  };
  await request.post('/links').send({ name: 'veth00', type: 'veth', bridge: 'br00', peer }).expect(201);
  const nat = {
    name: 'out',
    type: 'masquerade',
    source: '10.1.1.0/24',
    inInterface: 'br00',
    outInterface: 'uplink0',
  };
  await request.post('/nat').send(nat).expect(201);
}

/** What the host `internet` gets from the published port. */
const reach = () =>
  execa(
    'ip',
    ['netns', 'exec', 'internet', 'curl', '-s', '--http0.9', '-m', '2', 'http://198.51.100.2:8080/'],
    { reject: false },
  );

const ports = (items: { namespace: string; state: string; local: { port: number | null } }[]): unknown[] =>
  items
    .filter(({ local }) => local.port === 81 || local.port === 8181)
    .map(({ namespace, local }) => [namespace, local.port]);

describe('the walkthrough', () => {
  it("gives a process its own network step by step, as people do by hand for Docker's bridge mode", async () => {
    const before = await kernelState();
    const { request } = await startDaemon();
    const { pid, inode } = await startLonelyProcess();

    // 1. The namespace of a process is adopted under its inode number.
    const adopted = await request.post('/namespaces').send({ name: inode, pid });
    expect(adopted.status).toBe(201);
    expect(adopted.body.status).toMatchObject({
      state: 'ready',
      inode: Number(inode),
      path: `/run/netns/${inode}`,
    });
    const { body: list } = await request.get('/namespaces');
    expect(list.items).toEqual([
      expect.objectContaining({ name: inode, status: expect.objectContaining({ inode: Number(inode) }) }),
    ]);
    expect(await run('ip', 'netns')).toContain(inode);

    // 2. A veth pair, one end here and one inside.
    await run('nsenter', `--net=/run/netns/${inode}`, 'ip', 'link', 'set', 'lo', 'up');
    const peer = { interface: 'veth10', namespace: inode, addresses: ['10.1.1.1/24'] };
    const link = await request
      .post('/links')
      .send({ name: 'veth00', type: 'veth', addresses: ['10.1.1.2/24'], peer });
    expect(link.status).toBe(201);
    expect(link.body.status).toMatchObject({
      state: 'ready',
      up: true,
      addresses: expect.arrayContaining(['10.1.1.2/24']),
      peer: { up: true },
    });
    await expect.poll(async () => pings(null, '10.1.1.1')).toBe(true);
    const inward = await request.post('/namespaces/host/ping').send({ to: '10.1.1.1', count: 1 });
    const outward = await request.post(`/namespaces/${inode}/ping`).send({ to: '10.1.1.2', count: 1 });
    expect([inward.body.received, outward.body.received]).toEqual([1, 1]);

    // 3. A bridge takes the port, and the address.
    expect((await request.post('/bridges').send({ name: 'br00', addresses: ['10.1.1.3/24'] })).status).toBe(
      201,
    );
    const attached = await request.patch('/links/veth00').send({ bridge: 'br00', addresses: [] });
    expect(attached.body).toMatchObject({ bridge: 'br00', addresses: [], status: { state: 'ready' } });
    expect(await ipJson('addr', 'show', 'dev', 'veth00')).toMatchObject([{ master: 'br00' }]);
    const { body: bridge } = await request.get('/bridges/br00');
    const shown = await run('brctl', 'show', 'br00');
    expect(shown).toContain(bridge.status.bridgeId);
    expect(bridge.status).toMatchObject({
      state: 'ready',
      stp: false,
      ports: ['veth00'],
      addresses: expect.arrayContaining(['10.1.1.3/24']),
    });
    expect(bridge.status.bridgeId).toMatch(/^8000\.[0-9a-f]{12}$/);
    await run('ip', 'link', 'add', 'name', 'docker0', 'type', 'bridge');
    const { body: all } = await request.get('/bridges?all=true');
    expect(all.items).toEqual([
      expect.objectContaining({ name: 'br00' }),
      expect.objectContaining({ name: 'docker0', managed: false }),
    ]);
    await run('ip', 'link', 'delete', 'docker0');

    // 4. Address translation and a default route: a host with no route back answers.
    expect(await pings(inode, FAR_HOST)).toBe(false);
    const rule = {
      name: 'out',
      type: 'masquerade',
      source: '10.1.1.0/24',
      inInterface: 'br00',
      outInterface: 'uplink0',
    };
    expect((await request.post('/nat').send(rule)).status).toBe(201);
    expect((await run('cat', '/proc/sys/net/ipv4/ip_forward')).trim()).toBe('1');
    const routed = await request
      .patch('/links/veth00')
      .send({ peer: { routes: [{ to: 'default', via: '10.1.1.3' }] } });
    expect(routed.status).toBe(200);
    expect(await pings(inode, FAR_HOST)).toBe(true);
    expect(await run('ip', 'netns', 'exec', 'internet', 'ip', 'route', 'show', 'table', 'all')).not.toContain(
      '10.1.1.',
    );
    expect(await run('conntrack', '-L', '-p', 'icmp')).toMatch(
      /src=10\.1\.1\.1 dst=203\.0\.113\.10 .*src=203\.0\.113\.10 dst=198\.51\.100\.2/,
    );
    const rules = (await rulesOf(null)).join('\n');
    expect(rules).toMatch(/-A NETNSD-SNAT -s 10\.1\.1\.0\/24 -o uplink0 .*-j MASQUERADE/);
    expect(rules).toMatch(/-A NETNSD-OUT -s 10\.1\.1\.0\/24 -i br00 -o uplink0 .*-j ACCEPT/);
    expect(rules).toMatch(/-A NETNSD-IN -d 10\.1\.1\.0\/24 -o br00 .*-j NETNSD-ANSWERS/);
    const { body: routes } = await request.get(`/namespaces/${inode}/routes`);
    expect(routes.items).toContainEqual(
      expect.objectContaining({ to: 'default', via: '10.1.1.3', dev: 'veth10' }),
    );

    // 6. A port of a server inside is published.
    await startServer(inode, 80);
    expect((await reach()).stdout).toBe('');
    const web = {
      name: 'web',
      type: 'dnat',
      protocol: 'tcp',
      port: '8080',
      to: { address: '10.1.1.1', port: '80' },
    };
    expect((await request.post('/nat').send(web)).status).toBe(201);
    expect((await reach()).stdout).toBe('hello from inside');
    const { body: counted } = await request.get('/nat/web');
    expect(counted.status.packets).toBeGreaterThan(0);

    // 7. Everything is deleted; the kernel is as before.
    expect((await request.delete('/bridges/br00?cascade=true')).status).toBe(204);
    expect((await request.delete('/nat/web')).status).toBe(204);
    expect((await request.delete(`/namespaces/${inode}`)).status).toBe(204);
    expect((await request.get('/links')).body.items).toEqual([]);
    expect(await leftBehind(before)).toEqual([]);
  });

  it('lets nothing in from outside that is not published, and nothing between two networks', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    await makeRouterNetwork({ request } as Daemon, 'blue');
    await request.post('/namespaces').send({ name: 'red' });
    await request.post('/bridges').send({ name: 'br01', addresses: ['10.1.2.3/24'] });
    const peer = {
      interface: 'eth0',
      namespace: 'red',
      addresses: ['10.1.2.1/24'],
      routes: [{ to: 'default', via: '10.1.2.3' }],
    };
    await request.post('/links').send({ name: 'vethred', type: 'veth', bridge: 'br01', peer });
    // Out of every interface but its own: the other network is one of them.
    await request
      .post('/nat')
      .send({ name: 'red-out', type: 'masquerade', source: '10.1.2.0/24', inInterface: 'br01' });
    // A neighbour on the uplink's network who knows the way.
    await run('ip', '-n', 'internet', 'route', 'add', '10.1.1.0/24', 'via', '198.51.100.2');

    expect(await pings('red', FAR_HOST)).toBe(true);
    expect(await pings('red', '10.1.1.1')).toBe(false);
    expect(await pings('internet', '10.1.1.1')).toBe(false);
    // The same neighbour gets in once that is asked for.
    await request.patch('/nat/out').send({ forward: 'any' });
    expect(await pings('internet', '10.1.1.1')).toBe(true);

    await run('ip', '-n', 'internet', 'route', 'delete', '10.1.1.0/24');
    for (const namespace of ['blue', 'red']) await request.delete(`/namespaces/${namespace}?cascade=true`);
    for (const bridge of ['br00', 'br01']) await request.delete(`/bridges/${bridge}?cascade=true`);
    expect((await request.get('/nat')).body.items).toEqual([]);
  });

  it('shows that a device keeps nothing when it moves, and puts everything back', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    await request.post('/namespaces').send({ name: 'red' });
    await makeRouterNetwork({ request } as Daemon, 'blue');
    const { body: before } = await request.get('/links/veth00');
    const moved = await request.patch('/links/veth00').send({ peer: { namespace: 'red' } });
    expect(moved.status).toBe(200);
    expect(moved.body.status).toMatchObject({
      state: 'ready',
      peer: { mac: before.status.peer.mac, addresses: expect.arrayContaining(['10.1.1.1/24']) },
    });
    expect(await pings('red', FAR_HOST)).toBe(true);
    expect((await ipJson('-n', 'blue', 'link')).map(({ ifname }) => ifname)).toEqual(['lo']);
    const { body: operation } = await request.get(moved.headers['operation'] ?? '');
    expect(operation.commands.map(({ command }: { command: string }) => command)).toEqual([
      'ip -n blue link set dev veth10 netns /run/netns/red',
      'ip -n red address add 10.1.1.1/24 dev veth10',
      'ip -n red link set dev veth10 up',
      'ip -n red route add default via 10.1.1.3 dev veth10 table 254 proto 115',
    ]);
    await request.delete('/bridges/br00?cascade=true');
    for (const namespace of ['blue', 'red']) await request.delete(`/namespaces/${namespace}`);
  });

  it('shows a new namespace with nothing but lo as index 1, and which namespace a socket is in', async () => {
    const { request } = await startDaemon();
    const { body: blue } = await request.post('/namespaces').send({ name: 'blue' });
    expect(blue.status.interfaces).toEqual([expect.objectContaining({ index: 1, name: 'lo', up: true })]);
    await request
      .post('/links')
      .send({ name: 'v0', type: 'veth', peer: { interface: 'eth0', namespace: 'blue' } });
    const { body: interfaces } = await request.get('/namespaces/blue/interfaces');
    expect(interfaces.items.map(({ index, name }: { index: number; name: string }) => [index, name])).toEqual(
      [
        [1, 'lo'],
        [2, 'eth0'],
      ],
    );
    await startServer('blue', 81);
    const here = createServer();
    onTestFinished(() => void here.close());
    await new Promise<void>((resolve) => here.listen(8181, '127.0.0.1', resolve));
    const { body: inside } = await request.get('/namespaces/blue/sockets');
    const { body: outside } = await request.get('/namespaces/host/sockets');
    expect(ports(inside.items)).toEqual([['blue', 81]]);
    expect(ports(outside.items)).toEqual([['host', 8181]]);
    const { body: processes } = await request.get('/namespaces/blue/processes');
    expect(processes.items).toHaveLength(1);
    await request.delete('/namespaces/blue?cascade=true');
  });
});
