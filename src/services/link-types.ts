import type { Ties } from '../db/resources.ts';
import { parseFound, readOfFound } from '../kernel/adoption.ts';
import type { Processes } from '../kernel/processes.ts';
import { resolvedLink } from '../plan/ipam.ts';
import type { EndOptions } from '../schemas/end.ts';
import { HOST, type Ref } from '../schemas/common.ts';
import type { InterfaceIntent } from '../schemas/interface.ts';
import type { LinkAssigned, LinkIntent } from '../schemas/link.ts';
import {
  linkTypes,
  type MacvlanIntent,
  type MacvlanSpec,
  type SingleIntent,
  type SingleSpec,
  type TapIntent,
  type TapSpec,
  type VxlanIntent,
  type VxlanSpec,
} from '../schemas/link-types.ts';
import type { Draft } from './draft.ts';
import { completeOptions } from './end.ts';
import {
  checkReference,
  chooseMac,
  claimsOfInterface,
  completeInterface,
  completeInterfaceName,
} from './interface.ts';
import { leaseTiesOf } from './ipam.ts';
import { lookAt } from './look.ts';
import { Problem, invalidField } from './problem.ts';
import { baseTies, checkMtuOnBase, defaultVxlanMtu, familyOfVxlan } from './standing.ts';

/** IANA's port for VXLAN (RFC 7348). */
const DEFAULT_VXLAN_PORT = 4789;

type Common = InterfaceIntent &
  EndOptions &
  Pick<SingleIntent, 'name' | 'interface' | 'namespace' | 'bridge' | 'labels'>;

/** Fills the defaults of a link of one end in. Throws a problem for what the schema could not say. */
export function completeSingle(spec: SingleSpec): SingleIntent {
  switch (spec.type) {
    case 'macvlan':
      return completeMacvlan(spec, completeCommon(spec));
    case 'vxlan':
      return completeVxlan(spec);
    case 'tap':
      return completeTap(spec, completeCommon(spec));
  }
}

function completeCommon(spec: SingleSpec): Common {
  const { name, namespace = HOST, bridge = null, labels = {} } = spec;
  const interfaceName = completeInterfaceName(spec.interface, name);
  const common = completeInterface('', spec, spec.type === 'macvlan');
  checkOffload(spec);
  const options = completeOptions('', spec, { bridge, mtu: common.mtu });
  return { name, interface: interfaceName, namespace, bridge, ...common, ...options, labels };
}

/** Whether their packets have whole checksums is decided elsewhere. */
function checkOffload({ type, offload = null }: SingleSpec): void {
  if (offload === null || type === 'vxlan') return;
  const who = type === 'tap' ? 'the process that opens a tap says it (TUNSETOFFLOAD)' : 'its parent says it';
  throw new Problem('unprocessable', `/offload can’t be set of a ${type}: ${who}; leave it out`);
}

function completeMacvlan(spec: MacvlanSpec, common: Common): MacvlanIntent {
  const { type, parent, parentNamespace = HOST, mode = 'bridge' } = spec;
  if (common.bridge !== null)
    throw new Problem(
      'unprocessable',
      '/bridge: a macvlan is no port of a bridge, since its parent gives it its packets; leave it out, or use a veth',
    );
  if (mode === 'passthru' && common.mac !== null)
    throw new Problem(
      'unprocessable',
      '/mac: in passthru mode it has the MAC address of its parent; leave it out',
    );
  checkNotItself('/parent', common, parentNamespace, parent);
  return { ...common, type, parent, parentNamespace, mode };
}

function completeVxlan(spec: VxlanSpec): VxlanIntent {
  const { type, id, remote = null, group = null, port = DEFAULT_VXLAN_PORT, device = null } = spec;
  const mtu = spec.mtu ?? defaultVxlanMtu({ remote, group });
  const common = completeCommon({ ...spec, mtu });
  const intent = { ...common, type, id, remote, group, port, device };
  checkVxlan(intent);
  return intent;
}

function checkVxlan(intent: VxlanIntent): void {
  const { remote, group, device } = intent;
  if (remote !== null && group !== null)
    throw invalidField('/group', 'can’t be given together with /remote; leave one of them out');
  if (group !== null && device === null)
    throw invalidField('/device', 'is needed with /group: the interface by which the group is reached');
  if (remote?.startsWith('fe80:') === true && device === null)
    throw invalidField('/device', `is needed: ${remote} is a link-local address`);
  if (device !== null) checkNotItself('/device', intent, intent.namespace, device);
}

function completeTap({ type, owner = null, group = null }: TapSpec, common: Common): TapIntent {
  return { ...common, type, owner, group };
}

function checkNotItself(pointer: string, own: Common, namespace: string, name: string): void {
  if (own.interface === name && own.namespace === namespace)
    throw new Problem('unprocessable', `${pointer}: ${name} is this link’s own interface; name another`);
}

