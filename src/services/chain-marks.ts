import type { ResourceRepository } from '../db/resources.ts';
import { chainMarksOfBridge } from '../plan/bridge-firewall.ts';
import { chainMarksOf } from '../plan/nat.ts';
import type { Family } from '../schemas/address.ts';
import type { Ref } from '../schemas/common.ts';

/** The comments of all rules by which packets come to the chains of these resources, which have rules there. */
export function chainMarksIn(
  { namespace, family }: { namespace: string; family: Family },
  owners: readonly Ref[],
  resources: ResourceRepository,
): string[] {
  const bridge = owners.find(({ kind }) => kind === 'bridge');
  const ofNat = owners.flatMap(({ kind, name }) => {
    const stored = kind === 'nat' ? resources.get(kind, name) : null;
    return stored === null ? [] : chainMarksOf(stored.intent, stored.assigned);
  });
  return [...ofNat, ...(bridge === undefined ? [] : chainMarksOfBridge(namespace, family, bridge))];
}
