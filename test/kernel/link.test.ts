import { describe, expect, it } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { ipJson, pings, run } from '../support/shell.ts';

describe('a link', () => {
  it('has its interfaces marked as ours, with MTU and MAC address from the start, and IPv6 addresses at once usable', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    const peer = {
      interface: 'eth0',
      namespace: 'blue',
      mtu: 1400,
      mac: '02:00:00:00:00:0b',
      addresses: ['fd00::1/64', '10.3.0.1/24'],
    };
    const { body } = await request
      .post('/links')
      .send({ name: 'v0', type: 'veth', mtu: 1400, addresses: ['fd00::2/64'], peer });
    const [own] = await ipJson('address', 'show', 'dev', 'v0');
    const [far] = await ipJson('-n', 'blue', 'address', 'show', 'dev', 'eth0');
    expect(own).toMatchObject({ group: '20851', mtu: 1400, address: body.status.mac });
    expect(far).toMatchObject({ group: '20851', mtu: 1400, address: '02:00:00:00:00:0b' });
    const addresses = far?.['addr_info'] as Record<string, unknown>[] | undefined;
    const address = addresses?.find(({ local }) => local === 'fd00::1');
    expect(address).toMatchObject({ nodad: true });
    expect(address).not.toHaveProperty('tentative');
    expect(body.mac).toBeNull();
    expect(body.status.mac).toMatch(/^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);
    expect(await pings('blue', 'fd00::2')).toBe(true);
  });

  it('keeps the MAC address that was chosen for it through every change', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    await request.post('/namespaces').send({ name: 'red' });
    const peer = { interface: 'eth0', namespace: 'blue' };
    const { body } = await request.post('/links').send({ name: 'v0', type: 'veth', peer });
    const { mac } = body.status.peer;
    for (const change of [
      { peer: { namespace: 'red' } },
      { peer: { interface: 'eth7' } },
      { peer: { mtu: 1300 } },
      { peer: { up: false } },
      { peer: { up: true } },
    ]) {
      const changed = await request.patch('/links/v0').send(change);
      expect([changed.status, changed.body.status.state, changed.body.status.peer.mac]).toEqual([
        200,
        'ready',
        mac,
      ]);
    }
    const given = await request.patch('/links/v0').send({ peer: { mac: '02:00:00:00:00:99' } });
    expect(given.body.status.peer.mac).toBe('02:00:00:00:00:99');
  });

  it('has routes with metric, source and table, puts them back after down and up, and tells when one is gone', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    const routes = [
      { to: '10.7.0.0/16', via: '10.3.0.9', metric: 50 },
      { to: '10.8.0.0/16', src: '10.3.0.1', table: 100 },
      { to: 'fd00:7::/64', via: 'fd00::9' },
      { to: 'default', via: 'fd00::9', metric: 7 },
      { to: '10.9.9.9/32' },
    ];
    const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.3.0.1/24', 'fd00::1/64'], routes };
    const { body } = await request.post('/links').send({ name: 'v0', type: 'veth', peer });
    expect(body.status.state).toBe('ready');
    const shown = async (): Promise<unknown[]> => {
      const listed = await run('ip', '-n', 'blue', 'route', 'show', 'table', 'all', 'proto', '115');
      return listed
        .split('\n')
        .map((line) => line.trim().replaceAll(/ +/g, ' '))
        .toSorted();
    };
    const made = await shown();
    expect(made).toHaveLength(5);
    expect(made.join('\n')).toMatch(/10\.8\.0\.0\/16 dev eth0 table 100 scope link src 10\.3\.0\.1/);
    await request.patch('/links/v0').send({ peer: { up: false } });
    expect(await shown()).toEqual(['']);
    const up = await request.patch('/links/v0').send({ peer: { up: true } });
    expect(up.body.status.state).toBe('ready');
    expect(await shown()).toEqual(made);
    await run('ip', '-n', 'blue', 'route', 'delete', '10.7.0.0/16');
    const { body: drifted } = await request.get('/links/v0');
    expect(drifted.status).toMatchObject({ state: 'drifted', differences: [{ path: '/peer/routes' }] });
  });

  it('tells each thing that is not as asked', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    await request.post('/bridges').send({ name: 'br00' });
    const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.3.0.1/24'] };
    await request.post('/links').send({ name: 'v0', type: 'veth', bridge: 'br00', peer });
    const spoiled = [
      'link set v0 nomaster',
      'link set v0 mtu 1300',
      'link set v0 address 02:00:00:00:00:01',
      'link set v0 down',
      '-n blue address delete 10.3.0.1/24 dev eth0',
    ];
    for (const line of spoiled) await run('ip', ...line.split(' '));
    const { body } = await request.get('/links/v0');
    const paths = body.status.differences.map(({ path }: { path: string }) => path);
    expect(paths.toSorted()).toEqual(['/bridge', '/mac', '/mtu', '/peer/addresses', '/up']);
    await run('ip', 'link', 'delete', 'v0');
    const { body: gone } = await request.get('/links/v0');
    expect(gone.status).toMatchObject({
      state: 'drifted',
      index: null,
      differences: [{ path: '' }, { path: '/peer' }],
    });
    expect((await request.delete('/links/v0')).status).toBe(204);
  });

  it('does not mind addresses and routes that others put on it', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.3.0.1/24'] };
    await request.post('/links').send({ name: 'v0', type: 'veth', peer });
    await run('ip', '-n', 'blue', 'address', 'add', '10.99.0.1/24', 'dev', 'eth0');
    await run('ip', '-n', 'blue', 'route', 'add', '10.98.0.0/24', 'via', '10.99.0.9');
    expect((await request.get('/links/v0')).body.status.state).toBe('ready');
    await request.patch('/links/v0').send({ peer: { addresses: ['10.3.0.1/24', '10.4.0.1/24'] } });
    await request.patch('/links/v0').send({ peer: { addresses: ['10.4.0.1/24'] } });
    expect(await run('ip', '-n', 'blue', 'address', 'show', 'dev', 'eth0')).toContain('10.99.0.1/24');
    expect(await run('ip', '-n', 'blue', 'route')).toContain('10.98.0.0/24 via 10.99.0.9');
  });

  it('can have the same interface name at both ends and in many namespaces', async () => {
    const { request } = await startDaemon();
    for (const name of ['blue', 'red']) await request.post('/namespaces').send({ name });
    const link = {
      name: 'wire',
      type: 'veth',
      interface: 'eth0',
      namespace: 'red',
      addresses: ['10.3.0.1/24'],
      peer: { interface: 'eth0', namespace: 'blue', addresses: ['10.3.0.2/24'] },
    };
    expect((await request.post('/links').send(link)).status).toBe(201);
    expect(await pings('red', '10.3.0.2')).toBe(true);
  });
});

