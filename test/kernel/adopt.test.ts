import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { run } from '../support/shell.ts';

/** Commands for the sandbox's own network, a line each; what they make is deleted by name when the test is over. */
async function given(...commands: string[]): Promise<void> {
  for (const command of commands) await run(...(command.split(' ') as [string, ...string[]]));
}

function afterwards(...commands: string[]): void {
  onTestFinished(async () => {
    for (const command of commands) await run('sh', '-c', `${command} 2>/dev/null || true`);
  });
}

async function oldBridge(): Promise<void> {
  afterwards('ip link delete br-old', 'ip link delete eth-other');
  await given(
    'ip link add br-old type bridge ageing_time 6000',
    'ip link set br-old up mtu 1400',
    'ip address add 10.7.0.1/24 dev br-old',
    'ip address add 10.77.0.1/24 dev br-old',
    'ip address add fd07::1/64 dev br-old nodad',
    'ip route add 10.8.0.0/16 via 10.7.0.9 dev br-old',
    'ip route add 10.9.0.0/16 dev br-old proto static metric 7 table 100 src 10.7.0.1',
    'ip route add fd08::/64 via fd07::9 dev br-old',
    'ip route add 10.88.0.0/16 via 10.7.0.9 dev br-old',
    'ip link add eth-other master br-old type veth peer name eth-far',
  );
}

const bridge = {
  mtu: 1400,
  ageingSeconds: 60,
  addresses: ['10.7.0.1/24', 'fd07::1/64'],
  routes: [
    { to: '10.8.0.0/16', via: '10.7.0.9' },
    { to: '10.9.0.0/16', metric: 7, table: 100, src: '10.7.0.1' },
    { to: 'fd08::/64', via: 'fd07::9' },
  ],
};

const commands = [
  'ip link set dev br-old group 20851',
  'ip route replace 10.8.0.0/16 via 10.7.0.9 dev br-old table 254 proto 115',
  'ip route replace 10.9.0.0/16 dev br-old metric 7 src 10.7.0.1 table 100 proto 115',
  'ip route replace fd08::/64 via fd07::9 dev br-old table 254 proto 115',
];

const MARKS = /group|"?protocol|proto 115/;

