import { readFileSync, readdirSync } from 'node:fs';
import { ROUTE_PROTOCOL } from './marks.ts';

/**
 * `ip -N` prints numbers. Without that it prints names out of /etc/iproute2, where any machine may call a routing table, a
 * protocol or a group of devices as it likes: what netnsd knows its own by would not be known again. So names are only
 * for what people are shown.
 */
export const IP_PRINTS_NUMBERS = '-N';

/** rt_protos: a route that the kernel itself has put there. */
export const KERNEL_PROTOCOL = '2';

/** rtnetlink(7): an ordinary route. */
export const UNICAST = '1';

/** rtnetlink(7): where the destination of a route is. */
export const SCOPES = { global: '0', link: '253' } as const;

/** What ip-route(8) calls a type of route. */
export function routeTypeName(number: string): string {
  return ROUTE_TYPES[Number(number)] ?? number;
}

/** What ip-route(8) calls a scope; a number if that is none of the usual ones. */
export function scopeName(number: string): string {
  return SCOPE_NAMES.get(number) ?? number;
}

/** What `ip` without `-N` prints of an interface that is of no kind, such as `ether` for `[1]`; rare ones stay numbers. */
export function linkTypeName(printed: string): string {
  return LINK_TYPES.get(printed) ?? printed;
}

/** What protocols of routes are called: what everybody calls them or, of others, what this machine does. */
export class ProtocolNames {
  #given: ReadonlyMap<string, string> | null = null;

  nameOf(number: string): string {
    const known = PROTOCOLS.get(number);
    if (known !== undefined) return known;
    this.#given ??= readProtocolNames();
    return this.#given.get(number) ?? number;
  }
}

/** linux/rtnetlink.h, RTN_…, by number. */
const ROUTE_TYPES: readonly string[] = [
  'none',
  'unicast',
  'local',
  'broadcast',
  'anycast',
  'multicast',
  'blackhole',
  'unreachable',
  'prohibit',
  'throw',
  'nat',
  'xresolve',
];

/** linux/rtnetlink.h, RT_SCOPE_…. */
const SCOPE_NAMES: ReadonlyMap<string, string> = new Map([
  ['0', 'global'],
  ['200', 'site'],
  ['253', 'link'],
  ['254', 'host'],
  ['255', 'nowhere'],
]);

/** linux/rtnetlink.h, RTPROT_…; and netnsd's own, which is shown as the number that it is. */
const PROTOCOLS: ReadonlyMap<string, string> = new Map([
  ['0', 'unspec'],
  ['1', 'redirect'],
  [KERNEL_PROTOCOL, 'kernel'],
  ['3', 'boot'],
  ['4', 'static'],
  ['8', 'gated'],
  ['9', 'ra'],
  ['10', 'mrt'],
  ['11', 'zebra'],
  ['12', 'bird'],
  ['13', 'dnrouted'],
  ['14', 'xorp'],
  ['15', 'ntk'],
  ['16', 'dhcp'],
  ['18', 'keepalived'],
  ['42', 'babel'],
  ['99', 'openr'],
  ['186', 'bgp'],
  ['187', 'isis'],
  ['188', 'ospf'],
  ['189', 'rip'],
  ['192', 'eigrp'],
  [ROUTE_PROTOCOL, ROUTE_PROTOCOL],
]);

/** linux/if_arp.h, ARPHRD_…, of what drivers make: all else has a kind. */
const LINK_TYPES: ReadonlyMap<string, string> = new Map([
  ['[1]', 'ether'],
  ['[24]', 'ieee1394'],
  ['[32]', 'infiniband'],
  ['[256]', 'slip'],
  ['[280]', 'can'],
  ['[512]', 'ppp'],
  ['[519]', 'rawip'],
  ['[772]', 'loopback'],
  ['[801]', 'ieee802.11'],
  ['[802]', 'ieee802.11/prism'],
  ['[803]', 'ieee802.11/radiotap'],
  ['[804]', 'ieee802.15.4'],
  ['[65534]', 'none'],
]);

const RT_PROTOS = '/etc/iproute2/rt_protos';

/** Lines `NUMBER NAME`, in the file and in those of the directory beside it whose names end in `.conf`. */
function readProtocolNames(): Map<string, string> {
  const texts = [RT_PROTOS, ...filesOf(`${RT_PROTOS}.d`)].map(readIfThere);
  const lines = texts.flatMap((text) => [...text.matchAll(/^\s*(\d+|0x[0-9a-f]+)\s+(\S+)/gim)]);
  return new Map(lines.map(([, number = '', name = '']) => [String(Number(number)), name]));
}

function filesOf(directory: string): string[] {
  try {
    return readdirSync(directory).flatMap((name) => (name.endsWith('.conf') ? [`${directory}/${name}`] : []));
  } catch {
    // Not every machine has such a directory.
    return [];
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Without the file there are no names but those that anybody knows.
    return '';
  }
}
