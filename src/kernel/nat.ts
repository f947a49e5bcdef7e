import type { Ref } from '../schemas/common.ts';
import type { ObservedNat } from '../schemas/nat.ts';
import { parseFirewallOf, rulesOf, type SavedFirewall } from './firewall.ts';

/** The rules that carry the mark of a nat rule, with the counters of the one that translates. */
export function parseNat(
  name: string,
  saved: SavedFirewall,
  { forwarding, routeLocalnet }: Pick<ObservedNat, 'forwarding' | 'routeLocalnet'>,
): ObservedNat {
  const owner: Ref = { kind: 'nat', name };
  const rules = rulesOf(owner, saved);
  // A published port has rules in other chains of that table besides, which meet the same packets once more.
  const entries = rules.filter(({ chain }) => chain === 'NETNSD-DNAT' || chain === 'NETNSD-LOCAL');
  const translating = entries.length > 0 ? entries : rules.filter(({ table }) => table === 'nat');
  return {
    packets: translating.reduce((sum, { packets }) => sum + packets, 0),
    bytes: translating.reduce((sum, { bytes }) => sum + bytes, 0),
    ...parseFirewallOf(owner, saved),
    forwarding,
    ...(routeLocalnet === undefined ? {} : { routeLocalnet }),
  };
}
