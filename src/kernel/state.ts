import type { Family } from '../schemas/address.ts';
import type { ForeignMarks } from '../schemas/adoption.ts';
import type { DeviceOptions } from '../schemas/end.ts';
import type { Ref } from '../schemas/common.ts';
import type { Route } from '../schemas/interface.ts';
import type { MacvlanMode } from '../schemas/link-types.ts';

/**
 * What the kernel has, or is to have, of the things that netnsd makes: the currency of `plan`. A state need
 * not be of the whole machine; two states that are compared are of the same part of it.
 */
export interface KernelState {
  /** By name. The daemon's own namespace is always there and never listed. */
  namespaces: Map<string, NamespaceState>;
  /** By `Device.key`. */
  devices: Map<string, Device>;
  /** By `NAMESPACE KEY`. */
  sysctls: Map<string, Sysctl>;
  /** By `NAMESPACE FAMILY`. */
  firewalls: Map<string, Firewall>;
}

export function emptyState(): KernelState {
  return { namespaces: new Map(), devices: new Map(), sysctls: new Map(), firewalls: new Map() };
}

export interface NamespaceState {
  serves: Ref;
  name: string;
  /**
   * Made by netnsd, or bound to the namespace that a process is in: then which one, by inode. `broken`: the file
   * that `ip netns add` leaves when it is ended half-way (mode 000, no namespace bound to it).
   */
  origin: { type: 'made' } | { type: 'adopted'; pid: number; inode: number } | { type: 'broken' };
  /** Whether `lo` is up; null where that is not netnsd's to say, in a namespace that it has not made. */
  loopbackUp: boolean | null;
}

export interface DeviceRef {
  namespace: string;
  /** As the kernel names it. */
  name: string;
}

export interface Device extends DeviceRef {
  /** Says which device of which resource it is, wherever it is and however it is named. */
  key: string;
  serves: Ref;
  /** Empty where it is that of another device, and not to be changed. */
  mac: string;
  mtu: number;
  up: boolean;
  /** The interface name of the bridge that it is a port of. */
  master: string | null;
  addresses: string[];
  /** None while `up` is false: the kernel has no route by an interface that is down. */
  routes: Route[];
  kind: { type: 'bridge'; stp: boolean; ageingSeconds: number } | { type: 'veth'; peer: string } | SingleKind;
  /** Of an end of a link: what was asked for beyond the above. The rest is not netnsd's to say. */
  options?: DeviceOptions;
  /** Only while the device is being adopted: then nothing but its marks is ever changed. */
  foreign?: ForeignMarks;
  /** Only where somebody has taken netnsd's mark away: what the device is known by until it bears that again. */
  unmarked?: { /** The kernel's interface index. */ index: number };
}

/** A device that is no end of a pair; `type` is the kernel's word. */
export type SingleKind =
  | { type: 'macvlan'; mode: MacvlanMode; parent: DeviceRef }
  | ({ type: 'vxlan' } & VxlanOptions)
  | ({ type: 'tun' } & TapOptions);

export interface VxlanOptions {
  id: number;
  remote: string | null;
  group: string | null;
  port: number;
  /** The interface name of what it goes by. */
  by: string | null;
}

export interface TapOptions {
  owner: number | null;
  group: number | null;
  /** The name that it has while it is being made. */
  maker: string;
}

export interface Sysctl {
  serves: Ref;
  namespace: string;
  /** As sysctl(8) names it. */
  key: string;
  value: string;
  /** What stood there before netnsd first wrote it, and stands there again when netnsd lets go of it. */
  before: string | null;
  /** Of an interface that is netnsd's: which one, by `Device.key`, and the name by which `key` speaks of it. */
  owner?: { device: string; name: string };
  /** Where it was observed, and is of an interface: whether that is not there. */
  isAbsent?: boolean;
}

export interface Firewall {
  namespace: string;
  family: Family;
  /** The chains of ours, by `TABLE NAME`. */
  chains: Map<string, Chain>;
  /** The rules of ours, by `ruleKey`: those in our chains and the jumps to them from the built-in ones. */
  rules: Map<string, Rule>;
}

export interface Chain {
  table: Table;
  name: string;
  /** Rules that stand in the chain from its start, in this order; of all others the order never matters. */
  fixed: string[];
  /** How many rules stand in it that are nobody's whom it is meant for, or are there twice. */
  strays: number;
}

/** In the order in which they are changed: what forbids stands before what accepts and translates. */
export const tables = ['raw', 'mangle', 'filter', 'nat'] as const;
export type Table = (typeof tables)[number];

export interface Rule {
  serves: Ref;
  table: Table;
  chain: string;
  /** What follows `-A CHAIN`, with its comment, as iptables-save prints it. */
  spec: string;
  /** `netnsd:KIND/NAME:HASH`: two rules of one place are equal exactly if their comments are. */
  comment: string;
  /** The place in its chain in which it was found, from 1. */
  number?: number;
}

export function ruleKey(rule: Pick<Rule, 'table' | 'chain' | 'comment'>): string {
  return `${rule.table} ${rule.chain} ${rule.comment}`;
}

export function firewallKey(namespace: string, family: Family): string {
  return `${namespace} ${family}`;
}
