import { execFile } from 'node:child_process';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * What the kernel has, in the sandbox's own network namespace and in each one that is bound in /run/netns: devices
 * and addresses, routes, rules, firewall, forwarding sysctls, and the files by which namespaces are known. Only
 * stable facts: two calls with nothing done in between give equal values.
 */
export async function kernelState(): Promise<Record<string, unknown>> {
  const names = await list('/run/netns');
  const [runFiles, etcNetns, mounts, bound, own, ...others] = await Promise.all([
    files('/run'),
    textsIn('/etc/netns'),
    mountsUnder('/run/'),
    Promise.all(names.map(identify)),
    namespaceState(['sh', '-c', READ]),
    ...names.map((name) => namespaceState(['nsenter', `--net=/run/netns/${name}`, 'sh', '-c', READ])),
  ]);
  return {
    '/run': runFiles,
    '/run/netns': bound,
    '/etc/netns': etcNetns,
    mounts,
    host: own,
    ...Object.fromEntries(names.map((name, i) => [`netns ${name}`, others[i]])),
  };
}

/** What two states differ in, a line each: `- path: value` is gone, `+ path: value` is new. */
export function kernelDifferences(
  before: Record<string, unknown>,
  after: Record<string, unknown>,
): readonly string[] {
  return compare('', before, after);
}

/**
 * Waits until the kernel's state is the one given, and gives the differences that are left after `timeoutMs`: none is
 * as it should be, but for those that don't matter. It waits because the kernel takes namespaces and veth pairs away some
 * time after it said so.
 */
export async function leftBehind(
  before: Record<string, unknown>,
  matters: (difference: string) => boolean = () => true,
  timeoutMs = 30_000,
): Promise<readonly string[]> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const differences = kernelDifferences(before, await kernelState()).filter(matters);
    if (differences.length === 0 || performance.now() > end) return differences;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

// One shell for each namespace, and in it as few processes as will do: this runs before and after every test.
// iptables-save is the nft variant unless the machine was set up otherwise; the legacy tables are asked for only
// if there are any, because reading one creates it.
const READ = `
exec 2>/dev/null
echo @devices; printf 'addr show\\nroute show table all\\nrule show\\n' | ip -j -d -force -batch -
echo @rules6; ip -j -6 rule show
echo @iptables; iptables-save
echo @ip6tables; ip6tables-save
if read -r _ </proc/net/ip_tables_names; then echo @iptables-legacy; iptables-legacy-save; fi
if read -r _ </proc/net/ip6_tables_names; then echo @ip6tables-legacy; ip6tables-legacy-save; fi
echo @sysctls
cd /proc/sys/net && grep -s '' ipv4/ip_forward \\
  ipv4/conf/*/forwarding ipv4/conf/*/rp_filter ipv4/conf/*/accept_ra ipv4/conf/*/route_localnet \\
  ipv6/conf/*/forwarding ipv6/conf/*/accept_ra ipv6/conf/*/disable_ipv6
echo @offload; ethtool -k '*' | grep -E '^Features for|^tx-checksumming:'
echo @end
`;

async function namespaceState(command: readonly string[]): Promise<unknown> {
  let found = await readOnce(command);
  for (let turn = 0; turn < 50 && !found.isSettled; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    found = await readOnce(command);
  }
  return found.state;
}

async function readOnce([command = '', ...args]: readonly string[]): Promise<{
  state: unknown;
  /** Whether what the kernel does of its own accord, some time later, is done. */
  isSettled: boolean;
}> {
  const gone = { state: 'cannot be entered', isSettled: true };
  let output: string;
  try {
    // The variables of this process would reach iptables (XTABLES_*) and ip; the locale would reach both.
    const env = { PATH: process.env['PATH'] ?? '', LC_ALL: 'C' };
    output = (await run(command, args, { env, maxBuffer: 64 * 1024 * 1024 })).stdout;
  } catch {
    return gone; // deleted this moment, or a file that a killed `ip netns add` left behind
  }
  const part = sections(output);
  if (!part.has('end')) return gone;
  const [devices, routes, rules] = part.get('devices') ?? [];
  const state = {
    devices: Object.fromEntries(parse(devices).map(device).toSorted(byName)),
    routes: parse(routes).filter(isStableRoute).map(route).toSorted(),
    rules: [...parse(rules), ...parse(part.get('rules6')?.[0])].map((rule) => JSON.stringify(rule)),
    iptables: tables(part.get('iptables')),
    ip6tables: tables(part.get('ip6tables')),
    iptablesLegacy: tables(part.get('iptables-legacy')),
    ip6tablesLegacy: tables(part.get('ip6tables-legacy')),
    offload: pairs(part.get('offload') ?? []),
    sysctls: Object.fromEntries((part.get('sysctls') ?? []).map((line) => cut(line, ':'))),
  };
  return { state, isSettled: haveLocalRoutes(parse(devices), parse(routes)) };
}

