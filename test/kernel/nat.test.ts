import { once } from 'node:events';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { pings, rulesOf, run } from '../support/shell.ts';

const FAR_HOST = '203.0.113.10';
const FAR_HOST6 = '2001:db8:113::10';

/** `blue`, behind br00, with both families and default routes. */
async function makeNetwork({ request }: Daemon): Promise<void> {
  await request.post('/namespaces').send({ name: 'blue' });
  await request.post('/bridges').send({ name: 'br00', addresses: ['10.1.1.3/24', 'fd00:1::3/64'] });
  const routes = [
    { to: 'default', via: '10.1.1.3' },
    { to: 'default', via: 'fd00:1::3' },
  ];
  const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.1/24', 'fd00:1::1/64'], routes };
  expect(
    (await request.post('/links').send({ name: 'veth00', type: 'veth', bridge: 'br00', peer })).status,
  ).toBe(201);
}

/** Listens inside a namespace on several ports, and answers each with its number. */
async function listen(namespace: string, protocol: 'tcp' | 'udp', ports: number[]): Promise<void> {
  const tcp = `for (const p of ${JSON.stringify(ports)}) require('node:net').createServer((s) => s.end('tcp ' + p)).listen(p, '::')`;
  const udp = `for (const p of ${JSON.stringify(ports)}) { const s = require('node:dgram').createSocket('udp6'); s.on('message', (_, r) => s.send('udp ' + p, r.port, r.address)); s.bind(p) }`;
  const script = `${protocol === 'tcp' ? tcp : udp}; setTimeout(() => console.log('ready'), 100)`;
  const child = execa('ip', ['netns', 'exec', namespace, process.execPath, '-e', script], { reject: false });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
  await once(child.stdout, 'data');
}

/** What comes back to `internet` from an address and port within two seconds, or nothing: what was lost is sent again after one. */
async function ask(protocol: 'tcp' | 'udp', host: string, port: number, from = 'internet'): Promise<string> {
  const tcp = `const s = require('node:net').connect(${port}, '${host}'); s.on('data', (d) => process.stdout.write(d)); s.on('error', () => process.exit(1)); s.setTimeout(2000, () => process.exit(1))`;
  const udp = `const s = require('node:dgram').createSocket('udp${host.includes(':') ? 6 : 4}'); s.on('message', (d) => { process.stdout.write(d); process.exit(0) }); const ask = () => s.send('?', ${port}, '${host}'); ask(); setInterval(ask, 400); setTimeout(() => process.exit(1), 2000)`;
  const script = protocol === 'tcp' ? tcp : udp;
  const { stdout } = await execa('ip', ['netns', 'exec', from, process.execPath, '-e', script], {
    reject: false,
    timeout: 20_000,
  });
  return stdout;
}

