import { familyOf, parsePrefix } from '../schemas/address.ts';
import type { EndOptions } from '../schemas/end.ts';
import type { SubnetAssigned } from '../schemas/ipam.ts';
import type { LinkAssigned, LinkIntent } from '../schemas/link.ts';

/**
 * Whoever is on a bridge can send router advertisements to all others on it, and so make itself their default route
 * (CVE-2020-10749, CVE-2020-13401). Where the bridge is the gateway of an IPv6 subnet, neither it nor what is behind its
 * ports takes any, unless asked to; with a firewall and an IPv6 address, the bridge itself takes none. The ports need
 * nothing: what they receive is the bridge's. Of the daemon's own namespace a bridge with any subnet or a firewall takes
 * none, and neither does what leads out of a namespace or a machine there.
 */
export const ACCEPT_RA = 'ipv6.conf.accept_ra';

export const REFUSED = '0';

/** Whether what is on a bridge with these subnets refuses router advertisements. */
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
