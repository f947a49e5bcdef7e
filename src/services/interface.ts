import { randomBytes } from 'node:crypto';
import type { Tie } from '../db/resources.ts';
import { DEFAULT_TABLE, type InterfaceIntent, type Route, type RouteSpec } from '../schemas/interface.ts';
import { familyOf, isLinkLocal, parsePrefix } from '../schemas/address.ts';
import { INTERFACE_NAME, refText, type Kind, type Ref } from '../schemas/common.ts';
import { AUTO } from '../schemas/ipam.ts';
import { familyOfRoute, routeKey, routeKeyIn } from '../schemas/route.ts';
import type { Draft } from './draft.ts';
import { Problem, invalidField, taken, unknownReference } from './problem.ts';

interface InterfaceSpec {
  addresses?: string[];
  routes?: RouteSpec[];
  mtu?: number;
  mac?: string | null;
  up?: boolean;
}

/** ETH_DATA_LEN. */
export const DEFAULT_MTU = 1500;

/** RFC 8200: a link that carries IPv6 has an MTU of 1280 or more; below it the kernel turns IPv6 off. */
export const SMALLEST_IPV6_MTU = 1280;

/**
 * Fills the defaults of an interface's fields in; `at` is where they are in the body.
 *
 * @param mayBeAuto whether there can be a bridge that chooses
 */
export function completeInterface(at: string, spec: InterfaceSpec, mayBeAuto = false): InterfaceIntent {
  const { addresses = [], routes = [], mtu = DEFAULT_MTU, mac = null, up = true } = spec;
  const intent = { addresses, routes: routes.map(completeRoute), mtu, mac, up };
  if (!mayBeAuto) checkNotAuto(at, intent);
  checkAddresses(at, intent);
  for (const [index, route] of intent.routes.entries()) checkRoute(`${at}/routes/${index}`, route);
  const keys = intent.routes.map(routeKey);
  const repeated = keys.findIndex((key, index) => keys.indexOf(key) !== index);
  if (repeated !== -1) throw invalidField(`${at}/routes/${repeated}`, 'is there twice');
  return intent;
}

/** The kernel's name for an interface whose name was left out: that of the resource, if it will do. */
export function completeInterfaceName(given: string | undefined, resource: string): string {
  if (given !== undefined) return given;
  if (new RegExp(INTERFACE_NAME.pattern).test(resource)) return resource;
  throw invalidField(
    '/interface',
    `is needed, because the name ${JSON.stringify(resource)} is not ${INTERFACE_NAME.description}`,
  );
}

function completeRoute({
  to,
  via = null,
  metric = null,
  src = null,
  table = DEFAULT_TABLE,
}: RouteSpec): Route {
  return { to, via, metric, src, table };
}

function checkNotAuto(at: string, { addresses, routes }: InterfaceIntent): void {
  const address = addresses.indexOf(AUTO);
  if (address !== -1)
    throw invalidField(`${at}/addresses/${address}`, `${NOT_AUTO}, and of a macvlan that stands on one`);
  const route = routes.findIndex(({ via }) => via === AUTO);
  if (route !== -1) throw invalidField(`${at}/routes/${route}/via`, NOT_AUTO);
}

const NOT_AUTO = 'can be `auto` only at an end of a veth pair whose other end is on a bridge with subnets';

function checkAddresses(at: string, { addresses, mtu }: InterfaceIntent): void {
  const plain = addresses.map((address) => parsePrefix(address).address);
  const repeated = plain.findIndex((address, index) => plain.indexOf(address) !== index);
  if (repeated !== -1)
    throw invalidField(`${at}/addresses/${repeated}`, `${String(plain[repeated])} is there twice`);
  if (mtu < SMALLEST_IPV6_MTU && addresses.some((address) => familyOf(address) === 6))
    throw new Problem(
      'unprocessable',
      `${at}/mtu is ${mtu}, and IPv6 addresses need ${SMALLEST_IPV6_MTU} or more; raise it or leave them out`,
    );
}

