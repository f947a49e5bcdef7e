import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { sharedDaemon } from '../support/daemon.ts';
import { ipJson, pings, run } from '../support/shell.ts';
import { putInFront } from '../support/wrapper.ts';

const daemon = sharedDaemon();

interface Status {
  state: string;
  differences?: { path: string; intended: unknown; observed: unknown }[];
}

async function statusOf(link: string): Promise<Status> {
  return (await daemon().request.get(`/links/${link}`)).body.status as Status;
}

/** What GET tells of drift, as the paths of its differences; and that a sweep tells of it too, and mends it. */
async function mended(link: string): Promise<string[]> {
  const { request } = daemon();
  const { differences = [] } = await statusOf(link);
  const drift = await request.get('/drift').expect(200);
  const told = (drift.body.items as { resource: { name: string } }[]).map(({ resource }) => resource.name);
  expect(told).toContain(link);
  await request.post('/reconcile?wait=true').expect(200);
  expect((await statusOf(link)).state).toBe('ready');
  return differences.map(({ path }) => path).toSorted();
}

const make = async (path: string, ...bodies: object[]): Promise<void> =>
  create(daemon().request, path, ...bodies);

async function patch(body: object, status = 200): Promise<void> {
  const answer = await daemon().request.patch('/links/v0').send(body);
  expect([answer.status, answer.body.status.state ?? answer.body.detail]).toEqual([status, 'ready']);
}

async function dryRun(body: object): Promise<string[]> {
  return (await daemon().request.patch('/links/v0?dryRun=true').send(body).expect(200)).body
    .commands as string[];
}

async function queueLength(device: string, ...where: string[]): Promise<unknown> {
  const [link] = await ipJson(...where, 'link', 'show', 'dev', device);
  return link?.['txqlen'];
}

/** Whether the port is isolated and whether it is in hairpin mode; null for what is no port. */
async function flags(device: string): Promise<[unknown, unknown] | null> {
  const [link] = await ipJson('-d', 'link', 'show', 'dev', device);
  const info = link?.['linkinfo'] as Record<string, Record<string, unknown>> | undefined;
  const port = info?.['info_slave_data'];
  return port === undefined ? null : [port['isolated'], port['hairpin']];
}

describe('an end of which nothing further is asked', () => {
  it('is shown with what it has by default, and what others set is left alone', async () => {
    await make('/namespaces', { name: 'blue' });
    await make('/links', { name: 'v0', type: 'veth', peer: { interface: 'eth0', namespace: 'blue' } });
    await run('ip', 'link', 'set', 'v0', 'txqueuelen', '77');
    const { body } = await daemon().request.get('/links/v0');
    const none = {
      txQueueLength: null,
      isolatedPort: false,
      hairpin: false,
      sysctls: {},
      rate: null,
      offload: null,
    };
    expect(body).toMatchObject({ ...none, peer: none, status: { state: 'ready' } });
    await patch({ mtu: 1400 });
    expect(await queueLength('v0')).toBe(77);
  });
});

