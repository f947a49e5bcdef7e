import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { execa } from 'execa';
import type { Cell, Client, Environment, Target } from './packet-cells.ts';
import type { Place, Probe } from './prober.ts';
import { meanwhile } from './probes.ts';

/** Who answers what is asked at a target, and where: address by family, port. */
interface Whereabouts {
  by: Client;
  four: string;
  six: string;
  port: number;
}

const at = (by: Client, four: string, six: string, port = 80): Whereabouts => ({ by, four, six, port });

const WEB = ['10.1.1.1', 'fd00:1::1'] as const;
const GATEWAY = ['10.1.1.254', 'fd00:1::254'] as const;
const OTHER_GATEWAY = ['10.1.2.254', 'fd00:2::254'] as const;
const HOST = ['198.51.100.2', '2001:db8:51::2'] as const;
const FAR = ['203.0.113.66', '2001:db8:114::2'] as const;
const LINK_LOCAL = 'fe80::2%eth0';
const LOOPBACK = ['127.0.0.1', '::1'] as const;

export const places: Record<Target, Whereabouts> = {
  web: at('web', ...WEB),
  unpublished: at('web', ...WEB, 81),
  sibling: at('sibling', '10.1.1.2', 'fd00:1::2'),
  other: at('other', '10.1.2.1', 'fd00:2::1'),
  plain: at('plain', '10.1.3.1', 'fd00:3::1'),
  lan: at('lan', '172.30.0.2', 'fd00:30::2'),
  neighbor: at('neighbor', '198.51.100.9', '2001:db8:51::9'),
  far: at('far', ...FAR),
  elsewhere: at('far', ...FAR, 8080),
  gateway: at('host', ...GATEWAY, 9000),
  otherGateway: at('host', ...OTHER_GATEWAY, 9000),
  dns: at('host', ...GATEWAY, 53),
  dhcp: at('host', ...GATEWAY, 67),
  host: at('host', ...HOST, 9000),
  loopback: at('host', ...LOOPBACK, 9000),
  linkLocal: at('host', '', LINK_LOCAL, 9000),
  published: at('web', ...HOST, 8080),
  publishedGateway: at('web', ...GATEWAY, 8080),
  publishedOtherGateway: at('web', ...OTHER_GATEWAY, 8080),
  localhost: at('web', ...LOOPBACK, 8080),
  publishedLoopback: at('web', ...LOOPBACK, 8080),
  publishedLinkLocal: at('web', '', LINK_LOCAL, 8080),
};

/** More than the 1400 bytes that the way to `far` takes, and for UDP not more than the 1500 of the way there. */
const BIG_BYTES = { tcp: 4096, udp: 1440, icmp: 0 };

/** Of `far`, one for each way of what is big, so that none learns its size from another. */
function bigAddress({ from, protocol, family }: Cell): string {
  const n = 3 + (from === 'far' ? 2 : 0) + (protocol === 'udp' ? 1 : 0);
  return family === 4 ? `203.0.113.${64 + n}` : `2001:db8:114::${n}`;
}
const bigAddresses = [3, 4, 5, 6].flatMap((n) => [`203.0.113.${64 + n}`, `2001:db8:114::${n}`]);

/** What to ask for a cell. */
export function probeOf(cell: Cell): Probe {
  const { to, protocol, family, big } = cell;
  const { four, six, port: known } = places[to];
  const port = to === 'dhcp' && family === 6 ? 547 : known;
  const host = family === 4 ? four : six;
  if (!big) return { protocol, host, port };
  const bytes = BIG_BYTES[protocol];
  return to === 'far'
    ? { protocol, host: bigAddress(cell), port, bytes }
    : { protocol, host, port, bytes, source: bigAddress(cell) };
}

const simple = (name: Client): Place => ({ name, namespace: name, tcp: [80], udp: [80] });

