import type { Device, KernelState } from '../kernel/state.ts';
import type { BridgeAssigned, BridgeIntent, ObservedBridge } from '../schemas/bridge.ts';
import { refText, type Difference, type Ref } from '../schemas/common.ts';
import { sysctlOfInterface } from '../schemas/end.ts';
import type { Placed } from '../schemas/resource.ts';
import { ACCEPT_RA, REFUSED, refusesAdvertisements } from './advertisement.ts';
import { compileSysctls } from './end.ts';
import type { Intent } from './intent.ts';
import { compileInterface, differencesOfInterface } from './interface.ts';
import { LOOSE, RP_FILTER, isLoose } from './reverse-path.ts';

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
  const sysctls = {
    ...(refusesAdvertisements(assigned.subnets) ? { [ACCEPT_RA]: REFUSED } : {}),
    ...(isLoose(assigned.subnets) ? { [RP_FILTER]: LOOSE } : {}),
  };
  compileSysctls(state, device, { sysctls }, context);
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
  const { acceptRa = REFUSED, rpFilter = LOOSE } = observed;
  const sysctl = (field: string, intended: string, found: string): void => {
    if (found === intended) return;
    const key = sysctlOfInterface(intent.interface, field);
    differences.push({ path: '/subnets', intended: `${key}=${intended}`, observed: `${key}=${found}` });
  };
  if (refusesAdvertisements(assigned.subnets)) sysctl(ACCEPT_RA, REFUSED, acceptRa);
  if (isLoose(assigned.subnets)) sysctl(RP_FILTER, LOOSE, rpFilter);
  return differences;
}