describe('the transmit queue', () => {
  it('has the length that is asked for at either end, and the default again with null', async () => {
    await make('/namespaces', { name: 'blue' });
    const peer = { interface: 'eth0', namespace: 'blue', txQueueLength: 50 };
    await make('/links', { name: 'v0', type: 'veth', txQueueLength: 1, peer });
    expect([await queueLength('v0'), await queueLength('eth0', '-n', 'blue')]).toEqual([1, 50]);
    expect(await dryRun({ txQueueLength: 7 })).toEqual(['ip link set dev v0 txqueuelen 7']);
    await patch({ txQueueLength: null, peer: { txQueueLength: 60 } });
    expect([await queueLength('v0'), await queueLength('eth0', '-n', 'blue')]).toEqual([1000, 60]);
    await patch({ txQueueLength: 0 });
    expect(await run('cat', '/sys/class/net/v0/tx_queue_len')).toBe('0');
    await patch({ peer: { namespace: 'host' } });
    expect(await queueLength('eth0')).toBe(60);
  });

  it('is put back when somebody changes it, and when the link is made anew', async () => {
    await make('/links', { name: 'v0', type: 'veth', txQueueLength: 30, peer: { interface: 'v1' } });
    await run('ip', 'link', 'set', 'v0', 'txqueuelen', '31');
    expect(await mended('v0')).toEqual(['/txQueueLength']);
    expect(await queueLength('v0')).toBe(30);
    await run('ip', 'link', 'delete', 'v0');
    expect(await mended('v0')).toEqual(['', '/peer']);
    expect(await queueLength('v0')).toBe(30);
  });

  it('is as it was after a change that fails', async () => {
    await make('/links', { name: 'v0', type: 'veth', txQueueLength: 30, peer: { interface: 'v1' } });
    const failed = await daemon()
      .request.patch('/links/v0')
      .send({ txQueueLength: 40, routes: [{ to: '10.9.0.0/16', via: '10.8.0.1' }] });
    expect(failed.status).toBe(422);
    expect(await queueLength('v0')).toBe(30);
    const refused = await daemon().request.patch('/links/v0').send({ txQueueLength: 1_000_001 });
    expect(refused.status).toBe(400);
  });

  it('is compared when a link of others is taken over', async () => {
    await run('ip', ...'link add v0 txqueuelen 9 type veth peer name v1'.split(' '));
    const mac = async (name: string) => (await ipJson('link', 'show', 'dev', name))[0]?.['address'];
    const ends = {
      mac: await mac('v0'),
      up: false,
      peer: { interface: 'v1', mac: await mac('v1'), up: false },
    };
    const adopt = (length: number) =>
      daemon()
        .request.put('/links/v0?adopt=true')
        .send({ type: 'veth', txQueueLength: length, ...ends });
    const refused = await adopt(10);
    expect([refused.status, refused.body.differences?.[0]?.path]).toEqual([409, '/txQueueLength']);
    expect((await adopt(9)).body.status.state).toBe('ready');
  });
});

