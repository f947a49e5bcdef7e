import type { Device, KernelState } from '../kernel/state.ts';
import { refText, type Difference, type Ref } from '../schemas/common.ts';
import type {
  EndIntent,
  EndName,
  LinkAssigned,
  LinkIntent,
  ObservedEnd,
  ObservedLink,
} from '../schemas/link.ts';
import type { Placed } from '../schemas/resource.ts';
import { asPort } from './bridge-firewall.ts';
import { compileOptions, compileSysctls, differencesOfOptions } from './end.ts';
import { resourceIn, type Intent } from './intent.ts';
import { differencesOfInterface } from './interface.ts';
import { compileSingle, differencesOfSingle } from './link-types.ts';

/** Adds what the two ends of a link are to have to the state. */
export function compileLink(state: KernelState, link: Placed<'link'>, context: Intent): void {
  const { intent, assigned } = link;
  if (intent.type !== 'veth') {
    compileSingle(state, link, intent, context);
    return;
  }
  const own = compileEnd(link, 'own', intent, assigned.mac, context);
  const peer = compileEnd(link, 'peer', intent.peer, assigned.peerMac ?? '', context);
  state.devices.set(own.key, own);
  state.devices.set(peer.key, peer);
  compileSysctls(state, own, intent, context);
  compileSysctls(state, peer, intent.peer, context);
}

function compileEnd(
  { kind, name }: Ref,
  end: EndName,
  intent: EndIntent,
  mac: string,
  context: Intent,
): Device {
  const serves: Ref = { kind, name };
  const bridge = intent.bridge === null ? null : resourceIn(context, 'bridge', intent.bridge).intent;
  return {
    key: endKey(serves, end),
    serves,
    namespace: intent.namespace,
    name: intent.interface,
    mac,
    mtu: intent.mtu,
    up: intent.up,
    master: bridge?.interface ?? null,
    addresses: intent.addresses,
    routes: intent.up ? intent.routes : [],
    ...compileOptions(asPort(intent, bridge)),
    kind: { type: 'veth', peer: endKey(serves, end === 'own' ? 'peer' : 'own') },
  };
}

/** The key of the device at one end of a link. */
export function endKey(link: Ref, end: EndName): string {
  return `${refText(link)} ${end}`;
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
