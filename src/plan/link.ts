import type { Device, KernelState } from '../kernel/state.ts';
import type { Difference } from '../schemas/common.ts';
import type {
  EndIntent,
  EndName,
  LinkAssigned,
  LinkIntent,
  ObservedEnd,
  ObservedLink,
} from '../schemas/link.ts';
import type { Placed } from '../schemas/resource.ts';
import { compileEnd, differencesOfOptions, differencesOfRates, endKey } from './end.ts';
import type { Intent } from './intent.ts';
import { differencesOfInterface } from './interface.ts';
import { compileSingle, differencesOfSingle } from './link-types.ts';

/** Adds what the two ends of a link are to have to the state. */
export function compileLink(state: KernelState, link: Placed<'link'>, context: Intent): void {
  const { intent, assigned } = link;
  if (intent.type !== 'veth') {
    compileSingle(state, link, intent, context);
    return;
  }
  const { mac, peerMac = '' } = assigned;
  const kindTo = (peer: EndName): Device['kind'] => ({ type: 'veth', peer: endKey(link, peer) });
  compileEnd(state, link, 'own', { mac, kind: kindTo('peer') }, context);
  compileEnd(state, link, 'peer', { mac: peerMac, kind: kindTo('own') }, context);
}

/** Where the kernel differs from what was asked of a link; `masters` are the interface names of its bridges. */
export function differencesOfLink(
  intent: LinkIntent,
  assigned: LinkAssigned,
  observed: ObservedLink,
  masters: Record<EndName, string | null>,
): Difference[] {
  if (intent.type !== 'veth' || !('peer' in observed))
    return intent.type !== 'veth' && 'kindFields' in observed
      ? differencesOfSingle(intent, assigned, observed, masters.own)
      : [];
  return [
    ...differencesOfEnd('', intent, assigned.mac, observed, masters.own),
    ...differencesOfEnd('/peer', intent.peer, assigned.peerMac ?? '', observed.peer, masters.peer),
    ...differencesOfRates(intent, observed),
  ];
}

function differencesOfEnd(
  at: string,
  intent: EndIntent,
  mac: string,
  observed: ObservedEnd,
  master: string | null,
): Difference[] {
  const differences = differencesOfInterface(at, intent, mac, observed);
  if (observed.index !== null && observed.bridge !== master)
    differences.push({ path: `${at}/bridge`, intended: master, observed: observed.bridge });
  differences.push(...differencesOfOptions(at, intent, observed.options));
  return differences;
}
