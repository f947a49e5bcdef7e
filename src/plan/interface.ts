import type { Device } from '../kernel/state.ts';
import type { Difference } from '../schemas/common.ts';
import type { InterfaceIntent, ObservedInterface, Route } from '../schemas/interface.ts';
import { routeKey } from '../schemas/route.ts';

/** The device that an interface is to be; what it is a port of is said beside it. */
export function compileInterface(
  { key, serves, mac, master, kind }: Pick<Device, 'key' | 'serves' | 'mac' | 'master' | 'kind'>,
  intent: InterfaceIntent & { interface: string; namespace: string },
): Device {
  return {
    key,
    serves,
    namespace: intent.namespace,
    name: intent.interface,
    mac,
    mtu: intent.mtu,
    up: intent.up,
    master,
    addresses: intent.addresses,
    routes: intent.up ? intent.routes : [],
    kind,
  };
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
