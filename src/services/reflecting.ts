import { isOf, type ResourceRepository, type Stored, type Tie } from '../db/resources.ts';
import { filtersBridges } from '../kernel/bridge-filter.ts';
import { endKey } from '../plan/end.ts';
import { resolvedLink } from '../plan/ipam.ts';
import { parsePrefix } from '../schemas/address.ts';
import type { Kind, Ref } from '../schemas/common.ts';
import { leaseTie } from '../schemas/ipam.ts';
import type { EndIntent, EndName, LinkIntent, ObservedEnd } from '../schemas/link.ts';
import type { NatAssigned, NatIntent } from '../schemas/nat.ts';
import type { Touched } from './draft.ts';
import { interfaceTie } from './interface.ts';

/*
 * While a bridge has its packets translated (br_netfilter), what a namespace sends to its own published port comes in by
 * a port of the bridge and has to go out by it again, which only hairpin mode allows (bridge(8)). Without it the same
 * packet is routed, and a port that reflects whatever is sent to all would do harm: a bridge behind it learns wrong
 * addresses. So the mode is on where a published port is behind a port of a bridge, while bridges are filtered.
 */

/** How what a published port leads to stands in needs. */
function targetTie(address: string): string {
  return `target ${address}`;
}

/** Where a rule leads to; null if to nowhere. */
export function targetOf(intent: NatIntent, assigned: NatAssigned): Tie | null {
  if (intent.type !== 'dnat') return null;
  const address = intent.to.address ?? assigned.address;
  return address === undefined ? null : { namespace: intent.namespace, what: targetTie(address) };
}

/** A part of the store, or of a draft. */
interface TieIndex {
  claimant: (tie: Tie) => Ref | null;
  needing: (tie: Tie) => Ref[];
}

/** The links among resources, with what was chosen for them. */
export function intentsOfLinks(resources: Iterable<Stored>): LinkIntent[] {
  return [...resources].flatMap((stored) =>
    isOf(stored, 'link') ? [resolvedLink(stored.intent, stored.assigned)] : [],
  );
}

/**
 * The ends of links, by `endKey`, behind which something is published: whether they are to be in hairpin mode.
 *
 * @param links with what was chosen for them
 */
export function reflectingEnds(
  links: readonly LinkIntent[],
  isTarget: (tie: Tie) => boolean,
): Map<string, boolean> {
  const found = new Map<string, boolean>();
  for (const intent of links)
    for (const end of publishedEnds(intent, isTarget)) {
      const { namespace } = end === 'peer' && intent.type === 'veth' ? intent.peer : intent;
      found.set(endKey({ kind: 'link', name: intent.name }, end), filtersBridges(namespace));
    }
  return found;
}

/** Whether something of that side of a change leads there. */
export function leadsTo({ namespace, what }: Tie, stored: Stored): boolean {
  const target = isOf(stored, 'nat') ? targetOf(stored.intent, stored.assigned) : null;
  return target?.namespace === namespace && target.what === what;
}

/** The ends that are ports of a bridge, and at whose other end is what a rule beside the bridge leads to. */
function publishedEnds(intent: LinkIntent, isTarget: (tie: Tie) => boolean): EndName[] {
  if (intent.type !== 'veth') return [];
  const leads = ({ namespace, bridge }: EndIntent, { addresses }: EndIntent): boolean =>
    bridge !== null &&
    addresses.some((text) => isTarget({ namespace, what: targetTie(parsePrefix(text).address) }));
  return [
    ...(leads(intent, intent.peer) ? (['own'] as const) : []),
    ...(leads(intent.peer, intent) ? (['peer'] as const) : []),
  ];
}

/** The links of ours behind whose ports is what a rule leads to, if that matters where it is. */
export function linksLedTo(rule: Stored, ties: TieIndex): Ref[] {
  if (!isOf(rule, 'nat') || rule.intent.type !== 'dnat') return [];
  const { intent, assigned } = rule;
  const address = intent.to.address ?? assigned.address;
  const { via } = assigned;
  const { namespace } = intent;
  if (address === undefined || via === undefined || via === null || !filtersBridges(namespace)) return [];
  const bridge = ties.claimant({ namespace, what: interfaceTie(via.interface) });
  if (bridge?.kind !== 'bridge') return [];
  const place = leaseTie(bridge.name, address);
  const claimant = ties.claimant(place);
  return [...(claimant === null ? [] : [claimant]), ...ties.needing(place)].filter(isLinkRef);
}

function isLinkRef({ kind }: { kind: Kind }): boolean {
  return kind === 'link';
}

/**
 * Lists show links as last seen; what a rule has changed of the ports behind which it leads, its own change has just
 * written. To be called within the transaction that writes the rules.
 */
export function updateReflecting(resources: ResourceRepository, touched: readonly Touched[]): void {
  const rules = touched.flatMap(({ before, after }) => [before, after]).filter((rule) => rule !== null);
  const refs = rules.flatMap((rule) => linksLedTo(rule, resources));
  for (const name of new Set(refs.map((ref) => ref.name))) {
    const link = resources.get('link', name);
    if (link === null || link.observed === null || link.intent.type !== 'veth') continue;
    const { observed, intent } = link;
    if (!('peer' in observed)) continue;
    const ends = publishedEnds(
      resolvedLink(intent, link.assigned),
      (tie) => resources.needing(tie).length > 0,
    );
    const seen = <S extends ObservedEnd>(end: S, which: EndName, asked: boolean): S =>
      end.options === null || end.options === undefined || end.bridge === null
        ? end
        : { ...end, options: { ...end.options, hairpin: asked || ends.includes(which) } };
    const own = seen(observed, 'own', intent.hairpin === true);
    const peer = seen(observed.peer, 'peer', intent.peer.hairpin === true);
    resources.putObserved(link, { ...own, peer });
  }
}
