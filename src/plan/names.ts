import { parsePrefix } from '../schemas/address.ts';
import { HOST } from '../schemas/common.ts';
import { bridgeAcross, namedEnds as endsByName } from '../schemas/link.ts';
import { NAMES_MARK } from '../schemas/names.ts';
import { rangeOfNetwork } from '../schemas/range.ts';
import type { Placed } from '../schemas/resource.ts';
import { isIn, resolvedLink } from './ipam.ts';

/** An interface in a namespace, as those find it that are on the same bridge. */
export interface NamedEnd {
  bridge: string;
  namespace: string;
  link: string;
  /** Without length. */
  addresses: string[];
}

/** A bridge with subnets, and what is on it. */
export interface NamedNetwork {
  bridge: string;
  /** Addresses of resolvers. */
  dns: readonly string[];
  /** In order, with those of their addresses that lie in a subnet of the bridge. */
  ends: readonly NamedEnd[];
}

const FIRST_LINE = `${NAMES_MARK} changes are overwritten. Without this line the file is yours, and left alone.`;

/** What Debian and Docker have there. */
const LOOPBACK_LINES = [
  '127.0.0.1\tlocalhost',
  '::1\tlocalhost ip6-localhost ip6-loopback',
  'ff02::1\tip6-allnodes',
  'ff02::2\tip6-allrouters',
];

/** MAXNS of resolv.conf(5): what comes after is not asked. */
const MOST_RESOLVERS = 3;

/**
 * The interfaces of a link by which namespaces are found; those in the daemon's own namespace are not.
 *
 * @param under the bridge that it stands on, if it is a macvlan
 */
export function namedEnds({ name, intent, assigned }: Placed<'link'>, under: string | null): NamedEnd[] {
  const resolved = resolvedLink(intent, assigned);
  return endsByName(resolved).flatMap(({ name: end, end: { namespace, addresses } }) => {
    const bridge = under ?? bridgeAcross(resolved, end);
    if (bridge === null || namespace === HOST) return [];
    return [{ bridge, namespace, link: name, addresses: addresses.map((text) => parsePrefix(text).address) }];
  });
}

/** A network of all that is on a bridge; null if it has no subnets. */
export function namedNetwork(
  { name: bridge, intent: { dns = [] }, assigned: { subnets = [] } }: Placed<'bridge'>,
  ends: readonly NamedEnd[],
): NamedNetwork | null {
  if (subnets.length === 0) return null;
  const ranges = subnets.map(({ subnet }) => rangeOfNetwork(subnet));
  const isInside = (address: string): boolean => ranges.some((range) => isIn(address, range));
  const inside = ends.map((end) => ({ ...end, addresses: end.addresses.filter(isInside) }));
  return { bridge, dns, ends: inside.toSorted(byName) };
}

/**
 * The text of hosts(5) for a namespace on these networks: who else is on them, by the name of the namespace and, if
 * that tells it from the others, by the name of the link.
 */
export function hostsText(networks: readonly NamedNetwork[]): string {
  const ends = networks.flatMap((network) => network.ends);
  const taken = namesTaken(ends);
  const sections = networks.flatMap((network) => ['', `# ${network.bridge}`, ...linesOf(network, taken)]);
  return textOf([...LOOPBACK_LINES, ...sections]);
}

/** The text of resolv.conf(5) for a namespace on these networks; null if none of them says who resolves. */
export function resolvConfText(networks: readonly NamedNetwork[]): string | null {
  const resolvers = [...new Set(networks.flatMap(({ dns }) => dns))].slice(0, MOST_RESOLVERS);
  return resolvers.length === 0 ? null : textOf(resolvers.map((address) => `nameserver ${address}`));
}

function textOf(lines: readonly string[]): string {
  return [FIRST_LINE, ...lines].map((line) => `${line}\n`).join('');
}

function linesOf({ ends }: NamedNetwork, taken: ReadonlyMap<string, number>): string[] {
  return ends.flatMap(({ namespace, link, addresses }) => {
    const names = [
      ...(isLoopbackName(namespace) ? [] : [namespace]),
      ...(HOST_NAME.test(link) && taken.get(link.toLowerCase()) === 1 ? [link] : []),
    ];
    return names.length === 0 ? [] : addresses.map((address) => `${address}\t${names.join(' ')}`);
  });
}

function byName(a: NamedEnd, b: NamedEnd): number {
  const [first, second] = [`${a.namespace} ${a.link}`, `${b.namespace} ${b.link}`];
  return first < second ? -1 : first > second ? 1 : 0;
}

/** By how many each name is borne. Names of hosts are the same in either case (RFC 1123, RFC 4343). */
function namesTaken(ends: readonly NamedEnd[]): Map<string, number> {
  const namespaces = new Set(ends.map(({ namespace }) => namespace.toLowerCase()));
  const taken = new Map<string, number>();
  for (const name of [...namespaces, ...ends.map(({ link }) => link.toLowerCase())])
    taken.set(name, (taken.get(name) ?? 0) + (isLoopbackName(name) ? 2 : 1));
  return taken;
}

/** RFC 1123, section 2.1; not such as read as an address. */
const HOST_NAME = /^(?![\d.]+$)[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?(?:\.[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?)*$/i;

/** What means this very namespace, to everybody (RFC 6761, section 6.3), is nobody's name on a bridge. */
function isLoopbackName(name: string): boolean {
  return /^(?:(?:.*\.)?localhost(?:\.localdomain)?|ip6-(?:localhost|loopback|localnet|mcastprefix|allnodes|allrouters))$/i.test(
    name,
  );
}
