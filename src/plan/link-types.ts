import { createHash } from 'node:crypto';
import type { Device, DeviceRef, KernelState, SingleKind } from '../kernel/state.ts';
import type { Step } from '../kernel/step.ts';
import type { Difference } from '../schemas/common.ts';
import type { LinkAssigned, ObservedSingle } from '../schemas/link.ts';
import { openersOf, optionNames, type ObservedKindFields, type SingleIntent } from '../schemas/link-types.ts';
import type { Placed } from '../schemas/resource.ts';
import { compileEnd, differencesOfOptions, differencesOfRates, endKey } from './end.ts';
import type { Intent } from './intent.ts';
import { differencesOfInterface } from './interface.ts';

/** Adds what a link of one end is to have to the state. */
export function compileSingle(
  state: KernelState,
  link: Placed<'link'>,
  intent: SingleIntent,
  context: Intent,
): void {
  const { mac } = link.assigned;
  const kind = singleKind(intent, makerOf(endKey(link, 'own'), mac));
  compileEnd(state, link, 'own', { mac, kind }, context);
}

/** @param maker the name under which it is made if it is a tap */
function singleKind(intent: SingleIntent, maker: string): SingleKind {
  switch (intent.type) {
    case 'macvlan': {
      const { type, mode, parent, parentNamespace } = intent;
      return { type, mode, parent: { namespace: parentNamespace, name: parent } };
    }
    case 'vxlan': {
      const { type, id, remote, group, port, device } = intent;
      return { type, id, remote, group, port, by: device };
    }
    case 'tap':
      return { type: 'tun', ...openersOf(intent), maker };
  }
}

/**
 * The name under which a tap is made, before it is marked and gets its own in one message: `ip tuntap add` can't mark
 * what it makes. Nobody else comes to use it by chance (it is made from a MAC address that was chosen by chance or given
 * to this one tap), so whatever bears it is what netnsd began to make.
 */
function makerOf(key: string, mac: string): string {
  return `nt${createHash('sha256').update(`${key} ${mac}`).digest('hex').slice(0, MAKER_DIGITS)}`;
}

/** With the two letters before them as long as an interface name may be less one. */
const MAKER_DIGITS = 12;

/** The interface that a device stands on, and goes with. */
export function baseOf({ namespace, kind }: Device): DeviceRef | null {
  if (kind.type === 'macvlan') return kind.parent;
  return kind.type === 'vxlan' && kind.by !== null ? { namespace, name: kind.by } : null;
}

/** All the interfaces with any of which a device goes: what it stands on, what that stands on, and their peers. */
export function basesOf(device: Device, { devices }: KernelState): DeviceRef[] {
  const all = [...devices.values()];
  const bases = new Map<string, DeviceRef>();
  const add = (place: DeviceRef | null | undefined): void => {
    if (place === null || place === undefined || bases.has(placeText(place))) return;
    bases.set(placeText(place), { namespace: place.namespace, name: place.name });
    const found = all.find((each) => placeText(each) === placeText(place));
    if (found === undefined) return;
    add(baseOf(found));
    if (found.kind.type === 'veth') add(devices.get(found.kind.peer));
  };
  add(baseOf(device));
  return [...bases.values()];
}

/** How a device is known where others stand on it. */
export function placeText({ namespace, name }: DeviceRef): string {
  return `${namespace} ${name}`;
}

/**
 * How many devices of the state are under each, by key: first comes what others stand on, and it goes last. Links of one
 * end come after those of two.
 */
export function depthsOf({ devices }: KernelState): Map<string, number> {
  const byPlace = new Map([...devices.values()].map((device) => [placeText(device), device]));
  const depths = new Map<string, number>();
  const depthOf = (device: Device): number => {
    const known = depths.get(device.key);
    if (known !== undefined) return known;
    // What stands on itself, by whatever way, can't be made anyway.
    depths.set(device.key, 0);
    const base = baseOf(device);
    const under = base === null ? undefined : byPlace.get(placeText(base));
    const depth = isSingle(device.kind) ? 1 + (under === undefined ? 0 : depthOf(under)) : 0;
    depths.set(device.key, depth);
    return depth;
  };
  for (const device of devices.values()) depthOf(device);
  return depths;
}

export function isSingle(kind: Device['kind']): kind is SingleKind {
  return kind.type !== 'veth' && kind.type !== 'bridge';
}

