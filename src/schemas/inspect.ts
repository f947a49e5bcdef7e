import { Type, type Static } from 'typebox';
import { formatted } from './common.ts';
import { Reconciling } from './drift.ts';
import { nullable, ref, strictObject } from './object.ts';

/** A namespace that may be looked at: `host`, or any name that is bound in /run/netns, whoever bound it. */
export const ReadableNamespaceName = Type.String({
  pattern: '^[^/\\x00-\\x1f]{1,255}$',
  description: '`host`, or the name of a namespace in /run/netns: one of netnsd’s or anybody else’s',
});

const RouteFamily = Type.Enum(['inet', 'inet6'], { description: 'as ip-route(8) names it' });

const Nexthop = strictObject({
  via: nullable(Type.String()),
  dev: Type.String(),
  weight: Type.Integer({ description: 'its share, beside those of the others' }),
});

export const RouteEntry = strictObject(
  {
    to: Type.String({ description: '`default`, or a network or address with its prefix length' }),
    via: nullable(Type.String({ description: 'the gateway; null for what is on the link itself' })),
    dev: nullable(Type.String({ description: 'the interface; null for what leaves by none, or by several' })),
    metric: nullable(Type.Integer()),
    src: nullable(Type.String({ description: 'the source address that is preferred' })),
    table: Type.Integer({ description: '254 is main, 255 local, whatever the machine calls them' }),
    protocol: Type.String({ description: 'who put it there: kernel, boot, static, dhcp, …; 115 is netnsd' }),
    scope: Type.String({ description: 'global, link, host or a number' }),
    type: Type.String({ description: 'unicast, local, broadcast, multicast, blackhole, unreachable, …' }),
    family: RouteFamily,
    nexthops: Type.Array(Nexthop, { description: 'for a route by several gateways, these; else empty' }),
  },
  { $id: 'RouteEntry', description: 'an entry of a routing table' },
);
export type RouteEntry = Static<typeof RouteEntry>;

export const Neighbor = strictObject(
  {
    address: Type.String(),
    interface: Type.String(),
    mac: nullable(Type.String({ description: 'null while it is not known' })),
    state: Type.String({
      description:
        'as ip-neighbour(8) names it: reachable, stale, delay, probe, incomplete, failed, permanent',
    }),
    router: Type.Boolean({ description: 'whether it said that it is a router (RFC 4861)' }),
  },
  { $id: 'Neighbor', description: 'what the kernel knows of an address on a link: its ARP or NDP entry' },
);
export type Neighbor = Static<typeof Neighbor>;

const SocketEnd = strictObject({
  address: Type.String({ description: '`*` is every address of both families' }),
  port: nullable(Type.Integer({ description: 'null for any; of a raw socket, the number of its protocol' })),
});

export const Socket = strictObject(
  {
    namespace: Type.String(),
    namespaceInode: Type.Integer({ description: 'as `ls -i /run/netns` and /proc/PID/ns/net show it' }),
    protocol: Type.String({ description: 'tcp, udp, raw, sctp, dccp or mptcp' }),
    family: Type.Enum(['inet', 'inet6']),
    state: Type.String({
      description: 'as ss(8) prints it, in lower case: listen, estab, unconn, time-wait, …',
    }),
    local: SocketEnd,
    peer: SocketEnd,
    interface: nullable(Type.String({ description: 'the only interface that it uses' })),
    inode: nullable(
      Type.Integer({ description: 'null if no process has it open, or the kernel does not tell' }),
    ),
    uid: nullable(Type.Integer({ description: 'the user who made it; null where the inode is' })),
    processes: Type.Array(strictObject({ pid: Type.Integer(), name: Type.String() }), {
      description: 'those that have it open; process ids are those that the daemon sees',
    }),
  },
  { $id: 'Socket', description: 'an Internet socket' },
);
export type Socket = Static<typeof Socket>;

export const NamespaceProcess = strictObject(
  {
    pid: Type.Integer({ description: 'as the daemon sees it' }),
    name: Type.String({ description: 'as /proc/PID/comm has it: at most 15 bytes' }),
    command: Type.Array(Type.String(), { description: 'the arguments; empty for a thread of the kernel' }),
    uid: Type.Integer({ description: 'the effective user' }),
    startedAt: Type.String({ format: 'date-time' }),
  },
  { $id: 'NamespaceProcess', description: 'a process whose network namespace this is' },
);
export type NamespaceProcess = Static<typeof NamespaceProcess>;

