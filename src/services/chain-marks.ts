import type { ResourceRepository } from '../db/resources.ts';
import { CHAIN_PREFIX } from '../kernel/firewall.ts';
import { BRIDGE_CHAINS } from '../plan/bridge-chains.ts';
import { chainMarksOfBridge } from '../plan/bridge-firewall.ts';
import { CHAINS } from '../plan/firewall.ts';
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

/** Whether one of ours has gone, or may bear another name: of that the kernel tells the new one alone. */
export function isOddChain({ chain, deleted }: { chain: string; deleted: boolean }): boolean {
  const ours: readonly string[] = [...Object.values(CHAINS), ...Object.values(BRIDGE_CHAINS)];
  return deleted ? chain.startsWith(CHAIN_PREFIX) && ours.includes(chain) : !ours.includes(chain);
}
