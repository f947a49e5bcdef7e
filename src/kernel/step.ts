import type { Family } from '../schemas/address.ts';
import type { Ref } from '../schemas/common.ts';
import type { Route } from '../schemas/interface.ts';
import type { MacvlanMode } from '../schemas/link-types.ts';
import type { Chain, DeviceRef, Rule, TapOptions, VxlanOptions } from './state.ts';

/** One change of the kernel, as data. What runs it is `render.ts` and `run.ts`. */
export type Step = {
  [K in keyof StepFields]: { step: K; serves: Ref } & StepFields[K];
}[keyof StepFields];

export type StepName = keyof StepFields;
export type StepOf<K extends StepName> = Extract<Step, { step: K }>;

interface OnDevice {
  device: DeviceRef;
}

/** What is to be changed of a port of a bridge; the rest stays. */
interface PortFlags {
  isolated?: boolean;
  hairpin?: boolean;
}

interface StepFields {
  /** Makes a namespace (`pid` null) or binds the name to the one that a process is in. */
  'namespace.add': { namespace: string; pid: number | null };
  'namespace.delete': { namespace: string };
  /** Gives it an id in the daemon's own namespace, so that its events are told there (ip-monitor(8), all-nsid). */
  'namespace.identify': { namespace: string };
  'loopback.up': { namespace: string };
  'bridge.add': OnDevice & { mac: string; mtu: number; stp: boolean; ageingSeconds: number };
  'bridge.set': OnDevice & { stp: boolean; ageingSeconds: number };
  /** Makes both ends, each in its own namespace; the bridge, if given, is where `device` is. */
  'veth.add': OnDevice & {
    mac: string;
    mtu: number;
    master: string | null;
    peer: DeviceRef & { mac: string; mtu: number };
  };
  /** Made where its parent is, and put where it belongs in the same message. */
  'macvlan.add': OnDevice & { mac: string; mode: MacvlanMode; parent: DeviceRef };
  'macvlan.set': OnDevice & { mode: MacvlanMode };
  'vxlan.add': OnDevice & { mac: string } & VxlanOptions;
  /** Makes it under the name `maker`; `tap.name` marks it and gives it its own. */
  'tap.add': OnDevice & TapOptions;
  'tap.name': OnDevice & { maker: string; mac: string };
  'device.delete': OnDevice & {
    /** The other end, which goes with it. */
    peer: DeviceRef | null;
    /** What it stands on, and all with which that would go. */
    bases?: DeviceRef[];
  };
  'device.up': OnDevice;
  'device.down': OnDevice;
  'device.mtu': OnDevice & { mtu: number };
  'device.mac': OnDevice & { mac: string };
  'device.rename': OnDevice & { name: string };
  /** Into another namespace, there under a name of its own. */
  'device.move': OnDevice & { to: DeviceRef };
  /** Marks a device as netnsd's, or gives it the group back that it had; null is netnsd's. */
  'device.group': OnDevice & { group: string | null };
  'device.queue': OnDevice & { txQueueLength: number };
  'port.set': OnDevice & PortFlags;
  /** Makes the shaper of a device, or changes it if it is there (`isNew` false); its burst goes by the MTU. */
  'rate.set': OnDevice & { egressKbit: number; mtu: number; isNew: boolean };
  'rate.delete': OnDevice;
  /** Makes the place at which all that a device receives meets filters (tc(8), `ingress`), and takes it away with them. */
  'ingress.add': OnDevice;
  'ingress.delete': OnDevice;
  /** Has what comes faster dropped. The kernel can't change such a filter: it goes, and another one comes. */
  'police.add': OnDevice & { ingressKbit: number };
  'police.delete': OnDevice;
  'offload.set': OnDevice & { checksum: boolean };
  'port.attach': OnDevice & { master: string };
  'port.detach': OnDevice;
  'address.add': OnDevice & { address: string };
  'address.delete': OnDevice & { address: string };
  'route.add': OnDevice & { route: Route };
  'route.delete': OnDevice & { route: Route };
  /** Puts it where another one stands that leaves by the same device: of that destination, metric and table. */
  'route.replace': OnDevice & { route: Route };
  /** The same for a route that is there; null is netnsd's own protocol. */
  'route.protocol': OnDevice & { route: Route; protocol: string | null };
  /** Forgets what conntrack knows of UDP to a published port, so that the next packet meets the rules as they are. */
  'flows.delete': {
    namespace: string;
    family: Family;
    address: string | null;
    ports: { first: number; last: number };
  };
  /** The same for UDP from a network, the source of which was translated by other rules before. */
  'flows.deleteFrom': { namespace: string; family: Family; network: string };
  /** `device` is the interface that it is of, if that is netnsd's. */
  'sysctl.set': { namespace: string; key: string; value: string; device?: DeviceRef };
  /** Makes the chain, or empties it and writes its fixed rules anew. */
  'chain.set': { namespace: string; family: Family; chain: Chain };
  'chain.delete': { namespace: string; family: Family; chain: Chain };
  'rule.add': { namespace: string; family: Family; rule: Rule };
  'rule.delete': {
    namespace: string;
    family: Family;
    rule: Rule;
    /** Its place in its chain, if it is to be deleted by that rather than by what it says; from 1. */
    number?: number;
  };
}
