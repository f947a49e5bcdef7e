import type { ObservedNat } from '../schemas/nat.ts';
import { CHAIN_MARK, commentPrefix, strayRules, type SavedFirewall } from './firewall.ts';

/** The rules that carry the mark of a nat rule, with the counters of the one that translates. */
export function parseNat(
  name: string,
  saved: SavedFirewall,
  { forwarding, routeLocalnet }: Pick<ObservedNat, 'forwarding' | 'routeLocalnet'>,
): ObservedNat {
  const prefix = commentPrefix({ kind: 'nat', name });
  const rules = saved.rules.filter(({ comment }) => comment?.startsWith(prefix) === true);
  // A published port has rules in other chains of that table besides, which meet the same packets once more.
  const entries = rules.filter(({ chain }) => chain === 'NETNSD-DNAT' || chain === 'NETNSD-LOCAL');
  const translating = entries.length > 0 ? entries : rules.filter(({ table }) => table === 'nat');
  return {
    packets: translating.reduce((sum, { packets }) => sum + packets, 0),
    bytes: translating.reduce((sum, { bytes }) => sum + bytes, 0),
    rules: rules.map(({ chain, spec }) => `-A ${chain} ${spec}`),
    forwarding,
    ...(routeLocalnet === undefined ? {} : { routeLocalnet }),
    chainMarks: saved.rules.flatMap(({ comment }) =>
      comment?.startsWith(CHAIN_MARK) === true ? [comment] : [],
    ),
    strays: strayRules(saved),
  };
}
