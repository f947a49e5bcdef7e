import type { BridgeAssigned } from '../schemas/bridge.ts';
import { ACCEPT_RA, REFUSED, bridgeRefuses } from './advertisement.ts';

/**
 * Where all.rp_filter is 1, what has two networks is reached by its published port only by the one that its answers leave
 * by: the kernel drops those that come in by the other (ip-sysctl.rst; RFC 3704, section 2.2). The larger of the values of
 * `all` and of the interface counts, so loose reverse path filtering of the bridge is enough.
 */
export const RP_FILTER = 'ipv4.conf.rp_filter';
const LOOSE = '2';

/** What netnsd itself has a bridge have, by keys like those of `sysctls` of an end. */
export function sysctlsOfBridge(
  assigned: Pick<BridgeAssigned, 'subnets' | 'refusing' | 'loose'>,
): Record<string, string> {
  return {
    ...(bridgeRefuses(assigned) ? { [ACCEPT_RA]: REFUSED } : {}),
    ...(assigned.loose === true ? { [RP_FILTER]: LOOSE } : {}),
  };
}
