import { describe, expect, it } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

const send = async (method: 'post' | 'put' | 'patch', path: string, body: object) =>
  daemon().request[method](path).send(body);

async function createBridge(fields: object = {}): Promise<void> {
  const { status, body } = await send('post', '/bridges', {
    name: 'br00',
    subnets: ['10.1.1.0/24', 'fd00:1::/64'],
    ...fields,
  });
  expect([status, body.detail]).toEqual([201, undefined]);
}

async function createNamespace(name = 'blue'): Promise<void> {
  expect((await send('post', '/namespaces', { name })).status).toBe(201);
}

function linkOf(name: string, namespace = 'blue', bridge = 'br00'): object {
  return {
    name,
    type: 'veth',
    bridge,
    peer: {
      interface: `e-${name}`,
      namespace,
      addresses: ['auto'],
      routes: [{ to: 'default', via: 'auto', table: 1000 + Number(name.replaceAll(/\D/g, '')) }],
    },
  };
}

async function leases(bridge = 'br00'): Promise<{ address: string; link: string; since: string }[]> {
  const { body } = await daemon().request.get(`/bridges/${bridge}/leases`).expect(200);
  return body.items;
}

describe('subnets of a bridge', () => {
  it('have the bridge as the first usable address, beside what else it has', async () => {
    await createBridge({ addresses: ['10.9.0.1/16'] });
    const { body } = await daemon().request.get('/bridges/br00').expect(200);
    expect(body.addresses).toEqual(['10.9.0.1/16']);
    expect(body.subnets).toEqual(['10.1.1.0/24', 'fd00:1::/64']);
    expect(body.status.subnets).toEqual([
      { subnet: '10.1.1.0/24', gateway: '10.1.1.1' },
      { subnet: 'fd00:1::/64', gateway: 'fd00:1::1' },
    ]);
    expect(body.status.state).toBe('ready');
    expect(body.status.addresses).toEqual(
      expect.arrayContaining(['10.9.0.1/16', '10.1.1.1/24', 'fd00:1::1/64']),
    );
  });

  it('have the bridge as `addresses` says, where that says so', async () => {
    await createBridge({ addresses: ['10.1.1.254/24'] });
    const { body } = await daemon().request.get('/bridges/br00').expect(200);
    expect(body.status.subnets[0]).toEqual({ subnet: '10.1.1.0/24', gateway: '10.1.1.254' });
    expect(body.status.addresses).not.toContain('10.1.1.1/24');
  });

  it('say how the bridge can have another address where a link has that which it would have', async () => {
    await createBridge({ subnets: ['10.1.1.0/31'] });
    await createNamespace();
    await send('post', '/links', linkOf('v1'));
    const refused = await send('patch', '/bridges/br00', { subnets: ['10.1.1.0/30'] });
    const why =
      '10.1.1.1, the gateway of 10.1.1.0/30, as the first address there while `addresses` has none,';
    expect([refused.status, refused.body.detail]).toEqual([422, expect.stringContaining(why)]);
    const given = { subnets: ['10.1.1.0/30'], addresses: ['10.1.1.2/30'] };
    expect((await send('patch', '/bridges/br00', given)).status).toBe(200);
    expect(await leases()).toMatchObject([{ address: '10.1.1.1', link: 'v1' }]);
  });

  it('keep the length of the bridge’s own address in them, whatever is changed', async () => {
    await createBridge({ addresses: ['10.1.1.254/24'] });
    for (const addresses of [['10.1.1.254/25'], ['10.1.1.254/32']]) {
      const { status, body } = await send('patch', '/bridges/br00', { addresses });
      expect([status, body.errors?.[0]?.pointer]).toEqual([400, '/addresses/0']);
    }
    const { body } = await daemon().request.get('/bridges/br00').expect(200);
    expect([body.revision, body.status.addresses[0]]).toEqual([1, '10.1.1.254/24']);
  });

  it.each<[string, object, number, RegExp]>([
    ['no network', { subnets: ['10.1.1.3/24'] }, 400, /the network is 10\.1\.1\.0\/24/],
    ['no room', { subnets: ['10.1.1.1/32'] }, 400, /prefix length/],
    ['of multicast', { subnets: ['224.1.0.0/16'] }, 400, /multicast/],
    ['of loopback', { subnets: ['127.1.0.0/16'] }, 400, /loopback/],
    ['twice', { subnets: ['10.1.0.0/16', '10.1.1.0/24'] }, 400, /overlaps 10\.1\.0\.0\/16/],
    ['another length', { subnets: ['10.1.1.0/24'], addresses: ['10.1.1.9/16'] }, 400, /prefix length/],
    ['reserved backwards', { subnets: ['10.1.1.0/24'], reserved: ['10.1.1.9-10.1.1.3'] }, 400, /lower/],
    ['reserved mixed', { subnets: ['10.1.1.0/24'], reserved: ['10.1.1.9-fd00::1'] }, 400, /two families/],
    ['reserved elsewhere', { subnets: ['10.1.1.0/24'], reserved: ['10.1.2.9'] }, 400, /none of the/],
    ['auto as an address', { addresses: ['auto'] }, 400, /only at an end of a veth pair/],
    ['IPv6 on a small MTU', { subnets: ['fd00::/64'], mtu: 1000 }, 422, /1280/],
  ])('are refused where they can’t be: %s', async (_, fields, expected, message) => {
    const { status, body } = await send('post', '/bridges', { name: 'br00', ...fields });
    expect([status, body.detail]).toEqual([expected, expect.stringMatching(message)]);
  });

  it('overlap no other’s', async () => {
    await createBridge();
    const other = await send('post', '/bridges', { name: 'br01', subnets: ['10.1.0.0/16'] });
    expect([other.status, other.body.detail]).toEqual([422, expect.stringContaining('bridge/br00')]);
    expect(other.body.references).toEqual([expect.objectContaining({ kind: 'bridge', name: 'br00' })]);
  });

  it('are chosen where they are `auto`, by 20 at once no two that overlap, and stay', async () => {
    const made = await Promise.all(
      Array.from({ length: 20 }, async (_, at) =>
        send('post', '/bridges', { name: `b${at}`, subnets: ['auto', 'auto-ipv6'] }),
      ),
    );
    expect(made.map(({ status }) => status)).toEqual(made.map(() => 201));
    const chosen = made.flatMap(({ body }) =>
      body.status.subnets.map((each: { subnet: string }) => each.subnet),
    );
    expect(new Set(chosen).size).toBe(40);
    const again = await send('patch', '/bridges/b3', { stp: true });
    expect(again.body.status.subnets).toEqual(made[3]?.body.status.subnets);
  });

  it('are as before without them', async () => {
    const { body } = await send('post', '/bridges', { name: 'br00', addresses: ['10.1.1.3/24'] });
    expect([body.subnets, body.reserved, body.status.subnets]).toEqual([[], [], undefined]);
    expect(await leases()).toEqual([]);
  });
});