describe('masquerade', () => {
  it('gives IPv6 a way out as well, by rules and forwarding of its own', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    const out = { type: 'masquerade', inInterface: 'br00', outInterface: 'uplink0' };
    expect((await request.post('/nat').send({ ...out, name: 'out6', source: 'fd00:1::/64' })).status).toBe(
      201,
    );
    expect(await pings('blue', FAR_HOST6)).toBe(true);
    expect(await pings('blue', FAR_HOST)).toBe(false);
    expect(await rulesOf(null)).toEqual([]);
    expect((await run('cat', '/proc/sys/net/ipv4/ip_forward')).trim()).toBe('0');
    expect((await request.get('/nat/out6')).body).toMatchObject({ status: { state: 'ready' } });
    expect((await request.delete('/nat/out6')).status).toBe(204);
    expect(await rulesOf(null, 6)).toEqual([]);
    expect((await run('cat', '/proc/sys/net/ipv6/conf/all/forwarding')).trim()).toBe('0');
  });

  it('gives a dual-stack network with addresses of its own a way out in both families', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    const bridge = { name: 'br00', subnets: ['10.1.1.0/24', 'fd00:1::/64'] };
    expect((await request.post('/bridges').send(bridge)).status).toBe(201);
    const routes = [{ to: 'default', via: 'auto' }];
    const peer = { interface: 'eth0', namespace: 'blue', addresses: ['auto'], routes };
    const link = await request.post('/links').send({ name: 'veth00', type: 'veth', bridge: 'br00', peer });
    expect(link.status).toBe(201);
    expect([await pings('blue', FAR_HOST), await pings('blue', FAR_HOST6)]).toEqual([false, false]);
    for (const [name, source] of [
      ['out4', '10.1.1.0/24'],
      ['out6', 'fd00:1::/64'],
    ]) {
      const out = { name, source, type: 'masquerade', inInterface: 'br00', outInterface: 'uplink0' };
      expect((await request.post('/nat').send(out)).status).toBe(201);
    }
    expect([await pings('blue', FAR_HOST), await pings('blue', FAR_HOST6)]).toEqual([true, true]);
    for (const file of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding'])
      expect((await run('cat', `/proc/sys/net/${file}`)).trim()).toBe('1');
    // Translated: the other side sees the address of uplink0, and nothing from outside gets in.
    await run('ip', '-n', 'internet', 'route', 'add', 'fd00:1::/64', 'via', '2001:db8:51::2');
    onTestFinished(async () => void (await run('ip', '-n', 'internet', 'route', 'delete', 'fd00:1::/64')));
    expect(await pings('internet', 'fd00:1::2')).toBe(false);
    expect(await pings('blue', FAR_HOST6)).toBe(true);
  });

  it('leaves every interface but its own, where none is named, and not the network itself', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await request.post('/nat').send({ name: 'out', type: 'masquerade', source: '10.1.1.0/24' });
    expect(await pings('blue', FAR_HOST)).toBe(true);
    const rules = (await rulesOf(null)).join('\n');
    expect(rules).toMatch(/-A NETNSD-SNAT -s 10\.1\.1\.0\/24 ! -d 10\.1\.1\.0\/24 .*-j MASQUERADE/);
    await request.patch('/nat/out').send({ inInterface: 'br00' });
    expect(await pings('blue', FAR_HOST)).toBe(true);
    expect((await rulesOf(null)).join('\n')).toMatch(
      /-A NETNSD-SNAT -s 10\.1\.1\.0\/24 ! -o br00 .*-j MASQUERADE/,
    );
  });

  it('makes no forwarding rule with `forward: none`, so that a policy of DROP holds', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await run('iptables', '-P', 'FORWARD', 'DROP');
    onTestFinished(async () => void (await run('iptables', '-P', 'FORWARD', 'ACCEPT')));
    const nat = {
      name: 'out',
      type: 'masquerade',
      source: '10.1.1.0/24',
      inInterface: 'br00',
      outInterface: 'uplink0',
    };
    await request.post('/nat').send({ ...nat, forward: 'none' });
    expect(await pings('blue', FAR_HOST)).toBe(false);
    await request.patch('/nat/out').send({ forward: null });
    expect((await request.get('/nat/out')).body.forward).toBe('established');
    expect(await pings('blue', FAR_HOST)).toBe(true);
  });

  it('by bridge leaves what stays on it alone, from one of its networks to another, and lets nobody else in', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await request
      .post('/bridges')
      .send({ name: 'br03', addresses: ['10.1.3.254/24', '10.1.4.254/24'] })
      .expect(201);
    for (const n of [3, 4]) {
      await request.post('/namespaces').send({ name: `n${n}` });
      const routes = [{ to: 'default', via: `10.1.${n}.254` }];
      const peer = { interface: 'eth0', namespace: `n${n}`, addresses: [`10.1.${n}.1/24`], routes };
      await request
        .post('/links')
        .send({ name: `v${n}`, type: 'veth', bridge: 'br03', peer })
        .expect(201);
    }
    await request.post('/nat').send({ name: 'out', type: 'masquerade', bridge: 'br03' }).expect(201);
    expect([await pings('n3', '10.1.4.1'), await pings('n4', '10.1.3.1')]).toEqual([true, true]);
    expect([await pings('n3', FAR_HOST), await pings('n4', FAR_HOST)]).toEqual([true, true]);
    await run('ip', '-n', 'internet', 'route', 'add', '10.1.3.0/24', 'via', '198.51.100.2');
    onTestFinished(async () => void (await run('ip', '-n', 'internet', 'route', 'del', '10.1.3.0/24')));
    expect([await pings('internet', '10.1.3.1'), await pings('blue', '10.1.3.1')]).toEqual([false, false]);
    expect((await request.get('/nat/out')).body.status).toMatchObject({ state: 'ready' });
    expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
    await request.post('/nat').send({ name: 'too', type: 'masquerade', bridge: 'br03' }).expect(201);
    await request.delete('/nat/out').expect(204);
    expect(await pings('n3', '10.1.4.1')).toBe(true);
  });

  it('says when its rules are gone, and when forwarding is off', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    const nat = { name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' };
    await request.post('/nat').send(nat);
    await run('iptables', '-F', 'NETNSD-GUARD');
    await run('sysctl', '-qw', 'net.ipv4.ip_forward=0');
    const { body } = await request.get('/nat/out');
    expect(body.status.state).toBe('drifted');
    expect(body.status.differences.map(({ path }: { path: string }) => path)).toEqual([
      '/status/rules',
      '/status/forwarding',
    ]);
  });
});

