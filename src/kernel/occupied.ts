import { occupied, type Occupied } from '../schemas/ipam.ts';
import { parseRoutes, readsOfRoutes } from './inspect.ts';
import { parseInterfaces } from './interface.ts';
import { ROUTE_PROTOCOL } from './marks.ts';
import type { Answer, Read } from './sessions.ts';

/** All addresses and routes of a namespace: one process. */
export function readOfOccupied(namespace: string): Read {
  const lines = readsOfRoutes(namespace).flatMap((read) => read.lines);
  return { namespace, lines: [...lines, 'address show'], sysctls: [] };
}

/**
 * What has addresses there. The kernel's own routes to what interfaces have (local, broadcast) tell nothing new, and those of
 * netnsd are recorded.
 */
export function parseOccupied(namespace: string, { shown, sysctls }: Answer): Occupied[] {
  const addresses = parseInterfaces(shown[2] ?? []).flatMap(({ name, addresses: own, farNetworks }) =>
    [...own, ...farNetworks].flatMap((address) =>
      occupied(namespace, address, `the address ${address} of ${name}`, {
        device: name,
        owner: null,
        isRoute: false,
      }),
    ),
  );
  const routes = parseRoutes({ shown: shown.slice(0, 2), sysctls })
    .filter(
      ({ to, type, protocol }) =>
        to !== 'default' && !(KERNELS_OWN.has(type) && protocol === 'kernel') && protocol !== ROUTE_PROTOCOL,
    )
    .flatMap(({ to, dev }) =>
      occupied(namespace, to, `the route to ${to}${dev === null ? '' : ` by ${dev}`}`, {
        device: dev,
        owner: null,
        isRoute: true,
      }),
    );
  return [...addresses, ...routes];
}

const KERNELS_OWN: ReadonlySet<string> = new Set(['local', 'broadcast', 'anycast', 'multicast']);