describe('a bridge', () => {
  it('keeps its MAC address and MTU as ports come and go', async () => {
    const { request } = await startDaemon();
    const { body } = await request
      .post('/bridges')
      .send({ name: 'br00', addresses: ['10.3.0.3/24'], ageingSeconds: 60 });
    const shown = async (): Promise<unknown> => {
      const [bridge] = await ipJson('link', 'show', 'dev', 'br00');
      return [bridge?.['address'], bridge?.['mtu']];
    };
    expect(await shown()).toEqual([body.status.mac, 1500]);
    const low = {
      name: 'v0',
      type: 'veth',
      bridge: 'br00',
      mac: '00:00:00:00:00:02',
      mtu: 1280,
      peer: { interface: 'w0' },
    };
    await request.post('/links').send(low);
    expect(await shown()).toEqual([body.status.mac, 1500]);
    await request.delete('/links/v0');
    expect(await shown()).toEqual([body.status.mac, 1500]);
    expect((await request.get('/bridges/br00')).body.status.state).toBe('ready');
  });

  it('changes in place, and tells what is not as asked', async () => {
    const { request } = await startDaemon();
    await request.post('/bridges').send({ name: 'br00', addresses: ['10.3.0.3/24'] });
    const changed = await request.patch('/bridges/br00').send({
      stp: true,
      ageingSeconds: 60,
      mtu: 1400,
      interface: 'lan0',
      addresses: ['10.3.0.4/24', 'fd00::3/64'],
    });
    expect(changed.body).toMatchObject({
      interface: 'lan0',
      status: { state: 'ready', stp: true, mtu: 1400 },
    });
    const [bridge] = await ipJson('link', 'show', 'dev', 'lan0');
    expect(bridge).toMatchObject({ linkinfo: { info_data: { stp_state: 1, ageing_time: 6000 } } });
    await run('ip', 'link', 'set', 'lan0', 'type', 'bridge', 'stp_state', '0', 'ageing_time', '100');
    const { body } = await request.get('/bridges/br00');
    expect(body.status.differences.map(({ path }: { path: string }) => path)).toEqual([
      '/stp',
      '/ageingSeconds',
    ]);
  });

  it('can be in another namespace, and does not change it while it has ports', async () => {
    const { request } = await startDaemon();
    for (const name of ['blue', 'red']) await request.post('/namespaces').send({ name });
    await request.post('/bridges').send({ name: 'br00', namespace: 'blue', addresses: ['10.3.0.3/24'] });
    const link = {
      name: 'v0',
      type: 'veth',
      addresses: ['10.3.0.9/24'],
      peer: { interface: 'p0', namespace: 'blue', bridge: 'br00' },
    };
    expect((await request.post('/links').send(link)).body.status.state).toBe('ready');
    expect(await pings(null, '10.3.0.3')).toBe(true);
    expect((await request.patch('/bridges/br00').send({ namespace: 'red' })).body.type).toBe(
      '/problems/in-use',
    );
    await request.delete('/links/v0');
    const moved = await request.patch('/bridges/br00').send({ namespace: 'red' });
    expect(moved.body.status).toMatchObject({
      state: 'ready',
      addresses: expect.arrayContaining(['10.3.0.3/24']),
    });
    expect((await ipJson('-n', 'blue', 'link')).map(({ ifname }) => ifname)).toEqual(['lo']);
  });
});

