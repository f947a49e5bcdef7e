import type { Statistics } from '../schemas/common.ts';
import type { Interface, ObservedInterface, Route } from '../schemas/interface.ts';
import type { ObservedOptions } from '../schemas/end.ts';
import type { JsonObject } from '../schemas/json-object.ts';
import { linkTypeName } from './iproute-names.ts';
import { asObject, numberOrNull, text } from './json-fields.ts';
import { DEVICE_GROUP, ROUTE_PROTOCOL } from './marks.ts';

/** One interface as `ip -N -j -d -s addr show` prints it. */
export interface KernelInterface extends Interface {
  /** Whether it bears the mark of what netnsd makes. */
  ours: boolean;
  group: string;
  /** What is at the other side of its point-to-point addresses. */
  farNetworks: string[];
  /** Of one end of a veth pair: the name of the other, if that is in the same namespace. */
  peerName: string | null;
  /** Otherwise its index, and the id of its namespace as seen from this one's. */
  peerIndex: number | null;
  peerNamespaceId: number | null;
  bridgeId: string | null;
  stp: boolean;
  ageingSeconds: number | null;
  /** What only the end of a link has. */
  options: ObservedOptions;
  /** What its kind has of its own (`info_data`). */
  kindData: Record<string, unknown>;
}

/** Of a device that nobody has put into any other. */
const DEFAULT_GROUP = '0';

/** What there is of an interface that is not there. */
const absentInterface: ObservedInterface = {
  index: null,
  mac: null,
  mtu: null,
  up: false,
  operstate: null,
  addresses: [],
  statistics: null,
};

/** Reads the objects of one `addr show`; leaves out what is no interface (`ip` prints `{}` for what a filter hid). */
export function parseInterfaces(answer: readonly unknown[]): KernelInterface[] {
  return answer.flatMap((entry) => {
    const object = asObject(entry);
    return object !== null && typeof object['ifname'] === 'string' ? [parseInterface(object)] : [];
  });
}

/**
 * The interface of ours of that very name in the answer to `addr show dev NAME`: an alternative name is answered as
 * well, the device behind it may be anybody's, and so may one that has taken the name since.
 */
export function ownInterface(name: string, answer: readonly unknown[]): KernelInterface | undefined {
  return parseInterfaces(answer).find((entry) => entry.name === name && entry.ours);
}

/** The part of an interface that the status of a resource shows. */
export function observedInterface(entry: KernelInterface | undefined): ObservedInterface {
  if (entry === undefined) return { ...absentInterface, addresses: [] };
  const { index, mac, mtu, up, operstate, addresses, statistics } = entry;
  return { index, mac, mtu, up, operstate, addresses, statistics };
}

/** The public form of an interface. */
export function publicInterface(entry: KernelInterface): Interface {
  const { index, name, type, mac, mtu, up, operstate, addresses, bridge, statistics } = entry;
  return { index, name, type, mac, mtu, up, operstate, addresses, bridge, statistics };
}

function parseInterface(object: JsonObject): KernelInterface {
  const linkInfo = asObject(object['linkinfo']) ?? {};
  const bridge = text(linkInfo['info_kind']) === 'bridge' ? (asObject(linkInfo['info_data']) ?? {}) : {};
  const stats = asObject(object['stats64']) ?? {};
  const ageing = bridge['ageing_time'];
  return {
    index: number(object['ifindex']),
    name: text(object['ifname']) ?? '',
    type: text(linkInfo['info_kind']) ?? linkTypeName(text(object['link_type']) ?? 'unknown'),
    mac: text(object['address']),
    mtu: number(object['mtu']),
    up: Array.isArray(object['flags']) && object['flags'].includes('UP'),
    operstate: (text(object['operstate']) ?? 'UNKNOWN').toLowerCase(),
    addresses: addressesOf(object['addr_info']),
    bridge: text(object['master']),
    statistics: statisticsOf(asObject(stats['rx']) ?? {}, asObject(stats['tx']) ?? {}),
    ours: object['group'] === DEVICE_GROUP,
    group: text(object['group']) ?? DEFAULT_GROUP,
    farNetworks: farNetworksOf(object['addr_info']),
    peerName: text(object['link']),
    peerIndex: numberOrNull(object['link_index']),
    peerNamespaceId: numberOrNull(object['link_netnsid']),
    bridgeId: bridgeIdText(text(bridge['bridge_id'])),
    stp: number(bridge['stp_state']) !== 0,
    ageingSeconds: typeof ageing === 'number' ? ageing / 100 : null,
    options: optionsOf(object, linkInfo),
    kindData: asObject(linkInfo['info_data']) ?? {},
  };
}

