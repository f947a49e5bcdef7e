import type { BridgeAssigned } from '../schemas/bridge.ts';
import { ACCEPT_RA, REFUSED, bridgeRefuses } from './advertisement.ts';
import { LOOSE, RP_FILTER, isLoose } from './reverse-path.ts';

/** What netnsd itself has a bridge have, by keys like those of `sysctls` of an end. */
export function sysctlsOfBridge(
  assigned: Pick<BridgeAssigned, 'subnets' | 'refusing'>,
): Record<string, string> {
  return {
    ...(bridgeRefuses(assigned) ? { [ACCEPT_RA]: REFUSED } : {}),
    ...(isLoose(assigned.subnets) ? { [RP_FILTER]: LOOSE } : {}),
  };
}
