import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { create } from '../support/create.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { startServer, temporaryDirectory, type Server } from '../support/server.ts';
import { ipJson, pings, run } from '../support/shell.ts';

type Request = Daemon['request'];

/** A veth pair by hand, for what is to stand on an interface that is somebody else's. */
async function foreignPair(name: string, other: string): Promise<void> {
  await run('ip', 'link', 'add', name, 'type', 'veth', 'peer', 'name', other);
  onTestFinished(async () => void (await execa('ip', ['link', 'delete', name], { reject: false })));
  for (const each of [name, other]) await run('ip', 'link', 'set', each, 'up');
}

/** What the kernel says of a device: its kind and what that has of its own. */
async function infoOf(name: string, namespace?: string): Promise<Record<string, unknown>> {
  const inside = namespace === undefined ? [] : ['-n', namespace];
  const [found] = await ipJson(...inside, 'link', 'show', 'dev', name);
  const info = found?.['linkinfo'] as { info_kind: string; info_data: object } | undefined;
  return { kind: info?.info_kind, ...info?.info_data, group: found?.['group'], mac: found?.['address'] };
}

async function stateOf(request: Request, name: string): Promise<unknown[]> {
  const { body } = await request.get(`/links/${name}`);
  const { state, differences = [] } = body.status as { state: string; differences?: { path: string }[] };
  return [state, ...differences.map(({ path }) => path)];
}

