import type { KernelState } from '../kernel/state.ts';
import type { BridgeAssigned, BridgeIntent, ObservedBridge } from '../schemas/bridge.ts';
import { refText, type Difference } from '../schemas/common.ts';
import type { Placed } from '../schemas/resource.ts';
import { differencesOfInterface } from './interface.ts';

/** Adds what a bridge is to have to the state. */
export function compileBridge(state: KernelState, { kind, name, intent, assigned }: Placed<'bridge'>): void {
  const key = refText({ kind, name });
  state.devices.set(key, {
    key,
    serves: { kind, name },
    namespace: intent.namespace,
    name: intent.interface,
    mac: assigned.mac,
    mtu: intent.mtu,
    up: intent.up,
    master: null,
    addresses: intent.addresses,
    routes: intent.up ? intent.routes : [],
    kind: { type: 'bridge', stp: intent.stp, ageingSeconds: intent.ageingSeconds },
  });
}

/** Where the kernel differs from what was asked of a bridge. */
export function differencesOfBridge(
  intent: BridgeIntent,
  assigned: BridgeAssigned,
  observed: ObservedBridge,
): Difference[] {
  const differences = differencesOfInterface('', intent, assigned.mac, observed);
  if (observed.index === null) return differences;
  if (observed.stp !== intent.stp)
    differences.push({ path: '/stp', intended: intent.stp, observed: observed.stp });
  if (observed.ageingSeconds !== intent.ageingSeconds)
    differences.push({
      path: '/ageingSeconds',
      intended: intent.ageingSeconds,
      observed: observed.ageingSeconds,
    });
  return differences;
}