describe('a namespace', () => {
  it('gets sysctls, changes them, and gives back what stood there before', async () => {
    const { request } = await startDaemon();
    const read = async (key: string): Promise<string> =>
      run('ip', 'netns', 'exec', 'blue', 'sysctl', '-n', key);
    const { body } = await request
      .post('/namespaces')
      .send({ name: 'blue', sysctls: { 'net.ipv4.ip_forward': '1' } });
    expect(body.status.state).toBe('ready');
    expect(await read('net.ipv4.ip_forward')).toBe('1');
    const before = await read('net.ipv4.ping_group_range');
    const changed = await request
      .patch('/namespaces/blue')
      .send({ sysctls: { 'net.ipv4.ip_forward': null, 'net.ipv4.ping_group_range': '0 100' } });
    expect(changed.body).toMatchObject({
      sysctls: { 'net.ipv4.ping_group_range': '0 100' },
      status: { state: 'ready' },
    });
    expect(await read('net.ipv4.ip_forward')).toBe('0');
    expect(await read('net.ipv4.ping_group_range')).toBe('0\t100');
    expect((await request.get('/namespaces/blue')).body.status.state).toBe('ready');
    await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-qw', 'net.ipv4.ping_group_range=0 5');
    expect((await request.get('/namespaces/blue')).body.status).toMatchObject({
      state: 'drifted',
      differences: [{ path: '/sysctls/net.ipv4.ping_group_range' }],
    });
    await request.patch('/namespaces/blue').send({ sysctls: null });
    expect(await read('net.ipv4.ping_group_range')).toBe(before);
  });

  it('sets a sysctl of an interface that is there, and refuses one of an interface that is not', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    await request
      .post('/links')
      .send({ name: 'v0', type: 'veth', peer: { interface: 'eth0', namespace: 'blue' } });
    const set = (name: string): object => ({ sysctls: { [`net.ipv4.conf.${name}.rp_filter`]: '2' } });
    expect((await request.patch('/namespaces/blue').send(set('eth0'))).status).toBe(200);
    expect((await request.patch('/namespaces/blue').send(set('eth9'))).status).toBe(422);
    expect((await request.get('/namespaces/blue')).body).toMatchObject({
      revision: 2,
      status: { state: 'ready' },
    });
  });

  it('can be anybody’s: what others made is read, never changed', async () => {
    const { request } = await startDaemon();
    await run('ip', 'netns', 'add', 'theirs');
    const { body } = await request.get('/namespaces/theirs');
    expect(body).toMatchObject({ name: 'theirs', managed: false, status: { path: '/run/netns/theirs' } });
    expect((await request.get('/namespaces/host')).body).toMatchObject({ name: 'host', managed: false });
    expect((await request.patch('/namespaces/theirs').send({ labels: {} })).status).toBe(404);
    expect((await request.delete('/namespaces/theirs')).status).toBe(404);
    expect(
      (
        await request
          .post('/links')
          .send({ name: 'v0', type: 'veth', peer: { interface: 'eth0', namespace: 'theirs' } })
      ).status,
    ).toBe(422);
    await run('ip', 'netns', 'delete', 'theirs');
  });

  it('tells when it is gone, or another has its name, and is deleted all the same; the other stays', async () => {
    const { request } = await startDaemon();
    for (const name of ['blue', 'red']) await request.post('/namespaces').send({ name });
    await run('ip', 'netns', 'delete', 'blue');
    await run('ip', 'netns', 'delete', 'red');
    await run('ip', 'netns', 'add', 'red');
    expect((await request.get('/namespaces/blue')).body.status).toMatchObject({
      state: 'drifted',
      inode: null,
    });
    expect((await request.get('/namespaces/red')).body.status.state).toBe('drifted');
    expect((await request.delete('/namespaces/blue')).status).toBe(204);
    expect((await request.delete('/namespaces/red')).status).toBe(204);
    expect(await run('ip', 'netns')).toContain('red');
    await run('ip', 'netns', 'delete', 'red');
  });
});

