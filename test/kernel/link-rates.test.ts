import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { sharedDaemon } from '../support/daemon.ts';
import { pings, run } from '../support/shell.ts';

const daemon = sharedDaemon();

const make = async (path: string, ...bodies: object[]): Promise<void> =>
  create(daemon().request, path, ...bodies);

async function patch(body: object): Promise<void> {
  const answer = await daemon().request.patch('/links/v0').send(body);
  expect([answer.status, answer.body.status?.state ?? answer.body.detail]).toEqual([200, 'ready']);
}

async function dryRun(body: object): Promise<string[]> {
  return (await daemon().request.patch('/links/v0?dryRun=true').send(body).expect(200)).body
    .commands as string[];
}

/** What is held back at v0 and at eth0 in blue, in kbit/s; null where nothing of netnsd is. */
async function shapers(): Promise<(number | null)[]> {
  return [await shaperOf('v0'), await shaperOf('eth0', '-n', 'blue')];
}

async function shaperOf(device: string, ...where: string[]): Promise<number | null> {
  const text = await run('tc', ...where, '-j', 'qdisc', 'show', 'dev', device, 'root');
  const [root] = JSON.parse(text) as { kind: string; handle: string; options?: { rate?: number } }[];
  if (root?.kind !== 'tbf' || root.handle !== '5173:') return null;
  // `tc` prints bytes a second.
  return ((root.options?.rate ?? 0) * 8) / 1000;
}

/** A link from here to blue; with `more` at this end and `far` at the other. */
async function build(more: object = {}, far: object = {}): Promise<void> {
  await make('/namespaces', { name: 'blue' });
  const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.1/24'], ...far };
  await make('/links', { name: 'v0', type: 'veth', addresses: ['10.1.1.2/24'], peer, ...more });
}

/** In one process of blue and one of here: how many of 400 datagrams of 1400 bytes, sent at once, arrive here in a second. */
async function arriving(): Promise<number> {
  // Of what is sent before the address is resolved, the kernel keeps some 90 (unres_qlen_bytes).
  expect(await pings('blue', '10.1.1.2')).toBe(true);
  const { stdout } = await execa('python3', ['-c', receiver], { timeout: 20_000 });
  return Number(stdout);
}

const receiver = `
import socket, subprocess
there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUFFORCE if hasattr(socket, 'SO_RCVBUFFORCE') else 33, 4 << 20)
there.bind(('10.1.1.2', 5173))
there.settimeout(1)
send = "import socket\\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\\nfor n in range(400): s.sendto(bytes(1400), ('10.1.1.2', 5173))"
subprocess.run(['ip', 'netns', 'exec', 'blue', 'python3', '-c', send], check=True, timeout=10)
count = 0
try:
    while count < 400:
        there.recv(2048)
        count += 1
except TimeoutError:
    pass
print(count)
`;

describe('the rate at which an end receives', () => {
  it('is that at which the other end sends, and none again with null', async () => {
    await build();
    const free = await arriving();
    expect(free).toBeGreaterThan(300);
    expect(await dryRun({ rate: { ingressKbit: 800 } })).toEqual([
      'tc -n blue qdisc add dev eth0 root handle 5173: tbf rate 800kbit burst 3036 latency 50ms',
    ]);
    await patch({ rate: { ingressKbit: 800 } });
    expect(await shapers()).toEqual([null, 800]);
    expect(await arriving()).toBeLessThan(free / 10);
    await patch({ rate: { ingressKbit: 100_000_000 } });
    expect(await arriving()).toBeGreaterThan(free / 2);
    const { body } = await daemon().request.get('/links/v0');
    expect(body.rate).toEqual({ egressKbit: null, ingressKbit: 100_000_000 });
    expect(body.peer.rate).toBeNull();
    await patch({ rate: { ingressKbit: null } });
    expect(await shapers()).toEqual([null, null]);
    expect((await daemon().request.get('/links/v0')).body.rate).toBeNull();
  });

  it('goes together with what the other end sends: the smaller one counts, and both are shown as asked', async () => {
    const [own, far] = [{ ingressKbit: 3000 }, { egressKbit: 5000, ingressKbit: 700 }];
    await build({ rate: own }, { rate: far });
    expect(await shapers()).toEqual([700, 3000]);
    const { body } = await daemon().request.get('/links/v0');
    expect([body.rate, body.peer.rate]).toEqual([{ egressKbit: null, ...own }, far]);
    await patch({ peer: { rate: { egressKbit: 2000 } } });
    expect(await shapers()).toEqual([700, 2000]);
    await patch({ rate: { egressKbit: 600 }, peer: { rate: { egressKbit: null } } });
    expect(await shapers()).toEqual([600, 3000]);
    expect(await dryRun({ rate: { egressKbit: 900 } })).toEqual([
      'tc qdisc change dev v0 root handle 5173: tbf rate 700kbit burst 3036 latency 50ms',
    ]);
    await patch({ rate: null });
    expect(await shapers()).toEqual([700, null]);
  });

  it('is put back when somebody changes it, told by the field that asked for it, and after moves', async () => {
    await build({ rate: { ingressKbit: 3000 } }, { rate: { egressKbit: 5000, ingressKbit: 700 } });
    await run('tc', ...'-n blue qdisc del dev eth0 root'.split(' '));
    await run(
      'tc',
      ...'qdisc change dev v0 root handle 5173: tbf rate 5mbit burst 9000 latency 50ms'.split(' '),
    );
    const { state, differences } = (await daemon().request.get('/links/v0')).body.status;
    expect([state, differences]).toEqual([
      'drifted',
      [
        { path: '/peer/rate/ingressKbit', intended: 700, observed: 5000 },
        { path: '/rate/ingressKbit', intended: 3000, observed: null },
      ],
    ]);
    await daemon().request.post('/reconcile?wait=true').expect(200);
    expect(await shapers()).toEqual([700, 3000]);
    await make('/namespaces', { name: 'red' });
    await patch({ peer: { namespace: 'red' } });
    expect(await shaperOf('eth0', '-n', 'red')).toBe(3000);
    await run('ip', 'link', 'delete', 'v0');
    await daemon().request.post('/reconcile?wait=true').expect(200);
    expect([await shaperOf('v0'), await shaperOf('eth0', '-n', 'red')]).toEqual([700, 3000]);
    expect((await daemon().request.get('/drift')).body.items).toEqual([]);
  });

  it('is as it was after a change that fails', async () => {
    await build({ rate: { ingressKbit: 3000 } });
    const failing = {
      rate: { egressKbit: 10, ingressKbit: 20 },
      routes: [{ to: '10.9.0.0/16', via: '10.8.0.1' }],
    };
    expect((await daemon().request.patch('/links/v0').send(failing)).status).toBe(422);
    expect(await shapers()).toEqual([null, 3000]);
    expect((await daemon().request.get('/links/v0')).body).toMatchObject({
      rate: { egressKbit: null, ingressKbit: 3000 },
      status: { state: 'ready' },
    });
  });

  it('needs a queue at the other end, and is between 1 and 100,000,000', async () => {
    await build({}, { txQueueLength: 0 });
    const refused = await daemon()
      .request.patch('/links/v0')
      .send({ rate: { ingressKbit: 1000 } });
    expect([refused.status, refused.body.detail]).toEqual([
      422,
      expect.stringMatching(/^\/peer\/txQueueLength/),
    ]);
    for (const ingressKbit of [0, 100_000_001, '1'])
      expect((await daemon().request.patch('/links/v0').send({ rate: { ingressKbit } })).status).toBe(400);
    expect(await shapers()).toEqual([null, null]);
  });
});
