import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { ipJson, run } from '../support/shell.ts';
import { startWatched, type Watched } from '../support/watched.ts';

/** By hand, as a colleague would. */
async function sh(script: string): Promise<string> {
  return run('bash', '-e', '-c', script);
}

/** A bridge and a namespace joined by a veth pair, a bridge with a port within the namespace, rules in both. */
async function build(): Promise<Watched> {
  const watched = await startWatched();
  await watched.watch.start();
  const { create } = watched;
  await create('bridge', { name: 'br00', addresses: ['10.1.1.3/24', 'fd00:1::3/64'] });
  await create('namespace', {
    name: 'blue',
    sysctls: { 'net.ipv4.conf.all.rp_filter': '2', 'net.ipv4.conf.lo.proxy_arp': '0' },
  });
  await create('link', {
    name: 'web',
    interface: 'veth00',
    type: 'veth',
    bridge: 'br00',
    peer: {
      interface: 'eth0',
      namespace: 'blue',
      addresses: ['10.1.1.1/24', 'fd00:1::1/64'],
      routes: [
        { to: 'default', via: '10.1.1.3' },
        { to: 'default', via: 'fd00:1::3' },
        { to: '10.9.0.0/16', via: '10.1.1.3', metric: 7, table: 100 },
      ],
    },
  });
  await create('bridge', { name: 'inner', namespace: 'blue', routes: [{ to: '10.7.0.0/16' }] });
  await create('link', {
    name: 'port',
    interface: 'p0',
    type: 'veth',
    namespace: 'blue',
    bridge: 'inner',
    peer: { interface: 'p1', namespace: 'blue', mtu: 1400, sysctls: { 'ipv4.conf.proxy_arp': '1' } },
  });
  await create('bridge', { name: 'net0', subnets: ['10.5.0.0/24'], firewall: null });
  await create('nat', { name: 'out', type: 'masquerade', source: '10.1.1.0/24', outInterface: 'uplink0' });
  await create('nat', {
    name: 'www',
    type: 'dnat',
    protocol: 'tcp',
    port: '80',
    to: { address: '10.1.1.1' },
  });
  await create('nat', { name: 'six', type: 'masquerade', source: 'fd00:1::/64', outInterface: 'uplink0' });
  await create('nat', {
    name: 'deep',
    type: 'masquerade',
    namespace: 'blue',
    source: '10.7.0.0/16',
    outInterface: 'eth0',
  });
  await watched.settle();
  // Those whose rules were made before they were listened to: one at least in each namespace.
  const found = new Set<string>();
  await expect
    .poll(() => {
      for (const ref of watched.suspects()) found.add(ref);
      return [...found];
    })
    .toEqual(expect.arrayContaining(['nat/out', 'nat/deep']));
  return watched;
}

const inBlue = 'ip netns exec blue';

