import { Type, type Static } from 'typebox';
import { endAnswerFields, endFields, type EndOptions, type ObservedOptions } from './end.ts';
import { InterfaceName, Labels, ResourceName, metaFields, statusFields } from './common.ts';
import { Route, observedInterfaceFields, type InterfaceIntent, type ObservedInterface } from './interface.ts';
import { autoStatusFields, type EndAssigned } from './ipam.ts';
import {
  singleAnswers,
  singleCreates,
  singlePuts,
  singleSchemas,
  type ObservedKindFields,
  type SingleIntent,
  type SingleSpec,
} from './link-types.ts';
import { byType, ref, strictObject } from './object.ts';
import { mergePatchSchema } from './patch.ts';

const LinkPeer = strictObject({ interface: InterfaceName, ...endFields }, { $id: 'LinkPeerSpec' });

const fields = {
  type: Type.Literal('veth'),
  interface: Type.Optional(InterfaceName),
  ...endFields,
  peer: ref(LinkPeer),
  labels: Type.Optional(Labels),
};

const VethCreate = strictObject({ name: ResourceName, ...fields }, { $id: 'VethCreate' });
const VethPut = strictObject({ name: Type.Optional(ResourceName), ...fields }, { $id: 'VethPut' });
export type VethSpec = Static<typeof VethCreate>;
export type LinkSpec = VethSpec | SingleSpec;

export const LinkCreate = byType<LinkSpec>('LinkCreate', [VethCreate, ...singleCreates]);
export const LinkPut = byType<LinkSpec>('LinkPut', [VethPut, ...singlePuts]);
export type LinkPeerSpec = Static<typeof LinkPeer>;

export const linkPatch = mergePatchSchema('LinkPatch', LinkPut, [LinkPeer, Route, VethPut, ...singlePuts]);

/** The two ends of a link, as its fields name them: the resource's own and its `peer`. */
export const endNames = ['own', 'peer'] as const;
export type EndName = (typeof endNames)[number];

/** The intent of one end, with defaults filled in. */
export interface EndIntent extends InterfaceIntent, EndOptions {
  interface: string;
  namespace: string;
  bridge: string | null;
}

/** The intent of a veth pair, with defaults filled in; its own fields are those of the near end. */
export interface VethIntent extends EndIntent {
  name: string;
  type: 'veth';
  peer: EndIntent;
  labels: Labels;
}

/** The intent of a link of any type, with defaults filled in. */
export type LinkIntent = VethIntent | SingleIntent;

/** The one end of a link, or the two of a veth pair. */
export function endsOf(intent: LinkIntent): EndIntent[] {
  return namedEnds(intent).map(({ end }) => end);
}

/** The same, each with its name. */
export function namedEnds(intent: LinkIntent): { name: EndName; end: EndIntent }[] {
  const own = { name: 'own', end: intent } as const;
  return intent.type === 'veth' ? [own, { name: 'peer', end: intent.peer }] : [own];
}

/** The bridge that the other end of a veth pair is a port of, by name. */
export function bridgeAcross(intent: LinkIntent, end: EndName): string | null {
  if (intent.type !== 'veth') return null;
  return end === 'own' ? intent.peer.bridge : intent.bridge;
}

/** What holds back what the device at an end sends. */
export interface Shaping {
  egressKbit: number;
  /** The field that says so, as a JSON pointer. */
  field: string;
}

/**
 * The rate of the device at an end, or null. All that comes in at an end of a veth pair was sent by the other one: so
 * that is where `ingressKbit` is kept to, in a queue, rather than by dropping what has come already. The smaller one counts.
 */
export function shapingOf(link: LinkIntent, end: EndName): Shaping | null {
  const [own, peer] = [
    { at: '', rate: link.rate },
    { at: '/peer', rate: link.type === 'veth' ? link.peer.rate : undefined },
  ];
  const [near, far] = end === 'own' ? [own, peer] : [peer, own];
  const sends = near.rate?.egressKbit;
  const receives = far.rate?.ingressKbit;
  if (receives !== undefined && (sends === undefined || receives < sends))
    return { egressKbit: receives, field: `${far.at}/rate/ingressKbit` };
  return sends === undefined ? null : { egressKbit: sends, field: `${near.at}/rate/egressKbit` };
}

/** At what a link of one end receives at most, or null: there is no other end to hold back, so what comes is dropped. */
export function policedKbit({ type, rate }: LinkIntent): number | null {
  return type === 'veth' ? null : (rate?.ingressKbit ?? null);
}

export interface LinkAssigned {
  /** Empty for a macvlan that has the MAC address of its parent. */
  mac: string;
  /** Only of a veth pair. */
  peerMac?: string;
  /** The kernel's interface indexes, of when it was last made or changed. */
  index?: number;
  peerIndex?: number;
  /** What was chosen for ends that say `auto`. */
  ends?: Partial<Record<EndName, EndAssigned>>;
  /** The ends that refuse router advertisements; left out if none does. */
  refusing?: EndName[];
}

const LinkPeerStatus = strictObject(
  { ...observedInterfaceFields, ...autoStatusFields },
  { $id: 'LinkPeerStatus' },
);
export const LinkStatus = strictObject(
  { ...statusFields, ...observedInterfaceFields, ...autoStatusFields, peer: ref(LinkPeerStatus) },
  { $id: 'LinkStatus' },
);

const LinkPeerAnswer = strictObject(endAnswerFields, { $id: 'LinkPeer' });

const Veth = strictObject(
  {
    name: Type.String(),
    type: Type.Literal('veth'),
    ...endAnswerFields,
    peer: ref(LinkPeerAnswer),
    labels: Labels,
    ...metaFields,
    status: ref(LinkStatus),
  },
  { $id: 'Veth', description: 'a veth pair: an interface and its peer' },
);

export const Link = byType('Link', [Veth, ...singleAnswers]);

export const linkSchemas = [
  LinkPeer,
  LinkPeerAnswer,
  LinkPeerStatus,
  VethCreate,
  VethPut,
  Veth,
  ...singleSchemas,
];

/** What the kernel has of one end. */
export interface ObservedEnd extends ObservedInterface {
  bridge: string | null;
  routes: Route[];
  /** Null if the end is not there; left out in what was noted before there were any. */
  options?: ObservedOptions | null;
}

/** What the kernel has of a veth pair. */
interface ObservedVeth extends ObservedEnd {
  peer: ObservedEnd;
}

/** What the kernel has of a link of one end. */
export interface ObservedSingle extends ObservedEnd {
  kindFields: ObservedKindFields;
}

export type ObservedLink = ObservedVeth | ObservedSingle;
