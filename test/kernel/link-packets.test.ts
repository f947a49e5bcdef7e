import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { create } from '../support/create.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { pings, run } from '../support/shell.ts';

type Request = Daemon['request'];

/** Whether there is an answer to what fills the MTU and may not be cut. */
async function pingsInFull(from: string, to: string, mtu: number): Promise<boolean> {
  const headers = to.includes(':') ? 48 : 28;
  const size = `${mtu - headers}`;
  const ping = ['ping', '-n', '-c', '1', '-W', '1', '-M', 'do', '-s', size, to];
  const { exitCode } = await execa('ip', ['netns', 'exec', from, ...ping], { reject: false });
  return exitCode === 0;
}

const soon = { timeout: 20_000 };

describe('macvlans on one parent', () => {
  it.each([
    ['bridge', true],
    ['private', false],
    ['vepa', false],
  ])('in mode %s reach one another: %s', async (mode, isReached) => {
    const { request } = await startDaemon();
    await run('ip', ...'link add p0 type veth peer name p1'.split(' '));
    onTestFinished(async () => void (await execa('ip', ['link', 'delete', 'p0'], { reject: false })));
    await create(request, '/namespaces', { name: 'blue' }, { name: 'red' }, { name: 'far' });
    // What is beyond the parent is reached in any mode, and sends nothing back.
    await run('ip', ...'link set p1 netns far'.split(' '));
    for (const line of ['address add 10.4.0.9/24 dev p1', 'link set p1 up'])
      await run('ip', '-n', 'far', ...line.split(' '));
    await run('ip', 'link', 'set', 'p0', 'up');
    for (const [at, namespace] of ['blue', 'red'].entries())
      await create(request, '/links', {
        name: `m${at}`,
        type: 'macvlan',
        interface: 'eth0',
        namespace,
        parent: 'p0',
        mode,
        addresses: [`10.4.0.${at + 1}/24`],
      });
    for (const namespace of ['blue', 'red'])
      expect([namespace, await pings(namespace, '10.4.0.9')]).toEqual([namespace, true]);
    expect([await pings('blue', '10.4.0.2'), await pings('red', '10.4.0.1')]).toEqual([isReached, isReached]);
  });
});

/** Two namespaces, joined by a veth pair. */
async function createUnderlay(request: Request): Promise<void> {
  await create(request, '/namespaces', { name: 'blue' }, { name: 'red' });
  const end = (namespace: string, at: number): object => ({
    interface: 'u0',
    namespace,
    addresses: [`10.5.0.${at}/24`, `fd05::${at}/64`],
  });
  await create(request, '/links', { name: 'u', type: 'veth', ...end('blue', 1), peer: end('red', 2) });
}

describe('vxlans in two namespaces', () => {
  it.each<[string, [object, object], number]>([
    ['by IPv4', [{ remote: '10.5.0.2' }, { remote: '10.5.0.1' }], 1450],
    ['by IPv6', [{ remote: 'fd05::2' }, { remote: 'fd05::1' }], 1430],
    ['by a group', [{ group: '239.1.1.1' }, { group: '239.1.1.1' }], 1450],
    ['by a group of IPv6', [{ group: 'ff05::100' }, { group: 'ff05::100' }], 1430],
  ])('reach one another in full length %s', async (_how, fields, mtu) => {
    const { request } = await startDaemon();
    await createUnderlay(request);
    for (const [at, namespace] of ['blue', 'red'].entries())
      await create(request, '/links', {
        name: `x${at}`,
        type: 'vxlan',
        namespace,
        id: 42,
        device: 'u0',
        addresses: [`10.6.0.${at + 1}/24`, `fd06::${at + 1}/64`],
        ...fields[at],
      });
    for (const to of ['10.6.0.2', 'fd06::2'])
      await expect.poll(async () => pingsInFull('blue', to, mtu), soon).toBe(true);
    expect(await pingsInFull('red', '10.6.0.1', mtu)).toBe(true);
  });

  it('reach one another in full length after a patch to IPv6, too', async () => {
    const { request } = await startDaemon();
    await createUnderlay(request);
    for (const [at, namespace] of ['blue', 'red'].entries()) {
      const vxlan = { type: 'vxlan', namespace, id: 42, device: 'u0', addresses: [`10.6.0.${at + 1}/24`] };
      await create(request, '/links', { name: `x${at}`, ...vxlan, remote: `10.5.0.${2 - at}` });
      await request
        .patch(`/links/x${at}`)
        .send({ remote: `fd05::${2 - at}` })
        .expect(200);
    }
    await expect.poll(async () => pingsInFull('blue', '10.6.0.2', 1430), soon).toBe(true);
  });

  it('bring who is far to a bridge with subnets, its gateway and what is on it', async () => {
    const { request } = await startDaemon();
    await createUnderlay(request);
    await create(request, '/namespaces', { name: 'in1' });
    await create(request, '/bridges', {
      name: 'net',
      namespace: 'blue',
      subnets: ['10.66.0.0/24', 'fd66::/64'],
    });
    const peer = { interface: 'eth0', namespace: 'in1', addresses: ['auto'] };
    const vxlan = { type: 'vxlan', id: 42, device: 'u0' };
    await create(
      request,
      '/links',
      { name: 'l0', type: 'veth', namespace: 'blue', bridge: 'net', peer },
      { ...vxlan, name: 'x0', namespace: 'blue', bridge: 'net', remote: '10.5.0.2' },
      {
        ...vxlan,
        name: 'x1',
        namespace: 'red',
        remote: '10.5.0.1',
        addresses: ['10.66.0.99/24', 'fd66::99/64'],
      },
    );
    for (const to of ['10.66.0.1', 'fd66::1', '10.66.0.2', 'fd66::2'])
      await expect.poll(async () => pings('red', to), soon).toBe(true);
    expect(await pings('in1', '10.66.0.99')).toBe(true);
  });
});

