import { Type, type Static } from 'typebox';
import { InterfaceName, Labels, ResourceName, metaFields, statusFields } from './common.ts';
import {
  Route,
  interfaceFields,
  observedInterfaceFields,
  type InterfaceIntent,
  type ObservedInterface,
} from './interface.ts';
import { EndLease, type EndAssigned } from './ipam.ts';
import { nullable, ref, strictObject } from './object.ts';
import { mergePatchSchema } from './patch.ts';

const endFields = {
  namespace: Type.Optional(ResourceName),
  bridge: Type.Optional(
    nullable(
      Type.String({
        ...ResourceName,
        description: 'a bridge in the namespace of this end, by its resource name',
      }),
    ),
  ),
  ...interfaceFields,
};

const LinkPeer = strictObject({ interface: InterfaceName, ...endFields }, { $id: 'LinkPeerSpec' });

const fields = {
  type: Type.Literal('veth'),
  interface: Type.Optional(InterfaceName),
  ...endFields,
  peer: ref(LinkPeer),
  labels: Type.Optional(Labels),
};

export const LinkCreate = strictObject({ name: ResourceName, ...fields }, { $id: 'LinkCreate' });
export const LinkPut = strictObject({ name: Type.Optional(ResourceName), ...fields }, { $id: 'LinkPut' });
export type LinkSpec = Static<typeof LinkCreate>;
export type LinkPeerSpec = Static<typeof LinkPeer>;

export const linkPatch = mergePatchSchema('LinkPatch', LinkPut, [LinkPeer, Route]);

/** The two ends of a link, as its fields name them: the resource's own and its `peer`. */
export const endNames = ['own', 'peer'] as const;
export type EndName = (typeof endNames)[number];

/** The intent of one end, with defaults filled in. */
export interface EndIntent extends InterfaceIntent {
  interface: string;
  namespace: string;
  bridge: string | null;
}

/** The intent of a link, with defaults filled in; its own fields are those of the near end. */
export interface LinkIntent extends EndIntent {
  name: string;
  type: 'veth';
  peer: EndIntent;
  labels: Labels;
}

export interface LinkAssigned {
  mac: string;
  peerMac: string;
  /** The kernel's interface indexes, of when it was last made or changed. */
  index?: number;
  peerIndex?: number;
  /** What was chosen for ends that say `auto`. */
  ends?: Partial<Record<EndName, EndAssigned>>;
}

const autoStatus = {
  leases: Type.Optional(
    Type.Array(ref(EndLease), { description: 'what was chosen for `auto`; left out if nothing was' }),
  ),
  gateways: Type.Optional(
    Type.Array(Type.String(), { description: 'what `via: auto` means; left out with `leases`' }),
  ),
};
const LinkPeerStatus = strictObject({ ...observedInterfaceFields, ...autoStatus }, { $id: 'LinkPeerStatus' });
export const LinkStatus = strictObject(
  { ...statusFields, ...observedInterfaceFields, ...autoStatus, peer: ref(LinkPeerStatus) },
  { $id: 'LinkStatus' },
);

const endAnswerFields = {
  interface: Type.String(),
  namespace: Type.String(),
  bridge: nullable(Type.String()),
  addresses: Type.Array(Type.String()),
  routes: Type.Array(ref(Route)),
  mtu: Type.Integer(),
  mac: nullable(Type.String()),
  up: Type.Boolean(),
};
const LinkPeerAnswer = strictObject(endAnswerFields, { $id: 'LinkPeer' });

export const Link = strictObject(
  {
    name: Type.String(),
    type: Type.Literal('veth'),
    ...endAnswerFields,
    peer: ref(LinkPeerAnswer),
    labels: Labels,
    ...metaFields,
    status: ref(LinkStatus),
  },
  { $id: 'Link', description: 'a veth pair: an interface and its peer' },
);

export const linkSchemas = [LinkPeer, LinkPeerAnswer, LinkPeerStatus];

/** What the kernel has of one end. */
export interface ObservedEnd extends ObservedInterface {
  bridge: string | null;
  routes: Route[];
}

/** What the kernel has of a link. */
export interface ObservedLink extends ObservedEnd {
  peer: ObservedEnd;
}
