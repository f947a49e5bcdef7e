import { accessSync, constants, existsSync } from 'node:fs';
import { readFile, readlink } from 'node:fs/promises';
import { machine, release } from 'node:os';
import type { Features, System, Tool, Tools } from '../schemas/inspect.ts';
import { readFeatures } from './features.ts';
import { NETNS_DIRECTORY } from './marks.ts';
import { boundNames } from './namespace.ts';
import type { Processes } from './processes.ts';

/** What the machine tells of itself: all of `/system` that needs no store. */
type Machine = Omit<System, 'version' | 'use' | 'reconcile'> & {
  use: Omit<System['use'], 'recorded'>;
};

/** Reads what the machine is and has. */
export class SystemReader {
  readonly #processes: Processes;
  readonly #tools = new Map<ToolName, Promise<Tool | null>>();
  #features: Promise<Features> | null = null;

  constructor(processes: Processes) {
    this.#processes = processes;
  }

  /** @param portsPerBridge the limit that netnsd keeps to */
  async read(portsPerBridge: number): Promise<Machine> {
    const tools = await this.#readTools();
    this.#features ??= readFeatures();
    const [netNamespaces, conntrackEntries, conntrackUsed] = await Promise.all([
      readNumber('/proc/sys/user/max_net_namespaces'),
      readNumber('/proc/sys/net/netfilter/nf_conntrack_max'),
      readNumber('/proc/sys/net/netfilter/nf_conntrack_count'),
    ]);
    return {
      kernel: { release: release(), architecture: machine() },
      tools,
      features: await this.#features,
      limits: { netNamespaces, portsPerBridge, conntrackEntries },
      use: { boundNamespaces: (await boundNames()).length, conntrackEntries: conntrackUsed },
      warnings: [...(await this.obstacles()), ...(await warningsOf(tools))],
    };
  }

  /** Why netnsd can't work on this machine, each with what to do; none if it can. */
  async obstacles(): Promise<string[]> {
    const tools = await this.#readTools();
    return [
      ...missingTools(tools, NEEDED_TOOLS, 'netnsd can’t work without it'),
      ...(await missingCapabilities()),
      ...unusableDirectory(),
    ];
  }

