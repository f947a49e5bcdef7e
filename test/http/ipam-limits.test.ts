import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

const send = async (method: 'post' | 'put' | 'patch', path: string, body: object) =>
  daemon().request[method](path).send(body);

const make = async (path: string, ...bodies: object[]): Promise<void> =>
  create(daemon().request, path, ...bodies);

async function createNetwork(fields: object): Promise<void> {
  await make('/namespaces', { name: 'blue' });
  await make('/bridges', { name: 'br00', ...fields });
}

function linkOf(name: string, addresses: string[] = ['auto'], namespace = 'blue'): object {
  return {
    name,
    type: 'veth',
    bridge: 'br00',
    peer: { interface: `e-${name}`, namespace, addresses },
  };
}

async function leases(bridge = 'br00'): Promise<{ address: string; link: string }[]> {
  const { body } = await daemon().request.get(`/bridges/${bridge}/leases`).expect(200);
  return body.items;
}

const given = async (bridge?: string): Promise<string[]> =>
  (await leases(bridge)).map(({ address }) => address);

describe('a subnet that is used up', () => {
  it('is told of in numbers that add up: of the bridge, reserved, fixed, given, and had elsewhere', async () => {
    await createNetwork({
      subnets: ['10.1.1.0/28'],
      addresses: ['10.1.1.1/28'],
      reserved: ['10.1.1.0-10.1.1.4', '10.1.1.3-10.1.1.8'],
    });
    await make('/links', linkOf('fixed', ['10.1.1.8/28', '10.1.1.9/28']));
    await make('/links', { ...linkOf('other', ['10.1.1.14/32']), bridge: null });
    for (const name of ['v1', 'v2', 'v3', 'v4']) await make('/links', linkOf(name));
    const { status, body } = await send('post', '/links', linkOf('v5'));
    expect([status, body.detail]).toEqual([
      507,
      expect.stringContaining(
        'of 14 addresses, the bridge has 1, 7 are reserved, 5 are used by link/fixed, link/v1, link/v2, link/v3, link/v4, and other interfaces in blue have 1;',
      ),
    ]);
    expect(body.detail).toContain('GET /bridges/br00/leases lists what netnsd has given');
  });

  it('gives to some of those that ask at once, to none twice, and refuses the rest', async () => {
    await createNetwork({ subnets: ['10.1.1.0/27'] });
    const made = await Promise.all(
      Array.from({ length: 40 }, async (_, at) => send('post', '/links', linkOf(`v${at}`))),
    );
    const count = (expected: number): number => made.filter(({ status }) => status === expected).length;
    expect([count(201), count(507)]).toEqual([29, 11]);
    const addresses = await given();
    expect([addresses.length, new Set(addresses).size]).toEqual([29, 29]);
  });

  it('refuses to shrink below what is given, and nothing has changed', async () => {
    await createNetwork({ subnets: ['10.1.1.0/28'] });
    for (let at = 0; at < 7; at += 1) await make('/links', linkOf(`v${at}`));
    const before = await leases();
    const { status, body } = await send('patch', '/bridges/br00', { subnets: ['10.1.1.0/29'] });
    expect([status, body.type]).toEqual([507, '/problems/limit-reached']);
    expect(await leases()).toEqual(before);
    const bridge = await daemon().request.get('/bridges/br00');
    expect(bridge.body).toMatchObject({ revision: 1, subnets: ['10.1.1.0/28'], status: { state: 'ready' } });
    const { body: drift } = await daemon().request.get('/drift').expect(200);
    expect(drift.items).toEqual([]);
  });
});

describe('what is taken', () => {
  it('is told as a person would say it', async () => {
    await createNetwork({ subnets: ['10.1.1.0/24'] });
    const routes = [{ to: 'default', via: 'auto' }];
    const peer = { interface: 'e1', namespace: 'blue', addresses: ['auto'], routes };
    await make('/links', { name: 'v1', type: 'veth', bridge: 'br00', peer });
    const other = { name: 'v2', type: 'veth', bridge: 'br00', peer: { ...peer, interface: 'e2' } };
    const route = await send('post', '/links', other);
    expect([route.status, route.body.detail]).toEqual([
      422,
      'the IPv4 default route of metric 0 in table 254 of blue is taken by link/v1; choose another',
    ]);
    const moved = await send('patch', '/bridges/br00', { addresses: ['10.1.1.2/24'] });
    expect([moved.status, moved.body.detail]).toEqual([
      422,
      '/addresses: 10.1.1.2 on the network of bridge/br00 is taken by link/v1; choose another',
    ]);
  });
});

