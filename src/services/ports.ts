import { isOf, type ResourceRepository, type Stored } from '../db/resources.ts';
import type { Ref } from '../schemas/common.ts';
import { portsIsolatedBy, updateSeenBehind } from './bridge-firewall.ts';
import { endsOf } from '../schemas/link.ts';
import type { Touched } from './draft.ts';
import { linksLedTo, updateReflecting } from './reflecting.ts';

/**
 * Lists show bridges as last seen; a link that came or went since has changed their ports, and its own change has
 * just seen that. To be called within the transaction that writes the links.
 */
export function updatePortsSeen(resources: ResourceRepository, touched: readonly Touched[]): void {
  const gone = touched.flatMap(({ before }) => portsOf(before));
  const come = touched.flatMap(({ after }) => portsOf(after));
  for (const name of new Set([...gone, ...come].map(({ bridge }) => bridge))) {
    const stored = resources.get('bridge', name);
    if (stored === null || stored.observed === null) continue;
    const ports = new Set(stored.observed.ports);
    for (const { bridge, port } of gone) if (bridge === name) ports.delete(port);
    for (const { bridge, port } of come) if (bridge === name) ports.add(port);
    resources.putObserved(stored, { ...stored.observed, ports: [...ports].toSorted() });
  }
  updateSeenBehind(resources, touched);
  updateReflecting(resources, touched);
}

/** The links whose ports another state of a bridge or of a rule would have otherwise: they change along with it. */
export function portsChangedBy(side: Stored, resources: ResourceRepository): Ref[] {
  return [...portsIsolatedBy(side, resources), ...linksLedTo(side, resources)];
}

function portsOf(resource: Stored | null): { bridge: string; port: string }[] {
  if (resource === null || !isOf(resource, 'link')) return [];
  return endsOf(resource.intent).flatMap(({ bridge, interface: port }) =>
    bridge === null ? [] : [{ bridge, port }],
  );
}