describe('a link into a namespace that somebody deleted', () => {
  it('is made in a new one, which is ours from then on', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    await run('ip', 'netns', 'delete', 'blue');
    const link = { name: 'v0', type: 'veth', peer: { interface: 'eth0', namespace: 'blue' } };
    expect((await request.post('/links').send(link)).status).toBe(201);
    expect((await request.get('/namespaces/blue')).body.status.state).toBe('ready');
    expect((await request.patch('/links/v0').send({ peer: { addresses: ['10.3.0.1/24'] } })).status).toBe(
      200,
    );
    expect((await request.delete('/namespaces/blue?cascade=true')).status).toBe(204);
  });

  it('shows in lists what a look at it has shown', async () => {
    const { request } = await startDaemon();
    await request.post('/bridges').send({ name: 'br00' });
    await run('ip', 'link', 'set', 'br00', 'down');
    expect((await request.get('/bridges')).body.items[0].status.state).toBe('ready');
    expect((await request.get('/bridges/br00')).body.status.state).toBe('drifted');
    expect((await request.get('/bridges')).body.items[0].status.state).toBe('drifted');
  });
});

describe('a list of bridges', () => {
  it('shows the ports that links have made', async () => {
    const { request } = await startDaemon();
    await request.post('/bridges').send({ name: 'br00' });
    await request.post('/bridges').send({ name: 'br01' });
    const ports = async (): Promise<unknown> => {
      const { body } = await request.get('/bridges?all=true');
      return body.items.map(({ name, status }: { name: string; status: { ports: string[] } }) => [
        name,
        status.ports,
      ]);
    };
    await request
      .post('/links')
      .send({ name: 'v0', type: 'veth', bridge: 'br00', peer: { interface: 'w0', bridge: 'br01' } });
    await request
      .post('/links')
      .send({ name: 'v1', type: 'veth', bridge: 'br00', peer: { interface: 'w1' } });
    expect(await ports()).toEqual([
      ['br00', ['v0', 'v1']],
      ['br01', ['w0']],
    ]);
    await request.patch('/links/v0').send({ bridge: 'br01', peer: { bridge: null } });
    await request.delete('/links/v1');
    expect(await ports()).toEqual([
      ['br00', []],
      ['br01', ['v0']],
    ]);
  });
});