/** What is done by hand, and whom it must make suspects; `after` takes back what netnsd would not. */
const drifts: { name: string; by: string; suspects: string[]; after?: string }[] = [
  {
    name: 'a namespace deleted',
    by: 'ip netns del blue',
    suspects: ['bridge/inner', 'link/port', 'link/web', 'namespace/blue', 'nat/deep'],
  },
  { name: 'the near end deleted', by: 'ip link del veth00', suspects: ['link/web'] },
  { name: 'the far end deleted', by: 'ip -n blue link del eth0', suspects: ['link/web'] },
  { name: 'a bridge deleted', by: 'ip link del br00', suspects: ['bridge/br00', 'link/web'] },
  {
    name: 'a bridge in a namespace deleted',
    by: 'ip -n blue link del inner',
    suspects: ['bridge/inner', 'link/port'],
  },
  { name: 'a port taken off its bridge', by: 'ip link set veth00 nomaster', suspects: ['link/web'] },
  {
    name: 'a port taken off its bridge in a namespace',
    by: 'ip -n blue link set p0 nomaster',
    suspects: ['link/port'],
  },
  {
    name: 'a port moved to another bridge in a namespace',
    by: 'ip -n blue link add other type bridge; ip -n blue link set p0 master other',
    suspects: ['link/port'],
  },
  {
    name: 'an interface attached to a bridge',
    by: 'ip -n blue link set p1 master inner',
    suspects: ['link/port'],
  },
  { name: 'a device set down', by: 'ip link set veth00 down', suspects: ['link/web'] },
  { name: 'a device set down in a namespace', by: 'ip -n blue link set eth0 down', suspects: ['link/web'] },
  {
    name: 'a device set down and up again, which loses its routes',
    by: 'ip -n blue link set eth0 down; ip -n blue link set eth0 up',
    suspects: ['link/web'],
  },
  { name: 'loopback set down', by: 'ip -n blue link set lo down', suspects: ['namespace/blue'] },
  { name: 'an MTU changed', by: 'ip -n blue link set p1 mtu 1300', suspects: ['link/port'] },
  {
    name: 'a MAC address changed',
    by: 'ip -n blue link set eth0 address 02:00:00:00:00:77',
    suspects: ['link/web'],
  },
  {
    name: 'a mark taken away',
    by: 'ip link set br00 group 0',
    suspects: ['bridge/br00'],
    after: 'ip link del br00',
  },
  { name: 'STP turned on', by: 'ip link set br00 type bridge stp_state 1', suspects: ['bridge/br00'] },
  {
    name: 'the ageing time changed',
    by: 'ip -n blue link set inner type bridge ageing_time 1000',
    suspects: ['bridge/inner'],
  },
  {
    name: 'a device renamed',
    by: 'ip -n blue link set eth0 down; ip -n blue link set eth0 name eth9',
    suspects: ['link/web'],
    after: 'ip -n blue link del eth9',
  },
  {
    name: 'a device moved to another namespace',
    by: 'ip link set veth00 netns blue',
    suspects: ['link/web'],
    after: 'ip -n blue link del veth00',
  },
  { name: 'an address deleted', by: 'ip addr del 10.1.1.3/24 dev br00', suspects: ['bridge/br00'] },
  {
    name: 'an address deleted in a namespace',
    by: 'ip -n blue addr del fd00:1::1/64 dev eth0',
    suspects: ['link/web'],
  },
  {
    name: 'an address deleted and put back at once',
    by: 'ip -n blue addr del 10.1.1.1/24 dev eth0; ip -n blue addr add 10.1.1.1/24 dev eth0',
    suspects: ['link/web'],
  },
  {
    name: 'an address moved to another device',
    by: 'ip -n blue addr del 10.1.1.1/24 dev eth0; ip -n blue addr add 10.1.1.1/24 dev p1',
    suspects: ['link/web'],
    after: 'ip -n blue addr del 10.1.1.1/24 dev p1',
  },
  { name: 'a default route deleted', by: 'ip -n blue route del default', suspects: ['link/web'] },
  { name: 'an IPv6 default route deleted', by: 'ip -n blue -6 route del default', suspects: ['link/web'] },
  {
    name: 'a route of another table deleted',
    by: 'ip -n blue route del 10.9.0.0/16 table 100',
    suspects: ['link/web'],
  },
  { name: 'a route on the link deleted', by: 'ip -n blue route del 10.7.0.0/16', suspects: ['bridge/inner'] },
  {
    name: 'a route replaced',
    by: 'ip -n blue route replace default via 10.1.1.77',
    suspects: ['link/web'],
    after: 'ip -n blue route del default',
  },
  { name: 'forwarding turned off', by: 'sysctl -qw net.ipv4.ip_forward=0', suspects: ['nat/out', 'nat/www'] },
  {
    name: 'IPv6 forwarding turned off',
    by: 'sysctl -qw net.ipv6.conf.all.forwarding=0',
    suspects: ['nat/six'],
  },
  {
    name: 'forwarding turned off in a namespace',
    by: `${inBlue} sysctl -qw net.ipv4.ip_forward=0`,
    suspects: ['nat/deep'],
  },
  {
    name: 'a sysctl changed',
    by: `${inBlue} sysctl -qw net.ipv4.conf.all.rp_filter=1`,
    suspects: ['namespace/blue'],
  },
  {
    name: 'a sysctl of one device changed',
    by: `${inBlue} sysctl -qw net.ipv4.conf.lo.proxy_arp=1`,
    suspects: ['namespace/blue'],
  },
  {
    name: 'what netnsd has set of a bridge changed',
    by: 'sysctl -qw net.ipv4.conf.net0.rp_filter=1',
    suspects: ['bridge/net0'],
  },
  {
    name: 'a sysctl of an end in a namespace changed',
    by: `${inBlue} sysctl -qw net.ipv4.conf.p1.proxy_arp=0`,
    suspects: ['link/port'],
  },
  { name: 'a rule deleted', by: 'iptables -t nat -D NETNSD-SNAT 1', suspects: ['nat/out'] },
  { name: 'an IPv6 rule deleted', by: 'ip6tables -t nat -F NETNSD-SNAT', suspects: ['nat/six'] },
  {
    name: 'a rule deleted in a namespace',
    by: `${inBlue} iptables -F NETNSD-GUARD`,
    suspects: ['nat/deep'],
  },
  {
    name: 'a rule replaced',
    by: 'iptables -t nat -R NETNSD-DNAT 2 -p tcp --dport 81 -j ACCEPT',
    suspects: ['nat/www'],
    after: 'iptables -t nat -F NETNSD-DNAT',
  },
  { name: 'a jump deleted', by: 'iptables -t nat -F POSTROUTING', suspects: ['nat/out', 'nat/www'] },
  { name: 'a chain of jumps emptied', by: 'iptables -F NETNSD-FORWARD', suspects: ['nat/out', 'nat/www'] },
  {
    name: 'a chain deleted',
    by: 'iptables -F FORWARD; iptables -F NETNSD-FORWARD; iptables -F NETNSD-IN; iptables -X NETNSD-IN',
    suspects: ['nat/out', 'nat/www'],
  },
  {
    name: 'a chain renamed',
    by: 'iptables -t nat -E NETNSD-SNAT gone',
    suspects: ['nat/out', 'nat/www'],
    after: 'iptables -t nat -E gone NETNSD-SNAT',
  },
  {
    name: 'a whole table replaced',
    by: 'printf "*nat\\nCOMMIT\\n" | iptables-restore',
    suspects: ['nat/out', 'nat/www'],
  },
];

