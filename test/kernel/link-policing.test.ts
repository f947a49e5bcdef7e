import { execa } from 'execa';
import { beforeAll, describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { sharedDaemon } from '../support/daemon.ts';
import { ingressOf, policingLacks, tc } from '../support/policing.ts';
import { ipJson, pings, run } from '../support/shell.ts';
import { putInFront } from '../support/wrapper.ts';

const daemon = sharedDaemon();

/** What this kernel lacks of what it takes. Each of these tests says what is to be with it, and what without it. */
let lacking: Awaited<ReturnType<typeof policingLacks>> = null;
beforeAll(async () => {
  lacking = await policingLacks();
});

const make = async (path: string, ...bodies: object[]): Promise<void> =>
  create(daemon().request, path, ...bodies);

const MACVLAN = { type: 'macvlan', parent: 'v0' };
const VXLAN = { type: 'vxlan', id: 7, remote: '10.1.1.1' };
const TAP = { type: 'tap' };

/** Red, from where v0 is reached here; and in blue the link `one`, with v0 under it if it is a macvlan. */
async function build(fields: object | null = MACVLAN): Promise<void> {
  for (const name of ['blue', 'red']) await make('/namespaces', { name });
  const peer = { interface: 'eth0', namespace: 'red', addresses: ['10.1.1.1/24'] };
  await make('/links', { name: 'v0', type: 'veth', peer });
  if (fields !== null) await make('/links', { name: 'one', ...place, ...fields });
}

const place = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.2/24'] };

async function statusOf(): Promise<{ state: string; differences?: object[] }> {
  return (await daemon().request.get('/links/one')).body.status;
}

/** Changes the link; where the kernel can't, sees that it says so, and that all is as before. Tells whether it can. */
async function patched(body: object): Promise<boolean> {
  const before = (await daemon().request.get('/links/one')).body;
  const answer = await daemon().request.patch('/links/one').send(body);
  if (lacking === null) {
    expect([answer.status, answer.body.status?.state ?? answer.body.detail]).toEqual([200, 'ready']);
    return true;
  }
  expectRefused(answer);
  const { status: _status, ...after } = (await daemon().request.get('/links/one')).body;
  expect(before).toMatchObject(after);
  expect(await ingressOf('eth0')).toEqual([]);
  expect((await statusOf()).state).toBe('ready');
  return false;
}

function expectRefused({ status, body }: { status: number; body: Record<string, unknown> }): void {
  expect([status, body['type']]).toEqual([501, '/problems/kernel-unsupported']);
  expect(body['detail']).toMatch(new RegExp(`^the kernel lacks ${lacking}, which policing needs beside `));
  for (const feature of ['cls_matchall', 'act_police']) expect(body['detail']).toContain(feature);
}

const reconcile = async () => daemon().request.post('/reconcile?wait=true').expect(200);

describe('what a link of one end receives at most', () => {
  it.each([MACVLAN, VXLAN, TAP])('is kept to from the start: $type', async (fields) => {
    await build(null);
    const body = { name: 'one', ...place, ...fields, rate: { egressKbit: 3000, ingressKbit: 1000 } };
    const made = await daemon().request.post('/links').send(body);
    if (lacking === null) {
      expect([made.status, made.body.rate, made.body.status.state]).toEqual([201, body.rate, 'ready']);
      expect(await ingressOf('eth0')).toEqual(['ingress', '5173 matchall 1Mbit']);
      expect((await daemon().request.get('/links/one')).body.status.state).toBe('ready');
      expect((await daemon().request.get('/drift')).body.items).toEqual([]);
      await daemon().request.delete('/links/one').expect(204);
      return;
    }
    expectRefused(made);
    expect((await daemon().request.get('/links/one')).status).toBe(404);
    expect((await ipJson('-n', 'blue', 'link', 'show')).map(({ ifname }) => ifname)).toEqual(['lo']);
    const [operation] = (await daemon().request.get('/operations?limit=1')).body.items;
    expect(operation).toMatchObject({ state: 'failed', undone: true });
  });

  it('is changed, and lifted with null; what comes faster is dropped', async () => {
    await build();
    const free = await arriving();
    expect(free).toBeGreaterThan(300);
    expect(await dryRun({ rate: { ingressKbit: 800 } })).toEqual([
      'tc -n blue qdisc add dev eth0 ingress',
      `tc -n blue ${FILTER} handle 0x320 ${POLICE} rate 800kbit burst 131072 mtu 131072 conform-exceed drop`,
    ]);
    if (!(await patched({ rate: { ingressKbit: 800 } }))) return;
    expect(await arriving()).toBeLessThan(free / 2);
    expect(await dryRun({ rate: { ingressKbit: 1_234_567 } })).toEqual([
      'tc -n blue filter del dev eth0 ingress pref 5173',
      `tc -n blue ${FILTER} handle 0x12d687 ${POLICE} rate 1234567kbit burst 38580219 mtu 131072 conform-exceed drop`,
    ]);
    await patched({ rate: { ingressKbit: 1_234_567 } });
    expect(await ingressOf('eth0')).toEqual(['ingress', '5173 matchall 1234Mbit']);
    expect(await arriving()).toBeGreaterThan(free / 2);
    // What `tc` rounds is no difference.
    expect((await statusOf()).state).toBe('ready');
    await patched({ mtu: 1400, rate: { egressKbit: 5000 } });
    expect((await daemon().request.get('/links/one')).body.rate).toEqual({
      egressKbit: 5000,
      ingressKbit: 1_234_567,
    });
    expect(await dryRun({ rate: { ingressKbit: null } })).toEqual(['tc -n blue qdisc del dev eth0 ingress']);
    await patched({ rate: { ingressKbit: null } });
    expect(await ingressOf('eth0')).toEqual([]);
    await patched({ rate: null });
    expect((await daemon().request.get('/links/one')).body.rate).toBeNull();
  });

  it('lets TCP get through, which hands over 64 KiB at once', async () => {
    await build();
    // The best of three: that one takes long on a busy machine says nothing.
    let free = await seconds(400_000);
    for (let turn = 0; turn < 2 && free > 0.3; turn++) free = Math.min(free, await seconds(400_000));
    if (!(await patched({ rate: { ingressKbit: 2000 } }))) return;
    // All but the first 128 KiB take their time; that is 1.1 s.
    const took = await seconds(400_000);
    expect(took - free).toBeGreaterThan(0.5);
    expect(took).toBeLessThan(10);
  });

  it('lets a guest hand over 64 KiB at once', async () => {
    await build(TAP);
    if (!(await patched({ rate: { ingressKbit: 8 } }))) return;
    await run('ip', ...'netns exec blue python3 -c'.split(' '), GUEST);
    const stats = async (): Promise<{ bytes: number; drops: number }> => {
      const [, filter] = JSON.parse(await tc('-n blue -s -j filter show dev eth0 ingress'));
      return filter.options.actions[0].stats;
    };
    // The first two fit into the bucket. How many packets they are is not counted: that is left open by who hands them over.
    await expect.poll(async () => (await stats()).bytes).toBeGreaterThan(3 * 60_000);
    expect((await stats()).drops).toBe(1);
  });

  it('is put back when somebody changes it or takes it away', async () => {
    await build();
    if (!(await patched({ rate: { ingressKbit: 1000 } }))) return;
    const spoilt: [string[], number | null][] = [
      [['filter del dev eth0 ingress'], null],
      [['qdisc del dev eth0 ingress'], null],
      [['filter del dev eth0 ingress', `${FILTER} ${POLICE} rate 5mbit burst 9k mtu 9k`], 5000],
    ];
    for (const [lines, observed] of spoilt) {
      for (const line of lines) await tc('-n blue', line);
      const difference = { path: '/rate/ingressKbit', intended: 1000, observed };
      expect(await statusOf()).toMatchObject({ state: 'drifted', differences: [difference] });
      await reconcile();
      expect(await ingressOf('eth0')).toEqual(['ingress', '5173 matchall 1Mbit']);
      expect((await statusOf()).state).toBe('ready');
    }
    // What has gone meanwhile is found when a change comes upon it.
    await tc('-n blue filter del dev eth0 ingress');
    await patched({ rate: { ingressKbit: 2000 } });
    expect(await ingressOf('eth0')).toEqual(['ingress', '5173 matchall 2Mbit']);
    await tc('-n blue qdisc del dev eth0 ingress');
    await patched({ rate: null });
  });

  it('goes along when the interface is renamed, moves or is made anew', async () => {
    await build();
    if (!(await patched({ rate: { ingressKbit: 1000 } }))) return;
    const ours = ['ingress', '5173 matchall 1Mbit'];
    await patched({ interface: 'eth1' });
    expect(await ingressOf('eth1')).toEqual(ours);
    await patched({ namespace: 'host' });
    expect(await ingressOf('eth1', null)).toEqual(ours);
    await patched({ namespace: 'blue', up: false });
    await patched({ up: true });
    expect(await ingressOf('eth1')).toEqual(ours);
    await run('ip', ...'-n blue link set dev eth1 down'.split(' '));
    await run('ip', ...'-n blue link set dev eth1 name eth7'.split(' '));
    await reconcile();
    expect(await ingressOf('eth1')).toEqual(ours);
    await run('ip', ...'-n blue link delete eth1'.split(' '));
    await reconcile();
    expect(await ingressOf('eth1')).toEqual(ours);
    await patched({ mode: 'passthru', rate: null });
    await patched({ rate: { ingressKbit: 1000 } });
    expect((await daemon().request.get('/drift')).body.items).toEqual([]);
  });

  it('takes no process where no rate is asked for', async () => {
    await build();
    putInFront('tc', () => 'echo "who asked?" >&2; exit 1');
    expect((await statusOf()).state).toBe('ready');
    await reconcile();
    expect((await daemon().request.get('/drift')).body.items).toEqual([]);
  });
});

describe('filters of others', () => {
  const OTHER = 'filter add dev eth0 ingress protocol all pref 7 u32 match u32 0 0';

  it.each([
    ['a place for filters both ways', ['qdisc add dev eth0 clsact'], ['clsact']],
    ['a filter', ['qdisc add dev eth0 ingress', OTHER], ['ingress', '7 u32']],
  ])('stay, and are told: %s', async (_what, lines, kept) => {
    await build();
    for (const line of lines) await tc('-n blue', line);
    const refused = await daemon()
      .request.patch('/links/one')
      .send({ rate: { egressKbit: 1000, ingressKbit: 1000 } });
    expect([refused.status, refused.body.type]).toEqual([409, '/problems/foreign-object']);
    expect(await ingressOf('eth0')).toEqual(kept);
    expect(await tc('-n blue qdisc show dev eth0')).not.toContain('tbf');
    expect((await statusOf()).state).toBe('ready');
  });

  it('are not there in one that was made by half, which netnsd takes', async () => {
    await build();
    await tc('-n blue qdisc add dev eth0 ingress');
    // Without the feature it is gone with the attempt.
    if (!(await patched({ rate: { ingressKbit: 1000 } }))) return;
    expect(await ingressOf('eth0')).toEqual(['ingress', '5173 matchall 1Mbit']);
  });

  it('stay beside that of netnsd, and when that goes', async () => {
    await build();
    if (!(await patched({ rate: { ingressKbit: 1000 } }))) return;
    await tc('-n blue', OTHER);
    expect((await statusOf()).state).toBe('ready');
    await patched({ rate: { ingressKbit: 2000 } });
    expect(await ingressOf('eth0')).toEqual(['ingress', '7 u32', '5173 matchall 2Mbit']);
    await patched({ rate: null });
    expect(await ingressOf('eth0')).toEqual(['ingress', '7 u32']);
  });
});

const FILTER = 'filter add dev eth0 ingress protocol all pref 5173';
const POLICE = 'matchall action police';

async function dryRun(body: object): Promise<string[]> {
  return (await daemon().request.patch('/links/one?dryRun=true').send(body).expect(200)).body
    .commands as string[];
}

/** How many of 400 datagrams of 1400 bytes, sent from red at once, arrive in blue until none came for a second. */
async function arriving(): Promise<number> {
  // Of what is sent before the address is resolved, the kernel keeps some 90 (unres_qlen_bytes).
  expect(await pings('red', '10.1.1.2')).toBe(true);
  return Number(await inBlue(DATAGRAMS, SEND_DATAGRAMS));
}

/** How long so many bytes take from red to blue. */
async function seconds(bytes: number): Promise<number> {
  return Number(await inBlue(STREAM, SEND_STREAM, String(bytes)));
}

async function inBlue(...args: [program: string, sender: string, ...rest: string[]]): Promise<string> {
  const { stdout } = await execa('ip', ['netns', 'exec', 'blue', 'python3', '-c', ...args], {
    timeout: 20_000,
  });
  return stdout;
}

const SENDING = `['ip', 'netns', 'exec', 'red', 'python3', '-c', *sys.argv[1:]]`;

const DATAGRAMS = `
import socket, subprocess, sys
there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
there.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)
there.bind(('10.1.1.2', 5173))
there.settimeout(1)
subprocess.run(${SENDING}, check=True, timeout=10)
count = 0
try:
    while count < 400:
        count += len(there.recv(2048)) == 1400
except TimeoutError:
    pass
print(count)
`;
// The first one has the neighbor found: of those that wait for that, some would be dropped.
const SEND_DATAGRAMS = `
import socket
there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(400): there.sendto(bytes(1400), ('10.1.1.2', 5173))
`;

const STREAM = `
import socket, subprocess, sys, time
there = socket.create_server(('10.1.1.2', 5173))
sender = subprocess.Popen(${SENDING})
stream, _ = there.accept()
start = time.monotonic()
left = int(sys.argv[2])
while left > 0: left -= len(stream.recv(1 << 20))
print(time.monotonic() - start)
sender.wait()
`;
const SEND_STREAM = `
import socket, sys
there = socket.create_connection(('10.1.1.2', 5173))
there.sendall(bytes(int(sys.argv[1])))
`;

/** Opens the tap with virtio-net headers, and hands three TCP packets of 60,000 bytes over, each to be cut up on its way. */
const GUEST = `
import fcntl, os, struct, time
tap = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', b'eth0', 0x5002))
fcntl.ioctl(tap, 0x400454d0, 0x03)
ip = struct.pack('>BBHHHBBH4s4s', 0x45, 0, 60040, 1, 0, 64, 6, 0, bytes([10, 1, 1, 9]), bytes([10, 1, 1, 2]))
total = sum(struct.unpack('>10H', ip))
total = (total & 0xffff) + (total >> 16)
ip = ip[:10] + struct.pack('>H', 0xffff & ~((total & 0xffff) + (total >> 16))) + ip[12:]
tcp = struct.pack('>HHIIBBHHH', 9, 9, 1, 1, 0x50, 0x10, 1000, 0, 0)
header = struct.pack('<BBHHHH', 1, 1, 54, 1448, 34, 16)
frame = b'\\xff' * 6 + b'\\x02\\x00\\x00\\x00\\x00\\x99' + b'\\x08\\x00' + ip + tcp + bytes(60000)
for n in range(3): os.write(tap, header + frame)
time.sleep(0.2)
`;
