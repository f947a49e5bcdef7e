import type { Stored } from '../db/resources.ts';
import type { Ref } from '../schemas/common.ts';
import type { Draft } from './draft.ts';
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

function linksAmong(refs: readonly Ref[], draft: Draft): Stored<'link'>[] {
  return refs.flatMap(({ kind, name }) => (kind === 'link' ? (draft.get('link', name) ?? []) : []));
}