describe('a port', () => {
  /** Three namespaces on a bridge, of which the first two are isolated. */
  async function build(): Promise<void> {
    await make('/bridges', { name: 'br00', addresses: ['10.1.1.100/24'] });
    for (const [at, name] of ['one', 'two', 'three'].entries()) {
      await make('/namespaces', { name });
      const peer = { interface: 'eth0', namespace: name, addresses: [`10.1.1.${at + 1}/24`] };
      await make('/links', { name: `v${at}`, type: 'veth', bridge: 'br00', isolatedPort: at < 2, peer });
    }
  }

  it('that is isolated reaches the bridge and other ports, and no other isolated one', async () => {
    await build();
    expect(await flags('v0')).toEqual([true, false]);
    expect(await pings('one', '10.1.1.2')).toBe(false);
    expect(await pings('one', '10.1.1.100')).toBe(true);
    expect(await pings('one', '10.1.1.3')).toBe(true);
    await patch({ isolatedPort: false });
    // The neighbor that could not be found before is asked for again only after a while.
    await expect.poll(async () => pings('one', '10.1.1.2')).toBe(true);
    expect(await flags('v0')).toEqual([false, false]);
  });

  it('has its flags again when it comes back to a bridge, and needs one for them', async () => {
    await make('/bridges', { name: 'br00' });
    await make('/bridges', { name: 'br01' });
    const flagged = { isolatedPort: true, hairpin: true };
    await make('/links', { name: 'v0', type: 'veth', bridge: 'br00', ...flagged, peer: { interface: 'v1' } });
    expect(await flags('v0')).toEqual([true, true]);
    await patch({ bridge: 'br01' });
    expect(await flags('v0')).toEqual([true, true]);
    const detached = await daemon().request.patch('/links/v0').send({ bridge: null });
    expect([detached.status, detached.body.detail]).toEqual([422, expect.stringContaining('/isolatedPort')]);
    await patch({ bridge: null, isolatedPort: null, hairpin: null });
    expect(await flags('v0')).toBeNull();
    expect(await dryRun({ bridge: 'br00', hairpin: true })).toEqual([
      // A port takes no router advertisements anyway.
      'sysctl -w net.ipv6.conf.v0.accept_ra=1',
      'ip link set dev v0 master br00',
      'ip link set dev v0 type bridge_slave hairpin on',
    ]);
    await patch({ bridge: 'br00', hairpin: true });
    expect(await flags('v0')).toEqual([false, true]);
    await daemon().request.patch('/bridges/br00').send({ interface: 'lan' }).expect(200);
    expect([await flags('v0'), (await statusOf('v0')).state]).toEqual([[false, true], 'ready']);
  });

  it('with hairpin sends back what is for another address behind the same port', async () => {
    await make('/namespaces', { name: 'blue' });
    await make('/bridges', { name: 'br00' });
    const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.1/24'] };
    await make('/links', { name: 'v0', type: 'veth', bridge: 'br00', peer });
    // What the kernel sends of its own accord when an interface has come up (MLD, RFC 3810) would be counted as well.
    const off = (device: string) => ['sysctl', '-qw', `net.ipv6.conf.${device}.disable_ipv6=1`] as const;
    for (const device of ['br00', 'v0']) await run(...off(device));
    await run('ip', 'netns', 'exec', 'blue', ...off('eth0'));
    let host = 100;
    const returned = async (): Promise<number> => {
      host++;
      const count = async () =>
        (await statusOf('v0')) as unknown as { peer: { statistics: Record<string, number> } };
      const before = (await count()).peer.statistics['rxPackets'] ?? 0;
      // ARP for somebody who is not there is broadcast: it comes back if the port sends it back. It is sent at once
      // only for one whom nobody has asked for yet.
      await pings('blue', `10.1.1.${host}`);
      return ((await count()).peer.statistics['rxPackets'] ?? 0) - before;
    };
    await expect.poll(returned).toBe(0);
    await patch({ hairpin: true });
    expect(await returned()).toBeGreaterThan(0);
  });

  it('has its flags put back when somebody changes them, takes it off, or deletes the bridge', async () => {
    await make('/bridges', { name: 'br00' });
    const flagged = { isolatedPort: true, hairpin: true };
    await make('/links', { name: 'v0', type: 'veth', bridge: 'br00', ...flagged, peer: { interface: 'v1' } });
    await run('ip', ...'link set dev v0 type bridge_slave isolated off hairpin off'.split(' '));
    expect(await mended('v0')).toEqual(['/hairpin', '/isolatedPort']);
    expect(await flags('v0')).toEqual([true, true]);
    await run('ip', 'link', 'set', 'v0', 'nomaster');
    expect(await mended('v0')).toEqual(['/bridge', '/hairpin', '/isolatedPort']);
    await run('ip', 'link', 'delete', 'br00');
    await mended('v0');
    expect(await flags('v0')).toEqual([true, true]);
  });

  it('is as it was after a change that fails', async () => {
    await make('/bridges', { name: 'br00' });
    await make('/links', {
      name: 'v0',
      type: 'veth',
      bridge: 'br00',
      hairpin: true,
      peer: { interface: 'v1' },
    });
    const routes = [{ to: '10.9.0.0/16', via: '10.8.0.1' }];
    const failed = await daemon()
      .request.patch('/links/v0')
      .send({ isolatedPort: true, hairpin: false, routes });
    expect(failed.status).toBe(422);
    expect([await flags('v0'), (await statusOf('v0')).state]).toEqual([[false, true], 'ready']);
  });
});

