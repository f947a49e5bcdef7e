import { describe, expect, it } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import {
  HOST_ADDRESS,
  HOST_ADDRESS6,
  ask,
  listen,
  localnet,
  makeNetwork,
  web,
} from '../support/published.ts';

/** `dir` at the other end of a veth pair that is on no bridge. */
async function makeDirect({ request }: Daemon): Promise<void> {
  await request.post('/namespaces').send({ name: 'dir' }).expect(201);
  const routes = [{ to: 'default', via: '10.6.0.1' }];
  const peer = { interface: 'eth0', namespace: 'dir', addresses: ['10.6.0.2/24'], routes };
  await request
    .post('/links')
    .send({ name: 'd0', type: 'veth', addresses: ['10.6.0.1/24'], peer })
    .expect(201);
  await listen('dir', 'tcp', 80);
}

const direct = { ...web, to: { address: '10.6.0.2', port: '80' } };

describe('a target', () => {
  it('answers the other networks of its bridge as well, its own namespace too', { retry: 1 }, async () => {
    const { request } = await startDaemon();
    const subnets = ['10.2.1.0/24', '10.2.2.0/24', 'fd02:1::/64', 'fd02:2::/64'];
    await request.post('/bridges').send({ name: 'br02', subnets }).expect(201);
    for (const name of ['n1', 'n2']) {
      await request.post('/namespaces').send({ name }).expect(201);
      const routes = [{ to: 'default', via: 'auto' }];
      const peer = { interface: 'eth0', namespace: name, addresses: ['auto'], routes };
      await request
        .post('/links')
        .send({ name: `to-${name}`, type: 'veth', bridge: 'br02', peer })
        .expect(201);
    }
    await listen('n1', 'tcp', 80);
    for (const family of [4, 6])
      await request
        .post('/nat')
        .send({ ...web, name: `web${family}`, to: { link: 'to-n1', family, port: '80' } })
        .expect(201);
    for (const source of ['10.2.1.3', '10.2.2.3'])
      expect(await ask('n2', HOST_ADDRESS, 8080, 'tcp', source)).toMatch(/^n1 to 10\.2\./);
    for (const source of ['fd02:1::3', 'fd02:2::3'])
      await expect.poll(async () => ask('n2', HOST_ADDRESS6, 8080, 'tcp', source)).toMatch(/^n1 to fd02:/);
    for (const source of ['10.2.1.2', '10.2.2.2'])
      expect(await ask('n1', HOST_ADDRESS, 8080, 'tcp', source)).toMatch(/^n1 to 10\.2\./);
    // A plain bridge follows what its addresses are.
    await request.post('/namespaces').send({ name: 'n3' }).expect(201);
    await request.post('/bridges').send({ name: 'br03', addresses: ['10.3.1.1/24'] });
    const addresses = ['10.3.1.2/24', '10.3.2.2/24'];
    const peer = {
      interface: 'eth0',
      namespace: 'n3',
      addresses,
      routes: [{ to: 'default', via: '10.3.1.1' }],
    };
    await request.post('/links').send({ name: 'to-n3', type: 'veth', bridge: 'br03', peer }).expect(201);
    await listen('n3', 'tcp', 80);
    await request
      .post('/nat')
      .send({ ...web, name: 'plain', port: '8081', to: { address: '10.3.1.2', port: '80' } })
      .expect(201);
    expect(await ask('n3', HOST_ADDRESS, 8081, 'tcp', '10.3.2.2')).toBe('');
    await request
      .patch('/bridges/br03')
      .send({ addresses: ['10.3.1.1/24', '10.3.2.1/24'] })
      .expect(200);
    expect(await ask('n3', HOST_ADDRESS, 8081, 'tcp', '10.3.2.2')).toMatch(/^n3 to 10\.3\./);
  });

  it('is not the host itself once its link has no other address', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeDirect(daemon);
    await request
      .post('/nat')
      .send({ ...web, to: { link: 'd0', port: '80' } })
      .expect(201);
    const refused = await request
      .patch('/links/d0')
      .send({ peer: { addresses: [], routes: [] } })
      .expect(422);
    expect(refused.body.detail).toBe(
      'nat/web leads to link/d0, which has no address of IPv4 outside host; give it one, or change that rule first',
    );
    expect(await ask('internet', HOST_ADDRESS, 8080)).toMatch(/^dir/);
    await request
      .post('/links')
      .send({ name: 'tap0', type: 'tap', addresses: ['10.7.0.1/24'] })
      .expect(201);
    const tap = await request
      .post('/nat')
      .send({ ...web, name: 'tap', port: '8081', to: { link: 'tap0', port: '80' } })
      .expect(422);
    expect(tap.body.detail).toContain('has no end outside host');
  });

  it('behind a plain veth is reached from 127.0.0.1, by its address as by its link', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeDirect(daemon);
    await request.post('/nat').send(direct).expect(201);
    expect([await localnet('d0'), await ask(null, '127.0.0.1', 8080)]).toEqual(['1', 'dir to 10.6.0.1']);
    expect(await ask('dir', HOST_ADDRESS, 8080)).toBe('dir to 10.6.0.1');
    await request.patch('/nat/web').send({ address: '127.0.0.1' }).expect(200);
    expect(await ask(null, '127.0.0.1', 8080)).toBe('dir to 10.6.0.1');
    const gone = await request.patch('/links/d0').send({ addresses: [] }).expect(422);
    expect(gone.body.references).toMatchObject([{ kind: 'nat', name: 'web' }]);
    expect((await request.delete('/links/d0').expect(409)).body.references).toMatchObject([{ name: 'web' }]);
    await request.patch('/nat/web').send({ address: null }).expect(200);
    await request.patch('/links/d0').send({ addresses: [] }).expect(200);
    expect([await localnet('d0'), await ask(null, '127.0.0.1', 8080)]).toEqual(['0', '']);
    await request
      .patch('/links/d0')
      .send({ addresses: ['10.6.0.1/24'] })
      .expect(200);
    expect([await localnet('d0'), await ask(null, '127.0.0.1', 8080)]).toEqual(['1', 'dir to 10.6.0.1']);
    await request.delete('/links/d0').expect(204);
    expect((await request.get('/nat/web')).body.status.state).toBe('ready');
    expect((await request.get('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
  });

  it('is behind the interface with the longest prefix', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await request
      .post('/bridges')
      .send({ name: 'br-a', addresses: ['10.1.0.1/16'] })
      .expect(201);
    await makeNetwork(daemon);
    await listen('blue', 'tcp', 80);
    await request.post('/nat').send(web).expect(201);
    expect([await localnet('br-a'), await localnet('br00')]).toEqual(['0', '1']);
    expect(await ask(null, '127.0.0.1', 8080)).toMatch(/^blue/);
  });

  it('keeps a port of 127.0.0.1 alone from having nothing behind it', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeNetwork(daemon);
    await listen('blue', 'tcp', 80);
    await request
      .post('/nat')
      .send({ ...web, address: '127.0.0.1' })
      .expect(201);
    for (const change of [{ addresses: ['fd00:1::3/64'] }, { interface: 'br.00' }]) {
      const refused = await request.patch('/bridges/br00').send(change).expect(422);
      expect(refused.body.references).toMatchObject([{ kind: 'nat', name: 'web' }]);
    }
    await request.patch('/bridges/br00').send({ interface: 'br01' }).expect(200);
    expect(await ask(null, '127.0.0.1', 8080)).toMatch(/^blue/);
    const inUse = await request.delete('/bridges/br00').expect(409);
    expect(inUse.body.references).toContainEqual(expect.objectContaining({ kind: 'nat', name: 'web' }));
    await request.delete('/bridges/br00?cascade=true').expect(204);
    await request.get('/nat/web').expect(404);
  });

  it('that is at 127.0.0.1 alone follows its link to another subnet of its bridge', async () => {
    const { request } = await startDaemon();
    await request
      .post('/bridges')
      .send({ name: 'br05', subnets: ['10.5.1.0/24'] })
      .expect(201);
    await request.post('/namespaces').send({ name: 'blue' }).expect(201);
    const peer = { interface: 'eth0', namespace: 'blue', addresses: ['auto'] };
    await request.post('/links').send({ name: 'v0', type: 'veth', bridge: 'br05', peer }).expect(201);
    await listen('blue', 'tcp', 80);
    await request
      .post('/nat')
      .send({ ...web, address: '127.0.0.1', to: { link: 'v0', port: '80' } })
      .expect(201);
    await request
      .patch('/bridges/br05')
      .send({ subnets: ['10.5.2.0/24'] })
      .expect(200);
    expect((await request.get('/nat/web')).body.status.address).toBe('10.5.2.2');
    expect(await ask(null, '127.0.0.1', 8080)).toMatch(/^blue/);
  });

  it.each([
    ['/address', { address: '::1', to: { address: 'fd00:1::1' } }],
    ['/address', { address: 'fe80::2', to: { address: 'fd00:1::1' } }],
    ['/to/address', { to: { address: '127.0.0.1' } }],
    ['/to/address', { to: { address: '::1' } }],
    ['/to/address', { to: { address: 'fe80::1' } }],
    ['/toAddress', { type: 'snat', source: '10.1.1.0/24', toAddress: '127.0.0.1' }],
    ['/toAddress', { type: 'snat', source: 'fd00:1::/64', toAddress: 'fe80::1' }],
  ])('is nothing that can be led to or from: %s of %j', async (pointer, fields) => {
    const { request } = await startDaemon();
    const rule = 'type' in fields ? { name: 'web', ...fields } : { ...web, ...fields };
    const refused = await request.post('/nat').send(rule).expect(400);
    expect(refused.body.errors[0].pointer).toBe(pointer);
  });

  it('of a range is reached from its own bridge, itself and 127.0.0.1, and by TCP where it is led to last', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeNetwork(daemon);
    for (const name of ['blue', 'red']) await listen(name, 'tcp', 91);
    const range = { ...web, port: '9000-9005', to: { address: '10.1.1.1', port: '90-95' } };
    await request.post('/nat').send(range).expect(201);
    const answers = async (): Promise<string[]> => {
      const all = [ask('internet', HOST_ADDRESS, 9001)];
      for (const from of [null, 'red', 'blue']) all.push(ask(from, HOST_ADDRESS, 9001));
      return [...(await Promise.all(all)), await ask(null, '127.0.0.1', 9001)].map(
        (text) => text.split(' ')[0] ?? '',
      );
    };
    expect(await answers()).toEqual(Array.from({ length: 5 }, () => 'blue'));
    await request
      .patch('/nat/web')
      .send({ to: { address: '10.1.1.2' } })
      .expect(200);
    expect(await answers()).toEqual(Array.from({ length: 5 }, () => 'red'));
  });
});

describe('what needs no change', () => {
  it('starts no process: a rule that is put again as it is, a dry run', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeNetwork(daemon);
    const made = await request.post('/nat').send(web).expect(201);
    const before = daemon.app.processesStarted();
    const dry = await request
      .post('/nat?dryRun=true')
      .send({ ...web, name: 'two', port: '8081' })
      .expect(200);
    expect(dry.body.commands.length).toBeGreaterThan(0);
    await request.patch('/nat/web?dryRun=true').send({ port: '8082' }).expect(200);
    expect(daemon.app.processesStarted()).toBe(before);
    const again = await request.put('/nat/web').send(web).expect(200);
    expect(again.body.revision).toBe(made.body.revision);
  });
});
