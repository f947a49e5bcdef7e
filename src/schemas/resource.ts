import type { BridgeAssigned, BridgeIntent, ObservedBridge } from './bridge.ts';
import type { Kind, Ref } from './common.ts';
import type { LinkAssigned, LinkIntent, ObservedLink } from './link.ts';
import type { NamespaceAssigned, NamespaceIntent, ObservedNamespace } from './namespace.ts';
import type { NatAssigned, NatIntent, ObservedNat } from './nat.ts';

/** By kind: what was asked for, what netnsd chose itself, what the kernel has. */
interface Types {
  namespace: { intent: NamespaceIntent; assigned: NamespaceAssigned; observed: ObservedNamespace };
  bridge: { intent: BridgeIntent; assigned: BridgeAssigned; observed: ObservedBridge };
  link: { intent: LinkIntent; assigned: LinkAssigned; observed: ObservedLink };
  nat: { intent: NatIntent; assigned: NatAssigned; observed: ObservedNat };
}

export type IntentOf<K extends Kind> = Types[K]['intent'];
export type AssignedOf<K extends Kind> = Types[K]['assigned'];
export type ObservedOf<K extends Kind> = Types[K]['observed'];

/** A resource as plans see it: what was asked for, with what was chosen. */
export interface Placed<K extends Kind = Kind> extends Ref {
  kind: K;
  intent: IntentOf<K>;
  assigned: AssignedOf<K>;
}

/** A placed resource whose kind tells the types of its fields. */
export type AnyPlaced = { [K in Kind]: Placed<K> }[Kind];
