import type { Stored, Tie } from '../db/resources.ts';
import type { BridgeIntent } from '../schemas/bridge.ts';
import type { Ref } from '../schemas/common.ts';
import { bridgeAcross, endsOf, type EndName, type LinkIntent } from '../schemas/link.ts';
import type { Draft } from './draft.ts';
import { interfaceTie } from './interface.ts';

/** The bridge on whose network an end is, without being a port of it. */
export function bridgeFaced(intent: LinkIntent, end: EndName, draft: Draft): Stored<'bridge'> | null {
  const name =
    intent.type === 'macvlan' ? bridgeUnder(intent, (tie) => draft.claimant(tie)) : bridgeAcross(intent, end);
  return name === null ? null : draft.get('bridge', name);
}

/** The name of the bridge that a macvlan stands on: it is on the network of that, though no port of it. */
export function bridgeUnder(intent: LinkIntent, claimant: (claim: Tie) => Ref | null): string | null {
  if (intent.type !== 'macvlan') return null;
  const owner = claimant({ namespace: intent.parentNamespace, what: interfaceTie(intent.parent) });
  return owner?.kind === 'bridge' ? owner.name : null;
}

/** The links that are ports of the bridge, and the macvlans on it. */
export function linksOn(bridge: string, draft: Draft): Stored<'link'>[] {
  const at = draft.get('bridge', bridge)?.intent;
  return [
    ...linksAmong(draft.referrers({ kind: 'bridge', name: bridge }), draft),
    ...(at === undefined ? [] : macvlansOn(at, draft)),
  ];
}

/** The names of the bridges that a link is on, in either way. */
export function bridgesOf(intent: LinkIntent, draft: Draft): string[] {
  const base = bridgeUnder(intent, (tie) => draft.claimant(tie));
  return [...endsOf(intent).map(({ bridge }) => bridge), base].filter((bridge) => bridge !== null);
}

/** The macvlans that stand on the bridge. A vxlan is about another network than that of what it goes by. */
export function macvlansOn(
  { namespace, interface: name }: Pick<BridgeIntent, 'namespace' | 'interface'>,
  draft: Draft,
): Stored<'link'>[] {
  const standing = draft.needing({ namespace, what: interfaceTie(name) });
  return linksAmong(standing, draft).filter(({ intent }) => intent.type === 'macvlan');
}

function linksAmong(refs: readonly Ref[], draft: Draft): Stored<'link'>[] {
  return refs.flatMap(({ kind, name }) => (kind === 'link' ? (draft.get('link', name) ?? []) : []));
}