describe('adopting a bridge', () => {
  it('marks it and its routes, changes nothing else, and leaves what others put there', async () => {
    const { request } = await startDaemon();
    await oldBridge();
    const before = await kernelState();
    const mac = await run('cat', '/sys/class/net/br-old/address');
    const dry = await request.put('/bridges/br-old?adopt=true&dryRun=true').send(bridge);
    expect(dry.body).toEqual({ commands, changes: [{ action: 'adopt', kind: 'bridge', name: 'br-old' }] });
    expect(kernelDifferences(before, await kernelState())).toEqual([]);
    const adopted = await request.put('/bridges/br-old?adopt=true').send(bridge);
    expect([adopted.status, adopted.headers['location']]).toEqual([201, '/bridges/br-old']);
    expect(adopted.body.status).toMatchObject({ state: 'ready', mac, ports: ['eth-other'] });
    const { body: operation } = await request.get(String(adopted.headers['operation']));
    expect(operation.commands.map(({ command }: { command: string }) => command)).toEqual(commands);
    for (const difference of kernelDifferences(before, await kernelState()))
      expect(difference).toMatch(MARKS);
    expect(await run('ip', 'route', 'show', '10.88.0.0/16')).not.toContain('proto 115');
    expect(await run('ip', '-6', 'route', 'show', 'fd08::/64')).toMatch(
      /^fd08::\/64 via fd07::9 .*proto 115.*$/,
    );
    expect((await request.get('/bridges/br-old')).body.status.state).toBe('ready');
    expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
  });

  it('with a firewall has the rules and the sysctls of that from then on', async () => {
    const { request } = await startDaemon();
    await oldBridge();
    const keys = ['net.ipv4.conf.br-old.rp_filter', 'net.ipv6.conf.br-old.accept_ra'];
    const values = async (): Promise<string> => (await run('sysctl', '-n', ...keys)).trim();
    await run('sysctl', '-w', `${keys[1]}=2`);
    const guarded = { ...bridge, firewall: { isolated: false } };
    const adopted = await request.put('/bridges/br-old?adopt=true').send(guarded);
    expect([adopted.status, adopted.body.status.state, await values()]).toEqual([201, 'ready', '2\n0']);
    expect(adopted.body.status.rules).not.toEqual([]);
    expect((await request.get('/drift')).body.items).toEqual([]);
    await request.patch('/bridges/br-old').send({ firewall: null }).expect(200);
    expect(await values()).toBe('0\n2');
  });

  it('is then like anything that netnsd made: as it was, changed, mended, deleted', async () => {
    const { request } = await startDaemon();
    await oldBridge();
    await request.put('/bridges/br-old?adopt=true').send(bridge);
    const again = await request.put('/bridges/br-old?adopt=true').send(bridge);
    expect([again.status, again.body.revision]).toEqual([200, 1]);
    await run('ip', 'route', 'delete', '10.8.0.0/16');
    await run('ip', 'link', 'set', 'br-old', 'mtu', '1300');
    expect((await request.put('/bridges/br-old').send(bridge)).body.status.state).toBe('ready');
    expect(await run('ip', 'route', 'show', '10.8.0.0/16')).toContain('proto 115');
    const changed = await request.put('/bridges/br-old?adopt=true').send({ ...bridge, routes: [] });
    expect([changed.status, changed.body.revision]).toEqual([200, 2]);
    expect(await run('ip', 'route', 'show', 'table', 'all', 'proto', '115')).toBe('');
    expect((await request.delete('/bridges/br-old')).status).toBe(204);
    expect(await run('ip', '-br', 'link')).not.toContain('br-old');
  });

  it.each([
    ['/mtu', { mtu: 1500 }, 1500, 1400],
    ['/ageingSeconds', { ageingSeconds: 300 }, 300, 60],
    ['/stp', { stp: true }, true, false],
    ['/up', { up: false }, false, true],
    ['/mac', { mac: '02:00:00:00:00:77' }, '02:00:00:00:00:77', expect.any(String)],
    ['/addresses', { addresses: ['10.7.0.2/24'] }, ['10.7.0.2/24'], expect.arrayContaining(['10.7.0.1/24'])],
    [
      '/routes',
      { routes: [{ to: '10.8.0.0/16', via: '10.7.0.8' }] },
      [expect.objectContaining({ via: '10.7.0.8' })],
      [],
    ],
  ])('is refused if %s differs, and says so', async (path, part, intended, observed) => {
    const { request } = await startDaemon();
    await oldBridge();
    const before = await kernelState();
    const refused = await request.put('/bridges/br-old?adopt=true').send({ ...bridge, ...part });
    expect([refused.status, refused.body.type]).toEqual([409, '/problems/foreign-object']);
    expect(refused.body.differences).toEqual([{ path, intended, observed }]);
    expect(refused.body.detail).toContain(path);
    expect(kernelDifferences(before, await kernelState())).toEqual([]);
    expect((await request.get('/bridges/br-old')).body.managed).toBe(false);
    const { body: operation } = await request.get(String(refused.headers['operation']));
    expect(operation).toMatchObject({ state: 'refused', problem: { slug: 'foreign-object' } });
  });

  it.each([
    ['is one of two in its place', 'ip route append 10.8.0.0/16 via 10.7.0.10 dev br-old'],
    ['has what netnsd knows nothing of', 'ip route replace 10.8.0.0/16 via 10.7.0.9 dev br-old mtu 1300'],
  ])('is refused if a route %s', async (_what, command) => {
    const { request } = await startDaemon();
    await oldBridge();
    await given(command);
    const refused = await request.put('/bridges/br-old?adopt=true').send(bridge);
    expect(refused.status).toBe(409);
    expect(refused.body.differences).toMatchObject([{ path: '/routes' }]);
  });

  it('is refused if it is no bridge, and is an ordinary creation if there is nothing', async () => {
    const { request } = await startDaemon();
    afterwards('ip link delete br-old');
    await given('ip link add br-old type veth peer name far-old');
    const refused = await request.put('/bridges/br-old?adopt=true').send({});
    expect(refused.body.differences).toEqual([{ path: '', intended: 'bridge', observed: 'veth' }]);
    const made = await request.put('/bridges/br-new?adopt=true').send({});
    expect([made.status, made.body.status.state]).toEqual([201, 'ready']);
    const elsewhere = await request.put('/bridges/br-x?adopt=true').send({ namespace: 'nowhere' });
    expect([elsewhere.status, elsewhere.body.type]).toEqual([422, '/problems/unprocessable']);
  });

  it('takes back what bears the marks and is not recorded, but not what is another resource’s', async () => {
    const { request } = await startDaemon();
    afterwards('ip link delete br-old');
    await given('ip link add br-old group 20851 type bridge', 'ip link set br-old up');
    expect((await request.get('/drift')).body.unrecorded).toMatchObject([{ name: 'br-old' }]);
    const dry = await request.put('/bridges/br-old?adopt=true&dryRun=true').send({});
    expect(dry.body.commands).toEqual([]);
    expect((await request.put('/bridges/br-old?adopt=true').send({})).status).toBe(201);
    expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
    const taken = await request.put('/bridges/br-2?adopt=true').send({ interface: 'br-old' });
    expect([taken.status, taken.body.references]).toMatchObject([422, [{ name: 'br-old' }]]);
  });

  it('goes together with nothing else, and only once', async () => {
    const { request } = await startDaemon();
    await oldBridge();
    const adopt = () => request.put('/bridges/br-old?adopt=true').send(bridge);
    const requests = [
      request.post('/namespaces').send({ name: 'blue' }),
      adopt(),
      request.post('/namespaces').send({ name: 'red' }),
      adopt(),
      request.post('/bridges').send({ name: 'br-new' }),
      request.put('/bridges/br-other?adopt=true').send({ interface: 'br-old' }),
    ];
    const answers = await Promise.all(requests);
    const statuses = answers.map(({ status }) => status);
    // The last one finds the bridge as well, but not as it asks for it, or taken by then.
    expect(statuses.slice(0, 5).toSorted((a, b) => a - b)).toEqual([200, 201, 201, 201, 201]);
    expect([409, 422]).toContain(statuses[5]);
    expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
  });

  it('is no word for nat rules, POST or PATCH', async () => {
    const { request } = await startDaemon();
    const rule = { type: 'masquerade', source: '10.1.1.0/24' };
    expect((await request.put('/nat/out?adopt=true').send(rule)).status).toBe(400);
    expect((await request.post('/bridges?adopt=true').send({ name: 'br-old' })).status).toBe(400);
    expect((await request.patch('/bridges/br-old?adopt=true').send({})).status).toBe(400);
  });
});