describe('an end of a link with `auto`', () => {
  it('has an address from each subnet, and the bridge as its gateway', async () => {
    await createBridge();
    await createNamespace();
    const { status, body } = await send('post', '/links', linkOf('v1'));
    expect([status, body.detail]).toEqual([201, undefined]);
    expect(body.peer.addresses).toEqual(['auto']);
    expect(body.status.state).toBe('ready');
    expect(body.status.peer.addresses).toEqual(expect.arrayContaining(['10.1.1.2/24', 'fd00:1::2/64']));
    expect(body.status.peer.gateways).toEqual(['10.1.1.1', 'fd00:1::1']);
    expect(body.status.peer.leases.map(({ address }: { address: string }) => address)).toEqual([
      '10.1.1.2',
      'fd00:1::2',
    ]);
    expect(await leases()).toEqual([
      {
        address: '10.1.1.2',
        subnet: '10.1.1.0/24',
        link: 'v1',
        end: 'peer',
        interface: 'e-v1',
        namespace: 'blue',
        since: body.createdAt,
      },
      expect.objectContaining({ address: 'fd00:1::2', link: 'v1' }),
    ]);
  });

  it('skips what is reserved, the gateway and what other links have as fixed', async () => {
    await createBridge({
      subnets: ['10.1.1.0/24'],
      addresses: ['10.1.1.3/24'],
      reserved: ['10.1.1.1', '10.1.1.4-10.1.1.9'],
    });
    await createNamespace();
    const fixed = { interface: 'e0', namespace: 'blue', addresses: ['10.1.1.2/24'] };
    await send('post', '/links', { name: 'v0', type: 'veth', bridge: 'br00', peer: fixed });
    await send('post', '/links', linkOf('v1'));
    expect((await leases()).map(({ address }) => address)).toEqual(['10.1.1.10']);
  });

  it('gives a different address to each of 100 that ask at once', { timeout: 120_000 }, async () => {
    await createBridge({ subnets: ['10.1.1.0/24'] });
    await createNamespace();
    const made = await Promise.all(
      Array.from({ length: 100 }, async (_, at) => send('post', '/links', linkOf(`v${at}`))),
    );
    expect(new Set(made.map(({ status }) => status))).toEqual(new Set([201]));
    const given = await leases();
    expect(given).toHaveLength(100);
    expect(new Set(given.map(({ address }) => address)).size).toBe(100);
  });

  it('gets another address when it moves to another bridge', async () => {
    await createBridge({ subnets: ['10.1.1.0/24'] });
    await createBridge({ name: 'br01', subnets: ['10.1.2.0/24'] });
    await createNamespace();
    await send('post', '/links', linkOf('v1'));
    const { body } = await send('patch', '/links/v1', { bridge: 'br01' });
    expect(body.status).toMatchObject({
      state: 'ready',
      peer: { leases: [{ address: '10.1.2.2' }], gateways: ['10.1.2.1'] },
    });
    expect(await leases()).toEqual([]);
    expect(await leases('br01')).toHaveLength(1);
  });

  it('is told which subnet is used up, and by whom', async () => {
    await createBridge({ subnets: ['10.1.1.0/29'], reserved: ['10.1.1.5-10.1.1.7'] });
    await createNamespace();
    for (const name of ['v1', 'v2', 'v3'])
      expect((await send('post', '/links', linkOf(name))).status).toBe(201);
    const { status, body } = await send('post', '/links', linkOf('v4'));
    expect([status, body.type]).toEqual([507, '/problems/limit-reached']);
    expect(body.detail).toMatch(
      /10\.1\.1\.0\/29 of bridge\/br00 is used up: of 6 addresses, the bridge has 1, 2 are reserved, and 3 are used by link\/v1, link\/v2, link\/v3;/,
    );
    expect(body.references).toHaveLength(3);
    await daemon().request.delete('/links/v2').expect(204);
    const again = await send('post', '/links', linkOf('v4'));
    expect(again.body.status.peer.leases[0].address).toBe('10.1.1.3');
  });

  it('says what would be done in a dry run, and gives nothing', async () => {
    await createBridge();
    await createNamespace();
    const { body } = await daemon().request.post('/links?dryRun=true').send(linkOf('v1')).expect(200);
    expect(body.commands.join('\n')).toMatch(/address add 10\.1\.1\.2\/24 dev e-v1/);
    expect(await leases()).toEqual([]);
    const bridge = await daemon()
      .request.post('/bridges?dryRun=true')
      .send({ name: 'br01', subnets: ['10.1.1.0/25'] });
    expect(bridge.status).toBe(422);
  });

  it('is as it was if the same is asked for again', async () => {
    await createBridge();
    await createNamespace();
    const first = await send('put', '/links/v1', linkOf('v1'));
    const again = await send('put', '/links/v1', linkOf('v1'));
    expect([first.status, again.status]).toEqual([201, 200]);
    expect(again.body.revision).toBe(1);
    expect(again.body.status.peer.leases).toEqual(first.body.status.peer.leases);
    const bridge = await send('put', '/bridges/br00', { subnets: ['10.1.1.0/24', 'fd00:1::/64'] });
    expect([bridge.status, bridge.body.revision]).toEqual([200, 1]);
  });

  it.each<[string, object, RegExp]>([
    ['no bridge at the other end', { bridge: null }, /the other end is on none/],
    ['a bridge without subnets', { bridge: 'plain' }, /plain has none/],
    [
      'a gateway without an address',
      { peer: { interface: 'e', namespace: 'blue', routes: [{ to: 'default', via: 'auto' }] } },
      /add `auto` to `addresses`/,
    ],
    [
      'the address of another',
      { peer: { interface: 'e', namespace: 'blue', addresses: ['10.1.1.2/24'] } },
      /link\/v1/,
    ],
    [
      'the address of the bridge',
      { peer: { interface: 'e', namespace: 'blue', addresses: ['10.1.1.1/24'] } },
      /bridge\/br00/,
    ],
    [
      'two default routes',
      {
        peer: {
          interface: 'e',
          namespace: 'blue',
          addresses: ['auto'],
          routes: [
            { to: 'default', via: 'auto' },
            { to: 'default', via: '10.1.1.9' },
          ],
        },
      },
      /two of them are the same/,
    ],
  ])('is refused where that can’t be: %s', async (_, fields, message) => {
    await createBridge();
    await createBridge({ name: 'plain', subnets: [] });
    await createNamespace();
    await send('post', '/links', linkOf('v1'));
    const { status, body } = await send('post', '/links', { ...linkOf('v2'), ...fields });
    expect([status, body.detail]).toEqual([422, expect.stringMatching(message)]);
  });
});

