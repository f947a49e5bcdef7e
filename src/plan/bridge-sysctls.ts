import { gatewayFamilies, type BridgeAssigned, type BridgeIntent } from '../schemas/bridge.ts';
import { ACCEPT_RA, REFUSED } from './advertisement.ts';
import { LOOSE, RP_FILTER } from './reverse-path.ts';

/** What netnsd itself has a bridge have, by keys like those of `sysctls` of an end. */
export function sysctlsOfBridge(
  intent: BridgeIntent,
  { refusing }: Pick<BridgeAssigned, 'refusing'>,
): Record<string, string> {
  const gateway = gatewayFamilies(intent);
  return {
    ...(refusing === true || gateway.has(6) ? { [ACCEPT_RA]: REFUSED } : {}),
    ...(gateway.has(4) ? { [RP_FILTER]: LOOSE } : {}),
  };
}
