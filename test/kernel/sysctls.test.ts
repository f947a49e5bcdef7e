import { describe, expect, it } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';
import { run } from '../support/shell.ts';

const daemon = sharedDaemon();

async function make(path: string, body: object): Promise<void> {
  const { status, body: answer } = await daemon().request.post(path).send(body);
  expect([status, answer.detail]).toEqual([201, undefined]);
}

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
