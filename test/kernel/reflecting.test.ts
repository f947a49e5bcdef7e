import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { run } from '../support/shell.ts';

const web = {
  name: 'web',
  type: 'dnat',
  protocol: 'tcp',
  port: '8080',
  to: { address: '10.1.1.1', port: '80' },
};

/** Has bridges ask iptables about what stays within them, or not. */
async function filterBridges(value: '0' | '1'): Promise<void> {
  for (const tool of ['iptables', 'ip6tables']) {
    const key = `net.bridge.bridge-nf-call-${tool}`;
    const before = (await run('sysctl', '-n', key)).trim();
    await run('sysctl', '-qw', `${key}=${value}`);
    onTestFinished(async () => void (await run('sysctl', '-qw', `${key}=${before}`)));
  }
}

/** `blue` (10.1.1.1) and `red` (an address of the bridge's choice) behind br00. */
async function makeNetwork({ request }: Daemon): Promise<void> {
  await request
    .post('/bridges')
    .send({ name: 'br00', addresses: ['10.1.1.3/24'], subnets: ['10.1.1.0/24'], firewall: null })
    .expect(201);
  for (const [name, address] of [
    ['blue', '10.1.1.1/24'],
    ['red', 'auto'],
  ]) {
    await request.post('/namespaces').send({ name }).expect(201);
    const peer = { interface: 'eth0', namespace: name, addresses: [address] };
    const link = { name: `to-${name}`, type: 'veth', bridge: 'br00', peer };
    await request.post('/links').send(link).expect(201);
  }
}

async function reflects(port: string, inside: string[] = []): Promise<boolean> {
  const { stdout } = await execa('ip', [...inside, '-j', '-d', 'link', 'show', port]);
  const [link] = JSON.parse(stdout) as { linkinfo: { info_slave_data: { hairpin: boolean } } }[];
  return link?.linkinfo.info_slave_data.hairpin === true;
}

async function processesOf({ request }: Daemon): Promise<number> {
  const { body } = await request.get('/operations?limit=1');
  return body.items[0].processes;
}

async function reconcile({ request }: Daemon): Promise<void> {
  const { headers } = await request.post('/reconcile').expect(202);
  await expect
    .poll(async () => (await request.get(String(headers['location']))).body.state)
    .toBe('succeeded');
}

describe('hairpin mode of the port behind which something is published', () => {
  it('comes and goes with the rules that lead there, while bridges are filtered', async () => {
    await filterBridges('1');
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeNetwork(daemon);
    expect(await reflects('to-blue')).toBe(false);
    await request.post('/nat').send(web).expect(201);
    expect(await reflects('to-blue')).toBe(true);
    expect((await request.get('/links/to-blue')).body).toMatchObject({
      hairpin: false,
      status: { state: 'ready' },
    });
    // Lists tell what was last seen, and it was seen so.
    expect((await request.get('/links')).body.items[0].status.state).toBe('ready');
    await request
      .post('/nat')
      .send({ ...web, name: 'also', port: '8081' })
      .expect(201);
    expect(await processesOf(daemon)).toBe(1);
    await request.delete('/nat/web').expect(204);
    expect(await reflects('to-blue')).toBe(true);
    await request
      .patch('/nat/also')
      .send({ to: { address: null, link: 'to-red' } })
      .expect(200);
    expect([await reflects('to-blue'), await reflects('to-red')]).toEqual([false, true]);
    await request.delete('/nat/also').expect(204);
    expect(await reflects('to-red')).toBe(false);
    expect((await request.get('/drift')).body.items).toEqual([]);
  });

  it('comes with a link that has the address of a rule, and moves with it to another port', async () => {
    await filterBridges('1');
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeNetwork(daemon);
    await request
      .post('/nat')
      .send({ ...web, to: { address: '10.1.1.9', port: '80' } })
      .expect(201);
    await request
      .patch('/links/to-blue')
      .send({ peer: { addresses: ['10.1.1.9/24'] } })
      .expect(200);
    expect(await reflects('to-blue')).toBe(true);
    await request
      .patch('/links/to-blue')
      .send({ peer: { addresses: ['10.1.1.1/24'] } })
      .expect(200);
    expect(await reflects('to-blue')).toBe(false);
    await request
      .patch('/links/to-red')
      .send({ peer: { addresses: ['10.1.1.9/24'] } })
      .expect(200);
    expect(await reflects('to-red')).toBe(true);
    // Between isolated ports nothing passes, not even back.
    await request
      .patch('/bridges/br00')
      .send({ firewall: { intercom: false } })
      .expect(200);
    expect(await reflects('to-red')).toBe(false);
    await request.patch('/bridges/br00').send({ firewall: null }).expect(200);
    expect(await reflects('to-red')).toBe(true);
  });

  it('is mended, and follows the sysctl at the next look', async () => {
    await filterBridges('0');
    const daemon = await startDaemon({ reconcileMode: 'repair', reconcileIntervalMs: 600_000 });
    const { request } = daemon;
    await makeNetwork(daemon);
    await request.post('/nat').send(web).expect(201);
    expect(await processesOf(daemon)).toBe(1);
    expect(await reflects('to-blue')).toBe(false);
    await filterBridges('1');
    expect((await request.get('/links/to-blue')).body.status).toMatchObject({
      state: 'drifted',
      differences: [{ path: '/hairpin', intended: true, observed: false }],
    });
    await reconcile(daemon);
    expect(await reflects('to-blue')).toBe(true);
    await run('ip', 'link', 'set', 'to-blue', 'type', 'bridge_slave', 'hairpin', 'off');
    await reconcile(daemon);
    expect(await reflects('to-blue')).toBe(true);
    await filterBridges('0');
    await reconcile(daemon);
    expect(await reflects('to-blue')).toBe(false);
  });

  it('is no obstacle where somebody has taken the port off its bridge', async () => {
    await filterBridges('1');
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeNetwork(daemon);
    await request.post('/nat').send(web).expect(201);
    await run('ip', 'link', 'set', 'to-blue', 'nomaster');
    await request.delete('/nat/web').expect(204);
    expect(await reflects('to-blue')).toBe(false);
    expect((await request.get('/links/to-blue')).body.status.state).toBe('ready');
  });

  it('that was asked for stays', async () => {
    await filterBridges('1');
    const daemon = await startDaemon();
    const { request } = daemon;
    await makeNetwork(daemon);
    await request.patch('/links/to-blue').send({ hairpin: true }).expect(200);
    await request.post('/nat').send(web).expect(201);
    expect(await processesOf(daemon)).toBe(1);
    await request.delete('/nat/web').expect(204);
    expect(await reflects('to-blue')).toBe(true);
  });

  it('is set in another namespace too', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    for (const name of ['router', 'inner']) await request.post('/namespaces').send({ name }).expect(201);
    await request
      .post('/bridges')
      .send({ name: 'lan', namespace: 'router', addresses: ['10.7.0.1/24'] })
      .expect(201);
    const peer = { interface: 'eth0', namespace: 'inner', addresses: ['10.7.0.2/24'] };
    await request
      .post('/links')
      .send({ name: 'p0', type: 'veth', namespace: 'router', bridge: 'lan', peer })
      .expect(201);
    await request
      .post('/nat')
      .send({ ...web, namespace: 'router', to: { link: 'p0', port: '80' } })
      .expect(201);
    expect(await reflects('p0', ['-n', 'router'])).toBe(true);
    expect((await request.get('/drift')).body.items).toEqual([]);
  });
});
