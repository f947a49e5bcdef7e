import { familyOf, type Family } from './address.ts';
import type { Route } from './interface.ts';

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
  const { to, via, src, table } = route;
  return [family, to, via, metricOf(route, family), src, table].join(' ');
}

/** Where a route stands: what the kernel goes by when one is to replace another. */
export function placeOfRoute(route: Route, family: Family): string {
  return [family, route.to, metricOf(route, family), route.table].join(' ');
}

function metricOf({ metric }: Route, family: Family): number {
  // IPv6 has no metric 0: the kernel takes it for none given.
  const given = family === 6 && metric === 0 ? null : metric;
  return given ?? DEFAULT_METRIC[family];
}
