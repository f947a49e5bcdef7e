import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { sharedDaemon } from '../support/daemon.ts';
import { run } from '../support/shell.ts';

const daemon = sharedDaemon({ reconcileMode: 'repair', reconcileIntervalMs: 3_600_000 });

const peer = {
  interface: 'eth0',
  namespace: 'blue',
  addresses: ['10.1.1.1/24', 'fd00:1::1/64'],
  routes: [{ to: 'default', via: '10.1.1.3' }],
};

async function build(): Promise<void> {
  const { request } = daemon();
  const make = async (path: string, body: object): Promise<void> => {
    await request.post(path).send(body).expect(201);
  };
  await make('/namespaces', { name: 'blue', sysctls: { 'net.ipv4.ip_forward': '1' } });
  await make('/bridges', {
    name: 'br00',
    addresses: ['10.1.1.3/24', 'fd00:1::3/64'],
    routes: [{ to: '10.9.0.0/16', via: '10.1.1.9' }],
  });
  await make('/links', { name: 'veth00', type: 'veth', bridge: 'br00', peer });
  await make('/nat', { name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' });
  await make('/nat', {
    name: 'web',
    type: 'dnat',
    protocol: 'tcp',
    port: '8080',
    to: { address: '10.1.1.1', port: '80' },
  });
}

const ALL = ['/namespaces/blue', '/bridges/br00', '/links/veth00', '/nat/out', '/nat/web'];

async function states(): Promise<Record<string, string>> {
  const { request } = daemon();
  const answers = await Promise.all(ALL.map(async (path) => request.get(path)));
  return Object.fromEntries(
    answers.map(({ body }, at) => [ALL[at] ?? '', (body as { status: { state: string } }).status.state]),
  );
}

/** The rest of the promise: all is ready again within five seconds, which is asked a bounded number of times. */
async function untilReady(): Promise<Record<string, string>> {
  let found = await states();
  for (let turn = 0; turn < 50 && Object.values(found).some((state) => state !== 'ready'); turn++) {
    await sleep(100);
    found = await states();
  }
  return found;
}

/** How often netnsd has mended something of its own accord. */
async function repairs(): Promise<number> {
  const { body } = await daemon().request.get('/operations?limit=10');
  const operations = body.items as { action: string; state: string }[];
  return operations.filter(({ action, state }) => action === 'repair' && state === 'succeeded').length;
}

/** Whether netnsd has begun to mend something. */
async function isMending(): Promise<boolean> {
  const { body } = await daemon().request.get('/operations?limit=10');
  return (body.items as { action: string }[]).some(({ action }) => action === 'repair');
}

/** Waits for the first: it is over a little after all is ready again, when what it did is recorded. */
async function firstRepair(): Promise<number> {
  let found = await repairs();
  for (let turn = 0; turn < 50 && found === 0; turn++) {
    await sleep(100);
    found = await repairs();
  }
  return found;
}

const READY = Object.fromEntries(ALL.map((path) => [path, 'ready']));

/** What somebody does by hand, and which resources tell of it at once. */
const drifts: { of: string; by: string[][]; drifted: string[] }[] = [
  {
    of: 'a namespace is deleted',
    by: [['ip', 'netns', 'delete', 'blue']],
    drifted: ['/namespaces/blue', '/links/veth00'],
  },
  {
    of: 'the near end of a link is deleted',
    by: [['ip', 'link', 'delete', 'veth00']],
    drifted: ['/links/veth00'],
  },
  {
    of: 'the far end of a link is deleted',
    by: [['ip', '-n', 'blue', 'link', 'delete', 'eth0']],
    drifted: ['/links/veth00'],
  },
  {
    of: 'a bridge is deleted',
    by: [['ip', 'link', 'delete', 'br00']],
    drifted: ['/bridges/br00', '/links/veth00'],
  },
  {
    of: 'a bridge is renamed',
    by: [
      ['ip', 'link', 'set', 'br00', 'down'],
      ['ip', 'link', 'set', 'br00', 'name', 'lan7'],
    ],
    drifted: ['/bridges/br00', '/links/veth00'],
  },
  { of: 'a port is detached', by: [['ip', 'link', 'set', 'veth00', 'nomaster']], drifted: ['/links/veth00'] },
  {
    of: 'an address is deleted',
    by: [['ip', 'address', 'delete', '10.1.1.3/24', 'dev', 'br00']],
    drifted: ['/bridges/br00'],
  },
  {
    of: 'an IPv6 address is deleted inside',
    by: [['ip', '-n', 'blue', 'address', 'delete', 'fd00:1::1/64', 'dev', 'eth0']],
    drifted: ['/links/veth00'],
  },
  { of: 'a route is deleted', by: [['ip', 'route', 'delete', '10.9.0.0/16']], drifted: ['/bridges/br00'] },
  {
    of: 'a default route is deleted inside',
    by: [['ip', '-n', 'blue', 'route', 'delete', 'default']],
    drifted: ['/links/veth00'],
  },
  {
    of: 'a route is replaced',
    by: [['ip', 'route', 'replace', '10.9.0.0/16', 'via', '10.1.1.77']],
    drifted: ['/bridges/br00'],
  },
  {
    of: 'a default route is replaced inside',
    by: [['ip', '-n', 'blue', 'route', 'replace', 'default', 'via', '10.1.1.77']],
    drifted: ['/links/veth00'],
  },
  {
    of: 'the group of a bridge is changed',
    by: [['ip', 'link', 'set', 'br00', 'group', 'default']],
    drifted: ['/bridges/br00', '/links/veth00'],
  },
  {
    of: 'the group of an end is changed inside',
    by: [['ip', '-n', 'blue', 'link', 'set', 'eth0', 'group', '7']],
    drifted: ['/links/veth00'],
  },
  {
    of: 'an MTU is changed',
    by: [['ip', '-n', 'blue', 'link', 'set', 'eth0', 'mtu', '1400']],
    drifted: ['/links/veth00'],
  },
  {
    of: 'a MAC address is changed',
    by: [['ip', 'link', 'set', 'br00', 'address', '02:00:00:00:00:77']],
    drifted: ['/bridges/br00'],
  },
  {
    of: 'an interface is set down',
    by: [['ip', '-n', 'blue', 'link', 'set', 'eth0', 'down']],
    drifted: ['/links/veth00'],
  },
  {
    of: 'lo is set down',
    by: [['ip', '-n', 'blue', 'link', 'set', 'lo', 'down']],
    drifted: ['/namespaces/blue'],
  },
  {
    of: 'spanning tree is turned on',
    by: [['ip', 'link', 'set', 'br00', 'type', 'bridge', 'stp_state', '1']],
    drifted: ['/bridges/br00'],
  },
  {
    of: 'a sysctl is changed inside',
    by: [['ip', 'netns', 'exec', 'blue', 'sysctl', '-q', '-w', 'net.ipv4.ip_forward=0']],
    drifted: ['/namespaces/blue'],
  },
  {
    of: 'forwarding is turned off',
    by: [['sysctl', '-q', '-w', 'net.ipv4.ip_forward=0']],
    drifted: ['/nat/out', '/nat/web'],
  },
  {
    of: 'a rule is deleted',
    by: [['iptables', '-t', 'nat', '-D', 'NETNSD-SNAT', '1']],
    drifted: ['/nat/out'],
  },
  {
    of: 'a rule is exchanged for another',
    by: [
      [
        'iptables',
        '-t',
        'nat',
        '-R',
        'NETNSD-DNAT',
        '1',
        '-p',
        'tcp',
        '--dport',
        '8080',
        '-j',
        'DNAT',
        '--to',
        '10.1.1.66:80',
      ],
    ],
    drifted: ['/nat/out', '/nat/web'],
  },
  {
    of: 'a chain is emptied',
    by: [['iptables', '-F', 'NETNSD-FORWARD']],
    drifted: ['/nat/out', '/nat/web'],
  },
  {
    of: 'a jump is deleted',
    by: [['iptables', '-D', 'FORWARD', '1']],
    drifted: ['/nat/out', '/nat/web'],
  },
  {
    of: 'all rules are flushed',
    by: [
      ['iptables', '-F'],
      ['iptables', '-X'],
      ['iptables', '-t', 'nat', '-F'],
      ['iptables', '-t', 'nat', '-X'],
    ],
    drifted: ['/nat/out', '/nat/web'],
  },
];

describe('drift', () => {
  beforeEach(build);

  it.each(drifts)('is told at once and mended soon when $of', async ({ by, drifted }) => {
    expect(await untilReady()).toEqual(READY);
    expect(await repairs()).toBe(0);
    for (const [file = '', ...args] of by) await run(file, ...args);
    const told = await states();
    // It may be mended before it is asked for.
    const wrong = Object.keys(told).filter((path) => told[path] !== 'ready' && !drifted.includes(path));
    // While it is mended, what depends on it may differ for a moment.
    if (!(await isMending())) expect(wrong).toEqual([]);
    expect(await untilReady()).toEqual(READY);
    expect(await firstRepair()).toBeGreaterThan(0);
    const { body } = await daemon().request.get('/drift').expect(200);
    expect(body).toMatchObject({ items: [], unrecorded: [] });
  });
});
