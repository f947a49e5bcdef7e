import { readFileSync } from 'node:fs';
import {
  macvlanModes,
  openersOf,
  type ObservedKindFields,
  type SingleIntent,
} from '../schemas/link-types.ts';
import { parseInterfaces, type KernelInterface } from './interface.ts';
import { numberOrNull, text } from './json-fields.ts';
import type { Answer, Read } from './sessions.ts';
import type { Inside } from './snapshot.ts';
import type { Device, KernelState, SingleKind } from './state.ts';

/** What is read of a link of one end beside its own interface: the parent, by which index that goes. */
export function readsOfBase(intent: SingleIntent): Read[] {
  if (intent.type !== 'macvlan' || intent.parentNamespace === intent.namespace) return [];
  return [{ namespace: intent.parentNamespace, lines: [`address show dev ${intent.parent}`], sysctls: [] }];
}

/** What the kernel has of the fields of a link's type; `base` is the answer to `readsOfBase`, if it was asked. */
export function parseKindFields(
  intent: SingleIntent,
  found: KernelInterface | undefined,
  base: Answer | null,
): ObservedKindFields {
  if (found === undefined) return {};
  switch (intent.type) {
    case 'macvlan': {
      const parents = parseInterfaces(base?.shown[0] ?? []);
      const parent = parents.find(({ name }) => name === intent.parent);
      return { parent: parentName(found, parent), mode: text(found.kindData['mode']) };
    }
    case 'vxlan': {
      const { by, ...options } = vxlanIn(found);
      return { ...options, device: by };
    }
    case 'tap':
      return tapIn(found, openersOf(intent));
  }
}

/** Seen from another namespace, the parent is told by its index alone (IFLA_LINK). */
function parentName(found: KernelInterface, parent: KernelInterface | undefined): string | null {
  if (found.peerName !== null) return found.peerName;
  return parent !== undefined && found.peerIndex === parent.index ? parent.name : null;
}

function vxlanIn({ kindData }: KernelInterface) {
  return {
    id: numberOrNull(kindData['id']),
    remote: text(kindData['remote']) ?? text(kindData['remote6']),
    group: text(kindData['group']) ?? text(kindData['group6']),
    port: numberOrNull(kindData['port']),
    by: text(kindData['link']),
  };
}

/** What `ip` names by a name that can't be found out is taken to be as wanted: it knows more than files. */
function tapIn(
  { kindData }: KernelInterface,
  wanted: { owner: number | null; group: number | null },
): { owner: number | null; group: number | null } {
  return {
    owner: idIn(kindData['user'], '/etc/passwd', wanted.owner),
    group: idIn(kindData['group'], '/etc/group', wanted.group),
  };
}

/** `ip` prints the name of a user or group that has one, passwd(5) and group(5), and else the number. */
function idIn(value: unknown, file: string, wanted: number | null): number | null {
  if (typeof value !== 'string') return numberOrNull(value);
  for (const line of readLines(file)) {
    const [name, , id] = line.split(':');
    if (name === value && id !== undefined && /^\d+$/.test(id)) return Number(id);
  }
  return wanted;
}

/** Without the file, `ip` has the names from elsewhere. */
function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

/** Puts into a state that was read from a snapshot what its devices of one end are there. */
export function findKinds(state: KernelState, inside: ReadonlyMap<string, Inside>): void {
  for (const device of state.devices.values()) {
    if (device.kind.type === 'bridge' || device.kind.type === 'veth') continue;
    const [found] = parseInterfaces([inside.get(device.namespace)?.interfaces.get(device.name)]);
    if (found === undefined) continue;
    device.kind = kindIn(device, device.kind, found, inside);
    if (device.kind.type === 'macvlan' && device.kind.mode === 'passthru') device.mac = '';
  }
}

function kindIn(
  device: Device,
  kind: SingleKind,
  found: KernelInterface,
  inside: ReadonlyMap<string, Inside>,
): SingleKind {
  switch (kind.type) {
    case 'macvlan': {
      const mode = macvlanModes.find((each) => each === found.kindData['mode']) ?? kind.mode;
      const { namespace, name } = kind.parent;
      const [parent] = parseInterfaces([inside.get(namespace)?.interfaces.get(name)]);
      // Where the parent is not to be found, the device is better than none.
      const isOther = parent !== undefined && !isParent(device, kind.parent.namespace, found, parent);
      return { type: 'macvlan', mode, parent: isOther ? { namespace, name: '' } : kind.parent };
    }
    case 'vxlan': {
      const { id, port, ...others } = vxlanIn(found);
      return { type: 'vxlan', id: id ?? -1, port: port ?? -1, ...others };
    }
    case 'tun':
      return { ...kind, ...tapIn(found, kind) };
  }
}

function isParent(
  device: Device,
  parentNamespace: string,
  found: KernelInterface,
  parent: KernelInterface,
): boolean {
  if (device.namespace === parentNamespace) return found.peerName === parent.name;
  return found.peerName === null && found.peerIndex === parent.index;
}
