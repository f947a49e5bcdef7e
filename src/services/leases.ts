import type { ResourceRepository } from '../db/resources.ts';
import { leasePlace, type Lease } from '../schemas/ipam.ts';
import { endNames } from '../schemas/link.ts';
import { compareRanges, rangeOfNetwork } from '../schemas/range.ts';

/** What was given out of the subnets of a bridge, in order of address. No process is started. */
export function leasesOf(bridge: string, resources: ResourceRepository): Lease[] {
  const links = resources
    .tiesAt(leasePlace(bridge))
    .flatMap(({ kind, name }) => (kind === 'link' ? [name] : []));
  return [...new Set(links)]
    .flatMap((name) => resources.get('link', name) ?? [])
    .flatMap(({ name: link, intent, assigned }) =>
      endNames.flatMap((end) => {
        const chosen = assigned.ends?.[end];
        if (chosen?.bridge !== bridge) return [];
        const { interface: device, namespace } =
          end === 'peer' && intent.type === 'veth' ? intent.peer : intent;
        return chosen.leases.map((lease) => ({ ...lease, link, end, interface: device, namespace }));
      }),
    )
    .toSorted((a, b) => compareRanges(rangeOfNetwork(a.address), rangeOfNetwork(b.address)));
}