describe('a bridge whose subnets change', () => {
  it('gives its links addresses out of the new ones, in the same change', async () => {
    await createBridge({ subnets: ['10.1.1.0/24'] });
    await createNamespace();
    await send('post', '/links', linkOf('v1'));
    const { status } = await send('patch', '/bridges/br00', { subnets: ['10.1.2.0/24'] });
    expect(status).toBe(200);
    const { body } = await daemon().request.get('/links/v1');
    expect(body.revision).toBe(2);
    expect(body.status).toMatchObject({
      state: 'ready',
      peer: { leases: [{ address: '10.1.2.2', subnet: '10.1.2.0/24' }] },
    });
    const wider = await send('patch', '/bridges/br00', { subnets: ['10.1.0.0/16'] });
    expect(wider.status).toBe(200);
    const after = await daemon().request.get('/links/v1');
    expect(after.body.status).toMatchObject({
      state: 'ready',
      peer: { leases: [{ address: '10.1.2.2', subnet: '10.1.0.0/16' }] },
    });
  });

  it('can’t be without, while a link has an address out of them', async () => {
    await createBridge({ subnets: ['10.1.1.0/24'] });
    await createNamespace();
    await send('post', '/links', linkOf('v1'));
    const { status, body } = await send('patch', '/bridges/br00', { subnets: [] });
    expect([status, body.type]).toEqual([409, '/problems/in-use']);
    expect(body.references).toEqual([expect.objectContaining({ name: 'v1' })]);
    expect(await leases()).toHaveLength(1);
  });
});

describe('GET /bridges/{name}/leases', () => {
  it('is 404 for a bridge that is not recorded', async () => {
    expect((await daemon().request.get('/bridges/none/leases')).status).toBe(404);
  });
});
