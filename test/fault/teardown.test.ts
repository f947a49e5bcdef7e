import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it, onTestFailed, onTestFinished } from 'vitest';
import { kernelDifferences, kernelState, leftBehind } from '../support/kernel-state.ts';
import { runServer, startServer, temporaryDirectory } from '../support/server.ts';
import { run } from '../support/shell.ts';

const peer = {
  interface: 'eth0',
  namespace: 'blue',
  addresses: ['10.1.1.1/24'],
  routes: [{ to: 'default', via: '10.1.1.3' }],
};
const made: [path: string, body: object][] = [
  ['/namespaces', { name: 'blue', sysctls: { 'net.ipv4.ip_forward': '1' } }],
  ['/bridges', { name: 'br00', addresses: ['10.1.1.3/24'] }],
  ['/links', { name: 'veth00', type: 'veth', bridge: 'br00', peer }],
  ['/links', { name: 'veth01', type: 'veth', peer: { interface: 'veth02' } }],
  ['/nat', { name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' }],
  [
    '/nat',
    { name: 'web', type: 'dnat', protocol: 'tcp', port: '8080', to: { address: '10.1.1.1', port: '80' } },
  ],
];
const REMOVED = [
  'removed nat/out',
  'removed nat/web',
  'removed link/veth00',
  'removed link/veth01',
  'removed bridge/br00',
  'removed namespace/blue',
];

/** Networks of which netnsd has been stopped. */
async function layOut(bodies = made): Promise<string> {
  const { stateDir, curl, end } = await startServer();
  for (const [path, body] of bodies) expect((await curl(path, 'POST', body)).status).toBe(201);
  await end();
  // So that one test that fails is not followed by all others.
  onTestFailed(async () => void (await teardown(stateDir)));
  return stateDir;
}

async function teardown(stateDir: string, ...args: string[]) {
  const { exitCode, stdout, stderr } = await runServer(['teardown', '--state-dir', stateDir, ...args]);
  return { exitCode, stderr, lines: stdout.split('\n') };
}

/** Nothing is recorded any more, and a start finds nothing amiss. */
async function expectEmpty(stateDir: string): Promise<void> {
  const { curl, end } = await startServer([], { stateDir });
  for (const collection of ['namespaces', 'links', 'bridges', 'nat'])
    expect((await curl(`/${collection}`)).body).toMatchObject({ items: [] });
  expect((await curl('/drift')).body).toMatchObject({ items: [], unrecorded: [] });
  await end();
}

describe('netnsd teardown', () => {
  it('removes all that was made and says what, line by line; a second time there is nothing', async () => {
    const before = await kernelState();
    const stateDir = await layOut();
    expect(readFileSync('/proc/sys/net/ipv4/ip_forward', 'utf8')).toBe('1\n');
    expect(await teardown(stateDir)).toEqual({
      exitCode: 0,
      stderr: '',
      lines: expect.toSatisfy((lines: string[]) => lines.toSorted().join() === REMOVED.toSorted().join()),
    });
    expect(await leftBehind(before)).toEqual([]);
    expect(await teardown(stateDir)).toEqual({
      exitCode: 0,
      stderr: '',
      lines: ['there was nothing to remove'],
    });
    await expectEmpty(stateDir);
  });

  it('leaves alone what others made, what looks alike included', async () => {
    const theirs = [
      'ip netns add theirs',
      'ip link add br01 type bridge',
      'ip link add veth99 type veth peer name eth0 netns theirs',
      'ip address add 10.8.0.1/24 dev br01',
      'iptables -N NETNSX-MINE',
      'iptables -A FORWARD -s 192.0.2.1 -j DROP',
      'iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE',
      'ip route add blackhole 192.0.2.0/24 proto 99',
    ];
    for (const line of theirs) await run('sh', '-c', line);
    onTestFinished(async () => {
      await run(
        'sh',
        '-c',
        `ip netns delete theirs; ip link delete br01; iptables -X NETNSX-MINE
         iptables -D FORWARD -s 192.0.2.1 -j DROP; ip route delete blackhole 192.0.2.0/24
         iptables -t nat -D POSTROUTING -s 192.0.2.0/24 -j MASQUERADE`,
      );
    });
    const before = await kernelState();
    const stateDir = await layOut();
    expect((await teardown(stateDir)).exitCode).toBe(0);
    expect(await leftBehind(before)).toEqual([]);
    expect(await run('iptables', '-S', 'FORWARD')).toContain('192.0.2.1');
  });

  it('works after drift, whatever is gone or changed', async () => {
    const before = await kernelState();
    const stateDir = await layOut();
    await run('ip', 'link', 'delete', 'dev', 'veth00');
    await run('ip', 'link', 'set', 'dev', 'br00', 'mtu', '1400');
    await run('ip', 'link', 'set', 'dev', 'veth01', 'down');
    await run('ip', 'link', 'set', 'dev', 'veth01', 'name', 'renamed');
    await run('ip', 'netns', 'delete', 'blue');
    await run('iptables', '-t', 'nat', '-F', 'NETNSD-DNAT');
    const { exitCode, stderr, lines } = await teardown(stateDir);
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(lines).toEqual(expect.arrayContaining(REMOVED));
    expect(await leftBehind(before)).toEqual([]);
    await expectEmpty(stateDir);
  });

  it('works without the store, for what is in the daemon’s own namespace', async () => {
    const before = await kernelState();
    const stateDir = await layOut();
    const aside = join(temporaryDirectory(), 'aside.db');
    renameSync(join(stateDir, 'netnsd.db'), aside);
    const { exitCode, stderr, lines } = await teardown(stateDir);
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(lines).toContain('removed what was not recorded: ip link delete dev br00');
    const marked = kernelDifferences(before, await kernelState()).filter(
      (line) => !/netns|etcNetns|mounts|\/run/.test(line),
    );
    // What stood in a sysctl before only the lost store knew.
    expect(marked.filter((line) => !/ip_forward|forwarding/.test(line))).toEqual([]);
    // With its store the rest goes as well.
    renameSync(aside, join(stateDir, 'netnsd.db'));
    expect((await teardown(stateDir)).exitCode).toBe(0);
    expect(await leftBehind(before)).toEqual([]);
  });

  it('works after a reboot, when only the records are left', async () => {
    const stateDir = await layOut();
    const { exitCode, stdout, stderr } = await execa(
      'script/sandbox',
      [process.execPath, 'src/main.ts', 'teardown', '--state-dir', stateDir],
      { reject: false },
    );
    expect([exitCode, stderr, stdout.split('\n').toSorted()]).toEqual([0, '', REMOVED.toSorted()]);
    // The first network is still there, and now nobody knows it.
    expect((await teardown(stateDir)).exitCode).toBe(0);
    await run('ip', 'netns', 'delete', 'blue');
    await run('sysctl', '-qw', 'net.ipv4.ip_forward=0');
  });

  it('with --unrecorded removes that alone', async () => {
    const stateDir = await layOut();
    await run('ip', 'link', 'add', 'stray0', 'group', '20851', 'type', 'bridge');
    await run(
      'iptables',
      '-A',
      'NETNSD-GUARD',
      '-s',
      '192.0.2.7',
      '-m',
      'comment',
      '--comment',
      'netnsd:nat/gone:0123456789ab',
      '-j',
      'DROP',
    );
    const { exitCode, stderr, lines } = await teardown(stateDir, '--unrecorded');
    expect([exitCode, stderr]).toEqual([0, '']);
    expect(lines).toHaveLength(2);
    expect(lines).toContain('removed what was not recorded: ip link delete dev stray0');
    expect(lines.join('\n')).toMatch(/iptables .*-D NETNSD-GUARD .*192\.0\.2\.7/);
    const { curl, end } = await startServer([], { stateDir });
    expect((await curl('/drift')).body).toMatchObject({ items: [], unrecorded: [], resources: 6 });
    await end();
    expect((await teardown(stateDir)).exitCode).toBe(0);
  });

  it('says what can’t be removed, with status 1, and removes the rest', async () => {
    const stateDir = await layOut();
    await run('mount', '--bind', '/proc/sys', '/proc/sys');
    await run('mount', '-o', 'remount,bind,ro', '/proc/sys');
    const { exitCode, stderr, lines } = await teardown(stateDir);
    await run('umount', '/proc/sys');
    expect([exitCode, lines, stderr]).toEqual([
      1,
      expect.arrayContaining(['removed link/veth01', 'removed bridge/br00']),
      expect.stringMatching(/^netnsd: could not remove (nat|namespace)\/\S+: .*/),
    ]);
    const again = await teardown(stateDir);
    expect([again.exitCode, again.stderr]).toEqual([0, '']);
    expect(existsSync('/run/netns/blue')).toBe(false);
  });

  it('takes only what it knows', async () => {
    const { exitCode, stderr } = await runServer(['--unrecorded']);
    expect([exitCode, stderr]).toEqual([
      2,
      expect.stringMatching(/^netnsd: --unrecorded goes with .*; see --help$/),
    ]);
  });
});