/** What stands in a file below /proc/sys/net; null for what is not there. */
async function sysctl(file: string, namespace: string | null = null): Promise<string | null> {
  const command = ['cat', `/proc/sys/net/${file}`];
  const args = namespace === null ? command : ['ip', 'netns', 'exec', namespace, ...command];
  try {
    return (await run(args[0] ?? '', ...args.slice(1))).trim();
  } catch {
    return null;
  }
}

describe('sysctls of an end', () => {
  const OWN = 'ipv4/conf/v0.100/rp_filter';
  const FAR = 'ipv6/conf/eth0/accept_ra';

  async function build(): Promise<void> {
    await make('/namespaces', { name: 'blue' });
    await make('/links', {
      name: 'v0',
      type: 'veth',
      interface: 'v0.100',
      sysctls: { 'ipv4.conf.rp_filter': '2', 'ipv4.neigh.gc_stale_time': '77' },
      peer: { interface: 'eth0', namespace: 'blue', sysctls: { 'ipv6.conf.accept_ra': '0' } },
    });
  }

  const all = async () => [
    await sysctl(OWN),
    await sysctl('ipv4/neigh/v0.100/gc_stale_time'),
    await sysctl(FAR, 'blue'),
  ];

  it('have the values that are asked for, and those from before again when they are let go', async () => {
    await build();
    expect(await all()).toEqual(['2', '77', '0']);
    expect((await statusOf('v0')).state).toBe('ready');
    expect(await dryRun({ sysctls: { 'ipv4.conf.rp_filter': '1' } })).toEqual([
      'sysctl -w net.ipv4.conf.v0/100.rp_filter=1',
    ]);
    await patch({ sysctls: { 'ipv4.conf.rp_filter': '1', 'ipv4.neigh.gc_stale_time': null } });
    expect(await all()).toEqual(['1', '60', '0']);
    await patch({ sysctls: null, peer: { sysctls: null } });
    expect(await all()).toEqual(['0', '60', '1']);
  });

  it('go along when the interface is renamed, moves or is made anew', async () => {
    await build();
    await patch({ interface: 'v9', peer: { interface: 'eth1' } });
    expect(await sysctl('ipv4/conf/v9/rp_filter')).toBe('2');
    expect(await sysctl('ipv6/conf/eth1/accept_ra', 'blue')).toBe('0');
    await make('/namespaces', { name: 'red' });
    await patch({ peer: { namespace: 'red' } });
    expect(await sysctl('ipv6/conf/eth1/accept_ra', 'red')).toBe('0');
    await run('ip', 'link', 'delete', 'v9');
    expect(await mended('v0')).toEqual(['', '/peer']);
    expect(await sysctl('ipv4/conf/v9/rp_filter')).toBe('2');
    expect(await sysctl('ipv6/conf/eth1/accept_ra', 'red')).toBe('0');
    await patch({ interface: 'v0', sysctls: null, peer: { sysctls: null } });
    expect(await sysctl('ipv4/conf/v0/rp_filter')).toBe('0');
    expect(await sysctl('ipv6/conf/eth1/accept_ra', 'red')).toBe('1');
  });

  it('are put back when somebody changes them, or renames the interface', async () => {
    await build();
    await run('sysctl', '-w', 'net.ipv4.conf.v0/100.rp_filter=0');
    await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-w', 'net.ipv6.conf.eth0.accept_ra=1');
    const paths = ['/peer/sysctls/ipv6.conf.accept_ra', '/sysctls/ipv4.conf.rp_filter'];
    expect(await mended('v0')).toEqual(paths);
    expect(await all()).toEqual(['2', '77', '0']);
    await run('ip', '-n', 'blue', 'link', 'set', 'eth0', 'down');
    await run('ip', '-n', 'blue', 'link', 'set', 'eth0', 'name', 'other');
    await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-w', 'net.ipv6.conf.other.accept_ra=1');
    expect(await mended('v0')).toEqual(['/peer']);
    expect(await all()).toEqual(['2', '77', '0']);
  });

  it('that the kernel does not have, or will not set so, leave all as it was', async () => {
    await build();
    const tried = async (body: object): Promise<[number, string]> => {
      const answer = await daemon().request.patch('/links/v0').send(body);
      return [answer.status, answer.body.detail as string];
    };
    const named = (key: string) => [422, expect.stringContaining(`sysctl -w ${key}=`)];
    const first = { 'ipv4.conf.rp_filter': '1' };
    expect(await tried({ sysctls: { ...first, 'ipv4.conf.nothing': '1' } })).toEqual(
      named('net.ipv4.conf.v0/100.nothing'),
    );
    expect(await tried({ sysctls: { ...first, 'ipv4.conf.forwarding': 'x' } })).toEqual(
      named('net.ipv4.conf.v0/100.forwarding'),
    );
    const peer = { sysctls: { 'ipv6.conf.nothing': '1' } };
    expect(await tried({ sysctls: first, peer })).toEqual([
      422,
      expect.stringContaining('net.ipv6.conf.eth0.nothing'),
    ]);
    expect([await all(), (await statusOf('v0')).state]).toEqual([['2', '77', '0'], 'ready']);
    await daemon().request.delete('/links/v0').expect(204);
    const made = await daemon()
      .request.post('/links')
      .send({ name: 'v1', type: 'veth', sysctls: { 'ipv4.conf.nothing': '1' }, peer: { interface: 'v2' } });
    expect(made.status).toBe(422);
    expect(await sysctl('ipv4/conf/v1/rp_filter')).toBeNull();
  });

  it('are set at one place only, and are of the interface alone', async () => {
    await build();
    const { request } = daemon();
    const key = 'net.ipv6.conf.eth0.accept_ra';
    const taken = await request.patch('/namespaces/blue').send({ sysctls: { [key]: '1' } });
    expect([taken.status, taken.body.references]).toEqual([422, [expect.objectContaining({ name: 'v0' })]]);
    await patch({ peer: { sysctls: null } });
    await request
      .patch('/namespaces/blue')
      .send({ sysctls: { [key]: '0' } })
      .expect(200);
    const other = await request
      .patch('/links/v0')
      .send({ peer: { sysctls: { 'ipv6.conf.accept_ra': '0' } } });
    expect([other.status, other.body.detail]).toEqual([422, expect.stringContaining(key)]);
    for (const bad of [
      'ipv4.conf.all.rp_filter',
      'ipv4.ip_forward',
      'ipv4.conf./',
      'ipv4.conf.a.b',
      'ipv4.tcp.x',
    ])
      expect((await request.patch('/links/v0').send({ sysctls: { [bad]: '1' } })).status).toBe(400);
    const small = { mtu: 1000, sysctls: { 'ipv6.conf.accept_ra': '0' } };
    expect((await request.patch('/links/v0').send(small)).status).toBe(422);
  });
});

