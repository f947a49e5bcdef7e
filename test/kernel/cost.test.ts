import { describe, expect, it } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { pipeline } from '../support/pipeline.ts';

/** How many processes netnsd starts while something is done. */
async function processesOf(
  { app }: Daemon,
  doing: () => PromiseLike<{ status: number }>,
  status: number,
): Promise<number> {
  const before = app.processesStarted();
  const answer = await doing();
  expect(answer.status).toBe(status);
  return app.processesStarted() - before;
}

const bridge = { name: 'br00', addresses: ['10.1.1.3/24'] };
const peer = {
  interface: 'eth0',
  namespace: 'blue',
  addresses: ['10.1.1.1/24'],
  routes: [{ to: 'default', via: '10.1.1.3' }],
};
const link = { name: 'veth00', type: 'veth', bridge: 'br00', peer };
const nat = {
  name: 'out',
  type: 'masquerade',
  source: '10.1.1.0/24',
  inInterface: 'br00',
  outInterface: 'uplink0',
};

const ready = (revision: number): unknown =>
  expect.objectContaining({ revision, status: expect.objectContaining({ state: 'ready' }) });

describe('the cost of a change, in processes', () => {
  it('is 2 for a namespace: one makes it, one is inside it', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    expect(await processesOf(daemon, () => request.post('/namespaces').send({ name: 'blue' }), 201)).toBe(2);
    const sysctls = { 'net.ipv4.ip_forward': '1', 'net.ipv4.conf.all.rp_filter': '2' };
    expect(
      await processesOf(daemon, () => request.post('/namespaces').send({ name: 'red', sysctls }), 201),
    ).toBe(2);
    expect(await processesOf(daemon, () => request.delete('/namespaces/red'), 204)).toBe(1);
  });

  it('is 2 for a veth pair into another namespace, with bridge, addresses and default route', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await request.post('/namespaces').send({ name: 'blue' });
    expect(await processesOf(daemon, () => request.post('/bridges').send(bridge), 201)).toBe(1);
    expect(await processesOf(daemon, () => request.post('/links').send(link), 201)).toBe(2);
    expect(
      await processesOf(daemon, () => request.patch('/links/veth00').send({ peer: { mtu: 1400 } }), 200),
    ).toBe(2);
    expect(await processesOf(daemon, () => request.delete('/links/veth00'), 204)).toBe(1);
  });

  it('is 3 more for a bridge with subnets: a look at what is free, the rules of two families; none for `auto`', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await request.post('/namespaces').send({ name: 'blue' });
    const subnets = ['10.1.1.0/24', 'auto', 'auto-ipv6'];
    const routes = [{ to: 'default', via: 'auto' }];
    const choosing = { ...link, peer: { ...peer, addresses: ['auto'], routes } };
    const bare = { name: 'br01', subnets: ['auto'], firewall: null };
    expect(await processesOf(daemon, () => request.post('/bridges').send(bare), 201)).toBe(2);
    expect(await processesOf(daemon, () => request.delete('/bridges/br01'), 204)).toBe(1);
    expect(
      await processesOf(daemon, () => request.post('/bridges').send({ name: 'br00', subnets }), 201),
    ).toBe(4);
    const { body } = await request.get('/operations');
    expect(body.items[0]).toMatchObject({ kind: 'bridge', processes: 4 });

    expect(await processesOf(daemon, () => request.put('/bridges/br00').send({ subnets }), 200)).toBe(3);
    expect(await processesOf(daemon, () => request.patch('/bridges/br00').send({ stp: true }), 200)).toBe(1);
    expect(await processesOf(daemon, () => request.post('/links').send(choosing), 201)).toBe(2);
    expect(await processesOf(daemon, () => request.get('/bridges/br00/leases'), 200)).toBe(0);
    expect(await processesOf(daemon, () => request.delete('/links/veth00'), 204)).toBe(1);
  });

  it('is 2 for a veth pair between two other namespaces, and 1 within one', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    for (const name of ['blue', 'red']) await request.post('/namespaces').send({ name });
    const between = {
      name: 'x',
      type: 'veth',
      namespace: 'red',
      addresses: ['10.9.0.1/24'],
      peer: { interface: 'y', namespace: 'blue', addresses: ['10.9.0.2/24'] },
    };
    const within = { name: 'z', type: 'veth', namespace: 'red', peer: { interface: 'z1', namespace: 'red' } };
    expect(await processesOf(daemon, () => request.post('/links').send(between), 201)).toBe(2);
    expect(await processesOf(daemon, () => request.post('/links').send(within), 201)).toBe(1);
  });

  it('is 1 for a nat rule, and 2 where forwarding must be turned on in another namespace', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await request.post('/namespaces').send({ name: 'blue' });
    expect(await processesOf(daemon, () => request.post('/nat').send(nat), 201)).toBe(1);
    expect(await processesOf(daemon, () => request.patch('/nat/out').send({ forward: 'any' }), 200)).toBe(1);
    expect(
      await processesOf(
        daemon,
        () => request.post('/nat').send({ ...nat, name: 'in', namespace: 'blue' }),
        201,
      ),
    ).toBe(2);
    expect(
      await processesOf(
        daemon,
        () => request.post('/nat').send({ ...nat, name: 'in2', namespace: 'blue', source: '10.2.0.0/24' }),
        201,
      ),
    ).toBe(1);
    expect(await processesOf(daemon, () => request.delete('/nat/out'), 204)).toBe(1);
  });

  it('is 2 at most for reading one resource, and 0 for listing any number', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    await request.post('/namespaces').send({ name: 'blue' });
    await request.post('/bridges').send(bridge);
    await request.post('/links').send(link);
    await request.post('/nat').send(nat);
    const costs = { '/namespaces/blue': 1, '/bridges/br00': 1, '/links/veth00': 2, '/nat/out': 1 };
    for (const [path, cost] of Object.entries(costs))
      expect([path, await processesOf(daemon, () => request.get(path), 200)]).toEqual([path, cost]);
    for (const path of ['/namespaces', '/bridges', '/links', '/nat'])
      expect([path, await processesOf(daemon, () => request.get(path), 200)]).toEqual([path, 0]);
    const { body } = await request.get('/links');
    expect(body.items).toEqual([
      expect.objectContaining({ status: expect.objectContaining({ state: 'ready' }) }),
    ]);
  });

  it('is 0 for what is refused or only tried', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    expect(await processesOf(daemon, () => request.post('/bridges?dryRun=true').send(bridge), 200)).toBe(0);
    expect(await processesOf(daemon, () => request.post('/links').send(link), 422)).toBe(0);
    expect(await processesOf(daemon, () => request.post('/links').send({}), 400)).toBe(0);
  });

  it('is shared by changes that arrive together', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    const names = Array.from({ length: 20 }, (_, n) => `n${n}`);
    const before = daemon.app.processesStarted();
    const answers = await Promise.all(names.map((name) => request.post('/namespaces').send({ name })));
    expect(answers.map(({ status }) => status)).toEqual(names.map(() => 201));
    // One inside each; those that make them are few, since what arrives while others run goes together.
    expect(daemon.app.processesStarted() - before).toBeLessThan(names.length + 8);
    const links = names.map((name) => ({
      name: `v${name}`,
      type: 'veth',
      bridge: 'br00',
      peer: { interface: 'eth0', namespace: name },
    }));
    await request.post('/bridges').send(bridge);
    const atLinks = daemon.app.processesStarted();
    const made = await Promise.all(links.map((body) => request.post('/links').send(body)));
    expect(made.map(({ status }) => status)).toEqual(names.map(() => 201));
    expect(daemon.app.processesStarted() - atLinks).toBeLessThan(names.length + 8);
  });

  it('of a change that fails among others is borne by itself alone', async () => {
    const { request } = await startDaemon();
    const names = ['good1', 'bad', 'good2'];
    const answers = await Promise.all(
      names.map((name) =>
        request
          .post('/namespaces')
          .send({ name, sysctls: name === 'bad' ? { 'net.ipv4.no_such_key': '1' } : {} }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual([201, 422, 201]);
    const { body } = await request.get('/operations');
    expect(
      body.items.map(({ name, state }: { name: string; state: string }) => `${name} ${state}`).toSorted(),
    ).toEqual(['bad failed', 'good1 succeeded', 'good2 succeeded']);
  });

  it('is answered right for changes that build on one another, or undo one another, and arrive together', async () => {
    const { request, socketPath } = await startDaemon();
    const create = await pipeline(socketPath, [
      ['POST', '/namespaces', { name: 'blue' }],
      ['POST', '/bridges', bridge],
      ['POST', '/links', link],
      ['POST', '/nat', nat],
      ['PATCH', '/links/veth00', { labels: { a: 'b' } }],
    ]);
    expect(create).toEqual([
      ...[1, 2, 3, 4].map(() => ({ status: 201, body: ready(1) })),
      { status: 200, body: ready(2) },
    ]);
    const { body: old } = await request.get('/namespaces/blue');
    const again = await pipeline(socketPath, [
      ['DELETE', '/namespaces/blue?cascade=true'],
      ['POST', '/namespaces', { name: 'blue' }],
      ['POST', '/links', link],
    ]);
    expect(again.map(({ status }) => status)).toEqual([204, 201, 201]);
    const { body: fresh } = await request.get('/namespaces/blue');
    expect(fresh).toMatchObject({ revision: 1, status: { state: 'ready' } });
    expect(fresh.createdAt).not.toBe(old.createdAt);
    expect(fresh.status.interfaces).toHaveLength(2);
  });
});
