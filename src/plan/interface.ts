import { familyOf, type Family } from '../schemas/address.ts';
import type { Difference } from '../schemas/common.ts';
import type { InterfaceIntent, ObservedInterface, Route } from '../schemas/interface.ts';

/** RFC 4861's default routers have metric 1024 in Linux (IP6_RT_PRIO_USER); an IPv4 route has 0. */
const DEFAULT_METRIC: Record<Family, number> = { 4: 0, 6: 1024 };

export function familyOfRoute({ to, via, src }: Route): Family {
  return familyOf(to === 'default' ? (via ?? src ?? '') : to);
}

/** Two routes of one interface are the same exactly if their keys are. */
export function routeKey(route: Route): string {
  return routeKeyIn(familyOfRoute(route), route);
}

/** The same where the family is known: a default route need not say. */
export function routeKeyIn(family: Family, route: Route): string {
  // IPv6 has no metric 0: the kernel takes it for none given.
  const given = family === 6 && route.metric === 0 ? null : route.metric;
  const metric = given ?? DEFAULT_METRIC[family];
  return [family, route.to, route.via, metric, route.src, route.table].join(' ');
}

/** Where the kernel differs from what was asked of an interface, but for its bridge; `at` is where its fields are. */
export function differencesOfInterface(
  at: string,
  intent: InterfaceIntent,
  mac: string,
  observed: ObservedInterface & { routes: Route[] },
): Difference[] {
  if (observed.index === null) return [{ path: at, intended: 'present', observed: null }];
  const differences: Difference[] = [];
  const compare = (field: string, intended: unknown, found: unknown): void => {
    if (intended !== found) differences.push({ path: `${at}/${field}`, intended, observed: found });
  };
  compare('mac', mac, observed.mac);
  compare('mtu', intent.mtu, observed.mtu);
  compare('up', intent.up, observed.up);
  const addresses = new Set(observed.addresses);
  if (!intent.addresses.every((address) => addresses.has(address)))
    differences.push({ path: `${at}/addresses`, intended: intent.addresses, observed: observed.addresses });
  const found = new Set(observed.routes.map(routeKey));
  if (intent.up && !intent.routes.every((route) => found.has(routeKey(route))))
    differences.push({ path: `${at}/routes`, intended: intent.routes, observed: observed.routes });
  return differences;
}
