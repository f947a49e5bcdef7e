import { createSocket } from 'node:dgram';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { create } from '../support/create.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { sniff } from '../support/packets.ts';
import { meanwhile } from '../support/probes.ts';
import { run } from '../support/shell.ts';

// What forbids is there before what it guards, and goes after it: packets are sent without pause while things change.

type Request = Daemon['request'];

const FAR = '203.0.113.10';
const PORT = 9;
const UDP = 17;

async function join(request: Request, name: string, bridge: string | null, address: string): Promise<void> {
  await create(request, '/namespaces', { name });
  const routes = bridge === null ? [] : [{ to: 'default', via: address.replace(/\.\d+$/, '.254') }];
  const peer = { interface: 'eth0', namespace: name, addresses: [`${address}/24`], routes };
  await create(request, '/links', { name, type: 'veth', bridge, peer });
}

const FLOOD = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
while True:
    for to in sys.argv[1:]:
        try: s.sendto(b'!', (to, ${PORT}))
        except OSError: pass
`;

/** Sends UDP to all of these, again and again until the test is over. */
function flood(from: string, to: readonly string[]): void {
  const child = execa('ip', ['netns', 'exec', from, 'python3', '-c', FLOOD, ...to], { reject: false });
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await child;
  });
}

/** How many such packets a service of the machine itself gets. */
async function listen(): Promise<() => number> {
  const socket = createSocket('udp4');
  let count = 0;
  socket.on('message', () => (count += 1));
  await new Promise<void>((resolve) => {
    socket.bind(PORT, resolve);
  });
  onTestFinished(() => {
    socket.close();
  });
  return () => count;
}

const countTo = (seen: readonly string[], to: string): number =>
  seen.filter((line) => line.includes(`> ${to} ${UDP} `)).length;

/** `blue` on br01, which is internal, without access to the host; `red` on br02, without a firewall. */
async function makeNetworks(request: Request): Promise<void> {
  const firewall = { internal: true, hostAccess: false };
  await create(request, '/bridges', { name: 'br01', addresses: ['10.1.1.254/24'], firewall });
  await create(request, '/bridges', { name: 'br02', addresses: ['10.1.2.254/24'] });
  await create(request, '/nat', { name: 'out', type: 'masquerade', bridge: 'br01' });
  await join(request, 'blue', 'br01', '10.1.1.1');
  await join(request, 'red', 'br02', '10.1.2.1');
}

async function patch(request: Request, path: string, body: object, status = 200): Promise<void> {
  const answer = await request.patch(path).send(body);
  expect({ status: answer.status, body: answer.body }).toMatchObject({ status });
}

describe('a bridge that gets another name', () => {
  it('is guarded all the time, and so are those that it is kept from', async () => {
    const { request } = await startDaemon();
    await makeNetworks(request);
    const [far, red, got] = [await sniff('internet', 'eth0'), await sniff('red', 'eth0'), await listen()];
    flood('blue', [FAR, '10.1.2.1', '10.1.1.254']);
    const leaked = (): number[] => [countTo(far, FAR), countTo(red, '10.1.2.1'), got()];
    for (const name of ['lan1', 'wan1', 'br01']) {
      await patch(request, '/bridges/br01', { interface: name });
      await patch(request, '/bridges/br02', { interface: name.replace('1', '2') });
    }
    // Another firewall with another name.
    const firewall = { inbound: 'published', internal: false, isolated: true, hostAccess: false };
    await patch(request, '/bridges/br01', { firewall: { internal: true } });
    expect(leaked()).toEqual([0, 0, 0]);
    await patch(request, '/bridges/br01', { interface: 'lan1', firewall });
    await patch(request, '/bridges/br02', { interface: 'lan2' });
    // It was sent all the time.
    await expect.poll(() => countTo(far, FAR)).toBeGreaterThan(0);
    expect(leaked().slice(1)).toEqual([0, 0]);
    await patch(request, '/bridges/br01', { interface: 'br01', firewall: null });
    await expect.poll(() => leaked().every((count) => count > 0)).toBe(true);
  });

  it('is guarded while that fails, and afterwards', async () => {
    const { request } = await startDaemon();
    await makeNetworks(request);
    const [far, red, got] = [await sniff('internet', 'eth0'), await sniff('red', 'eth0'), await listen()];
    flood('blue', [FAR, '10.1.2.1', '10.1.1.254']);
    const failing = { interface: 'lan1', routes: [{ to: '10.9.0.0/16', via: '10.1.1.9', src: '10.8.0.1' }] };
    for (let turn = 0; turn < 3; turn++) await patch(request, '/bridges/br01', failing, 422);
    expect([countTo(far, FAR), countTo(red, '10.1.2.1'), got()]).toEqual([0, 0, 0]);
    expect((await request.get('/drift')).body.items).toEqual([]);
    await patch(request, '/bridges/br01', { firewall: null });
    await expect.poll(() => Math.min(countTo(far, FAR), countTo(red, '10.1.2.1'), got())).toBeGreaterThan(0);
  });

  it('gives nobody a value back that lets in what it refuses', async () => {
    const { request } = await startDaemon();
    const addresses = ['10.1.1.254/24', 'fd00:1::254/64'];
    await create(request, '/bridges', { name: 'br01', addresses, firewall: {} });
    const { body } = await request.patch('/bridges/br01?dryRun=true').send({ interface: 'lan1' }).expect(200);
    const lines = (body.commands as string[]).filter((line) => !line.includes('tables'));
    // In which order those of one moment come means nothing.
    const sorted = [...lines.slice(0, 5), ...lines.slice(5, 7).toSorted(), ...lines.slice(7)];
    expect(sorted).toEqual([
      'ip address delete fd00:1::254/64 dev br01',
      'ip link set dev br01 down',
      expect.stringContaining('br01.'),
      expect.stringContaining('br01.'),
      'ip link set dev br01 name lan1',
      'sysctl -w net.ipv4.conf.lan1.rp_filter=2',
      'sysctl -w net.ipv6.conf.lan1.accept_ra=0',
      'ip address add fd00:1::254/64 dev lan1 nodad',
      'ip link set dev lan1 up',
    ]);
    expect(body.commands).toContainEqual(expect.stringMatching(/^iptables .*-i lan1/));
    const at = (part: string): number =>
      (body.commands as string[]).findLastIndex((line) => line.includes(part));
    expect(at('tables')).toBeLessThan(at(' name lan1'));
    expect((body.commands as string[]).findIndex((line) => line.includes('tables'))).toBeGreaterThan(
      at('br01 down'),
    );
  });
});

describe('a link that is up and becomes a port', () => {
  it('reaches no other port for a moment where ports are kept apart', async () => {
    const { request } = await startDaemon();
    // Else rules would hold it back, which are not there for what is no IP.
    const key = 'net.bridge.bridge-nf-call-iptables';
    await meanwhile(`sysctl -qw ${key}=0`, `sysctl -qw ${key}=1`);
    for (const n of [1, 2])
      await create(request, '/bridges', { name: `br0${n}`, firewall: { intercom: false } });
    await join(request, 'blue', 'br01', '10.1.1.1');
    await join(request, 'red', null, '10.1.1.2');
    const addresses = ['10.1.3.1/24', 'fd00:3::1/64'];
    await patch(request, '/links/red', { addresses, routes: [{ to: '10.4.0.0/16', via: '10.1.3.9' }] });
    const seen = await sniff('red', 'eth0');
    flood('blue', ['10.1.1.255']);
    for (let turn = 0; turn < 10; turn++)
      for (const bridge of ['br01', turn % 2 === 0 ? 'br02' : null])
        await patch(request, '/links/red', { bridge });
    expect(seen.filter((line) => line.includes(` ${UDP} `))).toEqual([]);
    const { body } = await request.patch('/links/red?dryRun=true').send({ bridge: 'br01' }).expect(200);
    expect(body.commands).toEqual([
      'ip address delete fd00:3::1/64 dev red',
      'ip link set dev red down',
      // On no bridge, it was where the machine takes what comes out of a namespace.
      'sysctl -w net.ipv6.conf.red.accept_ra=1',
      'ip link set dev red master br01',
      'ip link set dev red type bridge_slave isolated on',
      'ip address add fd00:3::1/64 dev red nodad',
      'ip link set dev red up',
      expect.stringMatching(/^ip route add 10.4.0.0\/16 via 10.1.3.9 dev red /),
    ]);
    await patch(request, '/links/red', { bridge: 'br01' });
    expect((await request.get('/links/red')).body.status.state).toBe('ready');
    expect(await run('ip', '-6', 'address', 'show', 'dev', 'red')).toContain('fd00:3::1/64');
    await patch(request, '/bridges/br01', { firewall: { intercom: true } });
    await expect.poll(() => seen.filter((line) => line.includes(` ${UDP} `)).length).toBeGreaterThan(0);
  });
});
