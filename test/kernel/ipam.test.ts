import { onTestFinished, describe, expect, it } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { pipeline } from '../support/pipeline.ts';
import { ipJson, pings, run } from '../support/shell.ts';

/** A line for `ip`, and what takes it away after the test. */
async function given(line: string, undo: string): Promise<void> {
  await run('ip', ...line.split(' '));
  onTestFinished(async () => void (await run('ip', ...undo.split(' '))));
}

function linkTo(namespace: string, bridge = 'br00'): object {
  const peer = {
    interface: 'eth0',
    namespace,
    addresses: ['auto'],
    routes: [{ to: 'default', via: 'auto' }],
  };
  return { name: `v-${namespace}`, type: 'veth', bridge, peer };
}

async function createNetwork({ request }: Daemon, subnets: string[]): Promise<void> {
  const { status, body } = await request.post('/bridges').send({ name: 'br00', subnets });
  expect([status, body.detail]).toEqual([201, undefined]);
  for (const name of ['blue', 'red']) {
    await request.post('/namespaces').send({ name });
    expect((await request.post('/links').send(linkTo(name))).status).toBe(201);
  }
}

async function addressesIn(namespace: string): Promise<unknown[]> {
  const [device] = await ipJson('-n', namespace, 'address', 'show', 'dev', 'eth0', 'scope', 'global');
  const addresses = device?.['addr_info'] as { local?: string; prefixlen: number }[];
  return addresses
    .filter(({ local }) => local !== undefined)
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
}

async function gatewaysIn(namespace: string): Promise<unknown[]> {
  const routes = await Promise.all(
    ['-4', '-6'].map(async (family) => ipJson(family, '-n', namespace, 'route', 'show', 'default')),
  );
  return routes.flat().map(({ gateway }) => gateway);
}

describe('addresses that a bridge gives', () => {
  it('are on the interfaces, with routes by the bridge, and reach one another and the bridge', async () => {
    const daemon = await startDaemon();
    await createNetwork(daemon, ['10.1.1.0/24', 'fd00:1::/64']);
    expect(await addressesIn('blue')).toEqual(['10.1.1.2/24', 'fd00:1::2/64']);
    expect(await addressesIn('red')).toEqual(['10.1.1.3/24', 'fd00:1::3/64']);
    expect(await gatewaysIn('blue')).toEqual(['10.1.1.1', 'fd00:1::1']);
    for (const to of ['10.1.1.3', '10.1.1.1', 'fd00:1::3', 'fd00:1::1'])
      expect([to, await pings('blue', to)]).toEqual([to, true]);
    expect(await pings(null, '10.1.1.2')).toBe(true);
  });

  it('are mended as they were chosen', async () => {
    const daemon = await startDaemon();
    await createNetwork(daemon, ['10.1.1.0/24']);
    await run('ip', '-n', 'blue', 'address', 'flush', 'dev', 'eth0');
    await run('ip', 'address', 'delete', '10.1.1.1/24', 'dev', 'br00');
    const { body } = await daemon.request.get('/links/v-blue');
    expect(body.status.state).toBe('drifted');
    const again = await daemon.request.put('/links/v-blue').send(linkTo('blue'));
    expect([again.status, again.body.revision, again.body.status.state]).toEqual([200, 1, 'ready']);
    expect(await addressesIn('blue')).toContain('10.1.1.2/24');
    expect(await gatewaysIn('blue')).toEqual(['10.1.1.1']);
    expect(await pings('blue', '10.1.1.1')).toBe(true);
  });

  it('are mended of netnsd’s own accord', async () => {
    const daemon = await startDaemon({ reconcileMode: 'repair' });
    await createNetwork(daemon, ['10.1.1.0/24']);
    await run('ip', '-n', 'blue', 'address', 'delete', '10.1.1.2/24', 'dev', 'eth0');
    await expect
      .poll(async () => addressesIn('blue').then((found) => found.includes('10.1.1.2/24')), {
        timeout: 10_000,
      })
      .toBe(true);
    await expect.poll(async () => gatewaysIn('blue')).toEqual(['10.1.1.1']);
  });

  it('follow the subnets of the bridge', async () => {
    const daemon = await startDaemon();
    await createNetwork(daemon, ['10.1.1.0/24']);
    const { status } = await daemon.request
      .patch('/bridges/br00')
      .send({ subnets: ['10.1.2.0/24', 'auto-ipv6'] });
    expect(status).toBe(200);
    expect(await addressesIn('red')).toEqual(['10.1.2.3/24', 'fd6e:6574:6e73::3/64']);
    expect(await gatewaysIn('red')).toEqual(['10.1.2.1', 'fd6e:6574:6e73::1']);
    expect(await pings('red', '10.1.2.2')).toBe(true);
    expect(await pings('red', 'fd6e:6574:6e73::2')).toBe(true);
  });

  it.each([
    ['10.1.1.0/31', '10.1.1.0', '10.1.1.1'],
    ['10.1.1.0/30', '10.1.1.1', '10.1.1.2'],
    ['fd00:1::/127', 'fd00:1::', 'fd00:1::1'],
  ])('are one for one link in %s, and it reaches the bridge', async (subnet, gateway, address) => {
    const { request } = await startDaemon();
    for (const name of ['blue', 'red']) await request.post('/namespaces').send({ name });
    await request.post('/bridges').send({ name: 'br00', subnets: [subnet] });
    expect((await request.post('/links').send(linkTo('blue'))).status).toBe(201);
    expect((await request.post('/links').send(linkTo('red'))).status).toBe(507);
    expect(await pings('blue', gateway)).toBe(true);
    expect(await pings(null, address)).toBe(true);
  });

  it('are there for requests that build on one another and arrive together', async () => {
    const { socketPath } = await startDaemon();
    const answers = await pipeline(socketPath, [
      ['POST', '/namespaces', { name: 'blue' }],
      ['POST', '/bridges', { name: 'br00', subnets: ['auto'] }],
      ['POST', '/links', linkTo('blue')],
    ]);
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
    expect(await pings('blue', '10.192.0.1')).toBe(true);
  });
});

