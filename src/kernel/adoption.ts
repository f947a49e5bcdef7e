import type { ForeignMarks } from '../schemas/adoption.ts';
import { familyOf, type Family } from '../schemas/address.ts';
import type { Route } from '../schemas/interface.ts';
import { familyOfRoute, placeOfRoute, routeKey } from '../schemas/route.ts';
import { parseInterfaces, parseRoute, type KernelInterface } from './interface.ts';
import { KERNEL_PROTOCOL, SCOPES, UNICAST } from './iproute-names.ts';
import { asObject, numberOrNull, text } from './json-fields.ts';
import { ROUTE_PROTOCOL } from './marks.ts';
import type { Answer, Read } from './sessions.ts';

/** A device that is in the kernel, whoever made it. */
export interface FoundDevice {
  entry: KernelInterface;
  /** Those of the routes that were looked for that are there. */
  routes: Route[];
  marks: ForeignMarks;
}

/** What is read of a device that is to be adopted: itself, and what routes there are to where it is to have some. */
export function readOfFound(namespace: string, name: string, routes: readonly Route[]): Read {
  return { namespace, lines: [`address show dev ${name}`, ...showRoutesTo(routes)], sysctls: [] };
}

/** Asks for all routes to the destinations of some, by whatever device: of all tables. */
export function showRoutesTo(routes: readonly Route[]): string[] {
  const destinations = routes.map((route) => {
    if (route.to !== 'default') return route.to;
    return familyOfRoute(route) === 6 ? '::/0' : '0.0.0.0/0';
  });
  return [...new Set(destinations)].map((to) => `route show table all exact ${to}`);
}

/** The device in the answer to `readOfFound`; null if there is none of that very name. */
export function parseFound(
  name: string,
  routes: readonly Route[],
  answer: Answer | null | undefined,
): FoundDevice | null {
  const [shown = [], ...routesShown] = answer?.shown ?? [];
  const entry = parseInterfaces(shown).find((each) => each.name === name);
  if (entry === undefined) return null;
  const found = parseRoutesTo(routes, name, routesShown.flat());
  return { entry, routes: found.map(({ route }) => route), marks: marksOf(entry, found) };
}

export function marksOf(
  { index, ours, group }: KernelInterface,
  routes: readonly RouteOfProtocol[],
): ForeignMarks {
  const others = routes.filter(({ protocol }) => protocol !== ROUTE_PROTOCOL);
  return { index, group: ours ? null : group, routes: others };
}

interface RouteOfProtocol {
  route: Route;
  protocol: string;
}

/**
 * Those of the routes that are there by a device, out of the answers to `showRoutesTo`. Only such as can be given another
 * protocol and be as before else: the only one in its place, with nothing about it that netnsd does not know, and not
 * one that the kernel keeps with an address.
 */
export function parseRoutesTo(
  routes: readonly Route[],
  device: string,
  shown: readonly unknown[],
): RouteOfProtocol[] {
  const places = Map.groupBy(parseEntries(shown), ({ route, family }) => placeOfRoute(route, family));
  return routes.flatMap((route) => {
    const family = familyOfRoute(route);
    const [entry, another] = places.get(placeOfRoute(route, family)) ?? [];
    if (entry === undefined || another !== undefined) return [];
    const isIt =
      entry.isPlain &&
      entry.device === device &&
      entry.family === family &&
      routeKey(entry.route) === routeKey(route);
    return isIt ? [{ route, protocol: entry.protocol }] : [];
  });
}

/**
 * Whether what stands in the place of a route, out of the answers to `showRoutesTo`, is one other route by the same device:
 * then it can be replaced, and nothing of another device is.
 */
export function isReplaceable(route: Route, device: string, shown: readonly unknown[]): boolean {
  const family = familyOfRoute(route);
  const [entry, another] = parseEntries(shown).filter(
    (each) => each.family === family && placeOfRoute(each.route, family) === placeOfRoute(route, family),
  );
  return entry?.device === device && entry.protocol !== KERNEL_PROTOCOL && another === undefined;
}

interface Entry extends RouteOfProtocol {
  family: Family;
  device: string | null;
  isPlain: boolean;
}

function parseEntries(shown: readonly unknown[]): Entry[] {
  return shown.flatMap((each) => {
    const object = asObject(each);
    return object === null || object['flags'] === undefined ? [] : [parseEntry(object)];
  });
}

function parseEntry(object: Record<string, unknown>): Entry {
  const protocol = text(object['protocol']) ?? '';
  const flags: readonly unknown[] = Array.isArray(object['flags']) ? object['flags'] : [];
  const route = parseRoute(object);
  // Of IPv6 routes only, the kernel tells a preference (RFC 4191).
  const family = 'pref' in object ? 6 : familyOf(route.to);
  const scope = route.via === null && family === 4 ? SCOPES.link : SCOPES.global;
  return {
    route,
    protocol,
    family,
    device: text(object['dev']),
    isPlain:
      protocol !== KERNEL_PROTOCOL &&
      object['type'] === UNICAST &&
      object['scope'] === scope &&
      ['medium', undefined].some((preference) => object['pref'] === preference) &&
      Object.keys(object).every((key) => PLAIN_FIELDS.has(key)) &&
      flags.every((flag) => PASSING_FLAGS.has(flag)),
  };
}

/** What an ordinary route has, and what is only a counter. */
const PLAIN_FIELDS: ReadonlySet<string> = new Set(
  'type dst gateway dev table protocol scope prefsrc metric flags pref users used age error'.split(' '),
);

/** What the kernel says of how a route is, not of what it is. */
const PASSING_FLAGS: ReadonlySet<unknown> = new Set([
  'linkdown',
  'dead',
  'offload',
  'trap',
  'rt_offload',
  'rt_trap',
]);

/** Asks for the ids that namespaces have as seen from one of them. */
export function readOfNamespaceIds(namespace: string): Read {
  return { namespace, lines: ['netns list'], sysctls: [] };
}

/** The id of a namespace in the answer to that; null if it has none. */
export function parseNamespaceId(name: string, answer: Answer | null | undefined): number | null {
  const objects = (answer?.shown[0] ?? []).map(asObject);
  return numberOrNull(objects.find((object) => object?.['name'] === name)?.['id']);
}
