import { familyOf, parsePrefix } from '../schemas/address.ts';
import type { EndOptions } from '../schemas/end.ts';
import type { BridgeAssigned } from '../schemas/bridge.ts';
import type { SubnetAssigned } from '../schemas/ipam.ts';
import type { LinkAssigned, LinkIntent } from '../schemas/link.ts';

/**
 * Whoever is on a bridge can send router advertisements to all others on it, and so make itself their default route
 * (CVE-2020-10749, CVE-2020-13401). Where the bridge is the gateway of an IPv6 subnet, neither it nor what is behind its
 * ports takes any, unless asked to. The ports themselves need nothing: what they receive is the bridge's. Of the daemon's
 * own namespace a bridge with any subnet takes none, and neither does what leads out of a namespace or a machine there.
 */
export const ACCEPT_RA = 'ipv6.conf.accept_ra';

export const REFUSED = '0';

/** Whether a bridge refuses them. */
export function bridgeRefuses({ subnets, refusing }: Pick<BridgeAssigned, 'subnets' | 'refusing'>): boolean {
  return refusing === true || refusesAdvertisements(subnets);
}

/** Whether a bridge with these subnets, and what is on it, refuses router advertisements. */
export function refusesAdvertisements(subnets: readonly SubnetAssigned[] = []): boolean {
  return subnets.some(({ subnet }) => familyOf(parsePrefix(subnet).address) === 6);
}

/** A link of which those ends refuse them that are to; what was asked for of an end counts more. */
export function refusingLink<L extends LinkIntent>(
  intent: L,
  { refusing = [] }: Pick<LinkAssigned, 'refusing'>,
): L {
  if (refusing.length === 0) return intent;
  const own = refusing.includes('own') ? refusal(intent) : {};
  if (intent.type !== 'veth' || !refusing.includes('peer')) return { ...intent, ...own };
  return { ...intent, ...own, peer: { ...intent.peer, ...refusal(intent.peer) } };
}

function refusal({ sysctls = {} }: EndOptions): Pick<EndOptions, 'sysctls'> {
  return { sysctls: { [ACCEPT_RA]: REFUSED, ...sysctls } };
}
