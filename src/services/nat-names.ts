import { isDeepStrictEqual } from 'node:util';
import type { Stored } from '../db/resources.ts';
import { familyOf, networkOf, parsePrefix, type Family } from '../schemas/address.ts';
import { HOST, type Kind, type Ref } from '../schemas/common.ts';
import { natFamily, type DnatIntent, type NatAssigned, type NatIntent, type Via } from '../schemas/nat.ts';
import type { LinkIntent } from '../schemas/link.ts';
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
  const target = address ?? (found === null ? undefined : addressOf(intent, found.intent));
  if (target === undefined) return {};
  const via = viaBridge(intent.namespace, target, draft) ?? viaLink(intent, target, found?.intent);
  return { ...(address === undefined ? { address: target } : {}), ...(via === null ? {} : { via }) };
}

function addressOf(intent: DnatIntent, link: LinkIntent): string {
  const family = natFamily(intent);
  const ends = [link.peer, link].toSorted(
    (a, b) => Number(a.namespace === intent.namespace) - Number(b.namespace === intent.namespace),
  );
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
    const network = networkWith(bridge?.intent.addresses ?? [], target);
    if (bridge !== null && network !== null) return { interface: bridge.intent.interface, network };
  }
  return null;
}

/** The end that is here, of a link that is on no bridge. */
function viaLink({ namespace }: DnatIntent, target: string, link: LinkIntent | undefined): Via | null {
  if (link === undefined) return null;
  for (const end of [link, link.peer]) {
    const network = end.namespace === namespace ? networkWith(end.addresses, target) : null;
    const isTarget = end.addresses.some((each) => parsePrefix(each).address === target);
    if (network !== null && !isTarget) return { interface: end.interface, network };
  }
  return null;
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
  const { namespace, addresses, interface: inInterface } = bridge.intent;
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
