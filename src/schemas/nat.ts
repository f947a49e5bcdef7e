import { Type, type Static, type TProperties } from 'typebox';
import { familyOf, type Family } from './address.ts';
import { InterfaceName, Labels, ResourceName, formatted, metaFields, statusFields } from './common.ts';
import { byType, nullable, ref, strictObject } from './object.ts';
import { mergePatchSchema } from './patch.ts';

export const forwardModes = ['established', 'any', 'none'] as const;

const common = {
  namespace: Type.Optional(ResourceName),
  labels: Type.Optional(Labels),
};

const outgoing = {
  source: formatted('ip-network', 'the network whose traffic is translated'),
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
    address: formatted('ip-address', 'where it goes'),
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
    port: formatted('port-range', 'the published port or range'),
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
  source: string;
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
  to: { address: string; port: string };
}

/** The intent of an address-translation rule, with defaults filled in. */
export type NatIntent = MasqueradeIntent | SnatIntent | DnatIntent;

/** netnsd chooses nothing of a rule itself. */
export type NatAssigned = Record<string, never>;

export const NatStatus = strictObject(
  {
    ...statusFields,
    packets: Type.Integer({ description: 'that met the translating rule' }),
    bytes: Type.Integer(),
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
  source: Type.String(),
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
      to: strictObject({ address: Type.String(), port: Type.String() }),
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
  /** The comments of the rules that lead to the rule's chains. */
  chainMarks: string[];
  /** Rules in netnsd's own chains that are not netnsd's. */
  strays: string[];
}

/** The family of the addresses that a rule is about. */
export function natFamily(nat: NatIntent): Family {
  return familyOf(nat.type === 'dnat' ? nat.to.address : nat.source);
}

/** The sysctl that a rule turns on. */
export function forwardingKey(family: Family): string {
  return family === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding';
}