describe('a subnet', () => {
  it('can’t be what an interface of the host has, or a route leads to', async () => {
    const { request } = await startDaemon();
    await given('link add their0 type bridge', 'link delete their0');
    await given('address add 10.7.1.9/24 dev their0', 'address delete 10.7.1.9/24 dev their0');
    await run('ip', 'link', 'set', 'their0', 'up');
    await run('ip', 'route', 'add', '10.8.0.0/16', 'via', '10.7.1.1');
    await run('ip', 'route', 'add', 'unreachable', '10.6.0.0/16');
    onTestFinished(async () => void (await run('ip', 'route', 'delete', 'unreachable', '10.6.0.0/16')));
    await run('ip', '-6', 'route', 'add', 'fd00:8::/48', 'dev', 'their0', 'table', '77');
    for (const [subnet, what] of [
      ['10.7.0.0/16', 'the address 10.7.1.9/24 of their0 in host'],
      ['10.7.1.64/26', 'the address 10.7.1.9/24 of their0 in host'],
      ['10.8.4.0/24', 'the route to 10.8.0.0/16 by their0 in host'],
      ['10.6.4.0/24', 'the route to 10.6.0.0/16 in host'],
      ['fd00:8:0:1::/64', 'the route to fd00:8::/48 by their0 in host'],
    ]) {
      const { status, body } = await request.post('/bridges').send({ name: 'br00', subnets: [subnet] });
      expect([status, body.detail]).toEqual([422, expect.stringContaining(String(what))]);
    }
    await request.post('/bridges').send({ name: 'br00' });
    const patched = await request.patch('/bridges/br00').send({ subnets: ['10.7.0.0/16'] });
    expect(patched.status).toBe(422);
    const fine = await request.patch('/bridges/br00').send({ subnets: ['10.9.0.0/16'] });
    expect(fine.status).toBe(200);
  });

  it('of `auto` is beside the addresses and routes of the host', async () => {
    const { request } = await startDaemon();
    await given('link add their0 type bridge', 'link delete their0');
    await given('address add 10.192.0.9/24 dev their0', 'address delete 10.192.0.9/24 dev their0');
    await run('ip', 'link', 'set', 'their0', 'up');
    await run('ip', 'route', 'add', '10.192.1.128/25', 'dev', 'their0');
    await run('ip', 'route', 'add', '10.192.2.0/23', 'dev', 'their0', 'table', '99');
    const { body } = await request.post('/bridges').send({ name: 'br00', subnets: ['auto'] });
    expect(body.status.subnets).toEqual([{ subnet: '10.192.4.0/24', gateway: '10.192.4.1' }]);
  });

  it('of `auto` is beside the routes of the bridge itself and what links on it have', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    const own = { addresses: ['10.9.0.2/24'], routes: [{ to: '10.192.0.0/24', via: '10.9.0.1' }] };
    const made = await request.post('/bridges').send({ name: 'br00', subnets: ['auto'], ...own });
    expect([made.status, made.body.detail]).toEqual([201, undefined]);
    expect(made.body.status.subnets).toMatchObject([{ subnet: '10.192.1.0/24' }]);
    await request.post('/bridges').send({ name: 'br01' });
    const peer = {
      interface: 'e1',
      namespace: 'blue',
      addresses: ['10.192.2.9/24'],
      routes: [{ to: '10.192.3.0/24', via: '10.192.2.1' }],
    };
    await request.post('/links').send({ name: 'v1', type: 'veth', bridge: 'br01', peer });
    const patched = await request.patch('/bridges/br01').send({ subnets: ['auto'] });
    expect(patched.body.status.subnets).toMatchObject([{ subnet: '10.192.4.0/24' }]);
  });

  it('of `auto` is beside what nat rules are about, as long as there is another', async () => {
    const { request } = await startDaemon();
    const rules = [
      { name: 'out', type: 'masquerade', source: '10.192.0.0/24' },
      { name: 'web', type: 'dnat', protocol: 'tcp', port: '80', to: { address: '10.192.1.9' } },
      { name: 'all', type: 'masquerade', source: 'fd6e:6574:6e73::/48' },
    ];
    for (const rule of rules) expect((await request.post('/nat').send(rule)).status).toBe(201);
    const { body } = await request.post('/bridges').send({ name: 'br00', subnets: ['auto', 'auto-ipv6'] });
    expect(body.status.subnets).toMatchObject([
      { subnet: '10.192.2.0/24' },
      { subnet: 'fd6e:6574:6e73::/64' },
    ]);
  });

  it('is beside the local routes of others and both sides of point-to-point addresses', async () => {
    const { request } = await startDaemon();
    await run('ip', 'route', 'add', 'local', '10.192.0.0/24', 'dev', 'lo');
    onTestFinished(async () => void (await run('ip', 'route', 'delete', 'local', '10.192.0.0/24')));
    await given('link add their0 type bridge', 'link delete their0');
    await run('ip', 'address', 'add', '10.9.0.1', 'peer', '10.60.0.5/24', 'dev', 'their0');
    const chosen = await request.post('/bridges').send({ name: 'br00', subnets: ['auto'] });
    expect(chosen.body.status.subnets).toMatchObject([{ subnet: '10.192.1.0/24' }]);
    for (const [subnet, status] of [
      ['10.60.0.0/25', 422],
      ['10.9.0.0/30', 422],
      ['10.9.0.128/25', 201],
    ] as const) {
      const { body, ...answer } = await request.post('/bridges').send({ name: 'br01', subnets: [subnet] });
      expect([subnet, answer.status, body.detail]).toEqual([subnet, status, body.detail]);
    }
    const { body } = await request.get('/namespaces/host/interfaces');
    const their = body.items.find(({ name }: { name: string }) => name === 'their0');
    expect(their.addresses).toEqual(['10.9.0.1/32']);
  });

  it('of a bridge in another namespace is looked for there as well', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'blue' });
    await run('ip', '-n', 'blue', 'link', 'add', 'their0', 'type', 'bridge');
    await run('ip', '-n', 'blue', 'address', 'add', '10.7.1.9/24', 'dev', 'their0');
    const bridge = { name: 'br00', namespace: 'blue', subnets: ['10.7.1.0/24'] };
    const { status, body } = await request.post('/bridges').send(bridge);
    expect([status, body.detail]).toEqual([422, expect.stringContaining('their0 in blue')]);
  });

  it('is not taken over with what is there already', async () => {
    const { request } = await startDaemon();
    await given('link add br-old type bridge', 'link delete br-old');
    const { status, body } = await request
      .put('/bridges/br-old?adopt=true')
      .send({ subnets: ['10.1.1.0/24'] });
    expect([status, body.detail]).toEqual([422, expect.stringContaining('PATCH')]);
  });
});
