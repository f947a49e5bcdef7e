import { isDeepStrictEqual } from 'node:util';
import { isOf, type Stored } from '../db/resources.ts';
import { resolvedBridge, resolvedLink } from '../plan/ipam.ts';
import { explainUnroutable, familyOf, networkOf, parsePrefix } from '../schemas/address.ts';
import type { Ref } from '../schemas/common.ts';
import { natFamily, type DnatIntent, type NatAssigned, type NatIntent } from '../schemas/nat.ts';
import { endsOf, type LinkIntent } from '../schemas/link.ts';
import type { Draft } from './draft.ts';
import { placesOf, viaOf } from './nat-via.ts';
import { firewallTie } from './nat-ties.ts';
import { checkOverlap } from './outgoing.ts';
import { Problem } from './problem.ts';
import { checkFollowing } from './published.ts';

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
    const { intent } = nat;
    const assigned = resolveNames(intent, nat.assigned, draft);
    if (isDeepStrictEqual(assigned, nat.assigned)) continue;
    if (intent.type === 'dnat') checkFollowing(intent, nat.assigned, assigned);
    else checkOverlap({ intent, assigned }, nat, draft);
    draft.put({ ...nat, assigned });
  }
}

function dependents(draft: Draft, sides: readonly (Stored | null)[]): Ref[] {
  return sides.flatMap((side) => {
    if (side === null) return [];
    const inNamespace = placesOf(side).flatMap((namespace) =>
      ([4, 6] as const).flatMap((family) => draft.needing({ namespace, what: firewallTie(family) })),
    );
    return [...draft.referrers(side), ...inNamespace];
  });
}

function resolveTarget(intent: DnatIntent, draft: Draft): NatAssigned {
  const { address, link } = intent.to;
  const found = link === undefined ? null : draft.get('link', link);
  const behind = found === null ? null : resolvedLink(found.intent, found.assigned);
  const target = address ?? (behind === null ? undefined : addressOf(intent, behind));
  if (target === undefined) return {};
  const via = viaOf(intent, target, draft);
  return { ...(address === undefined ? { address: target } : {}), ...(via === null ? {} : { via }) };
}

/** Of an end in the rule's own namespace no address counts: it would lead to what listens there itself. */
function addressOf(intent: DnatIntent, link: LinkIntent): string {
  const family = natFamily(intent);
  const ref: Ref = { kind: 'link', name: link.name };
  const ends = endsOf(link).filter(({ namespace }) => namespace !== intent.namespace);
  if (ends.length === 0)
    throw new Problem(
      'unprocessable',
      `nat/${intent.name} leads to link/${link.name}, which has no end outside ${intent.namespace}: what it leads to would be ${intent.namespace} itself; give an address in its place`,
      { references: [{ kind: 'nat', name: intent.name }, ref] },
    );
  const first = ends
    .toReversed()
    .flatMap(({ addresses }) => addresses)
    .map((each) => parsePrefix(each).address)
    .find((each) => familyOf(each) === family && explainUnroutable(each) === null);
  if (first === undefined) throw lacking(intent, ref, 'address', ` outside ${intent.namespace}`);
  return first;
}

function lacking(intent: NatIntent, ref: Ref, what: string, where = ''): Problem {
  return new Problem(
    'unprocessable',
    `nat/${intent.name} leads to ${ref.kind}/${ref.name}, which has no ${what} of IPv${natFamily(intent)}${where}; give it one, or change that rule first`,
    { references: [{ kind: 'nat', name: intent.name }, ref] },
  );
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
  // Each link has link-local addresses of one network, and nothing is forwarded from them or to them.
  const own = addresses.filter(
    (address) => familyOf(address) === family && explainUnroutable(parsePrefix(address).address) === null,
  );
  if (own.length === 0) throw lacking(intent, { kind: 'bridge', name }, 'address');
  if (intent.type !== 'dnat' && intent.outInterface === inInterface)
    throw new Problem(
      'unprocessable',
      `nat/${intent.name}, /outInterface: ${inInterface} is the bridge itself; traffic must leave by another interface`,
      { references: [{ kind: 'bridge', name }] },
    );
  return { sources: [...new Set(own.map(networkOf))], inInterface };
}
