import { describe, expect, it } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { run } from '../support/shell.ts';

async function bridgeMtu(): Promise<string> {
  return run('cat', '/sys/class/net/br00/mtu');
}

/** A bridge that somebody has changed by hand. */
async function drift({ request }: Daemon): Promise<void> {
  await request
    .post('/bridges')
    .send({ name: 'br00', addresses: ['10.1.1.3/24'] })
    .expect(201);
  await run('ip', 'link', 'set', 'dev', 'br00', 'mtu', '1400');
}

const DRIFTED = {
  resource: { kind: 'bridge', name: 'br00', href: '/bridges/br00' },
  state: 'drifted',
  message: null,
  differences: [{ path: '/mtu', wanted: 1500, found: 1400 }],
};

describe('GET /drift', () => {
  it('lists what differs and where, in how many processes; it changes nothing', async () => {
    const daemon = await startDaemon({ reconcileMode: 'off' });
    await drift(daemon);
    const { body } = await daemon.request.get('/drift').expect(200);
    expect(body.items).toEqual([{ ...DRIFTED, differences: [expect.objectContaining({ path: '/mtu' })] }]);
    expect(body).toMatchObject({ unrecorded: [], resources: 1, processes: 1 });
    expect(body.durationMs).toBeGreaterThan(0);
    expect(await bridgeMtu()).toBe('1400');
    await daemon.request.get('/drift?all=true').expect(400);
  });
});

describe('POST /reconcile', () => {
  it('is answered 202 at once, with an operation that says what became of it', async () => {
    const daemon = await startDaemon({ reconcileMode: 'off' });
    await drift(daemon);
    const { headers, body } = await daemon.request.post('/reconcile').expect(202);
    expect(headers['location']).toBe(`/operations/${String(body.id)}`);
    expect(headers['operation']).toBe(headers['location']);
    expect(body).toMatchObject({ action: 'reconcile', kind: null, name: null, state: 'running' });
    await expect
      .poll(async () => (await daemon.request.get(String(headers['location']))).body)
      .toMatchObject({ state: 'succeeded', commands: [expect.objectContaining({ exitCode: 0 })] });
    expect(await bridgeMtu()).toBe('1500');
    const { items } = (await daemon.request.get('/operations')).body as { items: object[] };
    expect(items).toContainEqual(
      expect.objectContaining({ action: 'repair', actor: 'netnsd', kind: 'bridge', name: 'br00' }),
    );
  });

  it('is answered with `wait` when it is done, and is unchanged if there is nothing to do', async () => {
    const daemon = await startDaemon({ reconcileMode: 'off' });
    await drift(daemon);
    const { headers, body } = await daemon.request.post('/reconcile?wait=true').expect(200);
    expect(body).toMatchObject({ id: expect.any(String), state: 'succeeded', problem: null });
    expect(headers['content-type']).toMatch(/^application\/json/);
    expect(headers['operation']).toBe(`/operations/${String(body.id)}`);
    expect(headers).not.toHaveProperty('location');
    expect(await bridgeMtu()).toBe('1500');
    expect((await daemon.request.post('/reconcile?wait=true')).body).toMatchObject({
      state: 'unchanged',
      commands: [],
    });
    await daemon.request.post('/reconcile?wait=maybe').expect(400);
  });

  it('with the same Idempotency-Key again gives the first answer, and nothing is done', async () => {
    const daemon = await startDaemon({ reconcileMode: 'off' });
    await drift(daemon);
    const ask = async () =>
      daemon.request.post('/reconcile?wait=true').set('idempotency-key', 'a').expect(200);
    const first = await ask();
    await run('ip', 'link', 'set', 'dev', 'br00', 'mtu', '1300');
    const again = await ask();
    expect([again.text, again.headers['idempotent-replayed']]).toEqual([first.text, 'true']);
    expect(await bridgeMtu()).toBe('1300');
  });

  it('fails, naming it, if something can’t be mended, and mends the rest', async () => {
    const daemon = await startDaemon({ reconcileMode: 'off' });
    await drift(daemon);
    await daemon.request.post('/namespaces').send({ name: 'blue' }).expect(201);
    await run('ip', 'netns', 'delete', 'blue');
    await run('ip', 'netns', 'add', 'blue');
    const { body } = await daemon.request.post('/reconcile?wait=true').expect(200);
    expect(body).toMatchObject({
      state: 'failed',
      problem: {
        slug: 'not-mended',
        detail: expect.stringMatching(/^namespace\/blue: another namespace.*left alone/),
        references: [{ kind: 'namespace', name: 'blue' }],
      },
    });
    expect(await bridgeMtu()).toBe('1500');
    expect((await daemon.request.get('/namespaces/blue')).body.status).toMatchObject({ state: 'failed' });
    await run('ip', 'netns', 'delete', 'blue');
    expect((await daemon.request.post('/reconcile?wait=true')).body.state).toBe('succeeded');
    expect((await daemon.request.get('/namespaces/blue')).body.status).toMatchObject({ state: 'ready' });
  });
});