describe('snat', () => {
  it('gives what leaves the address that is named', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await run('ip', 'address', 'add', '198.51.100.7/32', 'dev', 'uplink0');
    onTestFinished(
      async () => void (await run('ip', 'address', 'delete', '198.51.100.7/32', 'dev', 'uplink0')),
    );
    const nat = { name: 'lan', type: 'snat', source: '10.1.1.0/24', toAddress: '198.51.100.7' };
    expect((await request.post('/nat').send(nat)).status).toBe(201);
    expect(await pings('blue', FAR_HOST)).toBe(true);
    expect(await run('conntrack', '-L', '-p', 'icmp')).toMatch(
      /src=10\.1\.1\.1 dst=203\.0\.113\.10 .*dst=198\.51\.100\.7/,
    );
    const { body } = await request.get('/nat/lan');
    expect(body.status).toMatchObject({ state: 'ready', packets: 1 });
  });
});

describe('dnat', () => {
  it('publishes tcp and udp, one port or a range, and nothing beside', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await listen('blue', 'tcp', [80, 90, 91, 92, 93]);
    await listen('blue', 'udp', [53]);
    const to = (port?: string): object => ({ address: '10.1.1.1', ...(port === undefined ? {} : { port }) });
    await request
      .post('/nat')
      .send({ name: 'web', type: 'dnat', protocol: 'tcp', port: '8080', to: to('80') });
    await request
      .post('/nat')
      .send({ name: 'range', type: 'dnat', protocol: 'tcp', port: '9000-9002', to: to('90-92') });
    await request.post('/nat').send({ name: 'dns', type: 'dnat', protocol: 'udp', port: '53', to: to() });
    expect((await request.get('/nat/dns')).body.to).toEqual({ address: '10.1.1.1', port: '53' });
    const asked = async (protocol: 'tcp' | 'udp', ports: number[]): Promise<string[]> =>
      Promise.all(ports.map(async (port) => ask(protocol, '198.51.100.2', port)));
    expect(await asked('tcp', [8080, 9000, 9001, 9002])).toEqual(['tcp 80', 'tcp 90', 'tcp 91', 'tcp 92']);
    expect(await asked('tcp', [80, 9003])).toEqual(['', '']);
    expect(await asked('udp', [53, 54])).toEqual(['udp 53', '']);
    expect((await request.get('/nat/range')).body.status).toMatchObject({ state: 'ready', packets: 3 });
  });

  it('publishes by destination address and by interface', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await run('ip', 'address', 'add', '198.51.100.7/32', 'dev', 'uplink0');
    onTestFinished(
      async () => void (await run('ip', 'address', 'delete', '198.51.100.7/32', 'dev', 'uplink0')),
    );
    await listen('blue', 'tcp', [80]);
    const web = {
      name: 'web',
      type: 'dnat',
      protocol: 'tcp',
      port: '8080',
      to: { address: '10.1.1.1', port: '80' },
    };
    await request.post('/nat').send({ ...web, address: '198.51.100.7' });
    expect(await ask('tcp', '198.51.100.7', 8080)).toBe('tcp 80');
    expect(await ask('tcp', '198.51.100.2', 8080)).toBe('');
    await request.patch('/nat/web').send({ address: null, inInterface: 'nosuch0' });
    expect(await ask('tcp', '198.51.100.2', 8080)).toBe('');
    await request.patch('/nat/web').send({ inInterface: 'uplink0' });
    expect(await ask('tcp', '198.51.100.2', 8080)).toBe('tcp 80');
  });

  // On a busy machine the neighbour discovery of a bridge that has just been made is late now and then.
  it('publishes in IPv6, and under a policy of DROP', { retry: 2 }, async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await listen('blue', 'tcp', [80]);
    for (const tool of ['iptables', 'ip6tables']) await run(tool, '-P', 'FORWARD', 'DROP');
    onTestFinished(async () => {
      for (const tool of ['iptables', 'ip6tables']) await run(tool, '-P', 'FORWARD', 'ACCEPT');
    });
    for (const address of ['10.1.1.1', 'fd00:1::1']) {
      const name = address.includes(':') ? 'web6' : 'web4';
      const answer = await request
        .post('/nat')
        .send({ name, type: 'dnat', protocol: 'tcp', port: '8080', to: { address, port: '80' } });
      expect(answer.status).toBe(201);
    }
    expect(await ask('tcp', '198.51.100.2', 8080)).toBe('tcp 80');
    // The link-local addresses of the bridge are tentative for a second or two (RFC 4862).
    await expect.poll(async () => ask('tcp', '2001:db8:51::2', 8080), { timeout: 20_000 }).toBe('tcp 80');
  });

  it('takes nothing of a namespace’s own traffic to elsewhere (CVE-2025-67499)', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await listen('blue', 'tcp', [80]);
    await listen('internet', 'tcp', [8080]);
    await request
      .post('/nat')
      .send({ name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' });
    await request.post('/nat').send({
      name: 'web',
      type: 'dnat',
      protocol: 'tcp',
      port: '8080',
      to: { address: '10.1.1.1', port: '80' },
    });
    expect(await ask('tcp', FAR_HOST, 8080, 'blue')).toBe('tcp 8080');
  });

  it('works in another namespace than the daemon’s own, and is gone with it', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'router' });
    await request.post('/namespaces').send({ name: 'blue' });
    const inner = {
      interface: 'eth0',
      namespace: 'blue',
      addresses: ['10.1.1.1/24'],
      routes: [{ to: 'default', via: '10.1.1.3' }],
    };
    await request
      .post('/links')
      .send({ name: 'lan', type: 'veth', namespace: 'router', addresses: ['10.1.1.3/24'], peer: inner });
    const outer = {
      interface: 'wan',
      namespace: 'router',
      addresses: ['10.2.0.2/24'],
      routes: [{ to: 'default', via: '10.2.0.1' }],
    };
    await request.post('/links').send({ name: 'up', type: 'veth', addresses: ['10.2.0.1/24'], peer: outer });
    expect(await pings('blue', '10.2.0.1')).toBe(false);
    const nat = {
      name: 'out',
      type: 'masquerade',
      namespace: 'router',
      source: '10.1.1.0/24',
      inInterface: 'lan',
      outInterface: 'wan',
    };
    expect((await request.post('/nat').send(nat)).status).toBe(201);
    expect(await pings('blue', '10.2.0.1')).toBe(true);
    expect((await run('cat', '/proc/sys/net/ipv4/ip_forward')).trim()).toBe('0');
    expect(await rulesOf(null)).toEqual([]);
    expect((await request.get('/nat/out')).body.status).toMatchObject({ state: 'ready' });
    await request.delete('/nat/out');
    expect(await run('ip', 'netns', 'exec', 'router', 'cat', '/proc/sys/net/ipv4/ip_forward')).toBe('0');
    expect(await rulesOf('router')).toEqual([]);
    await request.post('/nat').send(nat);
    expect((await request.delete('/namespaces/router?cascade=true')).status).toBe(204);
    expect((await request.get('/nat')).body.items).toEqual([]);
  });

  it('leaves the rules, chains and policies of others as they were', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    const theirs = [
      '-N NETNSDX',
      '-A FORWARD -i nosuch0 -j DROP',
      '-A NETNSDX -j RETURN',
      '-A FORWARD -m comment --comment netnsd -j ACCEPT',
    ];
    for (const rule of theirs) await run('iptables', ...rule.split(' '));
    onTestFinished(async () => {
      for (const rule of [
        '-D FORWARD -m comment --comment netnsd -j ACCEPT',
        '-D FORWARD -i nosuch0 -j DROP',
        '-F NETNSDX',
        '-X NETNSDX',
      ])
        await run('iptables', ...rule.split(' '));
    });
    const before = await rulesOf(null);
    await request
      .post('/nat')
      .send({ name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' });
    const during = await rulesOf(null);
    expect(during.filter((rule) => before.includes(rule))).toEqual(before);
    await request.delete('/nat/out');
    expect(await rulesOf(null)).toEqual(before);
  });
});

