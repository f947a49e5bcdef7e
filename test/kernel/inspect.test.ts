import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pLimit from 'p-limit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createStore, type Store } from '../../src/db/store.ts';
import { readableInode } from '../../src/kernel/inspect.ts';
import { createProcesses } from '../../src/kernel/processes.ts';
import { ForeignService } from '../../src/services/foreign.ts';
import { InspectService } from '../../src/services/inspect.ts';
import { SystemService } from '../../src/services/system.ts';
import { policingLacks } from '../support/policing.ts';

// All digits, and the id of a process: where `ip` takes "a name or a process id", 1 would be another namespace.
const BLUE = '1';

const processes = createProcesses({ timeoutMs: 10_000 });
const lookLimit = pLimit(4);
const inspect = new InspectService({ processes, lookLimit });

let directory = '';
let emptyStore: Store;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'netnsd-inspect-'));
  emptyStore = createStore(join(directory, 'netnsd.db'));
});

afterAll(() => {
  emptyStore.close();
  rmSync(directory, { recursive: true });
});

function ip(...lines: readonly string[]): void {
  execFileSync('ip', ['-batch', '-'], { input: lines.join('\n') });
}

function ipInBlue(...lines: readonly string[]): void {
  execFileSync('ip', ['-n', BLUE, '-batch', '-'], { input: lines.join('\n') });
}

// A bridge and a namespace beside it, as others make them.
beforeEach(async () => {
  execFileSync('ip', ['netns', 'add', BLUE]);
  ip(
    'link add br7 address 6e:8e:92:90:53:3f type bridge',
    `link add v7 master br7 type veth peer name v1 netns ${readPath(BLUE)}`,
    'link set br7 addrgenmode none',
    'link set v7 addrgenmode none',
    'link set br7 up',
    'link set v7 up',
    'address add 10.1.1.3/24 dev br7',
    'address add fd00::3/64 dev br7 nodad',
  );
  ipInBlue(
    'link set v1 addrgenmode none',
    'link set lo up',
    'link set v1 up',
    'address add 10.1.1.1/24 dev v1',
    'address add fd00::1/64 dev v1 nodad',
  );
  await untilUp();
});

/** What is sent by a device that the kernel has not yet found to be up is lost. */
async function untilUp(): Promise<void> {
  await expect.poll(() => [isUp('br7'), isUp('v1', BLUE)]).toEqual([true, true]);
}

function isUp(device: string, ...namespace: readonly string[]): boolean {
  const inside = namespace.flatMap((name) => ['-n', name]);
  return execFileSync('ip', [...inside, '-br', 'link', 'show', device], { encoding: 'utf8' }).includes(
    ' UP ',
  );
}

afterEach(() => {
  ip('link delete v7', 'link delete br7', `netns delete ${BLUE}`);
});

function readPath(name: string): string {
  return `/run/netns/${name}`;
}