type What = Pick<Device, 'namespace' | 'kind'>;

/** Whether the one can be changed into the other; most of what a device is was said when it was made. */
export function canBecome(have: What, want: What): boolean {
  const [a, b] = [have.kind, want.kind];
  if (a.type === 'macvlan' && b.type === 'macvlan') {
    const isPassthru = [a.mode, b.mode].map((mode) => mode === 'passthru');
    return placeText(a.parent) === placeText(b.parent) && isPassthru[0] === isPassthru[1];
  }
  if (a.type === 'tun' && b.type === 'tun') return a.owner === b.owner && a.group === b.group;
  if (a.type !== 'vxlan' || b.type !== 'vxlan') return false;
  // Its socket stays where it was made (drivers/net/vxlan).
  return (
    have.namespace === want.namespace &&
    a.id === b.id &&
    a.remote === b.remote &&
    a.group === b.group &&
    a.port === b.port &&
    a.by === b.by
  );
}

/** Adds the steps that make the device, and gives what is there then. */
export function addSingle(device: Device, kind: SingleKind, adds: Step[]): Device {
  const { options: _options, ...plain } = device;
  const { serves, mac, namespace, name } = plain;
  const at = { serves, device: { namespace, name } };
  const made = { ...plain, master: null, up: false, addresses: [], routes: [] };
  switch (kind.type) {
    case 'macvlan':
      adds.push({ step: 'macvlan.add', ...at, mac, mode: kind.mode, parent: kind.parent });
      // That of its parent: only a change of it is held against the parent's (macvlan_change_mtu).
      return { ...made, mtu: 0 };
    case 'vxlan': {
      const { type: _type, ...options } = kind;
      adds.push({ step: 'vxlan.add', ...at, mac, ...options });
      // In the message that makes it, one that is too large for its device is made smaller without a word.
      return { ...made, mtu: 0 };
    }
    case 'tun': {
      const { maker, owner, group } = kind;
      adds.push({ step: 'tap.add', ...at, maker, owner, group }, { step: 'tap.name', ...at, maker, mac });
      return { ...made, mtu: MADE_MTU };
    }
  }
}

/** ETH_DATA_LEN, which the kernel gives a new tap. */
const MADE_MTU = 1500;

/** The steps that change what the device is. */
export function optionChangesOfSingle(have: Device, want: Device): Step[] {
  if (have.kind.type !== 'macvlan' || want.kind.type !== 'macvlan') return [];
  const { mode } = want.kind;
  if (have.kind.mode === mode) return [];
  const { serves, namespace, name } = want;
  return [{ step: 'macvlan.set', serves, device: { namespace, name }, mode }];
}

/** Whether a change of the intent makes the device anew. */
export function isMadeAnew(before: SingleIntent, after: SingleIntent): boolean {
  // The name under which a tap is made says nothing of what it is.
  const whatOf = (intent: SingleIntent): What => ({
    namespace: intent.namespace,
    kind: singleKind(intent, ''),
  });
  return !canBecome(whatOf(before), whatOf(after));
}

/** The fields that say what it is. */
function optionsOf(intent: SingleIntent): ObservedKindFields {
  const openers = intent.type === 'tap' ? openersOf(intent) : {};
  const fields = new Map<string, unknown>(Object.entries({ ...intent, ...openers }));
  return Object.fromEntries(
    optionNames[intent.type].map((name) => {
      const value = fields.get(name);
      return [name, typeof value === 'string' || typeof value === 'number' ? value : null];
    }),
  );
}

/** Where the kernel differs from what was asked of a link of one end; `master` is the interface name of its bridge. */
export function differencesOfSingle(
  intent: SingleIntent,
  { mac }: LinkAssigned,
  observed: ObservedSingle,
  master: string | null,
): Difference[] {
  const expected = mac === '' ? (observed.mac ?? '') : mac;
  const differences = differencesOfInterface('', intent, expected, observed);
  if (observed.index === null) return differences;
  if (observed.bridge !== master)
    differences.push({ path: '/bridge', intended: master, observed: observed.bridge });
  differences.push(
    ...differencesOfOptions('', intent, observed.options),
    ...differencesOfRates(intent, observed),
  );
  for (const [name, intended] of Object.entries(optionsOf(intent))) {
    const found = observed.kindFields[name] ?? null;
    if (found !== intended) differences.push({ path: `/${name}`, intended, observed: found });
  }
  return differences;
}