describe('a nat rule', () => {
  it('is refused where another publishes the same port, alone or in a range, for the same address', async () => {
    const { request } = await startDaemon();
    const web = { type: 'dnat', protocol: 'tcp', port: '8080', to: { address: '10.1.1.1', port: '80' } };
    expect((await request.post('/nat').send({ ...web, name: 'web' })).status).toBe(201);
    for (const more of [{}, { port: '8000-8100' }, { address: '198.51.100.2' }, { inInterface: 'uplink0' }]) {
      const refused = await request.post('/nat').send({ ...web, name: 'other', ...more });
      expect([refused.status, refused.body.references]).toEqual([
        422,
        [{ kind: 'nat', name: 'web', href: '/nat/web' }],
      ]);
    }
    const apart = [{ port: '8081' }, { protocol: 'udp' }, { to: { address: 'fd00::1', port: '80' } }];
    for (const [at, more] of apart.entries())
      expect((await request.post('/nat').send({ ...web, name: `apart${at}`, ...more })).status).toBe(201);
    expect((await request.patch('/nat/apart0').send({ port: '8070-8090' })).status).toBe(422);
    expect((await request.patch('/nat/web').send({ port: '8082' })).status).toBe(200);
  });

  it('by bridge leaves by another interface than the bridge, whatever that is called', async () => {
    const { request } = await startDaemon();
    await request.post('/bridges').send({ name: 'br00', addresses: ['10.1.1.3/24'] });
    const out = { name: 'out', type: 'masquerade', bridge: 'br00' };
    const references = [{ kind: 'bridge', name: 'br00' }];
    const refused = await request
      .post('/nat')
      .send({ ...out, outInterface: 'br00' })
      .expect(422);
    expect(refused.body).toMatchObject({ references });
    await request
      .post('/nat')
      .send({ ...out, outInterface: 'uplink1' })
      .expect(201);
    expect((await request.patch('/bridges/br00').send({ interface: 'uplink1' })).body).toMatchObject({
      status: 422,
      references,
    });
    const everything = { ...out, name: 'all', bridge: null, source: '0.0.0.0/0', forward: 'any' };
    await request
      .post('/nat')
      .send({ ...everything, outInterface: 'uplink0' })
      .expect(201);
  });

  it('says when nothing leads to its rules any more, and when its namespace is gone', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    const out = { type: 'masquerade', source: '10.1.1.0/24' };
    await request.post('/nat').send({ ...out, name: 'here' });
    await request.post('/nat').send({ ...out, name: 'there', namespace: 'blue' });
    const paths = async (name: string): Promise<string[]> => {
      const { body } = await request.get(`/nat/${name}`);
      return (body.status.differences ?? []).map(({ path }: { path: string }) => path);
    };
    expect([await paths('here'), await paths('there')]).toEqual([[], []]);
    await run('iptables', '-F', 'FORWARD');
    await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-qw', 'net.ipv4.ip_forward=0');
    expect([await paths('here'), await paths('there')]).toEqual([['/status/chains'], ['/status/forwarding']]);
    await run('ip', 'netns', 'delete', 'blue');
    expect(await paths('there')).toContain('/status/rules');
  });

  it('gives forwarding back as it stood when the first rule came', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    await request
      .post('/nat')
      .send({ name: 'out', namespace: 'blue', type: 'masquerade', source: '10.1.1.0/24' });
    expect((await request.delete('/nat/out')).status).toBe(204);
    expect(await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-n', 'net.ipv4.ip_forward')).toBe('1');
  });
});
