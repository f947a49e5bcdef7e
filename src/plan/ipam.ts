import { familyOf, parsePrefix, type Family } from '../schemas/address.ts';
import type { BridgeAssigned, BridgeIntent } from '../schemas/bridge.ts';
import type { InterfaceIntent, Route } from '../schemas/interface.ts';
import { AUTO, type AddressPool, type EndAssigned } from '../schemas/ipam.ts';
import type { LinkAssigned, LinkIntent } from '../schemas/link.ts';
import { refusingLink } from './advertisement.ts';
import { addressOf, compareRanges, numberOf, overlap, rangeOfNetwork, type Range } from '../schemas/range.ts';

/** Whether anything of an interface is left to netnsd. */
export function usesAuto({ addresses, routes }: Pick<InterfaceIntent, 'addresses' | 'routes'>): boolean {
  return addresses.includes(AUTO) || routes.some(({ via }) => via === AUTO);
}

/** A link with all that netnsd adds: what was chosen in place of `auto`; nothing, where nothing was. */
export function resolvedLink<L extends LinkIntent>(
  given: L,
  { ends, ...assigned }: Pick<LinkAssigned, 'ends' | 'refusing'>,
): L {
  const intent = refusingLink(given, assigned);
  const own = resolvedEnd(intent, ends?.own);
  return own.type === 'veth' ? { ...own, peer: resolvedEnd(own.peer, ends?.peer) } : own;
}

export function resolvedEnd<E extends InterfaceIntent>(end: E, assigned: EndAssigned | undefined): E {
  if (!usesAuto(end)) return end;
  const { leases = [], gateways = [] } = assigned ?? {};
  return {
    ...end,
    addresses: end.addresses.flatMap((address) =>
      address === AUTO ? leases.map((lease) => withLength(lease.address, lease.subnet)) : [address],
    ),
    routes: end.routes.flatMap((route) => (route.via === AUTO ? byGateways(route, gateways) : [route])),
  };
}

/** A default route that does not say of which family it is becomes one for each. */
export function byGateways(route: Route, gateways: readonly string[]): Route[] {
  const { to, src } = route;
  const said = to === 'default' ? src : to;
  return gateways
    .filter((gateway) => said === null || familyOf(said) === familyOf(gateway))
    .map((via) => ({ ...route, via }));
}

/** A bridge with its address in each of its subnets. */
export function resolvedBridge(intent: BridgeIntent, { subnets = [] }: BridgeAssigned): BridgeIntent {
  const own = new Set(intent.addresses.map((address) => parsePrefix(address).address));
  const added = subnets.filter(({ gateway }) => !own.has(gateway));
  if (added.length === 0) return intent;
  const addresses = added.map(({ subnet, gateway }) => withLength(gateway, subnet));
  return { ...intent, addresses: [...intent.addresses, ...addresses] };
}

function withLength(address: string, subnet: string): string {
  return `${address}/${parsePrefix(subnet).prefixLength}`;
}

/**
 * The addresses of a subnet that an interface can have. IPv4: not the first and the last, but for a /31 (RFC 3021).
 * IPv6: not the first, which is every router's (RFC 4291, section 2.6.1), but for a /127 (RFC 6164).
 */
export function usableOf(subnet: string): Range {
  const { family, first, last } = rangeOfNetwork(subnet);
  if (last - first <= 1n) return { family, first, last };
  return { family, first: first + 1n, last: family === 4 ? last - 1n : last };
}

/** The address of a bridge in a subnet: that of its own which is there, else the first that can be. */
export function gatewayIn(subnet: string, addresses: readonly string[]): string {
  const own = addresses
    .map((text) => parsePrefix(text).address)
    .find((address) => isIn(address, rangeOfNetwork(subnet)));
  const { family, first } = usableOf(subnet);
  return own ?? addressOf(family, first);
}

export function isIn(address: string, { family, first, last }: Range): boolean {
  if (familyOf(address) !== family) return false;
  const number = numberOf(address);
  return first <= number && number <= last;
}

/** The first number of a range that is in none of the others; null if there is none. */
export function firstGap({ family, first, last }: Range, taken: readonly Range[]): bigint | null {
  let free = first;
  for (const range of sorted(family, taken)) {
    if (range.first > free) break;
    if (range.last >= free) free = range.last + 1n;
  }
  return free <= last ? free : null;
}

/** The first block of the pools of a family that overlaps none of the ranges; null if there is none. */
export function chooseSubnet(
  family: Family,
  pools: readonly AddressPool[],
  taken: readonly Range[],
): string | null {
  for (const { network, prefixLength } of pools) {
    const pool = rangeOfNetwork(network);
    if (pool.family !== family) continue;
    const block = firstBlock(pool, prefixLength, sorted(family, taken));
    if (block !== null) return `${addressOf(family, block)}/${prefixLength}`;
  }
  return null;
}

function firstBlock(pool: Range, prefixLength: number, taken: readonly Range[]): bigint | null {
  const hostBits = BigInt((pool.family === 4 ? 32 : 128) - prefixLength);
  const size = 1n << hostBits;
  let block = pool.first;
  for (const range of taken)
    if (overlap(range, { family: pool.family, first: block, last: block + size - 1n }))
      block = ((range.last >> hostBits) + 1n) << hostBits;
  return block + size - 1n <= pool.last ? block : null;
}

function sorted(family: Family, ranges: readonly Range[]): Range[] {
  return ranges.filter((range) => range.family === family).toSorted(compareRanges);
}