export const DEFAULT_PING_COUNT = 3;
export const DEFAULT_PING_TIMEOUT_MS = 1000;

export const PingRequest = strictObject(
  {
    to: formatted('ip-address', 'an IPv4 or IPv6 address, never a name'),
    count: Type.Optional(Type.Integer({ minimum: 1, maximum: 20, default: DEFAULT_PING_COUNT })),
    timeoutMs: Type.Optional(
      Type.Integer({
        minimum: 10,
        maximum: 10_000,
        default: DEFAULT_PING_TIMEOUT_MS,
        description: 'how long to wait for an answer, in milliseconds',
      }),
    ),
  },
  { $id: 'PingRequest' },
);
export type PingRequest = Static<typeof PingRequest>;

const milliseconds = Type.Number({ minimum: 0, description: 'in milliseconds' });

export const PingAnswer = strictObject(
  {
    transmitted: Type.Integer({
      description: 'without a route all that were asked for count, and none is sent',
    }),
    received: Type.Integer(),
    lossPercent: Type.Number({ minimum: 0, maximum: 100 }),
    rtt: nullable(
      strictObject(
        { min: milliseconds, avg: milliseconds, max: milliseconds, mdev: milliseconds },
        { description: 'the round trip; null if nothing came back' },
      ),
    ),
  },
  { $id: 'PingAnswer', description: 'what came of a ping; an unanswered one is no error' },
);
export type PingAnswer = Static<typeof PingAnswer>;

const Tool = strictObject(
  {
    version: Type.String(),
    variant: nullable(
      Type.Enum(['nf_tables', 'legacy'], { description: 'of iptables: which of its two backends' }),
    ),
  },
  { $id: 'Tool', description: 'a program that netnsd runs' },
);
export type Tool = Static<typeof Tool>;

const tool = nullable(ref(Tool));
const Tools = strictObject(
  {
    ip: tool,
    iptables: tool,
    ip6tables: tool,
    nsenter: tool,
    conntrack: tool,
    ping: tool,
    ss: tool,
    tc: tool,
    ethtool: tool,
  },
  { description: 'null for what is not installed' },
);
export type Tools = Static<typeof Tools>;

const feature = nullable(Type.Boolean());
const Features = strictObject(
  {
    bridge: feature,
    veth: feature,
    vxlan: feature,
    macvlan: feature,
    tun: feature,
    ipv6: feature,
    nftables: feature,
    iptablesLegacy: feature,
    bridgeNetfilter: feature,
    conntrack: feature,
    policing: feature,
  },
  { description: 'what the kernel has, or loads as a module when it is needed; null if that can’t be told' },
);
export type Features = Static<typeof Features>;

const amount = Type.Integer({ minimum: 0 });
const Limits = strictObject({
  netNamespaces: nullable(Type.Integer({ minimum: 0, description: 'user.max_net_namespaces' })),
  portsPerBridge: Type.Integer({
    minimum: 0,
    description: 'the kernel takes 1,023; netnsd stops before that',
  }),
  conntrackEntries: nullable(Type.Integer({ minimum: 0, description: 'net.netfilter.nf_conntrack_max' })),
});
const Use = strictObject({
  boundNamespaces: Type.Integer({ minimum: 0, description: 'names in /run/netns, those of others too' }),
  conntrackEntries: nullable(amount),
  recorded: strictObject(
    { namespaces: amount, links: amount, bridges: amount, nat: amount },
    { description: 'resources of netnsd' },
  ),
});

export const System = strictObject(
  {
    version: Type.String({ description: 'of netnsd' }),
    kernel: strictObject({ release: Type.String(), architecture: Type.String() }),
    tools: Tools,
    features: Features,
    limits: Limits,
    use: Use,
    reconcile: ref(Reconciling),
    warnings: Type.Array(Type.String(), {
      description: 'what stands in the way, or may, and what to do about it',
    }),
  },
  { $id: 'System', description: 'the machine and the daemon' },
);
export type System = Static<typeof System>;

export const Health = strictObject(
  {
    status: Type.Enum(['ok', 'unavailable']),
    reason: nullable(Type.String({ description: 'why not, and what to do' })),
  },
  { $id: 'Health', description: 'whether netnsd can work' },
);
export type Health = Static<typeof Health>;

/** Every schema of this file that others refer to by its `$id`. */
export const inspectSchemas = [
  RouteEntry,
  Neighbor,
  Socket,
  NamespaceProcess,
  PingRequest,
  PingAnswer,
  Tool,
  System,
  Health,
];