function optionsOf(object: JsonObject, linkInfo: JsonObject): ObservedOptions {
  const port = asObject(linkInfo['info_slave_data']) ?? {};
  return {
    // `ip` does not print a queue without length.
    txQueueLength: number(object['txqlen']),
    isolatedPort: port['isolated'] === true,
    hairpin: port['hairpin'] === true,
    // In no answer of `ip`.
    sysctls: {},
    egressKbit: null,
    policing: null,
    checksum: null,
  };
}

/** Asks for the routes of netnsd's own protocol that leave by one device: of all tables and both families. */
export function showOwnRoutes(device: string): string {
  return `${SHOW_OWN_ROUTES} dev ${device}`;
}

/** Asks for all routes of netnsd's own protocol in a namespace. */
export const SHOW_OWN_ROUTES = `route show table all proto ${ROUTE_PROTOCOL}`;

/** What the kernel answered to `showOwnRoutes`. */
export function parseOwnRoutes(answer: readonly unknown[]): Route[] {
  return answer.flatMap((entry) => {
    const object = asObject(entry);
    return object === null || object['flags'] === undefined ? [] : [parseRoute(object)];
  });
}

/** A route as `ip -N -j -d route show` prints it. */
export function parseRoute(object: JsonObject): Route {
  const metric = object['metric'];
  return {
    to: destination(text(object['dst']) ?? 'default'),
    via: text(object['gateway']),
    metric: typeof metric === 'number' ? metric : null,
    src: text(object['prefsrc']),
    table: tableOf(object['table']),
  };
}

/** `ip` leaves out the length of a route to a single host. */
function destination(dst: string): string {
  if (dst === 'default' || dst.includes('/')) return dst;
  return `${dst}/${dst.includes(':') ? 128 : 32}`;
}

/** The number of a routing table. */
export function tableOf(printed: unknown): number {
  return printed === undefined ? MAIN_TABLE : Number(printed);
}

const MAIN_TABLE = 254;

function addressesOf(value: unknown): string[] {
  return addressEntries(value).map(({ local, far, prefixLength }) =>
    // ip-address(8): the length is that of the peer's network. For IPv6 the kernel takes it for both.
    far !== null && !local.includes(':') ? `${local}/32` : `${local}/${prefixLength}`,
  );
}

function farNetworksOf(value: unknown): string[] {
  return addressEntries(value).flatMap(({ far, prefixLength }) =>
    far === null ? [] : [`${far}/${far.includes(':') ? 128 : prefixLength}`],
  );
}

/** `far` is the address of the other side, of one that is point-to-point (`peer`). */
function addressEntries(value: unknown): { local: string; far: string | null; prefixLength: number }[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry: unknown) => {
    const object = asObject(entry);
    const local = text(object?.['local']);
    if (local === null) return [];
    return [{ local, far: text(object?.['address']), prefixLength: number(object?.['prefixlen']) }];
  });
}

function statisticsOf(rx: JsonObject, tx: JsonObject): Statistics {
  return {
    rxBytes: number(rx['bytes']),
    rxPackets: number(rx['packets']),
    rxErrors: number(rx['errors']),
    rxDropped: number(rx['dropped']),
    txBytes: number(tx['bytes']),
    txPackets: number(tx['packets']),
    txErrors: number(tx['errors']),
    txDropped: number(tx['dropped']),
  };
}

/** `ip` prints `8000.2:0:0:0:0:1` where brctl(8) prints `8000.020000000001`. */
function bridgeIdText(id: string | null): string | null {
  const [priority, mac] = id?.split('.') ?? [];
  if (priority === undefined || mac === undefined) return null;
  return `${priority}.${mac
    .split(':')
    .map((octet) => octet.padStart(2, '0'))
    .join('')}`;
}

function number(value: unknown): number {
  return typeof value === 'number' ? value : 0;
}
