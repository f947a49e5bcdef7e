import type { Family } from '../schemas/address.ts';
import type { Route } from '../schemas/interface.ts';

/**
 * Where something happened: the id that the daemon's namespace has for another namespace (ip-netns(8)), or null for
 * the daemon's own.
 */
export type Nsid = number | null;

/** A device has come, has changed, or has gone; all of it is told each time. */
export interface LinkEvent {
  type: 'link';
  nsid: Nsid;
  index: number;
  name: string;
  deleted: boolean;
  up: boolean;
  mtu: number;
  mac: string | null;
  /**
   * Whether it is a port of something. Of what can't be told by the name that is printed: `ip` remembers names by
   * index for all namespaces together.
   */
  isPort: boolean;
  /** The MAC address of the bridge that a port belongs to; null while the port is not in use, or for no port. */
  bridgeMac: string | null;
  group: string;
  stp: boolean | null;
  ageingSeconds: number | null;
}

export interface AddressEvent {
  type: 'address';
  nsid: Nsid;
  /** Of the device. Its name is not to be had: `ip` prints that of the daemon's own device with the same index. */
  index: number;
  deleted: boolean;
  /** With its prefix length. */
  address: string;
}

export interface RouteEvent {
  type: 'route';
  nsid: Nsid;
  deleted: boolean;
  family: Family;
  protocol: string;
  route: Route;
}

/** Some of the sysctls of an interface, or of `all` or `default`. */
export interface NetconfEvent {
  type: 'netconf';
  nsid: Nsid;
  family: Family;
  /** `all`, `default`, or a device: in another namespace, by a name that need not be its own. */
  what: string;
  /** By the last part of the sysctl's name; values as the sysctl has them. */
  fields: Record<string, string>;
}

/** The daemon's namespace has given another an id, or has taken it back. */
export interface NsidEvent {
  type: 'nsid';
  nsid: number;
  deleted: boolean;
  /** A name of that namespace in /run/netns, if it had one. */
  name: string | null;
}

export type KernelEvent = LinkEvent | AddressEvent | RouteEvent | NetconfEvent | NsidEvent;

/** What `ip monitor` is to be asked for: one line each, numbers rather than names, with details. */
export const MONITOR_ARGUMENTS = ['-N', '-o', '-d'] as const;
export const MONITORED = ['monitor', 'link', 'address', 'route', 'netconf', 'nsid', 'all-nsid'] as const;

/** Reads one line of `ip -N -o -d monitor … all-nsid`; null for what is none of the events, or can't be read. */
export function parseMonitorLine(line: string): KernelEvent | null {
  const [prefix = '', where = ''] = /^\[nsid (current|\d+)\]/.exec(line) ?? [];
  if (prefix === '') return null;
  const nsid = where === 'current' ? null : Number(where);
  const deleted = line.startsWith(DELETED, prefix.length);
  const text = line.slice(prefix.length + (deleted ? DELETED.length : 0));
  return (
    parseLink(nsid, deleted, text) ??
    parseAddress(nsid, deleted, text) ??
    parseNetconf(nsid, deleted, text) ??
    parseNsid(nsid, deleted, text) ??
    parseRoute(nsid, deleted, text)
  );
}

const DELETED = 'Deleted ';

/**
 * No name has a colon or white space in it (dev_valid_name). What a device is linked to follows an `@`, which others
 * may also have in a name: then the name that is read is too short, and looking tells. An alias may have anything in
 * it, line ends too; it comes after what is read here.
 */
const LINK = /^(\d+): ([^\s:]+): <([A-Z_,0-9-]*)> mtu (\d+) ([^\\]*)\\ {4}link\/\S+(?: ([0-9a-f:]+))?/;

function parseLink(nsid: Nsid, deleted: boolean, text: string): LinkEvent | null {
  const [line, index, shown = '', flags = '', mtu, words = '', mac = null] = LINK.exec(text) ?? [];
  const group = /(?:^| )group (\S+)/.exec(words)?.[1];
  // Without a group it is the bridge that tells of one of its ports (AF_BRIDGE): that one left is no deletion.
  if (line === undefined || group === undefined) return null;
  const details = text.slice(line.length);
  const ageing = /^[^\\]*\\ {4}bridge [^\\]*?\bageing_time (\d+) stp_state (\d+)/.exec(details);
  return {
    type: 'link',
    nsid,
    index: Number(index),
    name: nameOf(shown),
    deleted,
    up: flags.split(',').includes('UP'),
    mtu: Number(mtu),
    mac,
    isPort: /(?:^| )master \S/.test(words),
    bridgeMac: bridgeMacIn(details),
    group,
    stp: ageing === null ? null : ageing[2] !== '0',
    ageingSeconds: ageing === null ? null : Number(ageing[1]) / 100,
  };
}