interface Qdisc {
  kind: string;
  handle: string;
  options?: { rate?: number };
}

/** The root queueing discipline of a device. */
async function qdisc(device: string, ...where: string[]): Promise<[string, string, number | null]> {
  const text = await run('tc', ...where, '-j', 'qdisc', 'show', 'dev', device, 'root');
  const [root] = JSON.parse(text) as Qdisc[];
  return [root?.kind ?? '', root?.handle ?? '', root?.options?.rate ?? null];
}

/** How many of a hundred pings, sent at once, are answered within a second. */
async function answeredAtOnce(to: string): Promise<number> {
  // Of what is sent before the address is resolved, the kernel keeps some 90, or none if it has to ask again.
  expect(await pings(null, to)).toBe(true);
  const { stdout } = await execa(
    'ping',
    ['-n', '-q', '-c', '100', '-l', '100', '-s', '1400', '-w', '1', to],
    { reject: false },
  );
  return Number(/(\d+) received/.exec(stdout)?.[1]);
}

const NO_QDISC = ['noqueue', '0:', null];
/** `tc` prints bytes a second. */
const ours = (kbit: number) => ['tbf', '5173:', kbit * 125];

describe('the rate of an end', () => {
  async function build(more: object = {}, far: object = {}): Promise<void> {
    await make('/namespaces', { name: 'blue' });
    const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.1/24'], ...far };
    await make('/links', { name: 'v0', type: 'veth', addresses: ['10.1.1.2/24'], peer, ...more });
  }

  it('is what it sends at most, and none again with null', async () => {
    await build();
    const free = await answeredAtOnce('10.1.1.1');
    expect(await dryRun({ rate: { egressKbit: 800 } })).toEqual([
      'tc qdisc add dev v0 root handle 5173: tbf rate 800kbit burst 3036 latency 50ms',
    ]);
    await patch({ rate: { egressKbit: 800 } });
    expect(await qdisc('v0')).toEqual(ours(800));
    expect(await answeredAtOnce('10.1.1.1')).toBeLessThan(free / 4);
    await patch({ rate: { egressKbit: 100_000_000 } });
    expect(await qdisc('v0')).toEqual(ours(100_000_000));
    expect(await answeredAtOnce('10.1.1.1')).toBeGreaterThan(free / 2);
    await patch({ mtu: 9000, rate: { egressKbit: 8 } });
    expect(await qdisc('v0')).toEqual(ours(8));
    await patch({ rate: null });
    expect(await qdisc('v0')).toEqual(NO_QDISC);
    await patch({ rate: { egressKbit: null } });
    expect((await daemon().request.get('/links/v0')).body.rate).toBeNull();
    const unqueued = { txQueueLength: 0, rate: { egressKbit: 1 } };
    expect((await daemon().request.patch('/links/v0').send(unqueued)).status).toBe(422);
    for (const egressKbit of [0, 100_000_001, '1'])
      expect((await daemon().request.patch('/links/v0').send({ rate: { egressKbit } })).status).toBe(400);
  });

  it('goes along when the interface is renamed, moves or is made anew', async () => {
    await build({}, { rate: { egressKbit: 1000 } });
    expect(await qdisc('eth0', '-n', 'blue')).toEqual(ours(1000));
    await patch({ peer: { interface: 'eth1' } });
    expect(await qdisc('eth1', '-n', 'blue')).toEqual(ours(1000));
    await make('/namespaces', { name: 'red' });
    await patch({ peer: { namespace: 'red' } });
    expect(await qdisc('eth1', '-n', 'red')).toEqual(ours(1000));
    await patch({ up: false, peer: { up: false } });
    await patch({ up: true, peer: { up: true } });
    expect(await qdisc('eth1', '-n', 'red')).toEqual(ours(1000));
    await run('ip', 'link', 'delete', 'v0');
    await mended('v0');
    expect(await qdisc('eth1', '-n', 'red')).toEqual(ours(1000));
  });

  it('is put back when somebody changes it or takes it away', async () => {
    await build({ rate: { egressKbit: 1000 } }, { rate: { egressKbit: 2000 } });
    await run(
      'tc',
      ...'qdisc change dev v0 root handle 5173: tbf rate 5mbit burst 9000 latency 50ms'.split(' '),
    );
    await run('tc', ...'-n blue qdisc del dev eth0 root'.split(' '));
    expect(await mended('v0')).toEqual(['/peer/rate/egressKbit', '/rate/egressKbit']);
    expect(await qdisc('v0')).toEqual(ours(1000));
    expect(await qdisc('eth0', '-n', 'blue')).toEqual(ours(2000));
    // What has gone meanwhile is found when a change comes upon it.
    await run('tc', ...'qdisc del dev v0 root'.split(' '));
    await patch({ rate: { egressKbit: 3000 } });
    expect(await qdisc('v0')).toEqual(ours(3000));
    await run('tc', ...'qdisc del dev v0 root'.split(' '));
    await patch({ rate: null });
  });

  it('is refused where others have a queueing discipline of their own, which stays', async () => {
    await build();
    await run('tc', ...'-n blue qdisc add dev eth0 root handle 7: pfifo'.split(' '));
    const rate = { egressKbit: 1000 };
    const refused = await daemon().request.patch('/links/v0').send({ rate, peer: { rate } });
    expect([refused.status, refused.body.type]).toEqual([409, '/problems/foreign-object']);
    expect(await qdisc('v0')).toEqual(NO_QDISC);
    expect(await qdisc('eth0', '-n', 'blue')).toEqual(['pfifo', '7:', null]);
    await patch({ rate });
    await run('tc', ...'qdisc replace dev v0 root handle 7: pfifo'.split(' '));
    await daemon().request.post('/reconcile?wait=true').expect(200);
    expect((await statusOf('v0')).state).not.toBe('ready');
    expect(await qdisc('v0')).toEqual(['pfifo', '7:', null]);
    await run('tc', ...'qdisc del dev v0 root'.split(' '));
    await mended('v0');
  });
});

