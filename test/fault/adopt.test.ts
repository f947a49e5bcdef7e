import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { startServer, temporaryDirectory } from '../support/server.ts';
import { ipJson, run } from '../support/shell.ts';
import { putInFront } from '../support/wrapper.ts';

const OLD = [
  'ip netns add blue',
  'ip -n blue link set lo up',
  'ip link add br-old group 7 type bridge',
  'ip address add 10.7.0.1/24 dev br-old',
  'ip link set br-old up',
  'ip route add 10.8.0.0/16 via 10.7.0.9 dev br-old proto static',
  'ip route add 10.9.0.0/16 via 10.7.0.9 dev br-old',
  'ip link add veth-old master br-old type veth peer name eth0 netns blue',
  'ip link set veth-old up',
  'ip -n blue link set eth0 up',
  'ip -n blue address add 10.1.1.1/24 dev eth0',
  'ip -n blue route add default via 10.1.1.3',
];

async function makeOld(): Promise<void> {
  onTestFinished(async () => {
    await run('sh', '-c', 'ip link delete br-old; ip link delete veth-old; ip netns delete blue; true');
  });
  for (const command of OLD) await run('sh', '-c', command);
}

const bridge = {
  addresses: ['10.7.0.1/24'],
  routes: [
    { to: '10.8.0.0/16', via: '10.7.0.9' },
    { to: '10.9.0.0/16', via: '10.7.0.9' },
  ],
};
const link = {
  type: 'veth',
  bridge: 'br-old',
  peer: {
    interface: 'eth0',
    namespace: 'blue',
    addresses: ['10.1.1.1/24'],
    routes: [{ to: 'default', via: '10.1.1.3' }],
  },
};

/**
 * Has netnsd killed by `ip` once it has given so many lines of one process to the kernel that mark something: before
 * the answer, so that nothing is committed.
 */
function killAfter(marks: number): () => void {
  return putInFront('ip', (directory) =>
    [
      // `ip` reads its lines from here, one at a time; whoever started it is the daemon.
      `case "$*" in *-batch*) ;; *) exec /usr/sbin/ip "$@" ;; esac`,
      'daemon=$PPID',
      `{ while IFS= read -r line; do`,
      `  printf '%s\\n' "$line"`,
      `  case "$line" in *"group 20851"*|*"proto 115"*) case "$line" in *show*) ;; *)`,
      `    echo x >> ${directory}/marks`,
      `    if [ "$(wc -l < ${directory}/marks)" -ge ${marks} ]; then sleep 0.2; kill -KILL $daemon; exit; fi ;; esac ;; esac`,
      `done; } | /usr/sbin/ip "$@"`,
    ].join('\n'),
  );
}

describe('netnsd killed while it adopts', () => {
  it.each([
    [1, {}],
    [2, {}],
    [3, {}],
    [1, { firewall: {} }],
    [3, { firewall: {} }],
  ])('a bridge, after %i marks, gives it its own marks back: with %o', async (marks, more) => {
    const stateDir = temporaryDirectory();
    await makeOld();
    const before = await kernelState();
    const restore = killAfter(marks);
    const first = await startServer([], { stateDir });
    expect((await first.curl('/bridges/br-old?adopt=true', 'PUT', { ...bridge, ...more })).status).toBe(0);
    await first.end();
    restore();
    // What `ip` was given it may do after that.
    await expect.poll(async () => kernelDifferences(before, await kernelState())).not.toEqual([]);
    const second = await startServer([], { stateDir });
    expect(kernelDifferences(before, await kernelState())).toEqual([]);
    expect((await second.curl('/bridges/br-old')).body['managed']).toBe(false);
    const { body } = await second.curl('/operations/1');
    expect(body).toMatchObject({ state: 'failed', undone: true, problem: { slug: 'interrupted' } });
    expect((await second.curl('/bridges/br-old?adopt=true', 'PUT', { ...bridge, ...more })).status).toBe(201);
    expect((await second.curl('/bridges/br-old', 'DELETE')).status).toBe(204);
  });

  it.each([1, 2, 3])('a link, after %i marks, gives it its own marks back', async (marks) => {
    const stateDir = temporaryDirectory();
    await makeOld();
    const prepared = await startServer([], { stateDir });
    expect((await prepared.curl('/namespaces/blue?adopt=true', 'PUT', {})).status).toBe(201);
    expect((await prepared.curl('/bridges/br-old?adopt=true', 'PUT', bridge)).status).toBe(201);
    await prepared.end();
    const before = await kernelState();
    const restore = killAfter(marks);
    const first = await startServer([], { stateDir });
    expect((await first.curl('/links/veth-old?adopt=true', 'PUT', link)).status).toBe(0);
    await first.end();
    restore();
    // What `ip` was given it may do after that.
    await expect.poll(async () => kernelDifferences(before, await kernelState())).not.toEqual([]);
    const second = await startServer([], { stateDir });
    expect(kernelDifferences(before, await kernelState())).toEqual([]);
    expect((await second.curl('/links/veth-old')).status).toBe(404);
    expect((await second.curl('/links/veth-old?adopt=true', 'PUT', link)).status).toBe(201);
    expect((await second.curl('/namespaces/blue?cascade=true', 'DELETE')).status).toBe(204);
    expect((await second.curl('/bridges/br-old', 'DELETE')).status).toBe(204);
  });
});

