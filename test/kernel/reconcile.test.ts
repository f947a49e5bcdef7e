import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { run } from '../support/shell.ts';
import { putInFront } from '../support/wrapper.ts';

const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.1/24'] };
const made: [path: string, body: { name: string; [field: string]: unknown }][] = [
  ['/namespaces', { name: 'blue' }],
  ['/bridges', { name: 'br00', addresses: ['10.1.1.3/24'] }],
  ['/links', { name: 'veth00', type: 'veth', bridge: 'br00', peer }],
  ['/nat', { name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' }],
];

async function make({ request }: Daemon, bodies: readonly [string, object][] = made): Promise<void> {
  for (const [path, body] of bodies) expect((await request.post(path).send(body)).status).toBe(201);
}

async function stateOf({ request }: Daemon, path: string): Promise<string> {
  return (await request.get(path)).body.status?.state;
}

describe('DELETE of what is gone from the kernel', () => {
  const flushed =
    'for chain in IN GUARD OUT; do iptables -F NETNSD-$chain; done; iptables -t nat -F NETNSD-SNAT';
  it.each([
    ['/nat/out', flushed],
    ['/links/veth00', 'ip link delete dev veth00'],
    ['/bridges/br00?cascade=true', 'ip link delete dev br00'],
    ['/namespaces/blue?cascade=true', 'ip netns delete blue'],
    ['/namespaces/blue?cascade=true', 'ip netns delete blue; ip link delete dev br00'],
  ])('%s succeeds after: %s', async (path, command) => {
    const daemon = await startDaemon({ reconcileMode: 'off' });
    await make(daemon);
    await run('sh', '-c', command);
    await daemon.request.delete(path).expect(204);
    await daemon.request.get(path.split('?')[0] ?? '').expect(404);
  });
});

describe('a look at everything', () => {
  it('takes one process for the host, one for each namespace, and one for each family of rules', async () => {
    const daemon = await startDaemon({ reconcileMode: 'off' });
    const processes = async (): Promise<unknown> => (await daemon.request.get('/drift')).body.processes;
    expect(await processes()).toBe(1);
    await make(daemon);
    expect(await processes()).toBe(3);
    await make(daemon, [['/nat', { name: 'out6', type: 'masquerade', source: 'fd00:1::/64' }]]);
    expect(await processes()).toBe(4);
    const names = Array.from({ length: 10 }, (_, at) => `n${at}`);
    await Promise.all(
      names.map(async (name) => {
        await make(daemon, [
          ['/namespaces', { name, sysctls: { 'net.ipv4.ip_forward': '1' } }],
          [
            '/links',
            { name: `l${name}`, type: 'veth', bridge: 'br00', peer: { interface: 'eth0', namespace: name } },
          ],
          ['/links', { name: `m${name}`, type: 'veth', peer: { interface: 'eth1', namespace: name } }],
          [
            '/nat',
            {
              name,
              type: 'dnat',
              protocol: 'tcp',
              port: `9${name.slice(1)}`,
              to: { address: '10.1.1.1', port: '80' },
            },
          ],
        ]);
      }),
    );
    expect(await processes()).toBe(4 + names.length);
    await make(daemon, [
      ['/nat', { name: 'inside', namespace: 'n0', type: 'masquerade', source: '10.7.0.0/16' }],
    ]);
    expect(await processes()).toBe(5 + names.length);
    const { body } = await daemon.request.get('/drift');
    expect(body).toMatchObject({ items: [], unrecorded: [], resources: 4 + 1 + 4 * names.length + 1 });
  });

  it('looks into namespaces side by side', async () => {
    const daemon = await startDaemon({ reconcileMode: 'off' });
    const bodies = Array.from({ length: 6 }, (_, at): [string, object] => [
      '/namespaces',
      { name: `n${at}` },
    ]);
    await make(daemon, bodies);
    const restore = putInFront('ip', () => 'sleep 1; exec /usr/sbin/ip "$@"');
    const { body } = await daemon.request.get('/drift');
    restore();
    expect(body).toMatchObject({ items: [], processes: 7 });
    expect(body.durationMs).toBeGreaterThan(1_000);
    // Two at least go together, even on one core.
    expect(body.durationMs).toBeLessThan(7 * 1_000);
  });
});

/** A process in a network namespace of its own. */
async function startLonely(): Promise<{ pid: number; end: () => Promise<void> }> {
  const child = execa('unshare', ['--net', 'sleep', '60'], { reject: false });
  const end = async (): Promise<void> => {
    child.kill('SIGKILL');
    await child;
  };
  onTestFinished(end);
  const own = await run('readlink', '/proc/self/ns/net');
  await expect.poll(async () => run('readlink', `/proc/${String(child.pid)}/ns/net`)).not.toBe(own);
  return { pid: child.pid ?? 0, end };
}

describe('an adopted namespace whose process is gone', () => {
  it('is failed with all that depends on it, holds up nothing else, and comes back with a new process', async () => {
    const daemon = await startDaemon({ reconcileMode: 'repair', reconcileIntervalMs: 200 });
    const { request } = daemon;
    const first = await startLonely();
    await make(daemon, [
      ['/namespaces', { name: 'blue', pid: first.pid }],
      ...made.slice(1),
      ['/bridges', { name: 'inner', namespace: 'blue' }],
      ['/nat', { name: 'inside', namespace: 'blue', type: 'masquerade', source: '10.7.0.0/16' }],
    ]);
    await run('umount', '/run/netns/blue');
    await run('rm', '/run/netns/blue');
    await first.end();
    const gone = new RegExp(
      `process ${first.pid}, whose namespace it was, is gone.*PUT /namespaces/blue with a new pid`,
    );
    const dependents = ['/links/veth00', '/bridges/inner', '/nat/inside'];
    // Between the commands above it may be failed for another reason.
    for (const path of ['/namespaces/blue', ...dependents])
      await expect
        .poll(async () => (await request.get(path)).body.status)
        .toMatchObject({ state: 'failed', message: expect.stringMatching(gone) });
    const drift = (await request.get('/drift')).body as { items: { state: string; message: string }[] };
    expect(drift.items.map(({ state }) => state)).toEqual(['failed', 'failed', 'failed', 'failed']);
    for (const { message } of drift.items) expect(message).toMatch(gone);
    // Others are mended and changed as ever.
    await run('ip', 'link', 'set', 'dev', 'br00', 'mtu', '1400');
    await expect.poll(async () => run('cat', '/sys/class/net/br00/mtu')).toBe('1500');
    expect(await stateOf(daemon, '/nat/out')).toBe('ready');
    await make(daemon, [['/bridges', { name: 'br01' }]]);
    await request.get('/readyz').expect(200);
    const second = await startLonely();
    await request.put('/namespaces/blue').send({ name: 'blue', pid: second.pid }).expect(200);
    for (const path of ['/namespaces/blue', ...dependents])
      await expect.poll(async () => stateOf(daemon, path)).toBe('ready');
    expect(
      await run('nsenter', '-t', String(second.pid), '-n', 'ip', 'address', 'show', 'dev', 'eth0'),
    ).toContain('10.1.1.1/24');
    expect((await request.get('/drift')).body.items).toEqual([]);
  });
});