describe('the offload of checksums', () => {
  /** Whether the device leaves checksums to others. */
  async function leavesChecksums(device: string, namespace: string | null = null): Promise<boolean> {
    const inside = namespace === null ? [] : ['ip', 'netns', 'exec', namespace];
    const [file, ...args] = [...inside, 'ethtool', '--json', '-k', device];
    const [features] = JSON.parse(await run(file, ...args)) as Record<string, { active: boolean }>[];
    return features?.['tx-checksumming']?.active === true;
  }

  const both = async () => [await leavesChecksums('v0'), await leavesChecksums('eth0', 'blue')];

  async function build(offload: object | null): Promise<void> {
    await make('/namespaces', { name: 'blue' });
    const peer = { interface: 'eth0', namespace: 'blue', offload };
    await make('/links', { name: 'v0', type: 'veth', offload, peer });
  }

  it('is on or off as asked, and on again with null', async () => {
    await build({ checksum: false });
    expect(await both()).toEqual([false, false]);
    expect(await dryRun({ peer: { offload: null } })).toEqual(['ip netns exec blue ethtool -K eth0 tx on']);
    await patch({ offload: { checksum: true }, peer: { offload: null } });
    expect(await both()).toEqual([true, true]);
    await patch({ peer: { offload: { checksum: false } } });
    await make('/namespaces', { name: 'red' });
    await patch({ peer: { interface: 'eth1', namespace: 'red' } });
    expect(await leavesChecksums('eth1', 'red')).toBe(false);
  });

  it('is put back when somebody changes it, and when the link is made anew', async () => {
    await build({ checksum: false });
    await run('ethtool', '-K', 'v0', 'tx', 'on');
    await run('ip', ...'netns exec blue ethtool -K eth0 tx on'.split(' '));
    expect(await mended('v0')).toEqual(['/offload/checksum', '/peer/offload/checksum']);
    expect(await both()).toEqual([false, false]);
    await run('ip', 'link', 'delete', 'v0');
    await mended('v0');
    expect(await both()).toEqual([false, false]);
  });

  it('is answered 501 without ethtool, which is named, and all is as before', async () => {
    await build(null);
    const said = 'nsenter: failed to execute ethtool: No such file or directory';
    putInFront('ethtool', () => `echo "${said}" >&2\nexit 127`);
    const body = { txQueueLength: 7, rate: { egressKbit: 1000 }, offload: { checksum: false } };
    const refused = await daemon().request.patch('/links/v0').send(body);
    expect([refused.status, refused.body.type]).toEqual([501, '/problems/kernel-unsupported']);
    expect(refused.body.detail).toContain('ethtool is not installed');
    expect([await queueLength('v0'), await qdisc('v0')]).toEqual([1000, NO_QDISC]);
    expect((await statusOf('v0')).state).toBe('ready');
  });
});
