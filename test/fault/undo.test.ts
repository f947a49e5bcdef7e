import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { run } from '../support/shell.ts';
import { putInFront } from '../support/wrapper.ts';

/** A change that fails at one of its steps for a real cause, and what is there before. */
interface Failure {
  of: string;
  /** What others have, made by hand. */
  foreign?: string[];
  recorded?: [path: string, body: object][];
  /** By hand, after all that is recorded: what netnsd does not expect. */
  surprise?: string[];
  change: [method: 'post' | 'patch' | 'put', path: string, body: object];
  answer: [status: number, slug: string];
  command: RegExp;
  tidy?: string[];
}

const blue: [string, object] = ['/namespaces', { name: 'blue' }];
const red: [string, object] = ['/namespaces', { name: 'red' }];
const br00: [string, object] = ['/bridges', { name: 'br00', addresses: ['10.1.1.3/24'] }];
const veth = (more: object = {}, peer: object = {}): object => ({
  name: 'veth00',
  type: 'veth',
  addresses: ['10.1.1.2/24'],
  routes: [{ to: '10.77.0.0/16', via: '10.1.1.1' }],
  peer: {
    interface: 'veth10',
    namespace: 'blue',
    addresses: ['10.1.1.1/24', 'fd00::1/64'],
    routes: [{ to: 'default', via: '10.1.1.2' }],
    ...peer,
  },
  ...more,
});
const link = (more: object = {}, peer: object = {}): [string, object] => ['/links', veth(more, peer)];
const foreignBlueInterface = 'ip -n blue link add name veth10 type bridge';
const noIpv6 = (namespace: string): string =>
  `ip netns exec ${namespace} sysctl -qw net.ipv6.conf.default.disable_ipv6=1`;

