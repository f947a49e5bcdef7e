import { Type, type Static, type TProperties } from 'typebox';
import { InterfaceName, Labels, ResourceName, formatted, metaFields, statusFields } from './common.ts';
import { endAnswerFields, endFields, type EndOptions } from './end.ts';
import { observedInterfaceFields, type InterfaceIntent } from './interface.ts';
import { autoStatusFields } from './ipam.ts';
import { nullable, ref, strictObject } from './object.ts';

/** How the macvlans of one parent see each other (ip-link(8)). */
export const macvlanModes = ['bridge', 'private', 'vepa', 'passthru'] as const;
export type MacvlanMode = (typeof macvlanModes)[number];

/** 24 bits (RFC 7348). */
const MAX_VXLAN_ID = 16_777_215;

/** (uid_t) -1 stands for nobody in particular. */
const MAX_USER_ID = 4_294_967_294;

const fields = { interface: Type.Optional(InterfaceName), ...endFields, labels: Type.Optional(Labels) };

const userId = (description: string) =>
  Type.Optional(nullable(Type.Integer({ minimum: 0, maximum: MAX_USER_ID, description })));

const perType = {
  macvlan: {
    parent: Type.String({
      ...InterfaceName,
      description: 'the interface that it stands on, as the kernel names it',
    }),
    parentNamespace: Type.Optional(
      Type.String({ ...ResourceName, description: 'where the parent is; `host` by default' }),
    ),
    mode: Type.Optional(
      Type.Enum([...macvlanModes], {
        default: 'bridge',
        description:
          'how the macvlans of one parent see each other: `bridge` directly, `vepa` by a switch outside that sends back, `private` not at all; `passthru` is the only one on its parent, and has its MAC address',
      }),
    ),
    bridge: Type.Optional(
      nullable(
        Type.String({ ...ResourceName, description: 'null: a macvlan is no port; its parent is the bridge' }),
      ),
    ),
  },
  vxlan: {
    id: Type.Integer({
      minimum: 0,
      maximum: MAX_VXLAN_ID,
      description: 'the network identifier (VNI, RFC 7348)',
    }),
    remote: Type.Optional(
      nullable(formatted('ip-address', 'the other end; at most one of this and `group`')),
    ),
    group: Type.Optional(nullable(formatted('multicast-address', 'where the other ends are found'))),
    port: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 65_535, default: 4789, description: 'the UDP port' }),
    ),
    device: Type.Optional(
      nullable(
        Type.String({
          ...InterfaceName,
          description: 'the interface in the same namespace that it goes by; needed with `group`',
        }),
      ),
    ),
    mtu: Type.Optional(
      Type.Integer({
        minimum: 68,
        maximum: 65_535,
        description:
          'in bytes; 1450 by default, and 1430 over IPv6, so that it fits into 1500 with what is put around it',
      }),
    ),
  },
  tap: {
    owner: userId('the user who may open it, by number; null and no `group` is root'),
    group: userId('the group that may open it, by number; with `owner`, it takes both'),
  },
};

function variants<N extends TProperties>(name: N, suffix: string) {
  return [
    strictObject(
      { ...name, type: Type.Literal('macvlan'), ...fields, ...perType.macvlan },
      { $id: `Macvlan${suffix}` },
    ),
    strictObject(
      { ...name, type: Type.Literal('vxlan'), ...fields, ...perType.vxlan },
      { $id: `Vxlan${suffix}` },
    ),
    strictObject({ ...name, type: Type.Literal('tap'), ...fields, ...perType.tap }, { $id: `Tap${suffix}` }),
  ] as const;
}

export const singleCreates = variants({ name: ResourceName }, 'Create');
export const singlePuts = variants({ name: Type.Optional(ResourceName) }, 'Put');

export type MacvlanSpec = Static<(typeof singleCreates)[0]>;
export type VxlanSpec = Static<(typeof singleCreates)[1]>;
export type TapSpec = Static<(typeof singleCreates)[2]>;
/** A link of one end, as a client writes it. */
export type SingleSpec = MacvlanSpec | VxlanSpec | TapSpec;

interface SingleIntentBase extends InterfaceIntent, EndOptions {
  name: string;
  interface: string;
  namespace: string;
  /** Null for a macvlan. */
  bridge: string | null;
  labels: Labels;
}

export interface MacvlanIntent extends SingleIntentBase {
  type: 'macvlan';
  parent: string;
  parentNamespace: string;
  mode: MacvlanMode;
}

export interface VxlanIntent extends SingleIntentBase {
  type: 'vxlan';
  id: number;
  remote: string | null;
  group: string | null;
  port: number;
  device: string | null;
}

export interface TapIntent extends SingleIntentBase {
  type: 'tap';
  owner: number | null;
  group: number | null;
}

/**
 * As whom a tap is opened, by number. One without a user and a group is opened by anybody (tun_not_capable in the kernel's
 * drivers/net/tun.c), and /dev/net/tun is usually open to all; so that nobody else may, it is root's.
 */
export function openersOf({ owner, group }: TapIntent): Pick<TapIntent, 'owner' | 'group'> {
  return { owner: owner ?? (group === null ? ROOT : null), group };
}

const ROOT = 0;

/** The intent of a link of one end, with defaults filled in. */
export type SingleIntent = MacvlanIntent | VxlanIntent | TapIntent;

/** The fields of each type that say what it is, as the kernel can show them. */
export const optionNames = {
  macvlan: ['parent', 'mode'],
  vxlan: ['id', 'remote', 'group', 'port', 'device'],
  tap: ['owner', 'group'],
} as const satisfies Record<SingleIntent['type'], readonly string[]>;

/** All types of links; a veth has two ends, the others one. */
export const linkTypes = ['veth', 'macvlan', 'vxlan', 'tap'] as const;

/** What the kernel has of these fields, by name; empty if the device is not there. */
export type ObservedKindFields = Record<string, string | number | null>;

const SingleStatus = strictObject(
  { ...statusFields, ...observedInterfaceFields, ...autoStatusFields },
  { $id: 'SingleLinkStatus', description: 'of a link that has one end' },
);

const answerFields = {
  ...endAnswerFields,
  labels: Labels,
  ...metaFields,
  status: ref(SingleStatus),
};

export const singleAnswers = [
  strictObject(
    {
      name: Type.String(),
      type: Type.Literal('macvlan'),
      parent: Type.String(),
      parentNamespace: Type.String(),
      mode: Type.Enum([...macvlanModes]),
      ...answerFields,
    },
    { $id: 'Macvlan', description: 'an interface with a MAC address of its own on another one' },
  ),
  strictObject(
    {
      name: Type.String(),
      type: Type.Literal('vxlan'),
      id: Type.Integer(),
      remote: nullable(Type.String()),
      group: nullable(Type.String()),
      port: Type.Integer(),
      device: nullable(Type.String()),
      ...answerFields,
    },
    { $id: 'Vxlan', description: 'a network over UDP (RFC 7348)' },
  ),
  strictObject(
    {
      name: Type.String(),
      type: Type.Literal('tap'),
      owner: nullable(Type.Integer()),
      group: nullable(Type.Integer()),
      ...answerFields,
    },
    { $id: 'Tap', description: 'an interface whose other side is a process, such as a virtual machine' },
  ),
];

export const singleSchemas = [...singleCreates, ...singlePuts, SingleStatus, ...singleAnswers];
