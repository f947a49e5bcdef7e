import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { changes, blue, br00, veth, type Request } from '../support/changes.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { run } from '../support/shell.ts';
import { putInFront } from '../support/wrapper.ts';

/** Somebody else's, to be adopted. */
const OLD = [
  'ip link add br-old group 7 type bridge',
  'ip address add 10.7.0.1/24 dev br-old',
  'ip address add fd07::1/64 dev br-old nodad',
  'ip link set br-old up',
  'ip route add 10.8.0.0/16 via 10.7.0.9 dev br-old proto static',
  'ip route add fd08::/64 via fd07::9 dev br-old',
  'ip link add veth-old master br-old type veth peer name eth0 netns blue',
  'ip link set veth-old up',
  'ip -n blue link set eth0 up',
  'ip -n blue address add 10.1.1.1/24 dev eth0',
  'ip -n blue route add default via 10.1.1.3',
];

const adoptBridge: Request = [
  'put',
  '/bridges/br-old?adopt=true',
  {
    addresses: ['10.7.0.1/24', 'fd07::1/64'],
    routes: [
      { to: '10.8.0.0/16', via: '10.7.0.9' },
      { to: 'fd08::/64', via: 'fd07::9' },
    ],
  },
];
const adoptLink: Request = [
  'put',
  '/links/veth-old?adopt=true',
  {
    type: 'veth',
    bridge: 'br-old',
    peer: {
      interface: 'eth0',
      namespace: 'blue',
      addresses: ['10.1.1.1/24'],
      routes: [{ to: 'default', via: '10.1.1.3' }],
    },
  },
];

/** What `ip` changes the kernel by: netlink messages, and for namespaces what binds and unbinds their names. */
const CALLS = 'sendmsg,sendto,unshare,mount,umount2';

/** Far more messages than any of these processes sends. */
const MOST_MESSAGES = 60;

describe('a failure at any message that ip sends to the kernel, and any mount', () => {
  it.each(changes)(
    'leaves nothing behind when $of',
    async ({ before, change, processes }) => {
      const { request } = await startDaemon();
      for (const each of before) expect((await send(request, each)).status).toBe(201);
      let failures = 0;
      for (let process = 1; process <= processes; process++)
        for (let message = 1; message <= MOST_MESSAGES; message++) {
          const state = await kernelState();
          const restore = injectInto(process, message);
          const { status, body } = await send(request, change);
          const wasReached = restore();
          if (status < 300) {
            await undo(request, change, before);
            if (!wasReached) break;
            continue;
          }
          failures += 1;
          expect(body.type).toMatch(/permission|kernel-error|foreign-object/);
          expect(kernelDifferences(state, await kernelState())).toEqual([]);
        }
      expect(failures).toBeGreaterThan(0);
    },
    120_000,
  );

  it.each([
    { of: 'a bridge', before: [], adopt: adoptBridge, processes: 2 },
    { of: 'a link', before: [adoptBridge], adopt: adoptLink, processes: 4 },
  ])(
    'leaves $of as it was when it is adopted',
    async ({ before, adopt, processes }) => {
      const { request } = await startDaemon();
      await send(request, blue);
      let failures = 0;
      const make = async (): Promise<void> => {
        for (const command of OLD) await run('sh', '-c', command);
        for (const each of before) expect((await send(request, each)).status).toBe(201);
      };
      const unmake = async (): Promise<void> => {
        await request.delete('/bridges/br-old?cascade=true');
        await run('sh', '-c', 'ip link delete veth-old; ip link delete br-old; true');
      };
      onTestFinished(unmake);
      await make();
      for (let process = 1; process <= processes; process++)
        for (let message = 1; message <= MOST_MESSAGES; message++) {
          const state = await kernelState();
          const restore = injectInto(process, message);
          const { status } = await send(request, adopt);
          const wasReached = restore();
          if (status >= 300) {
            failures += 1;
            expect(kernelDifferences(state, await kernelState())).toEqual([]);
            continue;
          }
          await unmake();
          await make();
          if (!wasReached) break;
        }
      expect(failures).toBeGreaterThan(0);
    },
    120_000,
  );

  it('leaves nothing behind when the name of a namespace can’t be unbound', async () => {
    const { request } = await startDaemon();
    for (const each of [blue, br00, veth]) await send(request, each);
    await run('mount', '--bind', '/run/netns/blue', '/run/netns/blue');
    const state = await kernelState();
    const refused = await request.delete('/namespaces/blue?cascade=true');
    expect([refused.status, refused.body.type]).toEqual([409, '/problems/in-use']);
    // `ip` itself has taken the upper one of the two mounts away before it failed.
    expect(kernelDifferences(state, await kernelState())).toEqual(['- mounts: /run/netns/blue']);
    expect((await request.get('/links/veth00')).body.status.state).toBe('ready');
  });
});

function send(request: Daemon['request'], [method, path, body]: Request) {
  return body === undefined ? request[method](path) : request[method](path).send(body);
}

/** Has all as it was before the change, which was made after all: what was read only, or was made up for. */
async function undo(request: Daemon['request'], [method, path]: Request, before: Request[]): Promise<void> {
  if (method === 'post') {
    const name = { '/namespaces': 'blue', '/bridges': 'br00', '/links': 'veth00' }[path] ?? '';
    expect((await request.delete(`${path}/${name}`)).status).toBe(204);
    return;
  }
  for (const collection of ['nat', 'links', 'bridges', 'namespaces']) {
    const { body } = await request.get(`/${collection}`);
    for (const { name } of body.items as { name: string }[])
      await request.delete(`/${collection}/${name}?cascade=true`);
  }
  for (const each of before) expect((await send(request, each)).status).toBe(201);
}

/**
 * Has the message of that number fail in the `ip` process of that number; gives the way back, which tells whether
 * there was such a message.
 */
function injectInto(processNumber: number, message: number): () => boolean {
  let trace = '';
  const restore = putInFront('ip', (directory) => {
    trace = join(directory, 'trace');
    const strace = `strace -qq -o ${trace} -e trace=${CALLS} -e inject=${CALLS}:error=EPERM:when=${message}`;
    return [
      'n=1',
      `until mkdir ${directory}/$n 2>/dev/null; do n=$((n + 1)); done`,
      `[ $n -eq ${processNumber} ] && exec ${strace} /usr/sbin/ip "$@"`,
      'exec /usr/sbin/ip "$@"',
    ].join('\n');
  });
  return () => {
    restore();
    return existsSync(trace) && readFileSync(trace, 'utf8').includes('INJECTED');
  };
}