const LONGEST_MS = 2_000;

/** What is suspected from now on, as soon as it is that much: a part may be told later than another. */
async function suspectsUntil(watched: Watched, count: number, withinMs = LONGEST_MS): Promise<string[]> {
  const end = performance.now() + withinMs;
  const found = new Set<string>();
  while (found.size < count && performance.now() < end)
    for (const ref of await watched.nextSuspects(100)) found.add(ref);
  return [...found].toSorted();
}

describe('the watch', () => {
  it.each(drifts)('suspects the right ones within 2 s: $name', async ({ by, suspects, after }) => {
    const watched = await build();
    expect(watched.suspects()).toEqual([]);
    await sh(by);
    expect(await suspectsUntil(watched, suspects.length)).toEqual(suspects);
    if (after !== undefined) await sh(after);
  });

  it('knows sysctls of what was there before it began, by whatever name that is told', async () => {
    const watched = await startWatched();
    const { create, watch } = watched;
    await create('namespace', { name: 'blue' });
    await create('bridge', { name: 'net0' });
    const sysctls = { 'ipv4.conf.rp_filter': '2' };
    for (const name of ['v0', 'v1'])
      await create('link', {
        name,
        type: 'veth',
        sysctls,
        bridge: 'net0',
        peer: { namespace: 'blue', interface: name, sysctls },
      });
    await watch.start();
    await watched.settle();
    expect(watched.suspects()).toEqual([]);
    await sh('sysctl -qw net.ipv4.conf.v1.rp_filter=1');
    expect(await watched.nextSuspects()).toEqual(['link/v1']);
    await sh(`${inBlue} sysctl -qw net.ipv4.conf.v0.rp_filter=1`);
    expect(await watched.nextSuspects()).toContain('link/v0');
  });

  it('suspects nothing of what netnsd does itself, alone or in a crowd', async () => {
    const watched = await build();
    const { create, patch, remove } = watched;
    await patch('link', 'web', { mtu: 1400, peer: { mtu: 1400, up: false } });
    await patch('link', 'web', { bridge: null, peer: { up: true, routes: [] } });
    await patch('bridge', 'br00', { stp: true, ageingSeconds: 20, addresses: ['10.1.1.4/24'] });
    await patch('bridge', 'net0', { subnets: [] });
    await patch('bridge', 'net0', { subnets: ['10.6.0.0/24'] });
    await patch('nat', 'out', { forward: 'any' });
    await patch('namespace', 'blue', { sysctls: { 'net.ipv4.ip_forward': '1' } });
    const numbers = Array.from({ length: 60 }, (_, n) => n);
    await Promise.all(numbers.map(async (n) => create('namespace', { name: `n${n}` })));
    await Promise.all(
      numbers.map(async (n) =>
        create('link', {
          name: `v${n}`,
          type: 'veth',
          bridge: 'br00',
          sysctls: { 'ipv4.conf.rp_filter': String(n % 2) },
          peer: {
            interface: 'eth0',
            namespace: `n${n}`,
            sysctls: { 'ipv4.conf.rp_filter': String(n % 3) },
            addresses: [`10.1.1.${n + 10}/24`],
            routes: [{ to: 'default', via: '10.1.1.4' }],
          },
        }),
      ),
    );
    await Promise.all(numbers.map(async (n) => patch('link', `v${n}`, { peer: { mtu: 1300 } })));
    await watched.settle();
    await Promise.all(numbers.map(async (n) => remove('namespace', `n${n}`)));
    await remove('namespace', 'blue');
    await watched.settle();
    expect(watched.suspects()).toEqual([]);
  });

  it('does not take what is told late of a change for another one', async () => {
    const watched = await build();
    const [{ pid } = { pid: 0 }] = monitors().filter(({ name }) => name === 'ip');
    // What is told before that of the same device is judged while the rest is still under way.
    await watched.patch('link', 'web', { mtu: 1400 });
    await expect.poll(async () => ipJson('link', 'show', 'veth00')).toMatchObject([{ mtu: 1400 }]);
    await sh('sleep 0.05');
    process.kill(pid, 'SIGSTOP');
    await watched.patch('link', 'web', { mtu: 1300 });
    // No process is begun for that: on a busy machine it would take too much of the half second.
    await sleep(200);
    process.kill(pid, 'SIGCONT');
    expect(await watched.nextSuspects(2_000)).toEqual([]);
    await sh('ip link set veth00 mtu 1350');
    expect(await watched.nextSuspects()).toEqual(['link/web']);
  });

  it('suspects the rules of a namespace once they are listened to: they were changed before, perhaps', async () => {
    const watched = await startWatched();
    await watched.watch.start();
    expect(monitors().map(({ name }) => name)).toEqual(['ip']);
    await watched.create('nat', {
      name: 'out',
      type: 'masquerade',
      source: '10.1.1.0/24',
      outInterface: 'lo',
    });
    await sh('iptables -t nat -F NETNSD-SNAT');
    expect(await watched.nextSuspects()).toEqual(['nat/out']);
    expect(watched.watch.state()).toEqual({ events: 'watching', firewallEvents: true });
  });

  it('suspects nothing of what others do with what is theirs', async () => {
    const watched = await build();
    await sh(`
      ip netns add theirs; ip netns set theirs auto
      ip link add their0 type veth peer name eth0 netns theirs
      ip -n theirs addr add 10.1.1.1/24 dev eth0; ip -n theirs link set eth0 up; ip -n theirs link del eth0
      ip link add 'veth00@x' type bridge; ip link set 'veth00@x' mtu 1300; ip link del 'veth00@x'
      ip addr add 10.1.1.9/24 dev br00; ip addr del 10.1.1.9/24 dev br00
      ip route add 10.200.0.0/16 dev br00; ip route del 10.200.0.0/16
      iptables -A FORWARD -s 10.200.0.0/16 -j ACCEPT; iptables -D FORWARD -s 10.200.0.0/16 -j ACCEPT
      ip netns del theirs`);
    expect(await watched.nextSuspects(1_000)).toEqual([]);
    expect(await ipJson('link', 'show', 'group', '20851')).not.toEqual([]);
  });

  it('is started again when its processes are ended, and suspects everything then', async () => {
    const watched = await build();
    const pids = monitors();
    expect(pids.map(({ name }) => name).toSorted()).toEqual(['ip', 'xtables-monitor', 'xtables-monitor']);
    for (const { pid } of pids) process.kill(pid, 'SIGKILL');
    await expect.poll(() => watched.watch.state().events, { interval: 2 }).toBe('restarting');
    await expect
      .poll(() => watched.watch.state(), { interval: 10 })
      .toEqual({ events: 'watching', firewallEvents: true });
    expect(await suspectsUntil(watched, 5, 10_000)).toEqual([
      'everything',
      'nat/deep',
      'nat/out',
      'nat/six',
      'nat/www',
    ]);
    await sh('ip link set br00 mtu 1400; iptables -t nat -D NETNSD-SNAT 1');
    expect(await suspectsUntil(watched, 2)).toEqual(['bridge/br00', 'nat/out']);
  });

  it('suspects everything if it could not keep up', async () => {
    const watched = await build();
    const [{ pid } = { pid: 0 }] = monitors().filter(({ name }) => name === 'ip');
    process.kill(pid, 'SIGSTOP');
    await sh('for n in {1..40000}; do echo "link set br00 mtu $((1400 + n % 2))"; done | ip -batch -');
    process.kill(pid, 'SIGCONT');
    const found: string[] = [];
    await expect
      .poll(() => {
        found.push(...watched.suspects());
        return found;
      })
      .toContain('everything');
  });

  it('hears of a namespace that had no id, and of names that come and go', async () => {
    const watched = await startWatched();
    await watched.watch.start();
    await watched.create('namespace', { name: 'red' });
    const pid = Number(await sh('unshare --net sleep 60 >/dev/null 2>&1 & echo $!'));
    const inode = async (of: number | string): Promise<string> => sh(`readlink /proc/${of}/ns/net`);
    await expect.poll(async () => inode(pid)).not.toBe(await inode('self'));
    await watched.create('namespace', { name: 'adopted', pid });
    await watched.settle();
    expect(watched.suspects()).toEqual([]);
    await sh('umount /run/netns/red');
    expect(await watched.nextSuspects()).toEqual(['namespace/red']);
    await sh('rm /run/netns/red; ip netns add red');
    expect(await watched.nextSuspects()).toEqual(['namespace/red']);
    await sh('ip netns del adopted');
    expect(await watched.nextSuspects()).toEqual(['namespace/adopted']);
    await sh(`kill ${pid}; ip netns del red`);
  });

  it('hears of names when /run/netns comes, goes and comes again', async () => {
    const printed = await run(
      'unshare',
      '--mount',
      'sh',
      '-c',
      `mount -t tmpfs run /run && exec "$@"`,
      'sh',
      ...node(`
      const { NameWatch } = await import('./src/kernel/name-watch.ts');
      const { execFileSync } = await import('node:child_process');
      const { setTimeout: sleep } = await import('node:timers/promises');
      const heard = new Set();
      const watch = new NameWatch((name) => heard.add(name), () => heard.add('(any)'));
      watch.start();
      for (const by of ['mkdir /run/netns', 'touch /run/netns/a', 'rm -r /run/netns', 'mkdir /run/netns', 'touch /run/netns/b']) {
        execFileSync('sh', ['-c', by]);
        // What comes at once comes together; another pause is for what must not come.
        for (let turn = 0; turn < 500 && heard.size === 0; turn++) await sleep(10);
        await sleep(50);
        console.log(by.split(' ')[0], [...heard].sort().join(' '));
        heard.clear();
      }
      watch.stop();
    `),
    );
    expect(printed.split('\n')).toEqual([
      'mkdir (any)',
      'touch a',
      'rm (any) a netns',
      'mkdir (any)',
      'touch b',
    ]);
  });

  it('takes its processes along, even if netnsd is ended by SIGKILL', async () => {
    const script = `
      const { createProcesses } = await import('./src/kernel/processes.ts');
      const { monitorKernel, monitorFirewall } = await import('./src/kernel/watch.ts');
      const listener = { onEvent: () => {}, onLost: () => {}, onEnd: () => {} };
      const processes = createProcesses({ timeoutMs: 1000 });
      await monitorKernel(processes, listener).start();
      await monitorFirewall(processes, 'host', listener).start();
      console.log('ready');
    `;
    const [command = '', ...args] = node(script);
    const netnsd = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(netnsd.stdout, 'data');
    expect(monitors()).toHaveLength(2);
    netnsd.kill('SIGKILL');
    await once(netnsd, 'exit');
    await expect.poll(monitors).toEqual([]);
  });

  it('keeps no namespace alive that is deleted', async () => {
    const watched = await build();
    await sh('ip link add left0 type veth peer name right0 netns blue; ip netns del blue');
    const left = async () => (await ipJson('link', 'show', 'type', 'veth')).map(({ ifname }) => ifname);
    await expect.poll(left).toEqual(['uplink0']);
    await expect.poll(() => watched.suspects()).toContain('namespace/blue');
  });

  it('costs next to nothing while somebody changes something a hundred times a second', async () => {
    const watched = await build();
    const before = process.cpuUsage();
    const start = performance.now();
    await sh('for n in {1..200}; do ip -n blue link set p1 mtu $((1300 + n % 2)); sleep 0.008; done');
    const { user, system } = process.cpuUsage(before);
    // Of one core, the tests' own share included; whoever makes the changes takes longer on a slow machine, too.
    expect((user + system) / 1_000 / (performance.now() - start)).toBeLessThan(0.2);
    expect(watched.suspects()).toEqual(['link/port']);
  });

  it('leaves no process behind when it is stopped', async () => {
    const watched = await build();
    await watched.watch.stop();
    expect(monitors()).toEqual([]);
    expect(watched.watch.state()).toEqual({ events: 'off', firewallEvents: false });
  });
});

/** The command line of a node of its own. */
function node(script: string): string[] {
  return [process.execPath, '--input-type=module', '--eval', script];
}

/** What listens to the kernel. */
function monitors(): { pid: number; name: string }[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => {
    const words = commandLineOf(pid).split('\0');
    const isMonitor = words[0] === 'xtables-monitor' || (words[0] === 'ip' && words.includes('monitor'));
    return isMonitor ? [{ pid: Number(pid), name: words[0] ?? '' }] : [];
  });
}

/** Nothing for what has ended since it was listed. */
function commandLineOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