function checkRoute(at: string, route: Route): void {
  const { to, src } = route;
  const via = route.via === AUTO ? null : route.via;
  const family = familyOfRoute({ ...route, via });
  for (const [field, value] of Object.entries({ to: to === 'default' ? null : to, via, src }))
    if (value !== null && familyOf(value) !== family)
      throw invalidField(
        `${at}/${field}`,
        `${value} is not of the family of the rest of the route (IPv${family})`,
      );
}

/** The names, addresses and routes that an interface has for itself in its namespace. */
export function claimsOfInterface(
  namespace: string,
  name: string,
  { addresses, routes }: InterfaceIntent,
): Tie[] {
  const whats = [
    interfaceTie(name),
    ...addresses.filter((address) => address !== AUTO).map((address) => addressTie(address, name)),
    ...routes.filter(({ via }) => via !== AUTO).map((route) => routeTie(route)),
  ];
  return [...new Set(whats)].map((what) => ({ namespace, what }));
}

/** The routes that an interface is to have: none while it is down. */
export function routesOf({ up, routes }: InterfaceIntent): Route[] {
  return up ? routes.filter(({ via }) => via !== AUTO) : [];
}

/** How an interface stands in claims and needs. */
export function interfaceTie(name: string): string {
  return `interface ${name}`;
}

const ADDRESS_TIE = 'address ';

/**
 * How an address of an interface stands in claims, whatever its prefix length. A link-local one of IPv6 is that of its link
 * only: each may have the same (RFC 4007, section 6; the notation is that of section 11).
 */
export function addressTie(text: string, device: string): string {
  const { address } = parsePrefix(text);
  return `${ADDRESS_TIE}${address}${isLinkLocal(address) ? `%${device}` : ''}`;
}

/** Whether that is how an address stands in claims. */
export function isAddressTie(what: string): boolean {
  return what.startsWith(ADDRESS_TIE);
}

/**
 * How a route stands in claims: of two with one destination, table and metric the kernel has only one, whatever the
 * gateway. A default route without one does not say of which family it is.
 */
export function routeTie(route: Route, family = familyOfRoute(route)): string {
  return `route ${routeKeyIn(family, { ...route, via: null, src: null })}`;
}

/** Throws unless all that the resource claims is free or its own already. */
export function checkClaims(claims: readonly Tie[], owner: Ref, draft: Draft): void {
  const seen = new Set<string>();
  for (const claim of claims) {
    const key = `${claim.namespace} ${claim.what}`;
    if (seen.has(key))
      throw new Problem(
        'unprocessable',
        `${claim.what} in ${claim.namespace} is wanted twice; choose another`,
      );
    seen.add(key);
    const other = draft.claimant(claim);
    if (other !== null && refText(other) !== refText(owner)) throw taken(saidOf(claim), other);
  }
}

/** What is claimed, as a person would say it. */
function saidOf({ namespace, what }: Tie): string {
  const [kind = '', ...words] = what.split(' ');
  if (kind === 'lease') return `${words.join(' ')} on the network of ${namespace}`;
  if (kind !== 'route') return `${what} in ${namespace}`;
  // As `routeTie` has it: there is no gateway and no source among these.
  const [family = '', to = '', , metric = '', , table = ''] = words;
  const route = to === 'default' ? `the IPv${family} default route` : `the route to ${to}`;
  return `${route} of metric ${metric} in table ${table} of ${namespace}`;
}

/** Throws unless the resource is recorded. */
export function checkReference(pointer: string, kind: Kind, name: string, draft: Draft): void {
  if (draft.get(kind, name) === null) throw unknownReference(pointer, { kind, name });
}

/** A MAC address by chance: IEEE 802 locally administered, unicast. */
export function chooseMac(): string {
  const [first = 0, ...rest] = randomBytes(6);
  return [(first & 0xfc) | 0x02, ...rest].map((octet) => octet.toString(16).padStart(2, '0')).join(':');
}
