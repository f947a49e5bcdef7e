import { readFileSync, statSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { reportFigures, rounds } from '../support/rounds.ts';
import { ipJson, run } from '../support/shell.ts';

/** Somebody else's things, as like netnsd's as can be. What has a line in `undo` does not go with another. */
const lookalikes: { make: string; undo?: string }[] = [
  ...['blue', 'red-0', 'host0', 'netnsd', 'NETNSD-ns', 'ns0x', '4026532598', 'br00', 'veth00', 'keep'].map(
    (name) => ({ make: `ip netns add foreign-${name}`, undo: `ip netns delete foreign-${name}` }),
  ),
  ...['br9', 'netnsd0', 'br00-', 'keep00', 'v0', 'v1'].map((name) => ({
    make: `ip link add ${name} type bridge`,
    undo: `ip link delete ${name}`,
  })),
  { make: 'ip link add veth9 type veth peer name veth9p', undo: 'ip link delete veth9' },
  { make: 'ip link add eth9 type veth peer name eth0 netns foreign-blue', undo: 'ip link delete eth9' },
  { make: 'ip link add near group 20850 type veth peer name nearp', undo: 'ip link delete near' },
  // The names that netnsd will use, as other names of devices of others.
  ...['n0', 'n1', 'b0', 'b1', 'l0', 'l1'].map((name) => ({
    make: `ip link property add dev br9 altname alt-${name}`,
  })),
  { make: 'ip link set br9 alias netnsd:bridge/b0' },
  { make: 'ip address add 10.66.0.1/24 dev br9' },
  { make: 'ip link set br9 up' },
  { make: 'ip route add 10.67.0.0/16 via 10.66.0.9 proto 114' },
  { make: 'ip route add 10.68.0.0/16 via 10.66.0.9 proto static metric 115' },
  // On our own bridge.
  { make: 'ip address add 10.77.0.9/24 dev keep0', undo: 'ip address delete 10.77.0.9/24 dev keep0' },
  { make: 'ip address add fd77::9/64 dev keep0 nodad', undo: 'ip address delete fd77::9/64 dev keep0' },
  { make: 'ip route add 10.78.0.0/16 via 10.77.0.8 dev keep0', undo: 'ip route delete 10.78.0.0/16' },
  {
    make: 'ip route add 10.79.0.0/16 via 10.77.0.8 dev keep0 proto 116',
    undo: 'ip route delete 10.79.0.0/16',
  },
  { make: 'ip link set near master keep0', undo: 'ip link set near nomaster' },
  ...['NETNSD', 'NETNSDX-IN', 'netnsd-forward', 'XNETNSD-SNAT'].flatMap((chain) => [
    { make: `iptables -w -N ${chain}`, undo: `iptables -w -X ${chain}` },
    { make: `iptables -w -A ${chain} -s 10.1.0.0/16 -j ACCEPT`, undo: `iptables -w -F ${chain}` },
  ]),
  ...[
    '-t nat -A POSTROUTING -s 10.1.0.0/24 -m comment --comment netnsd:nat/out:xyz -j MASQUERADE',
    '-t nat -A PREROUTING -p tcp --dport 9999 -m comment --comment netnsd -j REDIRECT --to-ports 9998',
    '-t filter -A FORWARD -s 10.1.0.0/16 -m comment --comment netnsd:link/l0 -j ACCEPT',
    '-t filter -A FORWARD -i b0 -o uplink0 -j ACCEPT',
    '-t filter -A INPUT -i b1 -m comment --comment NETNSD-IN -j ACCEPT',
    '-t mangle -A FORWARD -m comment --comment netnsd:nat/out:0123456789ab -j MARK --set-xmark 0x1/0x1',
  ].map((rule) => ({ make: `iptables -w ${rule}`, undo: `iptables -w ${rule.replace(' -A ', ' -D ')}` })),
  {
    make: 'ip6tables -w -A FORWARD -s fd00::/16 -j ACCEPT',
    undo: 'ip6tables -w -D FORWARD -s fd00::/16 -j ACCEPT',
  },
];

const shell = async (line: string): Promise<string> => {
  const [file = '', ...args] = line.split(' ');
  return run(file, ...args);
};

/** All that the kernel has and that bears no mark of netnsd's. */
async function foreign(): Promise<Record<string, unknown>> {
  const devices = await ipJson('address', 'show');
  const isOurs = (device: Record<string, unknown>): boolean => device['group'] === '20851';
  const names = readFileSync('/proc/self/mountinfo', 'utf8').matchAll(/ \/run\/netns\/(foreign-\S+) /g);
  const rules = `${await run('iptables-save')}${await run('ip6tables-save')}`;
  return {
    namespaces: [...names].map(([, name = '']) => `${name} ${statSync(`/run/netns/${name}`).ino}`).toSorted(),
    devices: devices
      .filter((device) => !isOurs(device))
      .map(({ ifname, ifindex, group, mtu, address, master, ifalias, altnames, addr_info: addresses }) =>
        JSON.stringify({
          ifname,
          ifindex,
          group,
          mtu,
          address,
          master,
          ifalias,
          altnames,
          addresses: (addresses as { local: string }[]).map(({ local }) => local),
        }),
      ),
    addressesOnOurs: devices
      .filter(({ ifname }) => ifname === 'keep0')
      .flatMap(({ addr_info: addresses }) => addresses as { local: string }[])
      .map(({ local }) => local)
      .filter((local) => local.startsWith('10.77') || local.startsWith('fd77')),
    routes: (await run('ip', '-N', 'route', 'show', 'table', 'all'))
      .split('\n')
      .filter((line) => /^10\.(6[678]|7[789])\./.test(line) && !line.includes('proto 115'))
      .map((line) => line.trim()),
    rules: rules
      .split('\n')
      .filter(
        (line) =>
          !/^(?:#|:?$)|NETNSD-(?:IN|ANSWERS|GUARD|OUT|FORWARD|DNAT|SNAT) ?|--comment "netnsd:\w+\/[^:]+:[0-9a-f]{12}"/.test(
            line,
          ),
      )
      .filter((line) => line.startsWith('-A') || /^:(?:NETNSD|netnsd|XNETNSD)/.test(line))
      .map((line) => line.replace(/ \[\d+:\d+\]$/, '')),
  };
}

type Call = [method: 'post' | 'put' | 'patch' | 'delete', path: string, body?: object];

const index = fc.integer({ min: 0, max: 2 });
const namespace = fc.oneof(
  fc.constant('host'),
  index.map((n) => `n${n}`),
);
const octet = fc.integer({ min: 1, max: 40 });

/** Any change, that can be made or not. */
const call: fc.Arbitrary<Call> = fc.oneof(
  index.map((n): Call => ['put', `/namespaces/n${n}`, {}]),
  fc
    .record({ n: index, octet, namespace, stp: fc.boolean() })
    .map(({ n, octet: third, namespace: at, stp }): Call => [
      'put',
      `/bridges/b${n}`,
      { namespace: at, addresses: [`10.1.${third}.3/24`], stp },
    ]),
  fc
    .record({ n: index, octet, namespace, up: fc.boolean() })
    .map(({ n, octet: third, namespace: at, up }): Call => [
      'put',
      `/links/l${n}`,
      { type: 'veth', up, peer: { interface: `p${n}`, namespace: at, addresses: [`10.1.${third}.1/24`] } },
    ]),
  fc
    .record({ n: index, octet, namespace })
    .map(({ n, octet: third, namespace: at }): Call => [
      'put',
      `/nat/m${n}`,
      { type: 'masquerade', namespace: at, source: `10.1.${third}.0/24` },
    ]),
  fc
    .record({ n: index, port: fc.integer({ min: 8000, max: 8010 }) })
    .map(({ n, port }): Call => [
      'put',
      `/nat/d${n}`,
      { type: 'dnat', protocol: 'tcp', port: `${port}`, to: { address: '10.1.1.1', port: '80' } },
    ]),
  octet.map((third): Call => [
    'patch',
    '/bridges/keep0',
    { addresses: [`10.1.${third}.254/32`], mtu: 1400 + third },
  ]),
  fc
    .record({ of: fc.constantFrom('namespaces/n', 'bridges/b', 'links/l', 'nat/m', 'nat/d'), n: index })
    .map(({ of, n }): Call => ['delete', `/${of}${n}?cascade=true`]),
);

/** What somebody breaks by hand meanwhile, so that there is something to mend. */
const breakages = [
  'ip link delete b0',
  'ip link delete l0',
  'ip netns delete n1',
  'iptables -w -F NETNSD-IN',
  'ip link set b1 mtu 1300',
];

async function perform({ request }: Daemon, [method, path, body]: Call): Promise<number> {
  const sent = request[method](path);
  const { status } = await (body === undefined ? sent : sent.send(body));
  return status;
}

describe('what is not ours', () => {
  it('is untouched by any change and by any repair', async () => {
    const count = rounds(60, 1_000);
    const daemon = await startDaemon();
    await daemon.request.post('/bridges').send({ name: 'keep0' }).expect(201);
    for (const { make, undo } of lookalikes) {
      await shell(make);
      if (undo !== undefined) onTestFinished(async () => void (await shell(undo)));
    }
    const before = await foreign();
    const statuses = new Map<number, number>();
    for (const [at, one] of fc.sample(call, { numRuns: count, seed: 20851 }).entries()) {
      const status = await perform(daemon, one);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (at % 20 !== 19) continue;
      await shell(breakages[Math.floor(at / 20) % breakages.length] ?? '').catch(() => '');
      const { body } = await daemon.request.post('/reconcile?wait=true');
      expect(body).toMatchObject({ problem: null });
      expect(await foreign()).toEqual(before);
    }
    expect(await foreign()).toEqual(before);
    expect(statuses.get(500)).toBeUndefined();
    expect((statuses.get(200) ?? 0) + (statuses.get(201) ?? 0)).toBeGreaterThan(count / 4);
    reportFigures(
      'What is not ours is untouched',
      `${lookalikes.length} lookalikes, ${count} random changes, ${Math.floor(count / 20)} full repairs`,
      `no difference; answers ${JSON.stringify([...statuses])}`,
    );
    // What is on our bridge is taken from it first: the bridge goes with the test.
    await daemon.request.delete('/namespaces/n0?cascade=true');
  }, 900_000);
});