/** Who is to answer at what. */
export const probers: Record<Client, Place> = {
  web: { ...simple('web'), tcp: [80, 81], udp: [80, 81] },
  sibling: simple('sibling'),
  other: simple('other'),
  plain: simple('plain'),
  lan: simple('lan'),
  neighbor: simple('neighbor'),
  far: { ...simple('far'), tcp: [80, 8080], udp: [80, 8080], addresses: [...FAR, ...bigAddresses] },
  host: { name: 'host', namespace: null, tcp: [53, 9000], udp: [53, 67, 547, 9000] },
};

/** Has everything around netnsd as a cell wants it, until the test is over. */
export async function surround(environment: Environment): Promise<void> {
  await setSysctls(environment);
  await rulesOfOthers(environment);
  await behindTheUplink();
  await besideTheBridges();
  // Who is on the uplink's network, and the router there, know the way to all our networks.
  const networks = ['10.1.1.0/24', '10.1.2.0/24', '10.1.3.0/24', '172.30.0.0/24'];
  const networks6 = ['fd00:1::/64', 'fd00:2::/64', 'fd00:3::/64', 'fd00:30::/64'];
  const ways = [
    ...networks.map((network) => `${network} via ${HOST[0]}`),
    ...networks6.map((network) => `${network} via ${HOST[1]}`),
  ];
  const routes = (where: string, verb: string): string =>
    ways.map((way) => `ip -n ${where} route ${verb} ${way}`).join('\n');
  await meanwhile(
    `set -e\n${routes('internet', 'add')}\n${routes('neighbor', 'add')}`,
    routes('internet', 'del'),
  );
}

async function setSysctls({ bridgeFilter, strict }: Environment): Promise<void> {
  if (!existsSync('/proc/sys/net/bridge/bridge-nf-call-iptables'))
    throw new Error(
      'br_netfilter is not there for the sandbox, so what it does to bridged packets cannot be seen. On the machine, as ' +
        'root: modprobe br_netfilter. It takes a kernel of 5.3 or later, where each network namespace has its own setting.',
    );
  await withSysctl('bridge/bridge-nf-call-iptables', bridgeFilter ? '1' : '0');
  await withSysctl('bridge/bridge-nf-call-ip6tables', bridgeFilter ? '1' : '0');
  await withSysctl('ipv4/conf/all/rp_filter', strict ? '1' : '0');
  await withSysctl('ipv4/conf/default/rp_filter', strict ? '1' : '0');
  // So that nothing but netnsd's own rule is between the neighbor and 127.0.0.1.
  await withSysctl('ipv4/conf/uplink0/route_localnet', '1');
}

async function withSysctl(key: string, value: string): Promise<void> {
  const file = `/proc/sys/net/${key}`;
  const before = (await readFile(file, 'utf8')).trim();
  await meanwhile(`echo ${value} >${file}`, `echo ${before} >${file}`);
}

async function rulesOfOthers({ tool, policy, bothTools }: Environment): Promise<void> {
  const each = (variant: string, rules: string[]): string =>
    rules.flatMap((rule) => [`iptables-${variant} -w ${rule}`, `ip6tables-${variant} -w ${rule}`]).join('\n');
  if (policy === 'DROP') await meanwhile(each(tool, ['-P FORWARD DROP']), each(tool, ['-P FORWARD ACCEPT']));
  if (!bothTools) return;
  const rules = (verb: string): string[] => [
    ...['INPUT', 'FORWARD', 'OUTPUT'].map((chain) => `${verb} ${chain} -j ACCEPT`),
    `-t mangle ${verb} FORWARD -j ACCEPT`,
    `-t nat ${verb} POSTROUTING -o docker0 -j MASQUERADE`,
  ];
  const variant = tool === 'nft' ? 'legacy' : 'nft';
  await meanwhile(`set -e\n${each(variant, rules('-A'))}`, each(variant, rules('-D')));
}

/**
 * `neighbor` is on the uplink's network beside `internet`, the router, which has `far` behind it, by a way that takes 1400
 * bytes. `far` says that it takes segments of 1460 all the same, so that only the router can tell (RFC 2923, 2.1).
 */