const failures: Failure[] = [
  {
    of: 'namespace.add: a namespace of that name is somebody else’s',
    foreign: ['ip netns add taken'],
    change: ['post', '/namespaces', { name: 'taken' }],
    answer: [409, 'foreign-object'],
    command: /ip netns add taken/,
    tidy: ['ip netns delete taken'],
  },
  {
    of: 'namespace.add: a plain file has that name',
    foreign: ['touch /run/netns/taken'],
    change: ['post', '/namespaces', { name: 'taken' }],
    answer: [409, 'foreign-object'],
    command: /ip netns add taken/,
    tidy: ['rm /run/netns/taken'],
  },
  {
    of: 'sysctl.set: a value that the kernel refuses',
    change: [
      'post',
      '/namespaces',
      {
        name: 'blue',
        sysctls: { 'net.ipv4.ip_forward': '1', 'net.ipv4.tcp_congestion_control': 'none-such' },
      },
    ],
    answer: [422, 'unprocessable'],
    command: /sysctl -w net\.ipv4\.tcp_congestion_control/,
  },
  {
    of: 'sysctl.set on a namespace that is there',
    recorded: [['/namespaces', { name: 'blue', sysctls: { 'net.ipv4.ip_forward': '1' } }]],
    change: [
      'patch',
      '/namespaces/blue',
      {
        sysctls: {
          'net.ipv4.ip_forward': null,
          'net.ipv4.ping_group_range': '0 5',
          'net.ipv4.none_such': '1',
        },
      },
    ],
    answer: [422, 'unprocessable'],
    command: /sysctl -w net\.ipv4\.none_such/,
  },
  {
    of: 'bridge.add: an interface of that name is somebody else’s',
    foreign: ['ip link add name br00 type bridge'],
    change: ['post', ...br00],
    answer: [409, 'foreign-object'],
    command: /ip link add name br00/,
    tidy: ['ip link delete br00'],
  },
  {
    of: 'bridge, address.add: no IPv6 there',
    recorded: [blue],
    surprise: [noIpv6('blue')],
    change: [
      'post',
      '/bridges',
      { name: 'br00', namespace: 'blue', addresses: ['10.1.1.3/24', 'fd00::3/64'] },
    ],
    answer: [501, 'kernel-unsupported'],
    command: /ip -n blue address add fd00::3\/64/,
  },
  {
    of: 'bridge, route.add: a gateway that is not reachable',
    change: [
      'post',
      '/bridges',
      { name: 'br00', addresses: ['10.1.1.3/24'], routes: [{ to: '10.9.0.0/16', via: '192.168.99.1' }] },
    ],
    answer: [422, 'unprocessable'],
    command: /ip route add 10\.9\.0\.0\/16 via 192\.168\.99\.1/,
  },
  {
    of: 'bridge, route.add: the route is somebody else’s',
    foreign: ['ip route add 10.9.0.0/16 via 198.51.100.1'],
    change: [
      'post',
      '/bridges',
      { name: 'br00', addresses: ['10.1.1.3/24'], routes: [{ to: '10.9.0.0/16', via: '10.1.1.9' }] },
    ],
    answer: [409, 'foreign-object'],
    command: /ip route add 10\.9\.0\.0\/16/,
    tidy: ['ip route delete 10.9.0.0/16'],
  },
  {
    of: 'veth.add: this end’s name is somebody else’s',
    foreign: ['ip link add name veth00 type bridge'],
    recorded: [blue],
    change: ['post', ...link()],
    answer: [409, 'foreign-object'],
    command: /ip link add name veth00/,
    tidy: ['ip link delete veth00'],
  },
  {
    of: 'veth.add: the other end’s name is somebody else’s',
    recorded: [blue],
    surprise: [foreignBlueInterface],
    change: ['post', ...link()],
    answer: [409, 'foreign-object'],
    command: /ip link add name veth00/,
  },
  {
    of: 'veth.add: the namespace was exchanged for another',
    recorded: [blue],
    // The other one is made first: the kernel gives the number of an inode out again at once.
    surprise: [
      'ip netns add other',
      'ip netns delete blue',
      'touch /run/netns/blue && mount --bind /run/netns/other /run/netns/blue',
    ],
    change: ['post', ...link()],
    answer: [409, 'foreign-object'],
    command: /ip netns add blue/,
    tidy: ['ip netns delete blue', 'ip netns delete other'],
  },
  {
    of: 'veth.add: the bridge was exchanged for another',
    recorded: [blue, br00],
    surprise: ['ip link delete br00', 'ip link add name br00 type bridge'],
    change: ['post', ...link({ bridge: 'br00', addresses: [], routes: [] }, { routes: [] })],
    answer: [409, 'foreign-object'],
    command: /ip link add name br00/,
    tidy: ['ip link delete br00'],
  },
  {
    of: 'link, address.add at the other end: no IPv6 there',
    recorded: [blue],
    surprise: [noIpv6('blue')],
    change: ['post', ...link()],
    answer: [501, 'kernel-unsupported'],
    command: /ip -n blue address add fd00::1\/64/,
  },
  {
    of: 'link, route.add at this end: a gateway that is not reachable',
    recorded: [blue],
    change: ['post', ...link({ routes: [{ to: '10.77.0.0/16', via: '10.66.0.1' }] })],
    answer: [422, 'unprocessable'],
    command: /ip route add 10\.77\.0\.0\/16/,
  },
  {
    of: 'link, route.add at the other end: a gateway that is not reachable',
    recorded: [blue],
    change: ['post', ...link({}, { routes: [{ to: 'default', via: '10.66.0.1' }] })],
    answer: [422, 'unprocessable'],
    command: /ip -n blue route add default via 10\.66\.0\.1/,
  },
  {
    of: 'link, route.add at the other end: the default route is somebody else’s',
    recorded: [blue],
    surprise: [
      'ip -n blue link add name other type bridge',
      'ip -n blue link set other up',
      'ip -n blue addr add 10.50.0.1/24 dev other',
      'ip -n blue route add default via 10.50.0.9',
    ],
    change: ['post', ...link()],
    answer: [409, 'foreign-object'],
    command: /ip -n blue route add default/,
  },
  {
    of: 'device.move: the name is taken in the other namespace',
    recorded: [blue, red, link()],
    surprise: ['ip -n red link add name veth10 type bridge'],
    change: ['patch', '/links/veth00', { peer: { namespace: 'red' } }],
    answer: [409, 'foreign-object'],
    command: /ip -n blue link set dev veth10 netns \/run\/netns\/red/,
  },
  {
    of: 'route.add after device.move: the route is somebody else’s in the other namespace',
    recorded: [blue, red, link()],
    surprise: [
      'ip -n red link add name other type bridge',
      'ip -n red link set other up',
      'ip -n red addr add 10.50.0.1/24 dev other',
      'ip -n red route add default via 10.50.0.9',
    ],
    change: ['patch', '/links/veth00', { peer: { namespace: 'red' } }],
    answer: [409, 'foreign-object'],
    command: /ip -n red route add default/,
  },
  {
    of: 'device.rename: the new name is taken',
    foreign: ['ip link add name other type bridge'],
    recorded: [blue, link()],
    change: [
      'patch',
      '/links/veth00',
      { interface: 'other', mtu: 1400, addresses: ['10.1.1.2/24', '10.1.1.9/24'] },
    ],
    answer: [409, 'foreign-object'],
    command: /ip link set dev veth00 name other/,
    tidy: ['ip link delete other'],
  },
  {
    of: 'address.delete and route.add: the gateway is lost with the address',
    recorded: [blue, link()],
    change: [
      'patch',
      '/links/veth00',
      { peer: { addresses: ['10.8.8.1/24'], mtu: 1400, mac: '02:00:00:00:00:77' } },
    ],
    answer: [422, 'unprocessable'],
    command: /ip -n blue route add default via 10\.1\.1\.2/,
  },
  {
    of: 'device.mtu: an IPv6 address can’t be with so small a one',
    recorded: [blue, link()],
    change: ['patch', '/links/veth00', { peer: { mtu: 600 } }],
    answer: [422, 'unprocessable'],
    command: /^$/,
  },
];

