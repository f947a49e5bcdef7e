import { isDeepStrictEqual } from 'node:util';
import type { Stored } from '../db/resources.ts';
import { resolvedBridge, resolvedLink } from '../plan/ipam.ts';
import { localnetOf } from '../plan/publish.ts';
import { sysctlsOfEnd } from '../schemas/end.ts';
import { familyOf, networkOf, parsePrefix, type Family } from '../schemas/address.ts';
import { HOST, type Kind, type Ref } from '../schemas/common.ts';
import {
  localnetKey,
  natFamily,
  type DnatIntent,
  type NatAssigned,
  type NatIntent,
  type Via,
} from '../schemas/nat.ts';
import { endsOf, type LinkIntent } from '../schemas/link.ts';
import type { Draft } from './draft.ts';
import { Problem } from './problem.ts';

/** How the firewall of a family stands in needs. */
export function firewallTie(family: Family): string {
  return `firewall ${family}`;
}

/** How a port published at 127.0.0.1 stands in needs: for the namespace, and for the interface that it needs. */
export function localnetTie(device?: string): string {
  return device === undefined ? 'localnet' : `localnet ${device}`;
}

/** What is behind the names in a rule now: the address of a link, the networks of a bridge. The port is kept. */
export function resolveNames(intent: NatIntent, { port }: NatAssigned, draft: Draft): NatAssigned {
  const kept = port === undefined ? {} : { port };
  if (intent.type === 'dnat') return { ...kept, ...resolveTarget(intent, draft) };
  return intent.bridge === undefined ? {} : resolveBridge(intent, intent.bridge, draft);
}

/** Has the rules follow that name what has changed, or lead to its network; throws if one of them can't. */
export function followInNat(draft: Draft, before: Stored | null, after: Stored | null): void {
  const changed = after ?? before;
  if (changed === null || !(isOf(changed, 'bridge') || isOf(changed, 'link'))) return;
  for (const { kind, name } of dependents(draft, [before, after])) {
    const nat = kind === 'nat' ? draft.get('nat', name) : null;
    if (nat === null) continue;
    const assigned = resolveNames(nat.intent, nat.assigned, draft);
    if (!isDeepStrictEqual(assigned, nat.assigned)) draft.put({ ...nat, assigned });
  }
}

function dependents(draft: Draft, sides: readonly (Stored | null)[]): Ref[] {
  return sides.flatMap((side) => {
    if (side === null) return [];
    const namespace = isOf(side, 'bridge') ? side.intent.namespace : null;
    const families = namespace === null ? [] : ([4, 6] as const);
    const inNamespace = families.flatMap((family) =>
      draft.needing({ namespace: namespace ?? HOST, what: firewallTie(family) }),
    );
    return [...draft.referrers(side), ...inNamespace];
  });
}

function isOf<K extends Kind>(stored: Stored, kind: K): stored is Stored<K> {
  return stored.kind === kind;
}

function resolveTarget(intent: DnatIntent, draft: Draft): NatAssigned {
  const { address, link } = intent.to;
  const found = link === undefined ? null : draft.get('link', link);
  const behind = found === null ? null : resolvedLink(found.intent, found.assigned);
  const target = address ?? (behind === null ? undefined : addressOf(intent, behind));
  if (target === undefined) return {};
  const via = viaBridge(intent.namespace, target, draft) ?? viaLink(intent, target, behind);
  return { ...(address === undefined ? { address: target } : {}), ...(via === null ? {} : { via }) };
}

function addressOf(intent: DnatIntent, link: LinkIntent): string {
  const family = natFamily(intent);
  const ends = endsOf(link)
    .toReversed()
    .toSorted((a, b) => Number(a.namespace === intent.namespace) - Number(b.namespace === intent.namespace));
  const first = ends.flatMap(({ addresses }) => addresses.filter((each) => familyOf(each) === family))[0];
  if (first === undefined) throw lacking(intent, { kind: 'link', name: link.name }, 'address');
  return parsePrefix(first).address;
}

function lacking(intent: NatIntent, ref: Ref, what: string): Problem {
  return new Problem(
    'unprocessable',
    `nat/${intent.name} leads to ${ref.kind}/${ref.name}, which has no ${what} of IPv${natFamily(intent)}; give it one, or change that rule first`,
    { references: [{ kind: 'nat', name: intent.name }, ref] },
  );
}

function viaBridge(namespace: string, target: string, draft: Draft): Via | null {
  for (const { kind, name } of draft.referrers({ kind: 'namespace', name: namespace })) {
    const bridge = kind === 'bridge' ? draft.get('bridge', name) : null;
    if (bridge === null) continue;
    const network = networkWith(resolvedBridge(bridge.intent, bridge.assigned).addresses, target);
    if (network !== null) return { interface: bridge.intent.interface, network };
  }
  return null;
}

/** The end that is here, of a link that is on no bridge. */
function viaLink(intent: DnatIntent, target: string, link: LinkIntent | null): Via | null {
  for (const end of link === null ? [] : endsOf(link)) {
    const network = end.namespace === intent.namespace ? networkWith(end.addresses, target) : null;
    const isTarget = end.addresses.some((each) => parsePrefix(each).address === target);
    if (network === null || isTarget) continue;
    const via = { interface: end.interface, network };
    const key = localnetKey(end.interface);
    if (localnetOf(intent, { via }) !== null && sysctlsOfEnd(end).includes(key))
      throw settled(intent, link, key);
    return via;
  }
  return null;
}

function settled({ name }: DnatIntent, link: LinkIntent | null, key: string): Problem {
  const references: Ref[] = [
    { kind: 'nat', name },
    { kind: 'link', name: link?.name ?? '' },
  ];
  return new Problem(
    'unprocessable',
    `nat/${name} publishes at 127.0.0.1 through link/${link?.name ?? ''}, and sets ${key} itself; leave that out of the link's sysctls, or give the rule an \`address\``,
    { references },
  );
}

/** The network of one of the addresses that another address is in. */
function networkWith(addresses: readonly string[], target: string): string | null {
  const networks = addresses
    .filter((address) => familyOf(address) === familyOf(target))
    .filter((address) => networkOf(`${target}/${parsePrefix(address).prefixLength}`) === networkOf(address));
  return networks[0] === undefined ? null : networkOf(networks[0]);
}

function resolveBridge(intent: NatIntent, name: string, draft: Draft): NatAssigned {
  const bridge = draft.get('bridge', name);
  if (bridge === null) return {};
  const { namespace, addresses, interface: inInterface } = resolvedBridge(bridge.intent, bridge.assigned);
  if (namespace !== intent.namespace)
    throw new Problem(
      'unprocessable',
      `nat/${intent.name} is in the namespace ${intent.namespace}, and the bridge ${name} in ${namespace}; they must be in the same`,
      { references: [{ kind: 'bridge', name }] },
    );
  const family = natFamily(intent);
  const own = addresses.filter((address) => familyOf(address) === family);
  if (own.length === 0) throw lacking(intent, { kind: 'bridge', name }, 'address');
  return { sources: [...new Set(own.map(networkOf))], inInterface };
}
