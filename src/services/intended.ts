import type { ResourceRepository, Stored } from '../db/resources.ts';
import { DEVICE_GROUP } from '../kernel/marks.ts';
import type { LinkEvent } from '../kernel/monitor-text.ts';
import { sysctlsOfBridge } from '../plan/bridge-sysctls.ts';
import { resolvedBridge, resolvedLink } from '../plan/ipam.ts';
import type { InterfaceIntent } from '../schemas/interface.ts';

/** An interface of a resource, as it is to be, and by which index it was last seen. */
export interface Intended extends InterfaceIntent {
  interface: string;
  namespace: string;
  /** The bridge that it is a port of, by its resource name. */
  bridge: string | null;
  assignedMac: string;
  stp: boolean | null;
  ageingSeconds: number | null;
  /** By keys like those of an end; left out for none. */
  sysctls?: Record<string, string>;
  index: number | null;
}

/** But for what it is a port of. */
export function isAsIntended(end: Intended, event: LinkEvent): boolean {
  return (
    event.group === DEVICE_GROUP &&
    (end.index === null || end.index === event.index) &&
    event.up === end.up &&
    event.mtu === end.mtu &&
    (event.mac === end.assignedMac || end.assignedMac === '') &&
    (end.stp === null || event.stp === end.stp) &&
    (end.ageingSeconds === null || event.ageingSeconds === end.ageingSeconds)
  );
}

export function intendedOfBridge(stored: Stored<'bridge'> | null): Intended[] {
  if (stored === null) return [];
  const { assigned, observed } = stored;
  const intent = resolvedBridge(stored.intent, assigned);
  const sysctls = sysctlsOfBridge(intent, assigned);
  return [{ ...intent, sysctls, bridge: null, assignedMac: assigned.mac, index: observed?.index ?? null }];
}

export function intendedOfLink(stored: Stored<'link'> | null): Intended[] {
  if (stored === null) return [];
  const { assigned, observed } = stored;
  const intent = resolvedLink(stored.intent, assigned);
  const noBridge = { stp: null, ageingSeconds: null };
  const own = { ...intent, ...noBridge, assignedMac: assigned.mac, index: observed?.index ?? null };
  if (intent.type !== 'veth') return [own];
  const { peerMac: assignedMac = '' } = assigned;
  const index = observed !== null && 'peer' in observed ? observed.peer.index : null;
  return [own, { ...intent.peer, ...noBridge, assignedMac, index }];
}

export function hasAddress(namespace: string, address: string): (end: Intended) => boolean {
  return (end) => end.namespace === namespace && end.addresses.includes(address);
}

/** A device as it was to be when the watch began. */
export interface DeviceAtStart {
  name: string;
  up: boolean;
}

/** By `NAMESPACE INDEX`: what was told of none yet is taken to have been as it was to be. */
export function devicesAtStart(resources: ResourceRepository): Map<string, DeviceAtStart> {
  const everything = { after: null, limit: -1, labels: [], references: [] };
  const ends = [
    ...resources.list('bridge', everything).flatMap(intendedOfBridge),
    ...resources.list('link', everything).flatMap(intendedOfLink),
  ];
  return new Map(
    ends.flatMap(({ up, namespace, interface: name, index }) =>
      index === null ? [] : [[`${namespace} ${index}`, { name, up }] as const],
    ),
  );
}