  async #readTools(): Promise<Tools> {
    const found = await Promise.all(toolNames.map(async (name) => [name, await this.#tool(name)] as const));
    return { ...noTools, ...Object.fromEntries(found) };
  }

  /** A tool that was found is asked for its version once; one that was not is looked for again. */
  async #tool(name: ToolName): Promise<Tool | null> {
    const asked = this.#tools.get(name) ?? probe(this.#processes, name);
    this.#tools.set(name, asked);
    const tool = await asked;
    if (tool === null) this.#tools.delete(name);
    return tool;
  }
}

type ToolName = keyof Tools;

const noTools: Tools = {
  ip: null,
  iptables: null,
  ip6tables: null,
  nsenter: null,
  conntrack: null,
  ping: null,
  ss: null,
  tc: null,
  ethtool: null,
};
const toolNames = Object.keys(noTools).filter((name): name is ToolName => name in noTools);

const NEEDED_TOOLS = ['ip', 'iptables', 'ip6tables', 'nsenter'] as const;

/** Where each tool comes from in Debian. */
const packageOf: Record<ToolName, string> = {
  ip: 'iproute2',
  iptables: 'iptables',
  ip6tables: 'iptables',
  nsenter: 'util-linux',
  conntrack: 'conntrack',
  ping: 'iputils-ping',
  ss: 'iproute2',
  tc: 'iproute2',
  ethtool: 'ethtool',
};

/** All of them print a line with their version. */
async function probe(processes: Processes, name: ToolName): Promise<Tool | null> {
  const { stdout, exitCode } = await processes.run(name, [name === 'ethtool' ? '--version' : '-V']);
  if (exitCode !== 0) return null;
  const [firstLine = ''] = stdout.split('\n');
  const variant = /\((nf_tables|legacy)\)/.exec(firstLine)?.[1];
  return {
    // The first word is the name of the tool, and may have a digit.
    version: /\bv?(\d[\w.]*)/.exec(firstLine.replace(/^\S+/, ''))?.[1] ?? firstLine.trim(),
    variant: variant === 'nf_tables' || variant === 'legacy' ? variant : null,
  };
}

function missingTools(tools: Tools, names: readonly ToolName[], why: string): string[] {
  return names
    .filter((name) => tools[name] === null)
    .map(
      (name) =>
        `${name} is not installed, and ${why}: install it (Debian: apt-get install ${packageOf[name]})`,
    );
}

async function warningsOf(tools: Tools): Promise<string[]> {
  return [
    ...missingTools(tools, ['conntrack'], 'flows of a published UDP port go on after it is removed'),
    ...missingTools(tools, ['ping'], 'pings are refused'),
    ...missingTools(tools, ['ss'], 'sockets can’t be listed'),
    ...missingTools(tools, ['tc'], 'the `rate` of a link is refused'),
    ...missingTools(tools, ['ethtool'], 'the `offload` of a link is refused'),
    ...(await mixedFirewalls(tools)),
    ...(await hiddenNames()),
  ];
}

/** Tables of iptables-legacy show here; those of nftables never do. */
async function mixedFirewalls({ iptables }: Tools): Promise<string[]> {
  if (iptables?.variant !== 'nf_tables') return [];
  const texts = await Promise.all(
    ['ip', 'ip6'].map(async (family) => readOr(`/proc/net/${family}_tables_names`, '')),
  );
  const names = [...new Set(texts.flatMap((text) => text.split('\n')))].filter((name) => name !== '');
  if (names.length === 0) return [];
  return [
    `tables of iptables-legacy are loaded (${names.toSorted().join(', ')}) beside those of nf_tables, which netnsd uses: neither ` +
      'sees the rules of the other, and a packet has to pass both. See what iptables-legacy-save prints, and have one program use only one of them',
  ];
}

/** Their numbers in linux/capability.h, and what each is for. */
const CAPABILITIES = [
  { name: 'CAP_NET_ADMIN', bit: 12n },
  { name: 'CAP_SYS_ADMIN', bit: 21n },
] as const;

async function missingCapabilities(): Promise<string[]> {
  const effective = /^CapEff:\s+([0-9a-f]+)/m.exec(await readOr('/proc/self/status', ''))?.[1];
  if (effective === undefined) return ['/proc/self/status can’t be read: mount /proc'];
  const set = BigInt(`0x${effective}`);
  return CAPABILITIES.filter(({ bit }) => ((set >> bit) & 1n) === 0n).map(
    ({ name }) =>
      `netnsd lacks ${name}: run it as root, in a container with --cap-add ${name.replace('CAP_', '')}`,
  );
}

/** `ip netns add` makes the directory; it needs one that it can write to, or where it can make it. */
function unusableDirectory(): string[] {
  const directory = existsSync(NETNS_DIRECTORY) ? NETNS_DIRECTORY : '/run';
  try {
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    return [];
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return [
      `${directory} can’t be used (${why}): namespaces get their names in ${NETNS_DIRECTORY}, so it must be writable`,
    ];
  }
}

/**
 * A name is a mount (ip-netns(8)). If mounts made here do not reach the mount namespace of the rest of the machine,
 * others see an empty file where netnsd has a namespace.
 */
async function hiddenNames(): Promise<string[]> {
  const own = mountOfNames(await readOr('/proc/self/mountinfo', ''));
  const [mine, first] = await Promise.all(
    ['self', '1'].map(async (pid) => readlink(`/proc/${pid}/ns/mnt`).catch(() => null)),
  );
  // What process 1 has may be hidden from us; then there is nothing to compare with.
  const isElsewhere = first !== null && mine !== first;
  const isReached = isElsewhere
    ? own.peerGroup !== null &&
      own.peerGroup === mountOfNames(await readOr('/proc/1/mountinfo', '')).peerGroup
    : // `ip netns add` shares what is no mount yet.
      own.peerGroup !== null || own.point !== NETNS_DIRECTORY;
  if (isReached && !own.isSlave) return [];
  return [
    `names made in ${NETNS_DIRECTORY} stay in the mount namespace of netnsd, and the rest of the machine does not see them: ` +
      'bind the directory into a container with rshared, and set neither PrivateMounts= nor what implies it in a unit',
  ];
}

/** The mount that /run/netns is in, and how it propagates (mount_namespaces(7)). */
function mountOfNames(mountinfo: string): { point: string; peerGroup: string | null; isSlave: boolean } {
  const mounts = mountinfo.split('\n').map((line) => line.split(' '));
  const covering = mounts.filter(
    ([, , , , point = '-']) => point === '/' || `${NETNS_DIRECTORY}/`.startsWith(`${point}/`),
  );
  // The longest is the nearest; of several at one place the last is on top.
  const nearest = covering.toSorted((a, b) => (a[4] ?? '').length - (b[4] ?? '').length).at(-1) ?? [];
  return {
    point: nearest[4] ?? '/',
    peerGroup: nearest.find((field) => field.startsWith('shared:')) ?? null,
    isSlave: nearest.some((field) => field.startsWith('master:')),
  };
}

async function readNumber(path: string): Promise<number | null> {
  const text = await readOr(path, '');
  return /^\d+\s*$/.test(text) ? Number(text) : null;
}

/** What is in a file, or something else if it can't be read: it is not there on every machine. */
async function readOr<T>(path: string, otherwise: T): Promise<string | T> {
  return readFile(path, 'utf8').catch(() => otherwise);
}
