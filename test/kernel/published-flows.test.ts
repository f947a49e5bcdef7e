import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import {
  HOST_ADDRESS,
  HOST_ADDRESS6,
  ask,
  listen,
  makeNetwork,
  neverPausing,
  processesOf,
  web,
} from '../support/published.ts';
import { run } from '../support/shell.ts';
import { putInFront } from '../support/wrapper.ts';

const patient = { timeout: 20_000 };

interface Ran {
  command: string;
  exitCode: number | null;
  stderr: string;
}

/** What the journal has of how flows were deleted by a change. */
async function deletions(
  request: Daemon['request'],
  { headers }: { headers: Record<string, string> },
): Promise<Ran[]> {
  const { body } = await request.get(String(headers['operation']));
  const ran = (body.commands as Ran[]).filter(({ command }) => / -D -f ipv[46] /.test(command));
  return ran.toSorted((a, b) => (a.command < b.command ? -1 : 1));
}

describe('a UDP flow that never pauses', () => {
  const range = {
    ...web,
    name: 'range',
    protocol: 'udp',
    port: '5000-5019',
    to: { address: '10.1.1.1', port: '5000-5019' },
  };

  /**
   * Publishes the range in IPv4, the range in IPv6 and one port, at the link to blue. Gives who sends there, in that order,
   * and what gives the link other addresses.
   */
  async function publishThree(daemon: Daemon) {
    await makeNetwork(daemon);
    const { request } = daemon;
    for (const port of [53, 5010]) await listen('blue', 'udp', port);
    const to = { link: 'to-blue', port: '5000-5019' };
    await create(
      request,
      '/nat',
      { ...range, to },
      { ...range, name: 'six', to: { ...to, family: 6 } },
      { ...range, name: 'one', port: '5353', to: { ...to, port: '53' } },
    );
    const senders = [
      neverPausing('internet', HOST_ADDRESS, 5010),
      neverPausing('internet', HOST_ADDRESS6, 5010),
      neverPausing('internet', HOST_ADDRESS, 5353),
    ];
    for (const sender of senders) await expect.poll(sender, { timeout: 20_000 }).toBe('blue');
    const move = async () => {
      const peer = { addresses: ['10.1.1.11/24', 'fd00:1::11/64'] };
      const answer = await request.patch('/links/to-blue').send({ peer });
      expect([answer.status, answer.body.status?.state]).toEqual([200, 'ready']);
      return answer;
    };
    return { senders, move };
  }

  it('reaches a range that is published meanwhile, and moves with it, whatever else the change widens', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await listen('blue', 'udp', 5010);
    await listen('red', 'udp', 5010);
    // conntrack begins with the first rule of a namespace.
    await request.post('/nat').send({ name: 'out', type: 'masquerade', bridge: 'br00' }).expect(201);
    const sender = neverPausing('internet', HOST_ADDRESS, 5010);
    expect(await sender()).toBe('');
    await request.post('/nat').send(range).expect(201);
    expect(await processesOf(daemon)).toBeLessThanOrEqual(4);
    await expect.poll(sender, patient).toBe('blue');
    const moved = { to: { address: '10.1.1.2' } };
    const dry = await request.patch('/nat/range?dryRun=true').send(moved).expect(200);
    expect(dry.body.commands).toContain(
      'for port in $(seq 5000 5019); do conntrack -D -f ipv4 -p udp --orig-port-dst $port; done',
    );
    await request.patch('/nat/range').send(moved).expect(200);
    await expect.poll(sender, patient).toBe('red');
    const back = { address: HOST_ADDRESS, to: { address: '10.1.1.1' } };
    await request.patch('/nat/range').send(back).expect(200);
    await expect.poll(sender, patient).toBe('blue');
    await request
      .patch('/nat/range')
      .send({ address: null, ...moved })
      .expect(200);
    await expect.poll(sender, patient).toBe('red');
    const narrow = {
      address: HOST_ADDRESS,
      port: '5008-5011',
      to: { address: '10.1.1.1', port: '5008-5011' },
    };
    await request.patch('/nat/range').send(narrow).expect(200);
    await expect.poll(sender, patient).toBe('blue');
    await request
      .patch('/nat/range')
      .send({ address: null, port: '5000-5019', to: { address: '10.1.1.2', port: '5000-5019' } })
      .expect(200);
    await expect.poll(sender, patient).toBe('red');
    await request.delete('/nat/range').expect(204);
    await expect.poll(sender, patient).toBe('');
  });

  it('is led to a range again that was mended after somebody had taken its rules away', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await listen('blue', 'udp', 5010);
    await request.post('/nat').send(range).expect(201);
    const sender = neverPausing('internet', HOST_ADDRESS, 5010);
    await expect.poll(sender, patient).toBe('blue');
    await run('iptables', '-t', 'nat', '-F', 'NETNSD-DNAT');
    await run('conntrack', '-D', '-p', 'udp', '--orig-port-dst', '5010');
    // What was answered before may be told after.
    await expect.poll(sender, patient).toBe('');
    const { headers } = await request.post('/reconcile').expect(202);
    await expect
      .poll(async () => (await request.get(String(headers['location']))).body.state)
      .toBe('succeeded');
    await expect.poll(sender, patient).toBe('blue');
  });

  it('moves in IPv6', { retry: 1 }, async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    for (const namespace of ['blue', 'red']) {
      await listen(namespace, 'udp', 53);
      await listen(namespace, 'udp', 5010);
    }
    const to = { address: 'fd00:1::1', port: '53' };
    await request
      .post('/nat')
      .send({ ...web, name: 'one', protocol: 'udp', port: '5353', to })
      .expect(201);
    await request
      .post('/nat')
      .send({ ...range, to: { ...range.to, address: 'fd00:1::1' } })
      .expect(201);
    const senders = [5353, 5010].map((port) => neverPausing('internet', HOST_ADDRESS6, port));
    for (const sender of senders) await expect.poll(sender, { timeout: 20_000 }).toBe('blue');
    for (const name of ['one', 'range'])
      await request
        .patch(`/nat/${name}`)
        .send({ to: { address: 'fd00:1::2' } })
        .expect(200);
    for (const sender of senders) await expect.poll(sender, patient).toBe('red');
  });

  it(
    'moves with others at once, as soon as the link behind them has other addresses',
    { retry: 1 },
    async () => {
      const daemon = await startDaemon();
      const { senders, move } = await publishThree(daemon);
      expect((await deletions(daemon.request, await move())).map(({ exitCode }) => exitCode)).toEqual([
        0, 0, 0,
      ]);
      for (const sender of senders) await expect.poll(sender, patient).toBe('blue');
    },
  );

  it('moves though others can’t be listed, of which the journal tells', { retry: 1 }, async () => {
    const daemon = await startDaemon();
    const { senders, move } = await publishThree(daemon);
    const [unlisted, ...listed] = senders;
    putInFront(
      'conntrack',
      () =>
        `case "$*" in *'-L -f ipv4'*) echo 'no such luck' >&2; exit 1 ;; esac; exec /usr/sbin/conntrack "$@"`,
    );
    const moved = await move();
    for (const sender of listed) await expect.poll(sender, patient).toBe('blue');
    expect(await unlisted?.()).toBe('');
    expect(await deletions(daemon.request, moved)).toEqual([
      { command: 'conntrack -D -f ipv4 -p udp --orig-port-dst 5353', exitCode: 0, stderr: '' },
      { command: expect.stringMatching(/seq 5000 5019.* -f ipv4 /), exitCode: 1, stderr: 'no such luck' },
      { command: expect.stringMatching(/seq 5000 5019.* -f ipv6 /), exitCode: 0, stderr: '' },
    ]);
  });

  it('stays where conntrack does not end, which fails no change', { retry: 1 }, async () => {
    const daemon = await startDaemon({ changeTimeoutMs: 6000 });
    const { move } = await publishThree(daemon);
    const restore = putInFront('conntrack', () => 'exec sleep 60');
    const start = performance.now();
    const moved = await move();
    // Nor takes more than half of the time that a change of so many steps has.
    expect(performance.now() - start).toBeLessThan(12_000);
    restore();
    expect((await deletions(daemon.request, moved)).map(({ exitCode }) => exitCode)).toEqual([
      null,
      null,
      null,
    ]);
  });

  it('moves in a namespace that is a router', async () => {
    const { request } = await startDaemon();
    for (const name of ['rt', 'k1', 'k2']) await request.post('/namespaces').send({ name }).expect(201);
    const routes = [{ to: 'default', via: '10.9.0.1' }];
    const peer = { interface: 'wan', namespace: 'rt', addresses: ['10.9.0.2/24'], routes };
    await request
      .post('/links')
      .send({ name: 'up', type: 'veth', addresses: ['10.9.0.1/24'], peer })
      .expect(201);
    for (const n of [1, 2]) {
      const inner = {
        interface: 'eth0',
        namespace: `k${n}`,
        addresses: [`10.5.${n}.2/24`],
        routes: [{ to: 'default', via: `10.5.${n}.1` }],
      };
      const link = { name: `lk${n}`, type: 'veth', namespace: 'rt', addresses: [`10.5.${n}.1/24`] };
      await request
        .post('/links')
        .send({ ...link, peer: inner })
        .expect(201);
      await listen(`k${n}`, 'udp', 5010);
      await listen(`k${n}`, 'tcp', 80);
    }
    const inRouter = { ...range, namespace: 'rt', to: { link: 'lk1', port: '5000-5019' } };
    await request.post('/nat').send(inRouter).expect(201);
    await request
      .post('/nat')
      .send({ ...web, namespace: 'rt', to: { link: 'lk1', port: '80' } })
      .expect(201);
    const sender = neverPausing(null, '10.9.0.2', 5010);
    await expect.poll(sender, patient).toBe('k1');
    expect(await ask(null, '10.9.0.2', 8080)).toBe('k1 to 10.9.0.1');
    expect(await ask('rt', '127.0.0.1', 8080)).toBe('k1 to 10.5.1.1');
    expect(await ask('k1', '10.9.0.2', 8080)).toBe('k1 to 10.5.1.1');
    for (const name of ['range', 'web'])
      await request
        .patch(`/nat/${name}`)
        .send({ to: { link: 'lk2' } })
        .expect(200);
    await expect.poll(sender, patient).toBe('k2');
    // TCP: what is opened from now on.
    expect(await ask(null, '10.9.0.2', 8080)).toBe('k2 to 10.9.0.1');
    await request.delete('/nat/range').expect(204);
    await expect.poll(sender, patient).toBe('');
  });
});
