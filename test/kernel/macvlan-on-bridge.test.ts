import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { pings, run } from '../support/shell.ts';

type Request = Daemon['request'];

/** A bridge whose interface bears another name than it, and namespaces for what is to be on it. */
async function createNetwork(request: Request, subnets = ['10.66.0.0/29']): Promise<void> {
  await create(request, '/bridges', { name: 'net', interface: 'bs', subnets });
  await create(request, '/namespaces', { name: 'blue' }, { name: 'red' });
}

function macvlan(namespace: string, fields: object = {}): object {
  return { name: `m-${namespace}`, type: 'macvlan', interface: 'eth0', namespace, parent: 'bs', ...fields };
}

function veth(namespace: string, addresses: string[], name = `v-${namespace}`): object {
  return {
    name,
    type: 'veth',
    bridge: 'net',
    peer: { interface: `e-${name}`.slice(0, 15), namespace, addresses },
  };
}

async function addressesOf(request: Request, link: string): Promise<unknown> {
  const { body } = await request.get(`/links/${link}`).expect(200);
  const status = body.peer === undefined ? body.status : body.status.peer;
  return status.leases?.map(({ address }: { address: string }) => address);
}

/** The lines about the network in the file of a namespace. */
function entries(namespace: string): string[] {
  const lines = readFileSync(`/etc/netns/${namespace}/hosts`, 'utf8').split('\n');
  return lines.filter((line) => line.startsWith('10.'));
}

