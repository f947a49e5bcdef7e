import type { Device, KernelState } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import type { Adoption } from '../schemas/adoption.ts';
import type { Route } from '../schemas/interface.ts';
import { routeKey } from '../schemas/route.ts';

/** The same state, in which what is being adopted is there with the marks that it had before. */
export function withForeign(state: KernelState, adoptions: readonly Adoption[]): KernelState {
  const foreign = new Map(adoptions.flatMap(({ devices }) => Object.entries(devices)));
  const devices = [...state.devices].map(([key, device]) => {
    const marks = foreign.get(key);
    return [key, marks === undefined ? device : { ...device, foreign: marks }] as const;
  });
  return { ...state, devices: new Map(devices) };
}

/** Whether it is being adopted, or given back. */
export function isForeign({ foreign }: Device): boolean {
  return foreign !== undefined;
}

/** The steps that mark a device and its routes as netnsd's, or give the marks back that they had before. */
export function markChanges(have: Device, want: Device): Step[] {
  const { serves } = want;
  // By the name that it bears: a name is nothing that adopting changes.
  const device = { namespace: have.namespace, name: have.name };
  const steps: Step[] = [];
  const group = want.foreign?.group ?? null;
  if (group !== (have.foreign?.group ?? null)) steps.push({ step: 'device.group', serves, device, group });
  const there = new Set(have.routes.map(routeKey));
  for (const route of want.routes) {
    const protocol = protocolOf(want, route);
    if (there.has(routeKey(route)) && protocol !== protocolOf(have, route))
      steps.push({ step: 'route.protocol', serves, device, route, protocol });
  }
  return steps;
}

/** Null for netnsd's own. */
function protocolOf({ foreign }: Device, route: Route): string | null {
  const key = routeKey(route);
  return foreign?.routes.find((entry) => routeKey(entry.route) === key)?.protocol ?? null;
}