/** Throws a problem unless what the link stands on can be that, as far as it is known without looking. */
export function checkSingle(intent: SingleIntent, draft: Draft): void {
  if (intent.type === 'macvlan') checkParent(intent, draft);
  checkMtuOnBase(intent, draft);
}

function checkParent(intent: MacvlanIntent, draft: Draft): void {
  checkReference('/parentNamespace', 'namespace', intent.parentNamespace, draft);
  const [base] = baseTies(intent).map((need) => draft.claimant(need));
  const parent = base?.kind === 'link' ? draft.get('link', base.name) : null;
  if (parent?.intent.type !== 'macvlan') return;
  throw new Problem(
    'unprocessable',
    `/parent: ${intent.parent} is a macvlan itself, and the kernel would take its parent in its place; name that, ${parent.intent.parent} in ${parent.intent.parentNamespace}`,
    { references: [{ kind: 'link', name: parent.name }] },
  );
}

/** A MAC address is chosen once and kept; in passthru mode it is that of the parent. */
export function assignSingle(intent: SingleIntent, before: LinkAssigned | undefined): LinkAssigned {
  if (intent.type === 'macvlan' && intent.mode === 'passthru') return { mac: '' };
  const kept = before === undefined || before.mac === '' ? chooseMac() : before.mac;
  return { mac: intent.mac ?? kept };
}

/** What a link of one end holds and needs; the interface that it stands on may be anybody's. */
export function tiesOfSingle(given: SingleIntent, assigned: Pick<LinkAssigned, 'ends'> = {}): Ties {
  const intent = resolvedLink(given, assigned);
  const { namespace, bridge } = intent;
  const references: Ref[] = [{ kind: 'namespace', name: namespace }];
  if (bridge !== null) references.push({ kind: 'bridge', name: bridge });
  if (intent.type === 'macvlan') references.push({ kind: 'namespace', name: intent.parentNamespace });
  return {
    references,
    claims: [
      ...claimsOfInterface(namespace, intent.interface, intent),
      ...(intent.type === 'vxlan' ? [{ namespace, what: vxlanTie(intent) }] : []),
      ...leaseTiesOf(given, assigned).claims,
    ],
    needs: baseTies(intent),
  };
}

/** Of one identifier, port and family a namespace has one (vxlan_vni_in_use in drivers/net/vxlan). */
function vxlanTie(intent: VxlanIntent): string {
  return `vxlan ${intent.id} at port ${intent.port}, IPv${familyOfVxlan(intent)}`;
}

/** Throws a problem if the change is of a kind that has to be a deletion. */
export function checkType(before: Pick<LinkIntent, 'name' | 'type'>, type: LinkIntent['type']): void {
  if (type === before.type) return;
  throw new Problem('unprocessable', `/type: ${keepsType(before)}`);
}

function keepsType({ name, type }: Pick<LinkIntent, 'name' | 'type'>): string {
  return `${name} is a ${type}, and a link keeps its type; delete it first`;
}

/** The same for a patch, as for one of the name, before it is said that other fields are not those of the type. */
export function checkPatchedType(before: object, merged: unknown): void {
  const type = typeIn(merged);
  if (isLink(before) && isLinkType(type) && type !== before.type)
    throw invalidField('/type', keepsType(before));
}

/**
 * An intent without what it has by default in accordance with other fields of it, so that a patch of these has that follow:
 * the MTU of a vxlan.
 */
export function withoutDefaults(intent: object): object {
  if (!isVxlan(intent) || intent.mtu !== defaultVxlanMtu(intent)) return intent;
  const { mtu: _mtu, ...others } = intent;
  return others;
}

function isVxlan(intent: object): intent is VxlanIntent {
  return typeIn(intent) === 'vxlan';
}

function isLink(intent: object): intent is Pick<LinkIntent, 'name' | 'type'> {
  return isLinkType(typeIn(intent));
}

function isLinkType(type: unknown): type is LinkIntent['type'] {
  return linkTypes.some((each) => each === type);
}

function typeIn(value: unknown): unknown {
  return typeof value === 'object' && value !== null && 'type' in value ? value.type : null;
}

/**
 * Whether there is something to be adopted.
 *
 * @throws Problem if there is: what a device of one end is can't be compared in all that it may have
 */
export async function findSingle(intent: SingleIntent, processes: Processes): Promise<null> {
  const { namespace, interface: name, type } = intent;
  const [answer] = await lookAt(processes, [readOfFound(namespace, name, [])]);
  if (parseFound(name, [], answer) === null) return null;
  throw new Problem(
    'unprocessable',
    `${name} in ${namespace} is there already, and a ${type} can't be adopted; only namespaces, bridges and veth pairs can. Delete it, or choose another interface name`,
  );
}