describe('a change that fails at a step', () => {
  it.each(failures)(
    'leaves nothing of itself: $of',
    async ({ foreign = [], recorded = [], surprise = [], change, answer, command, tidy = [] }) => {
      for (const line of foreign) await shell(line);
      const { request } = await startDaemon();
      onTestFinished(async () => {
        for (const line of tidy) await shell(line);
      });
      for (const [path, body] of recorded) expect((await request.post(path).send(body)).status).toBe(201);
      for (const line of surprise) await shell(line);
      const before = await kernelState();
      const storedBefore = await everything(request);

      const [method, path, body] = change;
      const refused = await request[method](path).send(body);

      expect({ status: refused.status, type: refused.body.type, detail: refused.body.detail }).toMatchObject({
        status: answer[0],
        type: `/problems/${answer[1]}`,
      });
      expect(refused.body.command ?? '').toMatch(command);
      if (command.source !== '^$') expect(refused.body.stderr).not.toBe('');
      expect(kernelDifferences(before, await kernelState())).toEqual([]);
      expect(await everything(request)).toEqual(storedBefore);
      const { body: operation } = await request.get(refused.headers['operation'] ?? '');
      expect(operation.state).toMatch(/^(failed|refused)$/);
    },
  );

  const out = { name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' };
  const web = {
    name: 'web',
    type: 'dnat',
    protocol: 'tcp',
    port: '8080',
    to: { address: '10.1.1.1', port: '80' },
  };
  it.each<{
    of: string;
    before: object[];
    change: [method: 'post' | 'patch' | 'delete', path: string, body?: object];
  }>([
    { of: 'the first rule is made', before: [], change: ['post', '/nat', out] },
    { of: 'another rule is made', before: [out], change: ['post', '/nat', web] },
    {
      of: 'a rule is changed',
      before: [out, web],
      change: ['patch', '/nat/out', { forward: 'any', source: '10.2.0.0/16' }],
    },
    { of: 'a rule is deleted', before: [out, web], change: ['delete', '/nat/out'] },
    { of: 'the last rule is deleted, with the chains', before: [out], change: ['delete', '/nat/out'] },
  ])('leaves nothing of itself, at every message of iptables-restore: $of', async ({ before, change }) => {
    const { request } = await startDaemon();
    for (const nat of before) expect((await request.post('/nat').send(nat)).status).toBe(201);
    const storedBefore = await everything(request);
    const statuses: number[] = [];
    const [method, path, body] = change;
    for (let message = 1; message <= 40 && !statuses.some((status) => status < 300); message++) {
      const state = await kernelState();
      const restore = wrapTool(
        'iptables-restore',
        `strace -f -o /dev/null -e trace=sendmsg,sendto -e inject=sendmsg,sendto:error=EINVAL:when=${message}`,
      );
      const answer = await (body === undefined ? request[method](path) : request[method](path).send(body));
      restore();
      statuses.push(answer.status);
      if (answer.status < 300) continue;
      expect(answer.body.command).toMatch(/iptables/);
      // A rule that is put back stands at the end of its chain: in ours the order never matters.
      const differences = kernelDifferences(state, await kernelState());
      expect(differences.filter((line) => !/^~ host iptables \w+: the order differs$/.test(line))).toEqual(
        [],
      );
      expect(await everything(request)).toEqual(storedBefore);
    }
    // It failed at some messages, and the loop ended because there were no more.
    expect(statuses.filter((status) => status === 500).length).toBeGreaterThan(1);
    expect(statuses.at(-1)).toBeLessThan(300);
  });

  it('leaves nothing of itself: forwarding can’t be turned on', async () => {
    const { request } = await startDaemon();
    await run('mount', '--bind', '/proc/sys/net/ipv4', '/proc/sys/net/ipv4');
    onTestFinished(async () => void (await run('umount', '/proc/sys/net/ipv4')));
    await run('mount', '-o', 'remount,bind,ro', '/proc/sys/net/ipv4');
    const before = await kernelState();
    const refused = await request
      .post('/nat')
      .send({ name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' });
    expect(refused.status).toBe(503);
    expect(refused.body).toMatchObject({
      type: '/problems/permission',
      command: 'sysctl -w net.ipv4.ip_forward=1',
    });
    expect(kernelDifferences(before, await kernelState())).toEqual([]);
  });

  it('leaves nothing of itself: a bridge has all the ports that the kernel allows', async () => {
    const { request } = await startDaemon();
    await request.post('/bridges').send({ name: 'br00' });
    const pairs = Array.from(
      { length: 512 },
      (_, n) =>
        `link add name fa${n} master br00 group 77 type veth peer name fb${n} group 77\n${n < 511 ? `link set fb${n} master br00\n` : ''}`,
    );
    await run('sh', '-c', `printf '%s' "${pairs.join('')}" | ip -batch -`);
    const before = await kernelState();
    const refused = await request
      .post('/links')
      .send({ name: 'v', type: 'veth', bridge: 'br00', peer: { interface: 'w' } });
    const after = await kernelState();
    await run('ip', 'link', 'delete', 'group', '77');
    expect(refused.status).toBe(507);
    expect(refused.body).toMatchObject({
      type: '/problems/limit-reached',
      stderr: 'RTNETLINK answers: Exchange full',
    });
    expect(kernelDifferences(before, after)).toEqual([]);
  });
});

async function shell(line: string): Promise<void> {
  await run('sh', '-c', line);
}

async function everything(request: Daemon['request']): Promise<unknown> {
  const collections = await Promise.all(
    ['namespaces', 'bridges', 'links', 'nat'].map((name) => request.get(`/${name}`)),
  );
  return collections.map(({ body }) =>
    (body.items as { name: string; revision: number }[]).map(({ name, revision }) => [name, revision]),
  );
}

/** Has the first run of a tool go through a wrapper, and later ones not; gives the way back. */
function wrapTool(tool: string, wrapper: string): () => void {
  return putInFront(
    tool,
    (directory) =>
      `mkdir ${directory}/used 2>/dev/null && exec ${wrapper} /usr/sbin/${tool} "$@"\nexec /usr/sbin/${tool} "$@"`,
  );
}
