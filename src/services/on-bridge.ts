import type { Stored } from '../db/resources.ts';
import type { Ref } from '../schemas/common.ts';
import type { MacvlanIntent } from '../schemas/link-types.ts';
import type { Draft } from './draft.ts';
import { endsOf, type LinkIntent } from '../schemas/link.ts';
import { interfaceTie } from './interface.ts';

/** The links that are ports of the bridge, and the macvlans on it. */
export function linksOn(bridge: string, draft: Draft): Stored<'link'>[] {
  const at = draft.get('bridge', bridge)?.intent;
  const standing =
    at === undefined ? [] : draft.needing({ namespace: at.namespace, what: interfaceTie(at.interface) });
  return [
    ...linksAmong(draft.referrers({ kind: 'bridge', name: bridge }), draft),
    // A vxlan is about another network than that of what it goes by.
    ...linksAmong(standing, draft).filter(({ intent }) => intent.type === 'macvlan'),
  ];
}

/** The bridges that a link is on, in either way. */
export function bridgesOf(intent: LinkIntent, draft: Draft): string[] {
  const ports = endsOf(intent).flatMap(({ bridge }) => bridge ?? []);
  const base = intent.type === 'macvlan' ? bridgeUnder(intent, draft) : null;
  return base === null ? ports : [...ports, base.name];
}

/** The bridge that a macvlan stands on; null if it stands on something else. */
export function bridgeUnder(
  { parentNamespace, parent }: MacvlanIntent,
  draft: Draft,
): Stored<'bridge'> | null {
  const owner = draft.claimant({ namespace: parentNamespace, what: interfaceTie(parent) });
  return owner?.kind === 'bridge' ? draft.get('bridge', owner.name) : null;
}

function linksAmong(refs: readonly Ref[], draft: Draft): Stored<'link'>[] {
  return refs.flatMap(({ kind, name }) => (kind === 'link' ? (draft.get('link', name) ?? []) : []));
}