describe('adopting a link', () => {
  async function oldPair(): Promise<void> {
    afterwards('ip link delete veth-old', 'ip link delete br-ours', 'ip -n blue link delete eth0');
    await given(
      'ip link add veth-old master br00 type veth peer name eth0 netns blue',
      'ip link set veth-old up',
      'ip -n blue link set eth0 up mtu 1400',
      'ip -n blue address add 10.1.1.1/24 dev eth0',
      'ip -n blue route add default via 10.1.1.3',
    );
  }
  const link = {
    type: 'veth',
    bridge: 'br00',
    peer: {
      namespace: 'blue',
      interface: 'eth0',
      mtu: 1400,
      addresses: ['10.1.1.1/24'],
      routes: [{ to: 'default', via: '10.1.1.3' }],
    },
  };

  it('has the far end refuse router advertisements where the bridge is its gateway', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    await request
      .post('/bridges')
      .send({ name: 'br00', addresses: ['10.1.1.3/24'], subnets: ['fd00:1::/64'] });
    await oldPair();
    const value = async (): Promise<string> =>
      (await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-n', 'net.ipv6.conf.eth0.accept_ra')).trim();
    const adopted = await request.put('/links/veth-old?adopt=true').send(link);
    expect([adopted.status, adopted.body.status.state, await value()]).toEqual([201, 'ready', '0']);
    expect((await request.get('/drift')).body.items).toEqual([]);
    await request.patch('/bridges/br00').send({ subnets: [] }).expect(200);
    expect(await value()).toBe('1');
  });

  it('marks both ends and the routes, and deletes the pair when it is deleted', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    await request.post('/bridges').send({ name: 'br00', addresses: ['10.1.1.3/24'] });
    await oldPair();
    const before = await kernelState();
    const adopted = await request.put('/links/veth-old?adopt=true').send(link);
    expect(adopted.body).toMatchObject({ status: { state: 'ready', peer: { up: true } } });
    for (const difference of kernelDifferences(before, await kernelState()))
      expect(difference).toMatch(MARKS);
    expect((await request.get('/links/veth-old')).body.status.state).toBe('ready');
    expect(await run('ip', '-n', 'blue', 'route', 'show', 'default')).toContain('proto 115');
    expect((await request.delete('/links/veth-old')).status).toBe(204);
    expect(await run('ip', '-n', 'blue', '-br', 'link')).not.toContain('eth0');
  });

  it('is refused where an end differs, and names the end', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    await request.post('/bridges').send({ name: 'br00', addresses: ['10.1.1.3/24'] });
    await oldPair();
    const before = await kernelState();
    const { peer } = link;
    for (const [path, body] of [
      ['/bridge', { ...link, bridge: null }],
      ['/mtu', { ...link, mtu: 1499 }],
      ['/peer/mtu', { ...link, peer: { ...peer, mtu: 1500 } }],
      ['/peer/up', { ...link, peer: { ...peer, up: false } }],
      ['/peer/addresses', { ...link, peer: { ...peer, addresses: ['10.1.1.2/24'] } }],
      ['/peer', { ...link, peer: { ...peer, interface: 'eth9' } }],
      ['', { ...link, interface: 'veth-none' }],
    ] as const) {
      const refused = await request.put('/links/veth-old?adopt=true').send(body);
      expect([path, refused.status]).toEqual([path, 409]);
      expect(refused.body.differences).toMatchObject([{ path }]);
    }
    expect(kernelDifferences(before, await kernelState())).toEqual([]);
  });

  it('is refused if the two are ends of two pairs, even with each other’s indexes', async () => {
    const { request } = await startDaemon();
    afterwards('ip netns delete third', 'ip netns delete fourth');
    await given('ip netns add third', 'ip netns add fourth');
    for (const name of ['blue', 'red']) await request.post('/namespaces').send({ name });
    await given(
      'ip -n blue link add va index 105 type veth peer name xa index 107 netns third',
      'ip -n red link add vb index 107 type veth peer name xb index 105 netns fourth',
    );
    const body = {
      type: 'veth',
      up: false,
      namespace: 'blue',
      peer: { namespace: 'red', interface: 'vb', up: false },
    };
    const refused = await request.put('/links/va?adopt=true').send(body);
    expect(refused.body.differences).toMatchObject([{ path: '/peer' }]);
    await given(
      'ip -n blue link delete va',
      'ip -n red link delete vb',
      'ip -n blue link add va type veth peer name vb netns red',
    );
    expect((await request.put('/links/va?adopt=true').send(body)).status).toBe(201);
    await given('ip -n blue link add vc type veth peer name vd');
    const inside = { ...body, peer: { ...body.peer, namespace: 'blue', interface: 'vd' } };
    expect((await request.put('/links/vc?adopt=true').send(inside)).status).toBe(201);
  });
});

