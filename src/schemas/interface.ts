import { Type, type Static } from 'typebox';
import { Statistics, formatted } from './common.ts';
import { nullable, ref, strictObject } from './object.ts';

/** An entry of `routes`: it leaves by the interface whose end it is listed at. */
export const Route = strictObject(
  {
    to: formatted('route-destination', '`default` or a network such as 10.2.0.0/16'),
    via: Type.Optional(
      nullable(
        formatted(
          'gateway',
          'the gateway; null for what is on the link itself; at an end of a veth pair `auto`, the bridge at the other end',
        ),
      ),
    ),
    metric: Type.Optional(
      nullable(
        Type.Integer({ minimum: 0, maximum: 4_294_967_295, description: 'null is the kernel’s default' }),
      ),
    ),
    src: Type.Optional(nullable(formatted('ip-address', 'the source address to prefer'))),
    table: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 4_294_967_295,
        default: 254,
        description: 'the routing table; 254 is main',
      }),
    ),
  },
  { $id: 'Route', description: 'a route, as ip-route(8) takes it' },
);
export type RouteSpec = Static<typeof Route>;

/** RT_TABLE_MAIN. */
export const DEFAULT_TABLE = 254;

/** A route with its defaults filled in. */
export interface Route {
  to: string;
  via: string | null;
  metric: number | null;
  src: string | null;
  table: number;
}

const MAC_DESCRIPTION = 'a unicast MAC address; null has one chosen once and kept';

const ADDRESS_DESCRIPTION =
  'an address with its prefix length; `auto` is one from each subnet of the bridge at the other end of a veth pair, or that a macvlan stands on';

/** The fields that bridges and both ends of a link share. */
export const interfaceFields = {
  addresses: Type.Optional(
    Type.Array(formatted('interface-address-or-auto', ADDRESS_DESCRIPTION), {
      maxItems: 64,
      uniqueItems: true,
      default: [],
    }),
  ),
  routes: Type.Optional(
    Type.Array(ref(Route), {
      maxItems: 256,
      default: [],
      description: 'put there while the interface is up',
    }),
  ),
  mtu: Type.Optional(Type.Integer({ minimum: 68, maximum: 65_535, default: 1500, description: 'in bytes' })),
  mac: Type.Optional(nullable(formatted('mac-address', MAC_DESCRIPTION))),
  up: Type.Optional(Type.Boolean({ default: true })),
};

/** The intent of `interfaceFields`, with defaults filled in. */
export interface InterfaceIntent {
  addresses: string[];
  routes: Route[];
  mtu: number;
  mac: string | null;
  up: boolean;
}

/** What the status of an interface shows of the kernel, wherever one is shown. */
export const observedInterfaceFields = {
  index: nullable(Type.Integer({ description: 'the kernel’s interface index; null if it is not there' })),
  mac: nullable(Type.String()),
  mtu: nullable(Type.Integer()),
  up: Type.Boolean({ description: 'the administrative state' }),
  operstate: nullable(
    Type.String({ description: 'RFC 2863 operational state, as /sys/class/net/*/operstate has it' }),
  ),
  addresses: Type.Array(Type.String(), {
    description: 'all of them, those of others and link-local ones too',
  }),
  statistics: nullable(ref(Statistics)),
};

export const Interface = strictObject(
  {
    index: Type.Integer(),
    name: Type.String(),
    type: Type.String({
      description: 'loopback, veth, bridge, …: the kernel’s kind, or the link layer’s where it has none',
    }),
    mac: nullable(Type.String()),
    mtu: Type.Integer(),
    up: Type.Boolean(),
    operstate: Type.String(),
    addresses: Type.Array(Type.String()),
    bridge: nullable(Type.String({ description: 'the interface name of the bridge that it is a port of' })),
    statistics: ref(Statistics),
  },
  { $id: 'Interface', description: 'an interface as the kernel has it' },
);
export type Interface = Static<typeof Interface>;

/** What the kernel has of one interface of ours; all null, down and empty if it is not there. */
export interface ObservedInterface {
  index: number | null;
  mac: string | null;
  mtu: number | null;
  up: boolean;
  operstate: string | null;
  addresses: string[];
  statistics: Static<typeof Statistics> | null;
}