/** The designated bridge of a port (IEEE 802.1D), which without STP is the bridge that it is a port of. */
function bridgeMacIn(details: string): string | null {
  const [, id = ''] = /\\ {4}bridge_slave [^\\]*?designated_bridge [0-9a-f]{4}\.(\S+)/.exec(details) ?? [];
  const mac = id
    .split(':')
    .map((octet) => octet.padStart(2, '0'))
    .join(':');
  return id === '' || /^[0:]*$/.test(mac) ? null : mac;
}

function nameOf(shown: string): string {
  const at = shown.indexOf('@', 1);
  return at === -1 ? shown : shown.slice(0, at);
}

function parseAddress(nsid: Nsid, deleted: boolean, text: string): AddressEvent | null {
  const [, index, address] = /^(\d+): \S+ +inet6? ([0-9a-f.:]+\/\d+) /.exec(text) ?? [];
  if (index === undefined || address === undefined) return null;
  return { type: 'address', nsid, index: Number(index), deleted, address };
}

const SYSCTLS: Record<Family, Record<string, string>> = {
  4: {
    forwarding: 'forwarding',
    rp_filter: 'rp_filter',
    proxy_neigh: 'proxy_arp',
    ignore_routes_with_linkdown: 'ignore_routes_with_linkdown',
  },
  6: {
    forwarding: 'forwarding',
    proxy_neigh: 'proxy_ndp',
    ignore_routes_with_linkdown: 'ignore_routes_with_linkdown',
  },
};

const SYSCTL_VALUES: Record<string, string> = { off: '0', on: '1', strict: '1', loose: '2' };

function parseNetconf(nsid: Nsid, deleted: boolean, text: string): NetconfEvent | null {
  const [, version, what, words = ''] = /^inet(6?) (\S+) (.*)$/.exec(text) ?? [];
  // Deleted with the device; that is told by itself.
  if (what === undefined || deleted) return null;
  const family = version === '6' ? 6 : 4;
  const fields: Record<string, string> = {};
  for (const [, word = '', shown = ''] of words.matchAll(/([a-z_]+) ([a-z]+)/g)) {
    const name = SYSCTLS[family][word];
    const value = SYSCTL_VALUES[shown];
    if (name !== undefined && value !== undefined) fields[name] = value;
  }
  return { type: 'netconf', nsid, family, what, fields };
}

function parseNsid(nsid: Nsid, deleted: boolean, text: string): NsidEvent | null {
  const [, id, name = null] = /^nsid (\d+) ?(?:\(iproute2 netns name: (.*)\))?$/.exec(text) ?? [];
  // Which ids other namespaces have for one another is nothing to us.
  if (id === undefined || nsid !== null) return null;
  return { type: 'nsid', nsid: Number(id), deleted, name };
}

const UNICAST = '1';

function parseRoute(nsid: Nsid, deleted: boolean, text: string): RouteEvent | null {
  const [, type, to = '', words = ''] = /^(\d+) (default|[0-9a-f.:]+(?:\/\d+)?) (.*)$/.exec(text) ?? [];
  if (type !== UNICAST) return null;
  const value = (word: string): string | null =>
    new RegExp(`(?:^| )${word} (?:inet6 )?(\\S+)`).exec(words)?.[1] ?? null;
  const via = value('via');
  const src = value('src');
  const metric = value('metric');
  const table = value('table');
  const protocol = value('proto');
  if (protocol === null) return null;
  // IPv6 routes have a preference (RFC 4191), and `ip` always prints it.
  const isIpv6 = to.includes(':') || / pref (low|medium|high|\d+)/.test(words);
  const family = isIpv6 ? 6 : 4;
  const route: Route = {
    to: to === 'default' || to.includes('/') ? to : `${to}/${isIpv6 ? 128 : 32}`,
    via,
    metric: metric === null ? null : Number(metric),
    src,
    table: table === null ? 254 : Number(table),
  };
  return { type: 'route', nsid, deleted, family, protocol, route };
}
