import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { sharedDaemon } from '../support/daemon.ts';
import { run } from '../support/shell.ts';

const daemon = sharedDaemon();

const make = async (path: string, ...bodies: object[]): Promise<void> =>
  create(daemon().request, path, ...bodies);

async function stateOf(path: string): Promise<string> {
  return (await daemon().request.get(path)).body.status.state as string;
}

/** What stands in a file below /proc/sys/net. */
async function sysctl(file: string, namespace: string | null = null): Promise<string> {
  const inside = namespace === null ? [] : ['ip', 'netns', 'exec', namespace];
  const [command, ...args] = [...inside, 'cat', `/proc/sys/net/${file}`];
  return (await run(command, ...args)).trim();
}

/** A link with one end here and one in blue. */
async function makeLink(own: object = {}, peer: object = {}): Promise<void> {
  await make('/namespaces', { name: 'blue' });
  await make('/links', {
    name: 'v0',
    type: 'veth',
    sysctls: own,
    peer: { interface: 'eth0', namespace: 'blue', sysctls: peer },
  });
}

/** What the kernel makes of a value: it rounds times to its clock, which ticks 100 to 1000 times a second. */
async function madeOf(key: string, asked: string): Promise<string> {
  const [family = '', group = '', field = ''] = key.split('.');
  const name = `net.${family}.${group}.lo.${field}`;
  await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-qw', `${name}=${asked}`);
  return (await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-n', name)).trim();
}

describe('a sysctl of which the kernel makes something else', () => {
  it.for([
    ['ipv4.neigh.base_reachable_time_ms', '30001'],
    ['ipv4.neigh.retrans_time', '77'],
    ['ipv4.neigh.proxy_delay', '77'],
  ] as const)('is refused at either end: %s as %s', async ([key, asked], { skip }) => {
    await makeLink();
    const made = await madeOf(key, asked);
    skip(made === asked, 'this kernel takes it as it is');
    const [family = '', group = '', field = ''] = key.split('.');
    const { request } = daemon();
    for (const [at, name, namespace] of [
      ['own', 'v0', null],
      ['peer', 'eth0', 'blue'],
    ] as const) {
      const of = (value: string): object =>
        at === 'own' ? { sysctls: { [key]: value } } : { peer: { sysctls: { [key]: value } } };
      const dryRun = await request.patch('/links/v0?dryRun=true').send(of(asked)).expect(200);
      expect(dryRun.body.commands).toHaveLength(1);
      const refused = await request.patch('/links/v0').send({ mtu: 1400, ...of(asked) });
      expect([refused.status, refused.body.type]).toEqual([422, '/problems/unprocessable']);
      expect(refused.body.detail).toContain(`net.${family}.${group}.${name}.${field}=${asked}`);
      expect(refused.body.detail).toContain(`made ${made} of ${asked}`);
      expect((await request.get('/links/v0')).body).toMatchObject({
        mtu: 1500,
        sysctls: {},
        status: { state: 'ready', mtu: 1500 },
      });
      await request.patch('/links/v0').send(of(made)).expect(200);
      expect(await sysctl(`${family}/${group}/${name}/${field}`, namespace)).toBe(made);
      expect(await stateOf('/links/v0')).toBe('ready');
      if (at === 'own') await request.patch('/links/v0').send({ sysctls: null }).expect(200);
    }
  });

  it('is refused of a link that is made, and of a namespace that is made or changed, with nothing left', async () => {
    const { request } = daemon();
    const sysctls = { 'net.ipv4.ip_local_reserved_ports': '5,6' };
    const refused = await request.post('/namespaces').send({ name: 'blue', sysctls });
    expect([refused.status, refused.body.detail]).toEqual([422, expect.stringContaining('made 5-6 of 5,6')]);
    await make('/namespaces', { name: 'blue', sysctls: { 'net.ipv4.ip_default_ttl': '33' } });
    const changed = await request
      .patch('/namespaces/blue')
      .send({ sysctls: { 'net.ipv4.ip_default_ttl': '34', ...sysctls } });
    expect([changed.status, changed.body.command]).toEqual([
      422,
      'ip netns exec blue sysctl -w net.ipv4.ip_local_reserved_ports=5,6',
    ]);
    expect(await sysctl('ipv4/ip_default_ttl', 'blue')).toBe('33');
    expect(await sysctl('ipv4/ip_local_reserved_ports', 'blue')).toBe('');
    // The one sets the other as well.
    const both = { 'ipv6.conf.addr_gen_mode': '0', 'ipv6.conf.stable_secret': 'fd00::1' };
    const link = { name: 'v0', type: 'veth', sysctls: both };
    const made = await request.post('/links').send({ ...link, peer: { interface: 'v1' } });
    expect([made.status, made.body.detail]).toEqual([422, expect.stringContaining('made 2 of 0')]);
    expect(await run('ip', 'link', 'show')).not.toContain('v1');
  });

  it('is taken as the number that it is, in whatever way that is written', async () => {
    const { request } = daemon();
    await makeLink({ 'ipv4.conf.rp_filter': '0x1' }, { 'ipv4.conf.rp_filter': '01' });
    await request
      .patch('/namespaces/blue')
      .send({ sysctls: { 'net.ipv4.ip_forward': '0x1', 'net.ipv4.ping_group_range': '0x0  012' } })
      .expect(422);
    await request
      .patch('/namespaces/blue')
      .send({ sysctls: { 'net.ipv4.ip_forward': '0x1', 'net.ipv4.ping_group_range': '0x0  12' } })
      .expect(200);
    for (const path of ['/links/v0', '/namespaces/blue']) expect(await stateOf(path)).toBe('ready');
    expect((await request.get('/drift')).body.items).toEqual([]);
    expect((await request.get('/links/v0')).body.sysctls).toEqual({ 'ipv4.conf.rp_filter': '0x1' });
    expect(await sysctl('ipv4/conf/v0/rp_filter')).toBe('1');
    const same = await request
      .patch('/links/v0?dryRun=true')
      .send({ sysctls: { 'ipv4.conf.rp_filter': '1' } });
    expect(same.body.commands).toEqual([]);
  });

  it('is taken as the address that it is', async () => {
    await makeLink({ 'ipv6.conf.stable_secret': 'fd00::1' }, { 'ipv6.conf.stable_secret': 'FD00::2' });
    expect(await sysctl('ipv6/conf/v0/stable_secret')).toBe('fd00:0000:0000:0000:0000:0000:0000:0001');
    expect(await stateOf('/links/v0')).toBe('ready');
  });

  it('that can’t be read back is refused', async () => {
    const sysctls = { 'net.ipv4.route.flush': '1' };
    const { status, body } = await daemon().request.post('/namespaces').send({ name: 'blue', sysctls });
    expect([status, body.detail]).toEqual([422, expect.stringContaining('nothing can be read there')]);
  });

  it('costs no further process', async () => {
    await makeLink();
    const { app, request } = daemon();
    const before = app.processesStarted();
    await request
      .patch('/links/v0')
      .send({ peer: { sysctls: { 'ipv4.conf.rp_filter': '2' } } })
      .expect(200);
    // One at each end looks at what is there, or sees the result; one writes and reads.
    expect(app.processesStarted() - before).toBe(3);
  });
});

describe('an interface whose sysctls turn IPv6 off', () => {
  const OFF = { 'ipv6.conf.disable_ipv6': '1' };
  const six = ['fd00::1/64'];

  async function refused(method: 'post' | 'patch' | 'put', path: string, body: object): Promise<string> {
    const answer = await daemon().request[method](path).send(body);
    expect([answer.status, answer.body.type]).toEqual([422, '/problems/unprocessable']);
    return answer.body.detail as string;
  }

  const link = (own: object, peer: object): object => ({
    name: 'v0',
    type: 'veth',
    ...own,
    peer: { interface: 'eth0', namespace: 'blue', ...peer },
  });

  it('is refused an IPv6 address or route, by whichever of the two it comes', async () => {
    await make('/namespaces', { name: 'blue' });
    const both = { sysctls: OFF, addresses: six };
    expect(await refused('post', '/links', link(both, {}))).toContain('/sysctls/ipv6.conf.disable_ipv6');
    expect(await refused('post', '/links', link({}, both))).toContain('/peer/sysctls/');
    const routes = [{ to: 'fd01::/64', via: 'fe80::1' }];
    expect(await refused('post', '/links', link({ sysctls: OFF, routes }, {}))).toContain('/routes');
    await make('/links', link({ sysctls: OFF }, { addresses: six }));
    await refused('patch', '/links/v0', { addresses: ['fd00::2/64'] });
    await refused('patch', '/links/v0', { peer: { sysctls: { 'ipv6.conf.disable_ipv6': '0x1' } } });
    await daemon()
      .request.patch('/links/v0')
      .send({ sysctls: { 'ipv6.conf.disable_ipv6': '0' }, addresses: ['fd00::2/64'] })
      .expect(200);
    expect(await stateOf('/links/v0')).toBe('ready');
  });

  it('is refused one that its bridge would give it, and its bridge the subnet', async () => {
    await make('/namespaces', { name: 'blue' });
    const body = link({ bridge: 'net0' }, { sysctls: OFF, addresses: ['auto'] });
    await make('/bridges', { name: 'net0', subnets: ['10.7.0.0/24', 'fd07::/64'] });
    expect(await refused('post', '/links', body)).toContain('/peer/addresses');
    await daemon()
      .request.patch('/bridges/net0')
      .send({ subnets: ['10.7.0.0/24'] })
      .expect(200);
    await make('/links', body);
    const back = await daemon()
      .request.patch('/bridges/net0')
      .send({ subnets: ['10.7.0.0/24', 'fd07::/64'] });
    expect([back.status, back.body.references]).toEqual([409, [expect.objectContaining({ name: 'v0' })]]);
    expect(await stateOf('/links/v0')).toBe('ready');
  });

  it.each(['all', 'default', 'eth0'])('is one of a namespace that turns it off for %s', async (which) => {
    const { request } = daemon();
    const sysctls = { [`net.ipv6.conf.${which}.disable_ipv6`]: '1' };
    await make('/namespaces', { name: 'blue' });
    await make('/links', link({}, { addresses: six }));
    await make('/bridges', { name: 'eth1', namespace: 'blue', subnets: ['fd07::/64'] });
    expect(await refused('patch', '/namespaces/blue', { sysctls })).toContain(which);
    expect([await stateOf('/links/v0'), await stateOf('/bridges/eth1')]).toEqual(['ready', 'ready']);
    await request.delete('/links/v0').expect(204);
    await request.delete('/bridges/eth1').expect(204);
    if (which !== 'eth0') await request.patch('/namespaces/blue').send({ sysctls }).expect(200);
    else await request.patch('/namespaces/blue').send({ sysctls: { 'net.ipv6.conf.all.disable_ipv6': '1' } });
    expect(await refused('post', '/links', link({}, { addresses: six }))).toContain('/peer/addresses');
    const bridge = { name: 'br0', namespace: 'blue', addresses: six };
    expect(await refused('post', '/bridges', bridge)).toContain('disable_ipv6');
    // Who says otherwise of the interface means it.
    await make('/links', link({}, { addresses: six, sysctls: { 'ipv6.conf.disable_ipv6': '0' } }));
    expect(await stateOf('/links/v0')).toBe('ready');
  });
});

describe('the sysctls of an interface', () => {
  const addressesOf = async (name: string, ...where: string[]): Promise<string> =>
    run('ip', ...where, '-6', 'address', 'show', 'dev', name);

  it('are there before it comes up, in whatever namespace', async () => {
    const none = { 'ipv6.conf.addr_gen_mode': '1' };
    await makeLink(none, none);
    expect(await addressesOf('v0')).not.toContain('fe80:');
    expect(await addressesOf('eth0', '-n', 'blue')).not.toContain('fe80:');
    const { request } = daemon();
    // What comes up later, under another name, or anew.
    await request
      .patch('/links/v0')
      .send({ up: false, peer: { sysctls: null, up: false } })
      .expect(200);
    const up = { up: true, peer: { up: true, sysctls: none } };
    expect((await request.patch('/links/v0?dryRun=true').send(up)).body.commands).toEqual([
      'ip netns exec blue sysctl -w net.ipv6.conf.eth0.addr_gen_mode=1',
      'ip link set dev v0 up',
      'ip -n blue link set dev eth0 up',
    ]);
    await request.patch('/links/v0').send(up).expect(200);
    await request
      .patch('/links/v0')
      .send({ interface: 'v9', peer: { interface: 'eth1' } })
      .expect(200);
    await run('ip', 'link', 'delete', 'v9');
    await request.post('/reconcile?wait=true').expect(200);
    expect(await stateOf('/links/v0')).toBe('ready');
    expect(await addressesOf('v9')).not.toContain('fe80:');
    expect(await addressesOf('eth1', '-n', 'blue')).not.toContain('fe80:');
  });

  it('that the kernel sets when it gets another MTU are set after', async () => {
    const { request } = daemon();
    const mtu = (value: string | null): object => ({ 'ipv6.conf.mtu': value });
    await makeLink(mtu('1400'), mtu('1300'));
    const both = async () => [await sysctl('ipv6/conf/v0/mtu'), await sysctl('ipv6/conf/eth0/mtu', 'blue')];
    const change = async (body: object, values: string[]): Promise<void> => {
      await request.patch('/links/v0').send(body).expect(200);
      expect([await both(), await stateOf('/links/v0')]).toEqual([values, 'ready']);
    };
    // So it does, at its leisure, when it sees that the other end has come up.
    await sleep(1500);
    await request.post('/reconcile?wait=true').expect(200);
    expect(await both()).toEqual(['1400', '1300']);
    await change({ mtu: 9000, peer: { mtu: 9000 } }, ['1400', '1300']);
    const small = await request.patch('/links/v0').send({ mtu: 1350 });
    expect([small.status, small.body.detail]).toEqual([
      422,
      expect.stringContaining('/sysctls/ipv6.conf.mtu'),
    ]);
    await change({ mtu: 1350, sysctls: mtu('1300') }, ['1300', '1300']);
    await change({ mtu: 2000, sysctls: mtu(null), peer: { sysctls: mtu(null) } }, ['2000', '9000']);
  });

  it('of many that are made together are written by few processes', async () => {
    const { app, request } = daemon();
    await make('/namespaces', { name: 'blue' });
    const sysctls = { 'ipv4.conf.rp_filter': '1', 'ipv6.conf.accept_ra': '0' };
    const before = app.processesStarted();
    const names = Array.from({ length: 10 }, (_, n) => `v${n}`);
    const made = await Promise.all(
      names.map((name) => {
        const peer = { interface: `e${name}`, namespace: 'blue', sysctls };
        return request.post('/links').send({ name, type: 'veth', sysctls, peer });
      }),
    );
    expect(made.map(({ status }) => status)).toEqual(names.map(() => 201));
    // Two or three batches, each with one process here and one inside.
    expect(app.processesStarted() - before).toBeLessThan(names.length);
  });
});

describe('forwarding of IPv4, for which the kernel has two names', () => {
  const [ip, all] = ['net.ipv4.ip_forward', 'net.ipv4.conf.all.forwarding'] as const;
  const nat = { name: 'out', type: 'masquerade', namespace: 'blue', source: '10.1.1.0/24' };
  const router = {
    name: 'br00',
    namespace: 'blue',
    addresses: ['10.1.1.1/24'],
    firewall: { inbound: 'any' },
  };
  const needing: [string, object][] = [
    ['/nat', nat],
    ['/bridges', router],
  ];
  const forwarding = async (): Promise<string> => sysctl('ipv4/ip_forward', 'blue');
  const patchBlue = async (sysctls: Record<string, string | null>): Promise<void> => {
    const { body } = await daemon().request.patch('/namespaces/blue').send({ sysctls }).expect(200);
    expect(body.status.state).toBe('ready');
  };

  it.each(needing.flatMap(([collection, body]) => [ip, all].map((key) => [key, collection, body] as const)))(
    'is not turned off by %s where something of %s needs it, in whichever order',
    async (key, collection, body) => {
      const { request } = daemon();
      await make('/namespaces', { name: 'blue', sysctls: { [key]: '0' } });
      const refused = await request.post(collection).send(body);
      expect([refused.status, refused.body.type]).toEqual([422, '/problems/unprocessable']);
      expect(refused.body.detail).toContain(`blue asks for ${key} = 0`);
      await patchBlue({ [key]: null });
      await make(collection, body);
      const off = await request.patch('/namespaces/blue').send({ sysctls: { [key]: '0' } });
      expect([off.status, off.body.type]).toEqual([422, '/problems/unprocessable']);
      expect(off.body.detail).toContain(`/sysctls: ${key} must stay 1`);
      await patchBlue({ [key]: '0x1' });
      expect((await request.get('/drift')).body.items).toEqual([]);
    },
  );

  it('is refused if a namespace says two things of it', async () => {
    const { request } = daemon();
    const two = { [ip]: '1', [all]: '0' };
    const refused = await request.post('/namespaces').send({ name: 'blue', sysctls: two });
    expect([refused.status, refused.body.type]).toEqual([422, '/problems/unprocessable']);
    expect(refused.body.detail).toMatch(/^\/sysctls: .* are two names of one thing/);
    await make('/namespaces', { name: 'blue', sysctls: { [ip]: '1', [all]: '01' } });
    expect(await forwarding()).toBe('1');
    const changed = await request.patch('/namespaces/blue').send({ sysctls: { [all]: '0' } });
    expect([changed.status, changed.body.type]).toEqual([422, '/problems/unprocessable']);
  });

  it('stays on, by either name, as long as one of the names is asked for, and then is as it was', async () => {
    await make('/namespaces', { name: 'blue', sysctls: { [ip]: '1', [all]: '1' } });
    await patchBlue({ [ip]: null });
    expect(await forwarding()).toBe('1');
    await patchBlue({ [ip]: '1', [all]: null });
    expect(await forwarding()).toBe('1');
    await patchBlue({ [ip]: null });
    expect(await forwarding()).toBe('0');
  });

  it.each([[ip], [all]])('is given back by the last that needs it, with %s of the namespace', async (key) => {
    const { request } = daemon();
    await make('/namespaces', { name: 'blue' });
    await make('/nat', nat);
    await patchBlue({ [key]: '1' });
    await request.delete('/nat/out').expect(204);
    expect(await forwarding()).toBe('1');
    expect(await stateOf('/namespaces/blue')).toBe('ready');
    await make('/nat', nat);
    await patchBlue({ [key]: null });
    expect(await forwarding()).toBe('1');
    expect(await stateOf('/nat/out')).toBe('ready');
    await request.delete('/nat/out').expect(204);
    expect(await forwarding()).toBe('0');
  });

  it('that others turn off is mended, whatever name it is asked for by', async () => {
    const { request } = daemon();
    await make('/namespaces', { name: 'blue', sysctls: { [all]: '1' } });
    await make('/nat', nat);
    await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-qw', `${ip}=0`);
    const drifted = (await request.get('/drift')).body.items as { resource: { name: string } }[];
    expect(drifted.map(({ resource }) => resource.name)).toEqual(['blue', 'out']);
    const { headers } = await request.post('/reconcile').expect(202);
    await expect
      .poll(async () => (await request.get(String(headers['location']))).body.state)
      .toBe('succeeded');
    expect((await request.get('/drift')).body.items).toEqual([]);
    expect(await forwarding()).toBe('1');
  });
});
