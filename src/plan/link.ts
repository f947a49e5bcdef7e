import type { KernelState } from '../kernel/state.ts';
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
import { compileEnd, differencesOfOptions, endKey } from './end.ts';
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
  const [own, peer] = [endKey(link, 'own'), endKey(link, 'peer')];
  const { mac, peerMac = '' } = assigned;
  compileEnd(state, { link, key: own, mac, kind: { type: 'veth', peer } }, intent, context);
  compileEnd(
    state,
    { link, key: peer, mac: peerMac, kind: { type: 'veth', peer: own } },
    intent.peer,
    context,
  );
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