describe('adopting a namespace', () => {
  it('records its inode, and runs nothing', async () => {
    const { request } = await startDaemon();
    afterwards('ip netns delete old');
    await given(
      'ip netns add old',
      'ip -n old link set lo up',
      'ip -n old link add eth0 type veth peer name eth1',
    );
    const sysctls = { 'net.ipv4.ip_forward': '0' };
    const before = await kernelState();
    const dry = await request.put('/namespaces/old?adopt=true&dryRun=true').send({ sysctls });
    expect(dry.body).toEqual({
      commands: [],
      changes: [{ action: 'adopt', kind: 'namespace', name: 'old' }],
    });
    const adopted = await request.put('/namespaces/old?adopt=true').send({ sysctls });
    expect([adopted.status, adopted.body.status.state]).toEqual([201, 'ready']);
    expect(kernelDifferences(before, await kernelState())).toEqual([]);
    expect((await request.post('/bridges').send({ name: 'br9', namespace: 'old' })).status).toBe(201);
    expect((await request.delete('/namespaces/old?cascade=true')).status).toBe(204);
    expect(await run('ip', 'netns')).not.toContain('old');
  });

  it('is refused if lo is down or a sysctl differs, without adopt, and for the daemon’s own', async () => {
    const { request } = await startDaemon();
    afterwards('ip netns delete old', 'ip netns delete own');
    await given('ip netns add old', `ip netns attach own ${process.pid}`);
    const refused = await request.put('/namespaces/old?adopt=true').send({
      sysctls: { 'net.ipv4.ip_forward': '1' },
    });
    expect(refused.body.differences).toEqual([
      { path: '/status/interfaces/lo', intended: 'up', observed: 'down' },
      { path: '/sysctls/net.ipv4.ip_forward', intended: '1', observed: '0' },
    ]);
    expect((await request.put('/namespaces/old').send({})).status).toBe(409);
    const own = await request.put('/namespaces/own?adopt=true').send({});
    expect([own.status, own.body.type]).toEqual([422, '/problems/unprocessable']);
    const made = await request.put('/namespaces/fresh?adopt=true').send({});
    expect([made.status, made.body.status.state]).toEqual([201, 'ready']);
  });
});
