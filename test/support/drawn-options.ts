import fc from 'fast-check';
import type { EndOptions } from '../../src/schemas/end.ts';

/** Nothing most of the time, as most links are. */
export type DrawnOptions = EndOptions;

const rates = fc.constantFrom(1000, 2000);

/** Any of them, or none. */
export const drawnOptions: fc.Arbitrary<DrawnOptions> = fc.record(
  {
    txQueueLength: fc.constantFrom(1, 500, 1000),
    isolatedPort: fc.constant<true>(true),
    hairpin: fc.constant<true>(true),
    rate: fc
      .record({ egressKbit: rates, ingressKbit: rates }, { requiredKeys: [] })
      .filter((rate) => Object.keys(rate).length > 0),
    offload: fc.record({ checksum: fc.boolean() }),
    sysctls: fc.constantFrom<Record<string, string>>(
      { 'ipv4.conf.rp_filter': '1' },
      { 'ipv4.conf.rp_filter': '2', 'ipv6.neigh.gc_stale_time': '70' },
    ),
  },
  { requiredKeys: [] },
);

/** What an end without a bridge may have. */
export function offBridge({
  isolatedPort: _isolated,
  hairpin: _hairpin,
  ...rest
}: DrawnOptions): DrawnOptions {
  return rest;
}
