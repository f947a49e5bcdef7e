import type { Difference } from '../schemas/common.ts';
import type { InterfaceIntent, ObservedInterface, Route } from '../schemas/interface.ts';
import { routeKey } from '../schemas/route.ts';

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