/**
 * Opens a tap as a user and group, asks by it who has an address (RFC 826), and prints the MAC address that answers. To be
 * allowed to open /dev/net/tun is another matter, so that is done before.
 */
const ASK = `
import fcntl, os, select, socket, struct, sys, time
name, user, group, own, wanted = sys.argv[1].encode(), int(sys.argv[2]), int(sys.argv[3]), *map(socket.inet_aton, sys.argv[4:])
tap = os.open('/dev/net/tun', os.O_RDWR)
os.setgroups([])
os.setgid(group)
os.setuid(user)
fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', name, 0x1002))
mac = bytes.fromhex('020000000099')
request = b'\\xff' * 6 + mac + struct.pack('>HHHBBH', 0x806, 1, 0x800, 6, 4, 1) + mac + own + bytes(6) + wanted
end = time.monotonic() + 10
while time.monotonic() < end:
    try: os.write(tap, request)
    except OSError: pass
    while select.select([tap], [], [], 0.2)[0]:
        frame = os.read(tap, 2048)
        if frame[:6] == mac and frame[12:14] == b'\\x08\\x06' and frame[20:22] == b'\\x00\\x02' and frame[28:32] == wanted:
            print(frame[22:28].hex(':'))
            sys.exit(0)
sys.exit('no answer')
`;

async function ask(user: number, group: number): Promise<{ stdout: string; stderr: string }> {
  return execa(
    'ip',
    ['netns', 'exec', 'blue', 'python3', '-c', ASK, 't0', `${user}`, `${group}`, '10.7.0.9', '10.7.0.1'],
    { reject: false },
  );
}

describe('a tap', () => {
  it.each<[string, { owner: number | null; group: number | null }, [number, number], [number, number][]]>([
    ['its owner', { owner: 1234, group: null }, [1234, 9], [[1235, 9]]],
    ['its group', { owner: null, group: 1235 }, [7, 1235], [[7, 1236]]],
    [
      'who is its owner and in its group',
      { owner: 1234, group: 1235 },
      [1234, 1235],
      [
        [1234, 9],
        [9, 1235],
      ],
    ],
    ['root', { owner: null, group: null }, [0, 0], [[1234, 1234]]],
  ])(
    'that is a port of a bridge is opened by %s alone, and frames come and go by it',
    async (_who, fields, may, others) => {
      const { request } = await startDaemon();
      await create(request, '/namespaces', { name: 'blue' }, { name: 'red' });
      await create(request, '/bridges', { name: 'br0', namespace: 'blue' });
      const peer = {
        interface: 'eth0',
        namespace: 'red',
        addresses: ['10.7.0.1/24'],
        mac: '02:00:00:00:00:41',
      };
      await create(
        request,
        '/links',
        { name: 'l0', type: 'veth', namespace: 'blue', bridge: 'br0', peer },
        { name: 't0', type: 'tap', namespace: 'blue', bridge: 'br0', ...fields },
      );
      for (const [user, group] of others) {
        const refused = await ask(user, group);
        expect([user, refused.stdout, refused.stderr]).toEqual([
          user,
          '',
          expect.stringContaining('Operation not permitted'),
        ]);
      }
      expect(await ask(...may)).toMatchObject({ stdout: '02:00:00:00:00:41' });
      expect((await request.get('/links/t0')).body.status.state).toBe('ready');
    },
  );
});
