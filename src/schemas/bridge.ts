import { Type, type Static } from 'typebox';
import { familyOf, type Family } from './address.ts';
import { BridgeFirewall, BridgeFirewallSpec, type ObservedBridgeFirewall } from './bridge-firewall.ts';
import { InterfaceName, Labels, ResourceName, formatted, metaFields, statusFields } from './common.ts';
import {
  Route,
  interfaceFields,
  observedInterfaceFields,
  type InterfaceIntent,
  type ObservedInterface,
} from './interface.ts';
import { Subnet, familyOfSubnet, type SubnetAssigned } from './ipam.ts';
import { nullable, ref, strictObject } from './object.ts';
import { mergePatchSchema } from './patch.ts';

/** AGEING_MAX: the kernel keeps centiseconds in 32 bits; beyond some days the number has no use. */
const MAX_AGEING_SECONDS = 1_000_000;

/**
 * The kernel takes 1,023: BR_MAX_PORTS (net/bridge/br_private.h) is 1,024, and no port gets the number 0 (find_portno). This
 * leaves room for those that others attach.
 */
export const PORTS_PER_BRIDGE = 1_000;

/** Two IPv6 addresses have 79 characters at most. */
const AddressRange = Type.String({
  ...formatted('address-range', 'an address, or a range such as 10.1.1.200-10.1.1.255'),
  maxLength: 79,
});

const fields = {
  interface: Type.Optional(InterfaceName),
  namespace: Type.Optional(ResourceName),
  ...interfaceFields,
  stp: Type.Optional(Type.Boolean({ default: false, description: 'the spanning tree protocol' })),
  ageingSeconds: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: MAX_AGEING_SECONDS,
      default: 300,
      description: 'how long a learnt MAC address is kept, in seconds',
    }),
  ),
  subnets: Type.Optional(
    Type.Array(
      formatted('subnet', 'a network such as 10.1.1.0/24; or `auto`, `auto-ipv6`: one that nothing has'),
      {
        maxItems: 16,
        uniqueItems: true,
        default: [],
        description:
          'what addresses are given from to the other ends of links that say `auto`; the bridge is the gateway',
      },
    ),
  ),
  reserved: Type.Optional(
    Type.Array(AddressRange, {
      maxItems: 256,
      uniqueItems: true,
      default: [],
      description: 'addresses of the subnets that are given to nobody',
    }),
  ),
  firewall: Type.Optional(nullable(ref(BridgeFirewallSpec))),
  dns: Type.Optional(
    Type.Array(formatted('ip-address', 'the address of a resolver'), {
      maxItems: 3,
      uniqueItems: true,
      default: [],
      description:
        'who resolves names for the namespaces on it, by way of /etc/netns/NAME/resolv.conf; needs `subnets`',
    }),
  ),
  labels: Type.Optional(Labels),
};

export const BridgeCreate = strictObject({ name: ResourceName, ...fields }, { $id: 'BridgeCreate' });
export const BridgePut = strictObject({ name: Type.Optional(ResourceName), ...fields }, { $id: 'BridgePut' });
export type BridgeSpec = Static<typeof BridgeCreate>;

export const bridgePatch = mergePatchSchema('BridgePatch', BridgePut, [Route]);

/** The intent of a bridge, with defaults filled in. */
export interface BridgeIntent extends InterfaceIntent {
  name: string;
  interface: string;
  namespace: string;
  stp: boolean;
  ageingSeconds: number;
  /** Networks, or what says that one is to be chosen. */
  subnets: string[];
  reserved: string[];
  /** Null: none. */
  firewall: BridgeFirewall | null;
  /** Left out if there are none, as in what was recorded before there could be any. */
  dns?: string[];
  labels: Labels;
}

/** The families of which a bridge is the gateway of what is on it: by a subnet, or by its firewall and an address. */
export function gatewayFamilies({
  subnets,
  firewall,
  addresses,
}: Pick<BridgeIntent, 'subnets' | 'firewall' | 'addresses'>): Set<Family> {
  return new Set([...subnets.map(familyOfSubnet), ...(firewall === null ? [] : addresses.map(familyOf))]);
}

export interface BridgeAssigned {
  mac: string;
  /** The kernel's interface index, of when it was last made or changed. */
  index?: number;
  /** Left out if it has none. */
  subnets?: SubnetAssigned[];
  /** Whether it refuses router advertisements though it is the gateway of no IPv6 network; left out if not. */
  refusing?: true;
}

export const BridgeStatus = strictObject(
  {
    ...statusFields,
    ...observedInterfaceFields,
    bridgeId: nullable(Type.String({ description: 'priority and MAC address, as `brctl show` prints it' })),
    stp: Type.Boolean(),
    ports: Type.Array(Type.String(), { description: 'interface names, in order' }),
    subnets: Type.Optional(Type.Array(ref(Subnet), { description: 'left out if it has none' })),
    rules: Type.Optional(
      Type.Array(Type.String(), {
        description: 'where there is a firewall: its rules as iptables-save prints them, IPv4 first',
      }),
    ),
  },
  { $id: 'BridgeStatus' },
);

export const Bridge = strictObject(
  {
    name: Type.String(),
    interface: Type.String(),
    namespace: Type.String(),
    addresses: Type.Array(Type.String()),
    routes: Type.Array(ref(Route)),
    stp: Type.Boolean(),
    ageingSeconds: Type.Integer(),
    subnets: Type.Array(Type.String()),
    reserved: Type.Array(Type.String()),
    dns: Type.Array(Type.String()),
    mtu: Type.Integer(),
    mac: nullable(Type.String()),
    up: Type.Boolean(),
    firewall: nullable(ref(BridgeFirewall)),
    labels: Labels,
    ...metaFields,
    status: ref(BridgeStatus),
  },
  { $id: 'Bridge', description: 'a Linux bridge' },
);

export const ForeignBridge = strictObject(
  {
    name: Type.String(),
    interface: Type.String(),
    namespace: Type.String(),
    managed: Type.Literal(false),
    status: ref(BridgeStatus),
  },
  { $id: 'ForeignBridge', description: 'a bridge that netnsd has not made' },
);

/** What the kernel has of a bridge. */
export interface ObservedBridge extends ObservedInterface {
  bridgeId: string | null;
  stp: boolean;
  ageingSeconds: number | null;
  ports: string[];
  routes: Route[];
  /** Of its own sysctls those that netnsd itself sets, by keys like those of an end; left out if not asked about. */
  sysctls?: Record<string, string>;
  /** Null or absent where it was not looked at. */
  firewall?: ObservedBridgeFirewall | null;
}