describe('the mode', () => {
  it('repair mends at the next look', async () => {
    const daemon = await startDaemon({ reconcileMode: 'repair', reconcileIntervalMs: 200 });
    await drift(daemon);
    await expect.poll(bridgeMtu).toBe('1500');
    await expect
      .poll(async () => (await daemon.request.get('/system')).body.reconcile)
      .toMatchObject({ mode: 'repair', intervalSeconds: 0.2, settled: true });
  });

  it('observe looks and tells, and changes nothing unless asked', async () => {
    const daemon = await startDaemon({ reconcileMode: 'observe', reconcileIntervalMs: 100 });
    await drift(daemon);
    const lastSweep = async (): Promise<object> =>
      (await daemon.request.get('/system')).body.reconcile.lastSweep;
    await expect.poll(lastSweep).toMatchObject({ drifted: 1, resources: 1, processes: 1 });
    await daemon.request.get('/readyz').expect(200);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await bridgeMtu()).toBe('1400');
    expect((await daemon.request.post('/reconcile?wait=true')).body.state).toBe('succeeded');
    expect(await bridgeMtu()).toBe('1500');
  });

  it('off does not even look', async () => {
    const daemon = await startDaemon({ reconcileMode: 'off', reconcileIntervalMs: 100 });
    await drift(daemon);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect((await daemon.request.get('/system')).body.reconcile).toEqual({
      mode: 'off',
      intervalSeconds: 0.1,
      settled: true,
      events: 'off',
      firewallEvents: false,
      lastSweep: null,
    });
    expect(await bridgeMtu()).toBe('1400');
    await daemon.request.get('/readyz').expect(200);
  });
});

describe('a PUT of what is recorded already', () => {
  it('mends what has drifted, and keeps the revision', async () => {
    const daemon = await startDaemon({ reconcileMode: 'off' });
    await drift(daemon);
    const { body } = await daemon.request
      .put('/bridges/br00')
      .send({ name: 'br00', addresses: ['10.1.1.3/24'] })
      .expect(200);
    expect(body).toMatchObject({ revision: 1, status: { state: 'ready' } });
    expect(await bridgeMtu()).toBe('1500');
  });

  it('makes again what is gone, with the same MAC address', async () => {
    const daemon = await startDaemon({ reconcileMode: 'off' });
    const link = { name: 'v0', type: 'veth', peer: { interface: 'v1', addresses: ['10.1.1.1/24'] } };
    const first = await daemon.request.put('/links/v0').send(link).expect(201);
    await run('ip', 'link', 'delete', 'dev', 'v0');
    const { body } = await daemon.request.put('/links/v0').send(link).expect(200);
    expect(body).toMatchObject({ revision: 1, status: { state: 'ready', mac: first.body.status.mac } });
  });
});