describe('adopting', () => {
  it('goes on from where it was when ip is killed after some of the marks', async () => {
    const { request } = await startDaemon();
    await makeOld();
    // The first process looks, the second marks; it is gone after two of three marks.
    putInFront('ip', (directory) =>
      [
        numbered(directory),
        '[ $n -eq 2 ] || exec /usr/sbin/ip "$@"',
        '{ head -n 3; sleep 0.2; kill -KILL $$; } | /usr/sbin/ip "$@" & wait',
      ].join('\n'),
    );
    const adopted = await request.put('/bridges/br-old?adopt=true').send(bridge);
    expect(adopted.body).toMatchObject({ status: { state: 'ready' } });
    expect((await request.get('/drift')).body.items).toEqual([]);
    expect(await run('ip', 'route', 'show', 'proto', '115')).toMatch(/10\.8\.0\.0[^]*10\.9\.0\.0/);
  });

  it('leaves alone what has taken the place of what was looked at', async () => {
    const { request } = await startDaemon();
    await makeOld();
    putInFront('ip', (directory) =>
      [
        numbered(directory),
        '[ $n -eq 2 ] && /usr/sbin/ip link delete br-old && /usr/sbin/ip link add br-old type bridge',
        'exec /usr/sbin/ip "$@"',
      ].join('\n'),
    );
    const refused = await request.put('/bridges/br-old?adopt=true').send(bridge);
    expect([refused.status, refused.body.type]).toEqual([409, '/problems/foreign-object']);
    expect(await ipJson('link', 'show', 'br-old')).toMatchObject([{ group: 'default' }]);
    expect((await request.get('/bridges')).body.items).toEqual([]);
  });

  it('leaves everything as it was when the store can’t be written at the end', async () => {
    const { request, stateDir } = await startDaemon();
    await makeOld();
    const before = await kernelState();
    // The files of the store are away by the time that the change is to be recorded.
    putInFront('ip', (directory) =>
      [
        numbered(directory),
        `[ $n -eq 2 ] && mv ${stateDir}/netnsd.db ${stateDir}/away`,
        'exec /usr/sbin/ip "$@"',
      ].join('\n'),
    );
    const refused = await request.put('/bridges/br-old?adopt=true').send(bridge);
    await run('sh', '-c', `mv ${stateDir}/away ${stateDir}/netnsd.db`);
    expect([refused.status, refused.body.type]).toEqual([503, '/problems/store-unavailable']);
    expect(kernelDifferences(before, await kernelState())).toEqual([]);
  });
});

describe('a restart of the machine', () => {
  it('has what was adopted made again, with its MAC address', async () => {
    const stateDir = temporaryDirectory();
    await makeOld();
    const first = await startServer([], { stateDir });
    for (const [path, body] of [
      ['/namespaces/blue', {}],
      ['/bridges/br-old', bridge],
      ['/links/veth-old', link],
    ] as const)
      expect((await first.curl(`${path}?adopt=true`, 'PUT', body)).status).toBe(201);
    await first.end();
    const macs = await run('cat', '/sys/class/net/br-old/address', '/sys/class/net/veth-old/address');
    await run('sh', '-c', 'ip link delete br-old; ip link delete veth-old; ip netns delete blue');
    const second = await startServer([], { stateDir });
    await expect.poll(async () => (await second.curl('/drift')).body['items']).toEqual([]);
    expect((await second.curl('/links/veth-old')).body).toMatchObject({ status: { state: 'ready' } });
    expect(await run('cat', '/sys/class/net/br-old/address', '/sys/class/net/veth-old/address')).toBe(macs);
    for (const path of ['/namespaces/blue?cascade=true', '/bridges/br-old'])
      expect((await second.curl(path, 'DELETE')).status).toBe(204);
  });
});

/** Counts the processes that keep a conversation, in `$n`. */
function numbered(directory: string): string {
  return `n=1; until mkdir ${directory}/$n 2>/dev/null; do n=$((n + 1)); done`;
}