describe('a macvlan', () => {
  it('reaches another one on the same parent, and a host beyond that', async () => {
    const { request } = await startDaemon();
    await foreignPair('p0', 'p1');
    await create(request, '/namespaces', { name: 'blue' }, { name: 'red' }, { name: 'far' });
    await run('ip', 'link', 'set', 'p1', 'netns', 'far');
    await run('ip', '-n', 'far', 'address', 'add', '10.4.0.9/24', 'dev', 'p1');
    await run('ip', '-n', 'far', 'link', 'set', 'p1', 'up');
    const macvlan = { type: 'macvlan', interface: 'eth0', parent: 'p0' };
    await create(
      request,
      '/links',
      { ...macvlan, name: 'm1', namespace: 'blue', addresses: ['10.4.0.1/24'] },
      { ...macvlan, name: 'm2', namespace: 'red', addresses: ['10.4.0.2/24'] },
    );
    expect(await infoOf('eth0', 'blue')).toMatchObject({ kind: 'macvlan', mode: 'bridge', group: '20851' });
    expect(await pings('blue', '10.4.0.2')).toBe(true);
    expect(await pings('red', '10.4.0.9')).toBe(true);
    expect((await request.delete('/namespaces/blue')).status).toBe(409);
    await request.delete('/namespaces/blue?cascade=true').expect(204);
    // Its parent has it no more, although its namespace is taken apart at the kernel's leisure.
    await create(request, '/links', { ...macvlan, name: 'm3', mode: 'private', interface: 'm3' });
  });

  it('is made in one command where its parent is, and changed, undone and removed like any link', async () => {
    const { request } = await startDaemon();
    await foreignPair('p0', 'p1');
    await foreignPair('q0', 'q1');
    await create(request, '/namespaces', { name: 'blue' }, { name: 'red' });
    const body = { name: 'm1', type: 'macvlan', namespace: 'blue', parent: 'p0', mac: '02:00:00:00:00:41' };
    const { body: dry } = await request.post('/links?dryRun=true').send(body);
    expect(dry.commands[0]).toBe(
      'ip link add link p0 name m1 group 20851 address 02:00:00:00:00:41 netns /run/netns/blue type macvlan mode bridge',
    );
    expect(await ipJson('-n', 'blue', 'link', 'show', 'type', 'macvlan')).toEqual([]);
    await create(request, '/links', { ...body, mac: null });
    const { mac } = (await request.get('/links/m1')).body.status as { mac: string };
    for (const [change, says] of [
      [{ mode: 'vepa' }, /type macvlan mode vepa/],
      [{ parent: 'q0' }, /link add link q0/],
      [{ namespace: 'red', mtu: 1400, addresses: ['10.4.0.1/24'] }, /netns \/run\/netns\/red/],
      [{ mode: 'passthru' }, /mode passthru/],
      [{ mode: 'private', mac }, /mode private/],
    ] as const) {
      const changed = await request.patch('/links/m1').send(change);
      expect([changed.status, changed.body]).toMatchObject([200, { ...change, status: { state: 'ready' } }]);
      const operation = await request.get(changed.headers['operation'] ?? '');
      expect(JSON.stringify(operation.body.commands)).toMatch(says);
      if (!('mode' in change)) expect(changed.body.status.mac).toBe(mac);
    }
    expect(await infoOf('m1', 'red')).toMatchObject({ mode: 'private', mac });
    expect((await ipJson('link', 'show', 'dev', 'q0'))[0]).toMatchObject({ mtu: 1500, group: 'default' });
    await request.delete('/links/m1').expect(204);
    expect(await ipJson('-n', 'red', 'link', 'show', 'type', 'macvlan')).toEqual([]);
  });

  it.each([
    ['a bridge', { bridge: 'br00' }, 422, /no port of a bridge/],
    ['a parent that is not there', { parent: 'nope' }, 422, /Cannot find device "nope"/],
    ['itself as its parent', { parent: 'm1' }, 422, /own interface/],
    ['another macvlan as its parent', { parent: 'm0' }, 422, /is a macvlan itself/],
    ['a namespace for its parent that is not recorded', { parentNamespace: 'green' }, 422, /not recorded/],
    ['a MAC address in passthru mode', { mode: 'passthru', mac: '02:00:00:00:00:42' }, 422, /of its parent/],
    ['passthru mode on a parent that has another', { mode: 'passthru' }, 422, /Invalid argument/],
    ['a larger MTU than its parent', { mtu: 1600 }, 422, /that of p0 in host, .*Invalid argument/],
    ['no parent', { parent: undefined }, 400, /\/parent: is required/],
    ['a peer', { peer: { interface: 'x' } }, 400, /\/peer: is not a field/],
    ['a mode that there is not', { mode: 'other' }, 400, /none of/],
  ])('is refused %s', async (_what, fields, status, says) => {
    const { request } = await startDaemon();
    await foreignPair('p0', 'p1');
    await create(request, '/bridges', { name: 'br00' });
    await create(request, '/links', { name: 'm0', type: 'macvlan', parent: 'p0' });
    const answer = await request
      .post('/links')
      .send({ name: 'm1', type: 'macvlan', parent: 'p0', ...fields });
    expect([answer.status, answer.body.detail]).toEqual([status, expect.stringMatching(says)]);
    expect((await ipJson('link', 'show', 'type', 'macvlan')).map(({ ifname }) => ifname)).toEqual(['m0']);
  });

  it('keeps its type, and what is there of its name is left alone', async () => {
    const { request } = await startDaemon();
    await foreignPair('p0', 'p1');
    const body = { name: 'm1', type: 'macvlan', parent: 'p0' };
    await run('ip', 'link', 'add', 'link', 'p0', 'name', 'm1', 'type', 'macvlan');
    expect((await request.post('/links').send(body)).status).toBe(409);
    const adopting = await request.put('/links/m1?adopt=true').send(body);
    expect([adopting.status, adopting.body.detail]).toEqual([422, expect.stringMatching(/can't be adopted/)]);
    await run('ip', 'link', 'delete', 'm1');
    await request.put('/links/m1?adopt=true').send(body).expect(201);
    const put = await request.put('/links/m1').send({ type: 'tap' });
    expect([put.status, put.body.detail]).toEqual([422, expect.stringMatching(/delete it first/)]);
    const patched = await request.patch('/links/m1').send({ type: 'veth', peer: { interface: 'x' } });
    expect([patched.status, patched.body.detail]).toEqual([400, expect.stringMatching(/delete it first/)]);
  });

  it('holds an interface of ours that it stands on, and goes with it if that is asked for', async () => {
    const { request } = await startDaemon();
    await create(request, '/namespaces', { name: 'blue' });
    const peer = { interface: 'v1', namespace: 'blue' };
    await create(request, '/bridges', { name: 'br00' });
    await create(
      request,
      '/links',
      { name: 'v0', type: 'veth', peer },
      { name: 'm1', type: 'macvlan', namespace: 'blue', parent: 'v0' },
      { name: 'm2', type: 'macvlan', parent: 'v1', parentNamespace: 'blue' },
      { name: 'm3', type: 'macvlan', parent: 'br00' },
    );
    for (const answer of [
      await request.delete('/links/v0'),
      await request.patch('/links/v0').send({ interface: 'v9' }),
      await request.patch('/links/v0').send({ peer: { namespace: 'host' } }),
      await request.delete('/bridges/br00'),
      await request.patch('/bridges/br00').send({ namespace: 'blue' }),
    ])
      expect([answer.status, answer.body.type]).toEqual([409, '/problems/in-use']);
    await request.patch('/links/v0').send({ mtu: 1600 }).expect(200);
    expect(await stateOf(request, 'm1')).toEqual(['ready']);
    await request.delete('/links/v0?cascade=true').expect(204);
    await request.delete('/bridges/br00?cascade=true').expect(204);
    expect((await request.get('/links')).body.items).toEqual([]);
  });

  it('is put back as it was, with all that was changed by hand', async () => {
    const { request } = await startDaemon();
    await foreignPair('p0', 'p1');
    await foreignPair('q0', 'q1');
    await create(request, '/namespaces', { name: 'blue' });
    const body = { name: 'm1', type: 'macvlan', namespace: 'blue', parent: 'p0', addresses: ['10.4.0.1/24'] };
    await create(request, '/links', body);
    const { mac } = (await request.get('/links/m1')).body.status as { mac: string };
    const inside = async (...args: string[]) => run('ip', '-n', 'blue', 'link', ...args);
    for (const [drift, paths] of [
      [async () => inside('delete', 'm1'), ['']],
      [async () => inside('set', 'm1', 'type', 'macvlan', 'mode', 'private'), ['/mode']],
      [async () => inside('set', 'm1', 'mtu', '1300'), ['/mtu']],
      [
        async () => {
          await inside('delete', 'm1');
          await run(
            ...(`ip link add link q0 name m1 group 20851 address ${mac} netns blue type macvlan mode bridge`.split(
              ' ',
            ) as [string, ...string[]]),
          );
        },
        ['/up', '/addresses', '/parent'],
      ],
      [async () => run('ip', 'netns', 'delete', 'blue'), ['']],
    ] as const) {
      await drift();
      // That it is mended time and again makes it `failed` in the end.
      expect((await stateOf(request, 'm1')).slice(1)).toEqual(paths);
      await request.post('/reconcile?wait=true').expect(200);
      expect(await stateOf(request, 'm1')).toEqual(['ready']);
      expect(await infoOf('m1', 'blue')).toMatchObject({ mode: 'bridge', mac });
    }
  });

  it('goes with its parent, says so, and is back when that is', async () => {
    const { request } = await startDaemon({ reconcileMode: 'repair', reconcileIntervalMs: 3_600_000 });
    await foreignPair('p0', 'p1');
    await create(request, '/namespaces', { name: 'blue' });
    await create(request, '/links', { name: 'm1', type: 'macvlan', namespace: 'blue', parent: 'p0' });
    await run('ip', 'link', 'delete', 'p0');
    await expect.poll(async () => stateOf(request, 'm1')).toEqual(['failed', '']);
    const { body } = await request.get('/links/m1');
    expect(body.status.message).toMatch(/Cannot find device "p0"/);
    await foreignPair('p0', 'p1');
    await expect.poll(async () => stateOf(request, 'm1'), { timeout: 20_000 }).toEqual(['ready']);
  });

  it('comes after what it stands on where both are to be made', async () => {
    const { request } = await startDaemon();
    await create(request, '/namespaces', { name: 'blue' });
    const answers = await Promise.all([
      request.post('/links').send({ name: 'v0', type: 'veth', peer: { interface: 'v1', namespace: 'blue' } }),
      request.post('/links').send({ name: 'm1', type: 'macvlan', namespace: 'blue', parent: 'v0' }),
      request.post('/links').send({ name: 'm2', type: 'macvlan', parent: 'v1', parentNamespace: 'blue' }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
    await run('ip', 'link', 'delete', 'v0');
    expect(await stateOf(request, 'm1')).toEqual(['drifted', '']);
    await request.post('/reconcile?wait=true').expect(200);
    for (const name of ['v0', 'm1', 'm2']) expect(await stateOf(request, name)).toEqual(['ready']);
  });
});

describe('a vxlan', () => {
  it('joins bridges in two namespaces over an underlay', async () => {
    const { request } = await startDaemon();
    await create(request, '/namespaces', { name: 'blue' }, { name: 'red' }, { name: 'in1' }, { name: 'in2' });
    const under = { interface: 'u0', namespace: 'red', addresses: ['10.5.0.2/24'] };
    await create(request, '/links', {
      name: 'u',
      interface: 'u0',
      type: 'veth',
      namespace: 'blue',
      addresses: ['10.5.0.1/24'],
      peer: under,
    });
    for (const [at, namespace] of ['blue', 'red'].entries()) {
      const bridge = `br${at}`;
      await create(request, '/bridges', { name: bridge, namespace });
      const peer = {
        interface: 'eth0',
        namespace: `in${at + 1}`,
        addresses: [`10.6.0.${at + 1}/24`],
        mtu: 1450,
      };
      const remote = `10.5.0.${2 - at}`;
      await create(
        request,
        '/links',
        { name: `l${at}`, type: 'veth', namespace, bridge, peer },
        { name: `x${at}`, type: 'vxlan', namespace, bridge, id: 42, remote, device: at === 0 ? 'u0' : null },
      );
    }
    expect(await infoOf('x0', 'blue')).toMatchObject({
      kind: 'vxlan',
      id: 42,
      remote: '10.5.0.2',
      port: 4789,
      link: 'u0',
      group: '20851',
    });
    expect((await request.get('/bridges/br0')).body.status.ports).toEqual(['l0', 'x0']);
    expect((await request.get('/links/x0')).body).toMatchObject({ mtu: 1450, group: null, port: 4789 });
    await expect.poll(async () => pings('in1', '10.6.0.2')).toBe(true);
    // Another network does not hear of it.
    await request.patch('/links/x1').send({ id: 43 }).expect(200);
    expect(await pings('in1', '10.6.0.2')).toBe(false);
    await request.patch('/links/x1').send({ id: 42, device: 'u0' }).expect(200);
    await expect.poll(async () => pings('in1', '10.6.0.2')).toBe(true);
    expect((await request.delete('/links/u')).status).toBe(409);
    await request.delete('/links/u?cascade=true').expect(204);
    expect(await ipJson('-n', 'red', 'link', 'show', 'type', 'vxlan')).toEqual([]);
  });

  it('is changed by being made anew, keeps its MAC address, and is put back after drift', async () => {
    const { request } = await startDaemon();
    await create(request, '/namespaces', { name: 'blue' });
    await foreignPair('p0', 'p1');
    await create(request, '/links', { name: 'x0', type: 'vxlan', id: 1, addresses: ['10.6.0.1/24'] });
    const { mac } = (await request.get('/links/x0')).body.status as { mac: string };
    for (const [change, info] of [
      [{ remote: 'fd00::7' }, { id: 1, remote6: 'fd00::7' }],
      [
        { remote: null, group: '239.1.1.1', device: 'p0' },
        { group: '20851', link: 'p0' },
      ],
      [
        { port: 8472, id: 16_777_215 },
        { port: 8472, id: 16_777_215 },
      ],
      [{ group: null, remote: '10.0.0.7', device: null, namespace: 'blue' }, { remote: '10.0.0.7' }],
    ] as const) {
      const changed = await request.patch('/links/x0').send(change);
      expect([changed.status, changed.body]).toMatchObject([
        200,
        { ...change, status: { mac, state: 'ready' } },
      ]);
      expect(await infoOf('x0', 'namespace' in change ? 'blue' : undefined)).toMatchObject(info);
    }
    await run(...ipIn('blue', 'link delete x0'));
    await run(
      ...ipIn('blue', `link add x0 group 20851 address ${mac} type vxlan id 5 remote 10.0.0.8 dstport 8472`),
    );
    expect(await stateOf(request, 'x0')).toEqual(['drifted', '/mtu', '/up', '/addresses', '/id', '/remote']);
    await request.post('/reconcile?wait=true').expect(200);
    expect(await stateOf(request, 'x0')).toEqual(['ready']);
  });

  it.each([
    ['two far ends', { remote: '10.0.0.2', group: '239.1.1.1', device: 'p0' }, 400, /together with \/remote/],
    ['a group without an interface', { group: '239.1.1.1' }, 400, /needed with \/group/],
    ['a far end that is a group', { remote: '239.1.1.1' }, 400, /multicast/],
    ['a group that is none', { group: '10.0.0.1', device: 'p0' }, 400, /no multicast address/],
    ['a link-local far end without an interface', { remote: 'fe80::1' }, 400, /link-local/],
    ['an interface that is not there', { device: 'nope' }, 422, /Cannot find device "nope"/],
    [
      'an MTU that does not fit its interface',
      { device: 'p0', mtu: 1500 },
      422,
      /that of p0 in host, .*Invalid argument/,
    ],
    ['an identifier that is too large', { id: 16_777_216 }, 400, /\/id/],
    [
      'an identifier that another one has',
      { id: 7 },
      422,
      /vxlan 7 at port 4789, IPv4 in host is taken by link\/x7/,
    ],
    ['an identifier that somebody else’s has', { id: 8 }, 409, /VNI already exists/],
  ])('is refused %s', async (_what, fields, status, says) => {
    const { request } = await startDaemon();
    await foreignPair('p0', 'p1');
    await run('ip', 'link', 'add', 'x8', 'type', 'vxlan', 'id', '8', 'dstport', '4789');
    onTestFinished(async () => void (await run('ip', 'link', 'delete', 'x8')));
    await create(request, '/links', { name: 'x7', type: 'vxlan', id: 7, up: false });
    const answer = await request.post('/links').send({ name: 'x1', type: 'vxlan', id: 1, ...fields });
    expect([answer.status, answer.body.detail]).toEqual([status, expect.stringMatching(says)]);
    expect(await ipJson('link', 'show', 'type', 'vxlan')).toHaveLength(2);
  });
});

/** Opens the tap and sends one broadcast of 60 zero bytes and a type of its own by it. */
const SEND = `
import fcntl, os, struct, sys
tap = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', sys.argv[1].encode(), 0x1002))
sys.stdin.readline()
os.write(tap, b'\\xff' * 6 + b'\\x02\\x00\\x00\\x00\\x00\\x99' + b'\\x88\\xb5' + bytes(46))
sys.stdin.readline()
`;

describe('a link of one end', () => {
  const rows: Record<string, unknown>[] = [
    { name: 'mac0', type: 'macvlan', parent: 'base', parentNamespace: 'blue' },
    { name: 'vx0', type: 'vxlan', id: 7, bridge: 'br0', isolatedPort: true, hairpin: true },
    { name: 'tap0', type: 'tap', bridge: 'br0', isolatedPort: true, hairpin: true },
  ];

  it.each(rows)('has the further options of an end: $type', async (link) => {
    const { request } = await startDaemon();
    await create(request, '/namespaces', { name: 'blue' });
    await create(
      request,
      '/bridges',
      { name: 'br0', namespace: 'blue' },
      { name: 'base', namespace: 'blue' },
    );
    const options = {
      txQueueLength: 300,
      rate: { egressKbit: 1000 },
      sysctls: { 'ipv4.conf.rp_filter': '2' },
    };
    await create(request, '/links', { ...link, namespace: 'blue', ...options });
    const path = `/links/${String(link['name'])}`;
    const name = String(link['name']);
    expect((await request.get(path)).body).toMatchObject({ ...options, status: { state: 'ready' } });
    const [shown] = await ipJson('-n', 'blue', 'link', 'show', 'dev', name);
    expect(shown).toMatchObject({ txqlen: 300, qdisc: 'tbf' });
    await run('ip', '-n', 'blue', 'link', 'set', 'dev', name, 'txqueuelen', '200');
    await run('tc', '-n', 'blue', 'qdisc', 'del', 'dev', name, 'root');
    expect(await stateOf(request, name)).toEqual(['drifted', '/txQueueLength', '/rate/egressKbit']);
    await request.post('/reconcile?wait=true').expect(200);
    expect(await stateOf(request, name)).toEqual(['ready']);
    await request.patch(path).send({ txQueueLength: null, rate: null, sysctls: null }).expect(200);
    const [after] = await ipJson('-n', 'blue', 'link', 'show', 'dev', name);
    expect(after).toMatchObject({ txqlen: 1000 });
    expect(after?.['qdisc']).not.toBe('tbf');
    expect((await request.get('/drift')).body.items).toEqual([]);
  });

  it.each(rows)('says who decides on whole checksums if it does not: $type', async (link) => {
    const { request } = await startDaemon();
    await create(request, '/namespaces', { name: 'blue' });
    await create(
      request,
      '/bridges',
      { name: 'br0', namespace: 'blue' },
      { name: 'base', namespace: 'blue' },
    );
    const body = { ...link, namespace: 'blue', offload: { checksum: false } };
    const answer = await request.post('/links').send(body);
    if (link['type'] === 'vxlan') expect(answer.body).toMatchObject({ offload: { checksum: false } });
    else expect([answer.status, answer.body.detail]).toEqual([422, expect.stringContaining('/offload')]);
  });
});

describe('a tap', () => {
  it('is a port of a bridge that a process sends by', async () => {
    const { request } = await startDaemon();
    await create(request, '/namespaces', { name: 'blue' });
    await create(request, '/bridges', { name: 'br0', namespace: 'blue' });
    await create(request, '/links', {
      name: 't0',
      type: 'tap',
      namespace: 'blue',
      bridge: 'br0',
      owner: 1234,
      group: 1235,
    });
    expect(await infoOf('t0', 'blue')).toMatchObject({ kind: 'tun', type: 'tap', persist: true, user: 1234 });
    expect((await ipJson('-n', 'blue', 'tuntap', 'show'))[0]).toMatchObject({ user: 1234, group: 1235 });
    expect((await request.get('/links/t0')).body).toMatchObject({ owner: 1234, group: 1235 });
    const machine = execa('ip', ['netns', 'exec', 'blue', 'python3', '-c', SEND, 't0'], { reject: false });
    await expect.poll(async () => (await request.get('/links/t0')).body.status.operstate).toBe('up');
    machine.stdin.write('\n');
    await expect
      .poll(async () => run('ip', 'netns', 'exec', 'blue', 'bridge', 'fdb', 'show', 'br', 'br0'), {
        timeout: 10_000,
      })
      .toMatch(/02:00:00:00:00:99 dev t0/);
    machine.stdin.end('\n');
    await machine;
    expect(await stateOf(request, 't0')).toEqual(['ready']);
  });

  it('is made under another name, marked and named in one, and changed by being made anew', async () => {
    const { request } = await startDaemon();
    await create(request, '/namespaces', { name: 'blue' });
    const { body: dry } = await request
      .post('/links?dryRun=true')
      .send({ name: 't0', type: 'tap', owner: 0 });
    const [maker] = /nt[0-9a-f]{12}/.exec(dry.commands[0]) ?? [];
    expect(dry.commands.slice(0, 2)).toEqual([
      `ip tuntap add dev ${maker} mode tap user 0`,
      expect.stringMatching(`^ip link set dev ${maker} group 20851 address [0-9a-f:]{17} name t0$`),
    ]);
    await create(request, '/links', { name: 't0', type: 'tap', owner: 0, group: 0 });
    const { mac } = (await request.get('/links/t0')).body.status as { mac: string };
    for (const change of [
      { owner: 1234, group: null },
      { owner: null },
      { namespace: 'blue', interface: 'eth0', mtu: 1400, addresses: ['10.1.1.1/24'] },
    ]) {
      const changed = await request.patch('/links/t0').send(change);
      expect([changed.status, changed.body]).toMatchObject([
        200,
        { ...change, status: { mac, state: 'ready' } },
      ]);
    }
    await run(...ipIn('blue', 'link delete eth0'));
    await run(...ipIn('blue', 'tuntap add dev eth0 mode tap user 7'));
    await run(...ipIn('blue', `link set dev eth0 group 20851 address ${mac} mtu 1400 up`));
    expect(await stateOf(request, 't0')).toEqual(['drifted', '/addresses', '/owner']);
    await request.post('/reconcile?wait=true').expect(200);
    expect(await stateOf(request, 't0')).toEqual(['ready']);
  });

  it('is refused, with what is missing by name, where the kernel has no such devices', async () => {
    const { request } = await startDaemon();
    await run('mount', '-t', 'tmpfs', 'none', '/dev/net');
    onTestFinished(async () => void (await run('umount', '/dev/net')));
    const answer = await request.post('/links').send({ name: 't0', type: 'tap' });
    expect([answer.status, answer.body.detail]).toEqual([501, expect.stringMatching(/of type tap/)]);
  });

  it('leaves nothing where its name is somebody else’s', async () => {
    const { request } = await startDaemon();
    await run('ip', 'tuntap', 'add', 'dev', 't0', 'mode', 'tap');
    onTestFinished(async () => void (await run('ip', 'link', 'delete', 't0')));
    const before = await run('ip', '-d', 'link', 'show', 'dev', 't0');
    const answer = await request.post('/links').send({ name: 't0', type: 'tap' });
    expect([answer.status, answer.body.type]).toEqual([409, '/problems/foreign-object']);
    expect(await run('ip', '-d', 'link', 'show', 'dev', 't0')).toBe(before);
    expect((await ipJson('link', 'show', 'type', 'tun')).map(({ ifname }) => ifname)).toEqual(['t0']);
  });
});

describe('links of one end', () => {
  it('are back after a reboot', async () => {
    const stateDir = temporaryDirectory();
    // Another network with an empty /run: what netnsd sees after a reboot.
    const elsewhere = { stateDir, through: ['script/sandbox'] };
    const first = await startServer([], elsewhere);
    const all: [path: string, body: object][] = [
      ['/namespaces', { name: 'blue' }],
      ['/bridges', { name: 'br0' }],
      ['/links', { name: 'a0', type: 'vxlan', id: 9, remote: '10.5.0.2', device: 'v0' }],
      ['/links', { name: 'm0', type: 'macvlan', parent: 'v1', parentNamespace: 'blue' }],
      ['/links', { name: 't0', type: 'tap', namespace: 'blue', owner: 7 }],
      ['/links', { name: 'v0', type: 'veth', peer: { interface: 'v1', namespace: 'blue' } }],
    ];
    // Not in the order of their names, in which they are put back.
    const inOrder = all.toSorted(
      ([, a], [, b]) => Number('device' in a || 'parent' in a) - Number('device' in b || 'parent' in b),
    );
    for (const [path, body] of inOrder) expect((await first.curl(path, 'POST', body)).status).toBe(201);
    const look = async ({ curl }: Server): Promise<unknown[]> =>
      Promise.all(
        ['a0', 'm0', 't0', 'v0'].map(async (name) => {
          const { status } = (await curl(`/links/${name}`)).body as {
            status: { state: string; mac: string };
          };
          return { state: status.state, mac: status.mac };
        }),
      );
    const before = await look(first);
    await first.end('SIGKILL');
    const second = await startServer([], elsewhere);
    await expect.poll(async () => (await second.curl('/readyz')).status, { timeout: 20_000 }).toBe(200);
    expect(await look(second)).toEqual(before);
    expect((await second.curl('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
  });
});

function ipIn(namespace: string, line: string): [string, ...string[]] {
  return ['ip', '-n', namespace, ...line.split(' ')];
}