/** Runs a program in the namespace until the end of the test, and waits for the first thing that it prints. */
async function inBlue(program: string, use: (child: ChildProcess) => Promise<void>): Promise<void> {
  const child = spawn('nsenter', [`--net=${readPath(BLUE)}`, '--', process.execPath, '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  try {
    await once(child.stdout, 'data');
    await use(child);
  } finally {
    child.kill('SIGKILL');
    await ended;
  }
}

describe('the tables of a namespace', () => {
  test('has the interfaces by index and name, with lo as the first', async () => {
    const interfaces = await inspect.interfaces(BLUE);
    expect(interfaces.map(({ name }) => name)).toEqual(['lo', 'v1']);
    expect(interfaces[0]).toMatchObject({
      index: 1,
      type: 'loopback',
      up: true,
      addresses: ['127.0.0.1/8', '::1/128'],
    });
    expect(interfaces[1]).toMatchObject({
      type: 'veth',
      addresses: ['10.1.1.1/24', 'fd00::1/64'],
      bridge: null,
    });
  });

  test('has those of the daemon’s own namespace under host', async () => {
    const interfaces = await inspect.interfaces('host');
    expect(interfaces.find(({ name }) => name === 'v7')).toMatchObject({ type: 'veth', bridge: 'br7' });
    expect(interfaces.map(({ name }) => name)).toContain('uplink0');
  });

  test('has the routes of both families and of all tables', async () => {
    ipInBlue(
      'route add default via 10.1.1.3 metric 100 proto 115',
      'route add ::/0 dev v1',
      'route add 10.9.0.0/16 nexthop via 10.1.1.3 nexthop via 10.1.1.4 weight 2',
      'route add blackhole 10.77.0.0/16',
      'route add 10.79.0.0/16 via inet6 fd00::3 dev v1 table 100 src 10.1.1.1',
    );
    const routes = await inspect.routes(BLUE);
    const common = {
      via: null,
      dev: null,
      metric: null,
      src: null,
      table: 254,
      type: 'unicast',
      nexthops: [],
    };
    expect(routes.filter(({ to }) => to === 'default')).toEqual([
      {
        ...common,
        to: 'default',
        via: '10.1.1.3',
        dev: 'v1',
        metric: 100,
        protocol: '115',
        scope: 'global',
        family: 'inet',
      },
      {
        ...common,
        to: 'default',
        dev: 'v1',
        metric: 1024,
        protocol: 'boot',
        scope: 'global',
        family: 'inet6',
      },
    ]);
    const to = (network: string) => routes.find((route) => route.to === network);
    expect(to('10.9.0.0/16')).toMatchObject({
      via: null,
      dev: null,
      nexthops: [
        { via: '10.1.1.3', dev: 'v1', weight: 1 },
        { via: '10.1.1.4', dev: 'v1', weight: 2 },
      ],
    });
    expect(to('10.77.0.0/16')).toMatchObject({ type: 'blackhole', dev: null });
    expect(to('10.79.0.0/16')).toMatchObject({ via: 'fd00::3', table: 100, src: '10.1.1.1', family: 'inet' });
    expect(to('10.1.1.1/32')).toMatchObject({ type: 'local', table: 255, scope: 'host', family: 'inet' });
    expect(to('fd00::1/128')).toMatchObject({ type: 'local', table: 255, family: 'inet6' });
    expect(to('10.1.1.0/24')).toMatchObject({ dev: 'v1', via: null, protocol: 'kernel', scope: 'link' });
  });

  test('has the neighbors, those without an answer too', async () => {
    ipInBlue(
      'neighbour add 10.1.1.9 dev v1 lladdr 02:00:5e:10:00:09',
      'neighbour add fd00::9 dev v1 lladdr 02:00:5e:10:00:09 router',
    );
    await inspect.ping(BLUE, { to: '10.1.1.77', count: 1, timeoutMs: 10 });
    const neighbors = await inspect.neighbors(BLUE);
    const mac = '02:00:5e:10:00:09';
    expect(neighbors).toContainEqual({
      address: '10.1.1.9',
      interface: 'v1',
      mac,
      state: 'permanent',
      router: false,
    });
    expect(neighbors).toContainEqual({
      address: 'fd00::9',
      interface: 'v1',
      mac,
      state: 'permanent',
      router: true,
    });
    expect(neighbors.find(({ address }) => address === '10.1.1.77')).toMatchObject({
      mac: null,
      state: 'incomplete',
    });
  });

  test('has the sockets of that namespace alone, with its name and inode and their processes', async () => {
    const listen = `require('node:net').createServer().listen(8080, '10.1.1.1', () => console.log('listening'))`;
    await inBlue(listen, async ({ pid }) => {
      const listening = (await inspect.sockets(BLUE)).filter(({ state }) => state === 'listen');
      expect(listening).toHaveLength(1);
      expect(listening[0]).toMatchObject({
        namespace: BLUE,
        namespaceInode: readableInode(BLUE),
        protocol: 'tcp',
        family: 'inet',
        local: { address: '10.1.1.1', port: 8080 },
        peer: { address: '0.0.0.0', port: null },
        uid: 0,
        processes: [{ pid }],
      });
      const ofHost = await inspect.sockets('host');
      expect(ofHost.filter(({ local }) => local.port === 8080)).toEqual([]);
      expect(new Set(ofHost.map(({ namespaceInode }) => namespaceInode)).has(readableInode(BLUE) ?? 0)).toBe(
        false,
      );
    });
  });

  test('has the processes of that namespace alone', async () => {
    const before = Date.now();
    await inBlue(`process.title = 'a) (b'; console.log(); setInterval(() => {}, 1000)`, async ({ pid }) => {
      const found = await inspect.processes(BLUE);
      expect(found).toHaveLength(1);
      expect(found[0]).toMatchObject({ pid, uid: 0 });
      expect(found[0]?.command.join(' ')).toContain('a) (b');
      expect(Math.abs(Date.parse(found[0]?.startedAt ?? '') - before)).toBeLessThan(5000);
      const ofHost = (await inspect.processes('host')).map((entry) => entry.pid);
      expect(ofHost).toContain(process.pid);
      expect(ofHost).not.toContain(pid);
    });
  });

  test('costs one process, and none for the list of processes', async () => {
    const started = processes.started();
    await inspect.interfaces(BLUE);
    await inspect.routes(BLUE);
    await inspect.neighbors('host');
    await inspect.sockets(BLUE);
    expect(processes.started() - started).toBe(4);
    await inspect.processes(BLUE);
    expect(processes.started() - started).toBe(4);
  });

  test('is empty in a namespace with nothing in it', async () => {
    execFileSync('ip', ['netns', 'add', '-odd name']);
    try {
      expect((await inspect.interfaces('-odd name')).map(({ name }) => name)).toEqual(['lo']);
      expect(await inspect.routes('-odd name')).toEqual([]);
      expect(await inspect.neighbors('-odd name')).toEqual([]);
      expect(await inspect.sockets('-odd name')).toEqual([]);
      expect(await inspect.processes('-odd name')).toEqual([]);
    } finally {
      execFileSync('ip', ['netns', 'delete', '-odd name']);
    }
  });

  test.each(['2', 'nowhere', '.', '..', 'stale', 'x'.repeat(255), 'é'.repeat(200)])(
    'is not found for %j',
    async (name) => {
      // What a killed `ip netns add` leaves: a file that no namespace is bound to.
      writeFileSync(readPath('stale'), '', { mode: 0 });
      try {
        const notFound = { slug: 'not-found' };
        await expect(inspect.interfaces(name)).rejects.toMatchObject(notFound);
        await expect(inspect.sockets(name)).rejects.toMatchObject(notFound);
        await expect(inspect.processes(name)).rejects.toMatchObject(notFound);
        await expect(inspect.ping(name, { to: '127.0.0.1' })).rejects.toMatchObject(notFound);
      } finally {
        rmSync(readPath('stale'));
      }
    },
  );
});

// NSFS_MAGIC is that of every kind of namespace: only entering tells that this one is not of the network.
test('what is bound in /run/netns and is no network namespace is listed, and can’t be read', async () => {
  writeFileSync(readPath('other'), '');
  execFileSync('mount', ['--bind', '/proc/self/ns/uts', readPath('other')]);
  try {
    await expect(inspect.interfaces('other')).rejects.toMatchObject({ slug: 'kernel-error' });
    await expect(inspect.sockets('other')).rejects.toMatchObject({ slug: 'kernel-error' });
    const foreign = new ForeignService({ store: emptyStore, processes, lookLimit });
    const message = 'it can’t be entered';
    expect(await foreign.namespace('other')).toMatchObject({
      managed: false,
      status: { message, interfaces: [] },
    });
  } finally {
    execFileSync('umount', [readPath('other')]);
    rmSync(readPath('other'));
  }
});

describe('a ping from a namespace', () => {
  test.each(['10.1.1.3', 'fd00::3', '127.0.0.1'])('is answered by %s', async (to) => {
    const answer = await inspect.ping(BLUE, { to, count: 2 });
    expect(answer).toMatchObject({ transmitted: 2, received: 2, lossPercent: 0 });
    expect(answer.rtt?.max).toBeGreaterThanOrEqual(answer.rtt?.min ?? Infinity);
  });

  test('is answered the other way round', async () => {
    expect(await inspect.ping('host', { to: '10.1.1.1', count: 1 })).toMatchObject({
      received: 1,
      lossPercent: 0,
    });
  });

  test('that nobody answers is an answer', async () => {
    const unanswered = { transmitted: 1, received: 0, lossPercent: 100, rtt: null };
    expect(await inspect.ping(BLUE, { to: '10.1.1.77', count: 1, timeoutMs: 10 })).toEqual(unanswered);
  });

  test.each(['203.0.113.10', '2001:db8:113::10'])(
    'to %s, to which there is no route, is an answer',
    async (to) => {
      expect(await inspect.ping(BLUE, { to })).toEqual({
        transmitted: 3,
        received: 0,
        lossPercent: 100,
        rtt: null,
      });
    },
  );

  test('to the broadcast address of its network is refused', async () => {
    await expect(inspect.ping(BLUE, { to: '10.1.1.255' })).rejects.toMatchObject({ slug: 'unprocessable' });
  });
});

describe('what others made', () => {
  test('lists the namespaces that are bound and not recorded', async () => {
    const foreign = new ForeignService({ store: emptyStore, processes, lookLimit });
    const namespaces = await foreign.namespaces();
    expect(namespaces.map(({ name }) => name)).toEqual([BLUE, 'internet']);
    expect(namespaces[0]).toMatchObject({
      managed: false,
      status: { state: 'ready', message: null, inode: readableInode(BLUE), path: readPath(BLUE) },
    });
    expect(namespaces[0]?.status.interfaces.map(({ name }) => name)).toEqual(['lo', 'v1']);
    expect(await foreign.namespace('nowhere')).toBeNull();
    expect(await foreign.namespace('host')).toMatchObject({
      managed: false,
      status: { inode: readableInode('host') },
    });
  });

  test('lists the bridges with their ports in one process, as brctl shows them', async () => {
    const foreign = new ForeignService({ store: emptyStore, processes, lookLimit });
    const started = processes.started();
    const bridges = await foreign.bridges();
    expect(processes.started() - started).toBe(1);
    expect(bridges).toHaveLength(1);
    expect(bridges[0]).toMatchObject({
      name: 'br7',
      interface: 'br7',
      namespace: 'host',
      managed: false,
      status: {
        bridgeId: '8000.6e8e9290533f',
        stp: false,
        ports: ['v7'],
        addresses: ['10.1.1.3/24', 'fd00::3/64'],
      },
    });
    expect(await foreign.bridges(BLUE)).toEqual([]);
    expect(await foreign.bridges('nowhere')).toEqual([]);
  });

  const report = () =>
    ({
      mode: 'off',
      intervalMs: 0,
      lastSweep: null,
      hasSettled: true,
      events: 'off',
      firewallEvents: false,
    }) as const;

  test('tells who listens where', async () => {
    const system = new SystemService({ store: emptyStore, processes, version: '0.0.1', report });
    const path = join(directory, 'a b.sock');
    const servers = [createServer().listen({ host: '::', port: 8471 }), createServer().listen({ path })];
    try {
      await Promise.all(servers.map(async (server) => once(server, 'listening')));
      const us = `(process ${process.pid})`;
      expect(await system.holderOf({ transport: 'tcp', host: '127.0.0.1', port: 8471 })).toContain(us);
      expect(await system.holderOf({ transport: 'unix', path })).toContain(us);
      expect(await system.holderOf({ transport: 'tcp', host: '127.0.0.1', port: 8472 })).toBeNull();
    } finally {
      for (const server of servers) server.close();
    }
  });

  test('tells of the machine, and asks each tool for its version only once', async () => {
    const counted = processes.counter();
    const system = new SystemService({ store: emptyStore, processes: counted, version: '0.0.1', report });
    expect(await system.readiness()).toEqual({ ready: true, reason: null });
    const started = counted.started();
    const answer = await system.system();
    expect(counted.started()).toBe(started);
    expect(answer).toMatchObject({
      version: '0.0.1',
      features: { bridge: true, veth: true, ipv6: true, policing: (await policingLacks()) === null },
      limits: { portsPerBridge: 1000 },
      use: { boundNamespaces: 2, recorded: { namespaces: 0, links: 0, bridges: 0, nat: 0 } },
    });
    expect(answer.tools.ip?.version).toMatch(/^\d+\.\d+/);
    expect(answer.tools.tc?.version).toMatch(/^\d+\.\d+/);
    expect(answer.tools.ethtool?.version).toMatch(/^\d+\.\d+$/);
    expect(answer.tools.iptables?.variant).toMatch(/^(nf_tables|legacy)$/);
  });
});