/** An IPv6 address is there at once, the route to it within the machine when a worker of the kernel comes to it. */
function haveLocalRoutes(devices: readonly Json[], routes: readonly Json[]): boolean {
  const local = new Set(routes.flatMap(({ type, dst }) => (type === 'local' ? [dst] : [])));
  return devices
    .filter((link) => ((link['flags'] ?? []) as readonly string[]).includes('UP'))
    .flatMap((link) => (link['addr_info'] ?? []) as readonly Json[])
    .filter((address) => address['family'] === 'inet6' && address['nodad'] === true)
    .every((address) => local.has(address['local']));
}

/** Whether each device leaves checksums to others, from two lines each. */
function pairs(lines: readonly string[]): Record<string, string> {
  const names = lines.flatMap((line) => /^Features for (.+):$/.exec(line)?.[1] ?? []);
  const values = lines.filter((line) => line.startsWith('tx-'));
  return Object.fromEntries(names.map((name, at) => [name, values[at] ?? ''] as const).toSorted(byName));
}

function sections(output: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let current: string[] = [];
  for (const line of output.split('\n')) {
    if (line.startsWith('@')) found.set(line.slice(1), (current = []));
    else if (line !== '') current.push(line);
  }
  return found;
}

type Json = Readonly<Record<string, unknown>>;

// Somebody's interface may have a name that makes `ip` print invalid JSON; compare the text then.
function parse(line = '[]'): readonly Json[] {
  try {
    return JSON.parse(line) as Json[];
  } catch {
    return [{ ifname: 'unreadable', text: line }];
  }
}

function device(link: Json): [string, unknown] {
  const { mtu, address, master, group, ifalias, inet6_addr_gen_mode: generation, text } = link;
  const linkinfo = link['linkinfo'] as Json | undefined;
  const kind = linkinfo?.['info_kind'];
  const flags = (link['flags'] ?? []) as readonly string[];
  const addresses = ((link['addr_info'] ?? []) as readonly Json[]).filter(isStableAddress).map(addressLine);
  const bridge = kind === 'bridge' ? bridgeSettings(linkinfo?.['info_data'] as Json) : undefined;
  const up = flags.includes('UP');
  const port = linkinfo?.['info_slave_data'] as Json | undefined;
  const options = [link['txqlen'], link['qdisc'] === 'tbf', port?.['isolated'], port?.['hairpin']];
  return [
    String(link['ifname']),
    { kind, mac: address, mtu, up, master, group, ifalias, generation, text, bridge, addresses, options },
  ];
}