describe('a bridge that changes', () => {
  it('moves its gateway with links that are there, and their routes follow', async () => {
    await createNetwork({ subnets: ['10.1.1.0/24'] });
    const routes = [{ to: 'default', via: 'auto' }];
    const peer = { interface: 'e1', namespace: 'blue', addresses: ['auto'], routes };
    await make('/links', { name: 'v1', type: 'veth', bridge: 'br00', peer });
    const { status, body } = await send('patch', '/bridges/br00', { addresses: ['10.1.1.254/24'] });
    expect([status, body.status.subnets]).toEqual([200, [{ subnet: '10.1.1.0/24', gateway: '10.1.1.254' }]]);
    const link = await daemon().request.get('/links/v1');
    expect(link.body.status).toMatchObject({
      state: 'ready',
      peer: { gateways: ['10.1.1.254'], leases: [{ address: '10.1.1.2' }] },
    });
    const table = await daemon().request.get('/namespaces/blue/routes');
    expect(table.body.items).toContainEqual(expect.objectContaining({ to: 'default', via: '10.1.1.254' }));
    await make('/links', linkOf('v2'));
    expect(await given()).toEqual(['10.1.1.1', '10.1.1.2']);
  });

  it('reserves what is given already: who has it keeps it, and nobody else gets it', async () => {
    await createNetwork({ subnets: ['10.1.1.0/24'] });
    await make('/links', linkOf('v1'));
    const { status } = await send('patch', '/bridges/br00', { reserved: ['10.1.1.2-10.1.1.9'] });
    expect(status).toBe(200);
    expect((await send('patch', '/links/v1', { labels: { a: 'b' } })).status).toBe(200);
    await make('/links', linkOf('v2'));
    expect(await given()).toEqual(['10.1.1.2', '10.1.1.10']);
    await daemon().request.delete('/links/v1').expect(204);
    await make('/links', linkOf('v3'));
    expect(await given()).toEqual(['10.1.1.10', '10.1.1.11']);
  });

  it('changes its subnets among links that come: all have one of the new ones, and no two the same', async () => {
    await createNetwork({ subnets: ['10.1.1.0/24'] });
    const links = Array.from({ length: 24 }, async (_, at) => send('post', '/links', linkOf(`v${at}`)));
    const patched = send('patch', '/bridges/br00', { subnets: ['10.1.2.0/24'] });
    const more = Array.from({ length: 8 }, async (_, at) => send('post', '/links', linkOf(`w${at}`)));
    const answers = await Promise.all([...links, patched, ...more]);
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      200,
      ...Array(32).fill(201),
    ]);
    const addresses = await given();
    expect([addresses.length, new Set(addresses).size]).toEqual([32, 32]);
    expect(addresses.filter((address) => !address.startsWith('10.1.2.'))).toEqual([]);
    const { body } = await daemon().request.get('/drift').expect(200);
    expect(body.items).toEqual([]);
  });

  it('keeps the subnet that was chosen when it goes to another namespace, where nothing overlaps that', async () => {
    await make('/namespaces', { name: 'blue' });
    await make('/bridges', { name: 'b0', subnets: ['auto'] });
    await make('/bridges', { name: 'b1', subnets: ['auto'] });
    await daemon().request.delete('/bridges/b0').expect(204);
    const kept = await send('patch', '/bridges/b1', { namespace: 'blue' });
    expect([kept.status, kept.body.status.subnets]).toMatchObject([200, [{ subnet: '10.192.1.0/24' }]]);
    const end = { interface: 'e1', namespace: 'blue', addresses: ['10.192.1.9/32'] };
    await send('patch', '/bridges/b1', { namespace: 'host' });
    await make('/links', { name: 'v1', type: 'veth', peer: end });
    const other = await send('patch', '/bridges/b1', { namespace: 'blue' });
    expect([other.status, other.body.status.subnets]).toMatchObject([200, [{ subnet: '10.192.0.0/24' }]]);
  });

  it('reserves nothing outside of its subnets, those that were chosen among them', async () => {
    const refused = await send('post', '/bridges', {
      name: 'b1',
      subnets: ['auto'],
      reserved: ['192.0.2.1'],
    });
    expect([refused.status, refused.body.detail]).toEqual([
      422,
      expect.stringContaining('/reserved/0: 192.0.2.1 lies in none of its subnets (10.192.0.0/24)'),
    ]);
    await make('/bridges', { name: 'b1', subnets: ['auto'], reserved: ['10.192.0.7'] });
    expect((await send('patch', '/bridges/b1', { stp: true })).status).toBe(200);
    expect((await send('patch', '/bridges/b1', { reserved: ['10.192.1.7'] })).status).toBe(422);
  });
});

describe('a link between two bridges', () => {
  it('has an address of each at the other end, where both say `auto`', async () => {
    await make('/bridges', { name: 'h1', subnets: ['10.20.0.0/24'] });
    await make('/bridges', { name: 'h2', subnets: ['10.21.0.0/24'] });
    const peer = { interface: 'xb', bridge: 'h2', addresses: ['auto'] };
    await make('/links', {
      name: 'x',
      type: 'veth',
      bridge: 'h1',
      interface: 'xa',
      addresses: ['auto'],
      peer,
    });
    expect(await leases('h1')).toMatchObject([{ address: '10.20.0.2', end: 'peer', interface: 'xb' }]);
    expect(await leases('h2')).toMatchObject([{ address: '10.21.0.2', end: 'own', interface: 'xa' }]);
  });
});