async function behindTheUplink(): Promise<void> {
  const addresses = [...FAR, ...bigAddresses].map(
    (address) => `ip -n far address add ${prefixed(address)} dev eth0`,
  );
  const forwarding = (value: string): string =>
    `ip netns exec internet sh -c 'cd /proc/sys/net && echo ${value} >ipv4/ip_forward && echo ${value} >ipv6/conf/all/forwarding'`;
  const rate = '/proc/sys/net/ipv4/icmp_ratelimit';
  const { stdout: rateBefore } = await execa('ip', ['netns', 'exec', 'internet', 'cat', rate]);
  const limit = (value: string): string => `ip netns exec internet sh -c 'echo ${value} >${rate}'`;
  await meanwhile(
    `set -e
ip netns add neighbor
ip -n internet link add link eth0 name neighbor0 type macvlan mode bridge
ip -n internet link set neighbor0 netns neighbor name eth0
ip netns add far
ip -n internet link add far0 mtu 1400 type veth peer name eth0 netns far mtu 1400
ip -n internet link set far0 addrgenmode none
for n in neighbor far; do ip -n $n link set eth0 addrgenmode none; done
ip -n internet address add 203.0.113.65/26 dev far0
ip -n internet address add 2001:db8:114::ff/64 dev far0 nodad
ip -n internet address add fe80::1/64 dev far0 nodad
ip -n far address add fe80::2/64 dev eth0 nodad
${addresses.join('\n')}
ip -n neighbor address add ${places.neighbor.four}/24 dev eth0
ip -n neighbor address add ${places.neighbor.six}/64 dev eth0 nodad
ip -n neighbor address add fe80::9/64 dev eth0 nodad
ip -n internet link set far0 up
for n in neighbor far; do ip -n $n link set eth0 up; done
ip -n far route add default via 203.0.113.65 advmss 1460
ip -n far route add default via 2001:db8:114::ff advmss 1440
ip -n neighbor route add default via 198.51.100.1
ip -n neighbor route add default via 2001:db8:51::1
${limit('0')}
${forwarding('1')}
${asksLoopback('neighbor', HOST[0])}`,
    `ip -n internet link delete far0; ip -n neighbor link delete eth0; ip netns delete far; ip netns delete neighbor
${forwarding('0')}; ${limit(rateBefore)}`,
  );
}

function prefixed(address: string): string {
  return address.includes(':') ? `${address}/64 nodad` : `${address}/26`;
}

/** A network of the host with which netnsd has nothing to do. */
async function besideTheBridges(): Promise<void> {
  await meanwhile(
    `set -e
ip netns add lan
ip link add lan0 type veth peer name eth0 netns lan
ip link set lan0 addrgenmode none
ip -n lan link set eth0 addrgenmode none
ip address add 172.30.0.1/24 dev lan0
ip address add fd00:30::1/64 dev lan0 nodad
ip address add fe80::1/64 dev lan0 nodad
ip -n lan address add ${places.lan.four}/24 dev eth0
ip -n lan address add ${places.lan.six}/64 dev eth0 nodad
ip -n lan address add fe80::2/64 dev eth0 nodad
ip link set lan0 up
ip -n lan link set eth0 up
ip -n lan route add default via 172.30.0.1
ip -n lan route add default via fd00:30::1`,
    'ip link delete lan0; ip netns delete lan',
  );
}

/** Commands that have a namespace send what is for 127.0.0.1 to somebody else, and take the answers (CVE-2020-8558). */
export function asksLoopback(namespace: string, via: string): string {
  return [
    `ip -n ${namespace} address flush dev lo to 127.0.0.0/8`,
    `ip netns exec ${namespace} sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet'`,
    `ip -n ${namespace} route add 127.0.0.1 via ${via}`,
  ].join('\n');
}

/** Has `web` forget what packets others have told it to be too big. */
export async function forgetSizes(): Promise<void> {
  await execa('sh', ['-c', 'ip -n web -4 route flush cache; ip -n web -6 route flush cache']);
}