// By name, not by index: a device that was taken away and put back as it was is no difference.
function byName([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

function bridgeSettings(bridge: Json): Json {
  const { stp_state: stp, ageing_time: ageing, priority, vlan_filtering: vlanFiltering } = bridge;
  return { stp, ageing, priority, vlanFiltering };
}

// The kernel makes up a link-local address when a device comes up, some time later, and a route or two with it.
// Link-local addresses that somebody gave by hand (they are without duplicate address detection) do count.
function isStableAddress(address: Json): boolean {
  return address['family'] !== 'inet6' || address['scope'] !== 'link' || address['nodad'] === true;
}

function addressLine(address: Json): string {
  const { local, prefixlen, broadcast, scope, label, protocol, address: peer } = address;
  return JSON.stringify({ local, prefixlen, peer, broadcast, scope, label, protocol });
}

function isStableRoute(entry: Json): boolean {
  return !(entry['protocol'] === 'kernel' && /^(?:fe80:|ff00:)/.test(String(entry['dst'])));
}

// Left out: whether the carrier is there this moment ("linkdown", "dead"), and how long a learned route still lives.
function route(entry: Json): string {
  return JSON.stringify({ ...entry, flags: undefined, expires: undefined });
}

// A table by name with its lines, without comments, times and counters. One that holds only the built-in chains, empty
// and with policy ACCEPT, counts as absent: iptables makes it by itself, at first use, even to find that there is
// nothing to delete; it does nothing, is nobody's, and no command of iptables takes it away again.
function tables(saved: readonly string[] = []): Readonly<Record<string, readonly string[]>> {
  const found: Record<string, string[]> = {};
  let current: string[] = [];
  for (const line of saved) {
    if (line.startsWith('*')) found[line.slice(1)] = current = [];
    else if (line.startsWith(':') || line.startsWith('-')) current.push(line.replace(/ ?\[\d+:\d+\] ?/, ''));
  }
  return Object.fromEntries(Object.entries(found).filter(([, table]) => !table.every(isUntouched)));
}

function isUntouched(line: string): boolean {
  return /^:\S+ ACCEPT$/.test(line);
}

async function list(directory: string): Promise<readonly string[]> {
  const names: readonly string[] = await readdir(directory).catch(() => []);
  return names.toSorted();
}

// A namespace that is made anew under the same name is another one: its inode tells.
async function identify(name: string): Promise<string> {
  const file = await stat(join('/run/netns', name)).catch(() => undefined);
  return file === undefined ? `${name} is gone` : `${name} ${file.dev}:${file.ino}`;
}

// Each file under /run with its kind and mode. Not /run/netns, which is told elsewhere, and not the lock of legacy
// iptables, which that leaves behind by design.
async function files(directory: string): Promise<readonly string[]> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true }).catch(() => []);
  const paths = entries
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.startsWith('/run/netns/') && path !== '/run/xtables.lock');
  const described = paths.map(async (path) => {
    const file = await stat(path).catch(() => undefined);
    return file === undefined ? path : `${path} ${file.mode.toString(8)}`;
  });
  return (await Promise.all(described)).toSorted();
}

// Each file with its text. A symbolic link is told and not followed.
async function textsIn(directory: string): Promise<Readonly<Record<string, string>>> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true }).catch(() => []);
  const told = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    const text = entry.isFile() ? await readFile(path, 'utf8').catch(() => 'is gone') : '';
    return [
      `${path} ${entry.isFile() ? 'file' : entry.isDirectory() ? 'directory' : 'other'}`,
      text,
    ] as const;
  });
  return Object.fromEntries((await Promise.all(told)).toSorted(byName));
}

// A namespace whose file was unlinked without being unmounted, or that was mounted twice, shows only here.
async function mountsUnder(prefix: string): Promise<readonly string[]> {
  const mountinfo = await readFile('/proc/self/mountinfo', 'utf8');
  const points = mountinfo.split('\n').map((line) => line.split(' ')[4] ?? '');
  return points.filter((point) => point.startsWith(prefix)).toSorted();
}

function cut(line: string, separator: string): [string, string] {
  const at = line.indexOf(separator);
  return [line.slice(0, at), line.slice(at + 1)];
}

function compare(path: string, before: unknown, after: unknown): readonly string[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  if (Array.isArray(before) && Array.isArray(after)) {
    const gone = without(before, after).map((item) => `- ${path}: ${show(item)}`);
    const added = without(after, before).map((item) => `+ ${path}: ${show(item)}`);
    return gone.length + added.length > 0 ? [...gone, ...added] : [`~ ${path}: the order differs`];
  }
  if (isObject(before) && isObject(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...keys].flatMap((key) => compare(`${path} ${key}`.trim(), before[key], after[key]));
  }
  return [
    ...(before === undefined ? [] : [`- ${path}: ${show(before)}`]),
    ...(after === undefined ? [] : [`+ ${path}: ${show(after)}`]),
  ];
}

// The items of one list that the other has not as often: the same rule twice is not the same as once.
function without(items: readonly unknown[], others: readonly unknown[]): readonly unknown[] {
  const left = others.map((item) => JSON.stringify(item));
  return items.filter((item) => {
    const at = left.indexOf(JSON.stringify(item));
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
