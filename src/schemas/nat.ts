import { Type, type Static, type TProperties } from 'typebox';
import { familyOf, type Family } from './address.ts';
import { InterfaceName, Labels, ResourceName, formatted, metaFields, statusFields } from './common.ts';
import { byType, nullable, ref, strictObject } from './object.ts';
import { mergePatchSchema } from './patch.ts';
import { IPV4_FORWARDING } from './sysctl.ts';

const forwardModes = ['established', 'any', 'none'] as const;

const common = {
  namespace: Type.Optional(ResourceName),
  labels: Type.Optional(Labels),
};

function familyChoice(description: string) {
  return nullable(Type.Union([Type.Literal(4), Type.Literal(6)], { description }));
}

const outgoing = {
  source: Type.Optional(
    nullable(formatted('ip-network', 'the network whose traffic is translated; this or `bridge`')),
  ),
  bridge: Type.Optional(
    nullable(
      Type.String({
        ...ResourceName,
        description:
          'in place of `source` and `inInterface`: the networks of this bridge of the namespace, as they are at any time',
      }),
    ),
  ),
  family: Type.Optional(familyChoice('with `bridge`: which of its networks; 4 if it is left out')),
  inInterface: Type.Optional(nullable(InterfaceName)),
  outInterface: Type.Optional(
    nullable({ ...InterfaceName, description: 'where it leaves; null is every interface but `inInterface`' }),
  ),
  forward: Type.Optional(
    Type.Enum([...forwardModes], {
      default: 'established',
      description:
        'what may come in to `source` by forwarding: `established` is replies and what a dnat rule publishes; `any` is everything; `none` makes no forwarding rule at all',
    }),
  ),
};

const target = strictObject(
  {
    address: Type.Optional(nullable(formatted('ip-address', 'where it goes; this or `link`'))),
    link: Type.Optional(
      nullable(
        Type.String({
          ...ResourceName,
          description:
            'a link to whose address it goes, whatever that is at the time: the first one of the family of an end outside this namespace, of `peer` if it has one',
        }),
      ),
    ),
    family: Type.Optional(
      familyChoice(
        'with `link`: which of its addresses; if it is left out, that of `address` beside `to`, or 4',
      ),
    ),
    port: Type.Optional(
      nullable(formatted('port-range', 'one port, or a range as long as `port`; null is the same port')),
    ),
  },
  { $id: 'NatTarget' },
);

const perType = {
  masquerade: outgoing,
  snat: { ...outgoing, toAddress: formatted('ip-address', 'the source address that it gets') },
  dnat: {
    protocol: Type.Enum(['tcp', 'udp', 'sctp']),
    port: formatted(
      'published-port',
      'the published port or range; `auto` takes a free one of 30000-32767, which `status.port` tells and the rule keeps',
    ),
    address: Type.Optional(
      nullable(formatted('ip-address', 'the published address; null is every local one')),
    ),
    inInterface: Type.Optional(nullable(InterfaceName)),
    to: ref(target),
  },
};

function variants<N extends TProperties>(name: N, suffix: string) {
  return [
    strictObject(
      { ...name, type: Type.Literal('masquerade'), ...perType.masquerade, ...common },
      { $id: `Masquerade${suffix}` },
    ),
    strictObject(
      { ...name, type: Type.Literal('snat'), ...perType.snat, ...common },
      { $id: `Snat${suffix}` },
    ),
    strictObject(
      { ...name, type: Type.Literal('dnat'), ...perType.dnat, ...common },
      { $id: `Dnat${suffix}` },
    ),
  ] as const;
}

const [MasqueradeCreate, SnatCreate, DnatCreate] = variants({ name: ResourceName }, 'Create');
const [MasqueradePut, SnatPut, DnatPut] = variants({ name: Type.Optional(ResourceName) }, 'Put');

export type DnatSpec = Static<typeof DnatCreate>;
export type NatSpec = Static<typeof MasqueradeCreate> | Static<typeof SnatCreate> | Static<typeof DnatCreate>;

export const NatCreate = byType<NatSpec>('NatCreate', [MasqueradeCreate, SnatCreate, DnatCreate]);
export const NatPut = byType<NatSpec>('NatPut', [MasqueradePut, SnatPut, DnatPut]);

export const natPatch = mergePatchSchema('NatPatch', NatPut, [target, MasqueradePut, SnatPut, DnatPut]);

interface NatIntentBase {
  name: string;
  namespace: string;
  labels: Labels;
}

interface OutgoingIntent extends NatIntentBase {
  /** Null if `bridge` is given. */
  source: string | null;
  bridge?: string;
  family?: Family;
  inInterface: string | null;
  outInterface: string | null;
  forward: (typeof forwardModes)[number];
}

export interface MasqueradeIntent extends OutgoingIntent {
  type: 'masquerade';
}

export interface SnatIntent extends OutgoingIntent {
  type: 'snat';
  toAddress: string;
}

