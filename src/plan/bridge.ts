import type { Device, KernelState } from '../kernel/state.ts';
import type { BridgeAssigned, BridgeIntent, ObservedBridge } from '../schemas/bridge.ts';
import { refText, type Difference, type Ref } from '../schemas/common.ts';
import { sysctlOfInterface } from '../schemas/end.ts';
import type { Placed } from '../schemas/resource.ts';
import { sysctlsOfBridge } from './bridge-sysctls.ts';
import { compileSysctls } from './end.ts';
import type { Intent } from './intent.ts';
import { compileInterface, differencesOfInterface } from './interface.ts';

/** Adds what a bridge is to have to the state. */
export function compileBridge(
  state: KernelState,
  { kind, name, intent, assigned }: Placed<'bridge'>,
  context: Intent,
): void {
  const serves: Ref = { kind, name };
  const key = refText(serves);
  const { stp, ageingSeconds } = intent;
  const bridge: Device['kind'] = { type: 'bridge', stp, ageingSeconds };
  const device = compileInterface({ key, serves, mac: assigned.mac, master: null, kind: bridge }, intent);
  state.devices.set(key, device);
  compileSysctls(state, device, { sysctls: sysctlsOfBridge(intent, assigned) }, context);
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
  const path = intent.subnets.length > 0 ? '/subnets' : '/firewall';
  for (const [field, intended] of Object.entries(sysctlsOfBridge(intent, assigned))) {
    const found = observed.sysctls?.[field] ?? intended;
    const key = sysctlOfInterface(intent.interface, field);
    if (found !== intended)
      differences.push({ path, intended: `${key}=${intended}`, observed: `${key}=${found}` });
  }
  return differences;
}