describe('a macvlan whose parent is a bridge with subnets', () => {
  it('keeps its fixed address for itself', async () => {
    const { request } = await startDaemon();
    await createNetwork(request);
    await create(request, '/links', macvlan('blue', { addresses: ['10.66.0.2/29'] }));
    await create(request, '/links', veth('red', ['auto']));
    expect(await addressesOf(request, 'v-red')).toEqual(['10.66.0.3']);
    for (const at of [4, 5, 6]) await create(request, '/links', veth('red', ['auto'], `v${at}`));
    const full = await request.post('/links').send(veth('red', ['auto'], 'v7'));
    expect([full.status, full.body.detail]).toEqual([507, expect.stringContaining('link/m-blue')]);
    await request.delete('/links/m-blue').expect(204);
    await create(request, '/links', veth('red', ['auto'], 'v7'));
    expect(await addressesOf(request, 'v7')).toEqual(['10.66.0.2']);
  });

  it.each<[string, string, RegExp]>([
    ['the gateway', '10.66.0.1/29', /10\.66\.0\.1 is that of bridge\/net/],
    ['somebody else', '10.66.0.2/29', /10\.66\.0\.2 is that of link\/v-red/],
  ])('is refused the address of %s', async (_who, address, says) => {
    const { request } = await startDaemon();
    await createNetwork(request);
    await create(request, '/links', veth('red', ['auto']));
    const answer = await request.post('/links').send(macvlan('blue', { addresses: [address] }));
    expect([answer.status, answer.body.detail]).toEqual([422, expect.stringMatching(says)]);
    expect(answer.body.references).toHaveLength(1);
    // Where nobody on the bridge is concerned, anything goes.
    await create(request, '/links', macvlan('blue', { addresses: ['10.67.0.1/29'] }));
    const patched = await request.patch('/links/m-blue').send({ addresses: [address] });
    expect(patched.status).toBe(422);
  });

  it('holds its address against what the bridge comes to be', async () => {
    const { request } = await startDaemon();
    await createNetwork(request);
    await create(request, '/links', macvlan('blue', { addresses: ['10.66.0.9/29'] }));
    const answer = await request.patch('/bridges/net').send({ subnets: ['10.66.0.8/29'] });
    expect([answer.status, answer.body.detail]).toEqual([422, expect.stringContaining('link/m-blue')]);
  });

  it('is given addresses as other ends on the bridge are, and reaches these', async () => {
    const { request } = await startDaemon();
    await createNetwork(request, ['10.66.0.0/29', 'fd66::/64']);
    await create(request, '/links', veth('red', ['auto']));
    await create(request, '/links', macvlan('blue', { addresses: ['auto'] }));
    expect(await addressesOf(request, 'm-blue')).toEqual(['10.66.0.3', 'fd66::3']);
    const { body } = await request.get('/links/m-blue');
    expect(body).toMatchObject({ addresses: ['auto'], status: { gateways: [] } });
    expect((await request.get('/bridges/net/leases')).body.items).toMatchObject([
      { address: '10.66.0.2', link: 'v-red', end: 'peer' },
      { address: '10.66.0.3', link: 'm-blue', end: 'own', interface: 'eth0', namespace: 'blue' },
      { address: 'fd66::2', link: 'v-red' },
      { address: 'fd66::3', link: 'm-blue' },
    ]);
    for (const to of ['10.66.0.2', 'fd66::2']) expect([to, await pings('blue', to)]).toEqual([to, true]);
    expect(await pings('red', '10.66.0.3')).toBe(true);
    await request
      .patch('/bridges/net')
      .send({ subnets: ['10.67.0.0/29'] })
      .expect(200);
    expect(await addressesOf(request, 'm-blue')).toEqual(['10.67.0.3']);
    expect((await request.get('/links/m-blue')).body.status.state).toBe('ready');
    expect((await request.patch('/bridges/net').send({ subnets: [] })).status).toBe(409);
    await request.patch('/links/m-blue').send({ mode: 'private' }).expect(200);
    expect(await addressesOf(request, 'm-blue')).toEqual(['10.67.0.3']);
    await request.delete('/links/m-blue').expect(204);
    await create(request, '/links', macvlan('blue', { addresses: ['auto'], interface: 'm' }));
    expect(await addressesOf(request, 'm-blue')).toEqual(['10.67.0.3']);
  });

  it('is not given the bridge as its gateway, which it does not reach', async () => {
    const { request } = await startDaemon();
    await createNetwork(request);
    const routes = [{ to: 'default', via: 'auto' }];
    const answer = await request.post('/links').send(macvlan('blue', { addresses: ['auto'], routes }));
    expect([answer.status, answer.body.detail]).toEqual([
      422,
      expect.stringMatching(/not the bridge itself/),
    ]);
    await create(request, '/links', macvlan('blue', { addresses: ['auto'] }));
    expect(await pings('blue', '10.66.0.1')).toBe(false);
  });

  it.each<[string, object, RegExp]>([
    ['no bridge', { parent: 'e0' }, /e0 in host is no bridge of netnsd’s/],
    ['a bridge without subnets', { parent: 'plain' }, /plain has none/],
    ['nothing', { parent: 'nope' }, /nope in host is no bridge/],
  ])('is given none by a parent that is %s', async (_what, fields, says) => {
    const { request } = await startDaemon();
    await createNetwork(request);
    await create(request, '/bridges', { name: 'plain' });
    await create(request, '/links', { name: 'e0', type: 'veth', peer: { interface: 'e1' } });
    const answer = await request.post('/links').send(macvlan('blue', { addresses: ['auto'], ...fields }));
    expect([answer.status, answer.body.detail]).toEqual([422, expect.stringMatching(says)]);
  });

  it('is at the place of the gateway: no port of it, so that `intercom` and `isolatedPort` keep it from none', async () => {
    const { request } = await startDaemon();
    await create(request, '/bridges', {
      name: 'net',
      interface: 'bs',
      subnets: ['10.66.0.0/24'],
      firewall: { intercom: false, hostAccess: false },
    });
    for (const name of ['blue', 'red', 'gold', 'grey']) await create(request, '/namespaces', { name });
    await create(request, '/links', veth('red', ['10.66.0.3/24']), veth('gold', ['10.66.0.4/24']));
    await create(
      request,
      '/links',
      macvlan('blue', { addresses: ['10.66.0.5/24'] }),
      macvlan('grey', { addresses: ['10.66.0.6/24'], mode: 'private' }),
    );
    for (const [from, to, isReached] of [
      ['red', '10.66.0.4', false],
      ['red', '10.66.0.5', true],
      ['blue', '10.66.0.3', true],
      ['blue', '10.66.0.4', true],
      // Of macvlans their own modes decide.
      ['blue', '10.66.0.6', false],
      ['blue', '10.66.0.1', false],
      [null, '10.66.0.5', false],
      [null, '10.66.0.3', true],
    ] as const)
      expect([from, to, await pings(from, to)]).toEqual([from, to, isReached]);
    await request.patch('/links/m-grey').send({ mode: 'bridge' }).expect(200);
    // The neighbor that could not be found before is asked for again only after a while.
    await expect.poll(async () => pings('blue', '10.66.0.6')).toBe(true);
  });

  it('is found by its name, and finds others', async () => {
    const { request } = await startDaemon();
    await createNetwork(request);
    await create(request, '/links', veth('red', ['auto']), macvlan('blue', { addresses: ['10.66.0.4/29'] }));
    const both = ['10.66.0.4\tblue m-blue', '10.66.0.2\tred v-red'];
    expect([entries('blue'), entries('red')]).toEqual([both, both]);
    await request
      .patch('/links/m-blue')
      .send({ addresses: ['10.66.0.5/29'] })
      .expect(200);
    expect(entries('red')).toEqual(['10.66.0.5\tblue m-blue', both[1]]);
    await request.delete('/links/m-blue').expect(204);
    expect(entries('red')).toEqual([both[1]]);
  });

  it('is on the network of a bridge that was somebody else’s when it was made', async () => {
    const { request } = await startDaemon();
    await create(request, '/namespaces', { name: 'blue' }, { name: 'red' });
    await run('ip', 'link', 'add', 'bs', 'type', 'bridge');
    await run('ip', 'link', 'set', 'bs', 'up');
    await create(request, '/links', macvlan('blue', { addresses: ['10.66.0.2/29'] }));
    await request.put('/bridges/net?adopt=true').send({ interface: 'bs' }).expect(201);
    await request
      .patch('/bridges/net')
      .send({ subnets: ['10.66.0.0/29'] })
      .expect(200);
    await create(request, '/links', veth('red', ['auto']));
    expect(await addressesOf(request, 'v-red')).toEqual(['10.66.0.3']);
    const both = ['10.66.0.2\tblue m-blue', '10.66.0.3\tred v-red'];
    expect([entries('blue'), entries('red')]).toEqual([both, both]);
  });
});