export interface DnatIntent extends NatIntentBase {
  type: 'dnat';
  protocol: 'tcp' | 'udp' | 'sctp';
  port: string;
  address: string | null;
  inInterface: string | null;
  /** An address, or a link and the family of its address. */
  to: { address?: string; link?: string; family?: Family; port: string };
}

/** The intent of an address-translation rule, with defaults filled in. */
export type NatIntent = MasqueradeIntent | SnatIntent | DnatIntent;

/** What is behind the names in a rule, as it was when the rule or what it names was last changed; all may lack. */
export interface NatAssigned {
  /** The port that was taken for `auto`. */
  port?: string;
  /** The address of the link. */
  address?: string;
  /** The bridge, or end of the link, that the target's network is at in this namespace. */
  via?: Via;
  /** The networks of the bridge, and its interface. */
  sources?: string[];
  inInterface?: string;
}

export interface Via {
  interface: string;
  /** That the target is in. */
  network: string;
  /** The further ones of the family at the interface; left out if there are none. */
  others?: string[];
}

const NatStatus = strictObject(
  {
    ...statusFields,
    packets: Type.Integer({ description: 'that met the translating rule' }),
    bytes: Type.Integer(),
    port: Type.Optional(Type.String({ description: 'of a dnat rule: the port that is published' })),
    address: Type.Optional(Type.String({ description: 'of a dnat rule: the address that it leads to' })),
    rules: Type.Array(Type.String(), { description: 'the rules as iptables-save prints them' }),
  },
  { $id: 'NatStatus' },
);

const answerFields = {
  name: Type.String(),
  namespace: Type.String(),
  labels: Labels,
  ...metaFields,
  status: ref(NatStatus),
};
const outgoingAnswer = {
  source: nullable(Type.String()),
  bridge: Type.Optional(Type.String()),
  family: Type.Optional(Type.Integer()),
  inInterface: nullable(Type.String()),
  outInterface: nullable(Type.String()),
  forward: Type.Enum([...forwardModes]),
};

const answers = [
  strictObject(
    { type: Type.Literal('masquerade'), ...outgoingAnswer, ...answerFields },
    { $id: 'Masquerade' },
  ),
  strictObject(
    { type: Type.Literal('snat'), ...outgoingAnswer, toAddress: Type.String(), ...answerFields },
    { $id: 'Snat' },
  ),
  strictObject(
    {
      type: Type.Literal('dnat'),
      protocol: Type.Enum(['tcp', 'udp', 'sctp']),
      port: Type.String(),
      address: nullable(Type.String()),
      inInterface: nullable(Type.String()),
      to: strictObject({
        address: Type.Optional(Type.String()),
        link: Type.Optional(Type.String()),
        family: Type.Optional(Type.Integer()),
        port: Type.String(),
      }),
      ...answerFields,
    },
    { $id: 'Dnat' },
  ),
];

export const Nat = byType<NatSpec>('Nat', answers);

export const natSchemas = [
  target,
  MasqueradeCreate,
  SnatCreate,
  DnatCreate,
  MasqueradePut,
  SnatPut,
  DnatPut,
  NatStatus,
  ...answers,
];

/** What the kernel has of a rule: counters, and the rules that carry its mark. */
export interface ObservedNat {
  packets: number;
  bytes: number;
  rules: string[];
  /** The sysctl; null where it could not be read. */
  forwarding: string | null;
  /** `route_localnet` of the interface behind which it leads, where it is published at 127.0.0.1; left out if not asked about. */
  routeLocalnet?: string | null;
  /** The comments of the rules that lead to the rule's chains. */
  chainMarks: string[];
  /** Rules in netnsd's own chains that are not netnsd's. */
  strays: string[];
}

/** The family of the addresses that a rule is about. */
export function natFamily(nat: NatIntent): Family {
  if (nat.type === 'dnat')
    return nat.to.address === undefined ? (nat.to.family ?? 4) : familyOf(nat.to.address);
  return nat.source === null ? (nat.family ?? 4) : familyOf(nat.source);
}

/** The sysctl that a rule turns on. */
export function forwardingKey(family: Family): string {
  return family === 4 ? IPV4_FORWARDING.name : 'net.ipv6.conf.all.forwarding';
}

/** The sysctl that lets packets from 127.0.0.1 leave by an interface, and those to it come in there (ip-sysctl.rst). */
export function localnetKey(device: string): string {
  return `net.ipv4.conf.${device}.route_localnet`;
}

/**
 * The interface that a sysctl is of: `net.ipv4.conf.eth0.rp_filter` is there while eth0 is; `…conf.all.…` and
 * `…conf.default.…` always are.
 */
export function interfaceOfSysctl(key: string): string | null {
  const name = /^net\.ipv[46]\.(?:conf|neigh)\.([^.]+)\./.exec(key)?.[1];
  return name === undefined || ['all', 'default', 'lo'].includes(name) ? null : name;
}
