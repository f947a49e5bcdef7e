import { CHAIN_MARK, ownFirewall } from '../kernel/firewall.ts';
import { parseInterfaces } from '../kernel/interface.ts';
import type { Snapshot } from '../kernel/snapshot.ts';
import type { KernelState } from '../kernel/state.ts';

/** Something in the kernel that bears netnsd's mark and that the store knows nothing of. */
export interface Unrecorded {
  namespace: string;
  type: 'interface' | 'rule';
  /** The interface's name, or the rule as `iptables-save` prints it. */
  name: string;
}

/** What bears our marks in a snapshot and is not in a state of all that is recorded. */
export function unrecordedIn(snapshot: Snapshot, want: KernelState): Unrecorded[] {
  return [...unknownDevices(snapshot, want), ...unknownRules(snapshot, want)];
}

/** A device is known by its name and its MAC address: one that was renamed, or was given another address, still is. */
function unknownDevices({ inside }: Snapshot, want: KernelState): Unrecorded[] {
  const devices = [...want.devices.values()];
  const names = new Set(devices.map(({ namespace, name }) => `${namespace} ${name}`));
  const macs = new Set(devices.map(({ mac }) => mac));
  return [...inside].flatMap(([namespace, { interfaces }]) =>
    parseInterfaces([...interfaces.values()])
      .filter(({ ours, name, mac }) => ours && !names.has(`${namespace} ${name}`) && !macs.has(mac ?? ''))
      .map(({ name }) => ({ namespace, type: 'interface' as const, name })),
  );
}

function unknownRules(snapshot: Snapshot, want: KernelState): Unrecorded[] {
  const known = new Set(
    [...want.firewalls.values()].flatMap(({ rules }) => [...rules.values()].map(({ comment }) => comment)),
  );
  return markedRules(snapshot)
    .filter(({ comment }) => !known.has(comment))
    .map(({ namespace, chain, spec }) => ({ namespace, type: 'rule' as const, name: `-A ${chain} ${spec}` }));
}

/** The rules of resources; those that belong to a chain are everywhere the same. */
export function markedRules({
  firewalls,
}: Snapshot): { namespace: string; chain: string; spec: string; comment: string }[] {
  return [...firewalls].flatMap(([key, saved]) => {
    const [namespace = '', family] = key.split(' ');
    const { rules } = ownFirewall(namespace, family === '6' ? 6 : 4, saved);
    return [...rules.values()]
      .filter(({ comment }) => !comment.startsWith(CHAIN_MARK))
      .map(({ chain, spec, comment }) => ({ namespace, chain, spec, comment }));
  });
}
