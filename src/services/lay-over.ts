import { isDeepStrictEqual } from 'node:util';
import { isOf, type Stored, type Tie } from '../db/resources.ts';
import { refText, type Kind, type Meta, type Ref } from '../schemas/common.ts';
import type { Prospect } from './adoption.ts';
import type { Draft } from './draft.ts';
import { checkClaims, interfaceTie } from './interface.ts';
import { reassign, type Choosing } from './ipam.ts';
import type { SpecOf } from './kind.ts';
import { kindOf, tiesOf } from './kinds.ts';
import { followInNat } from './nat-names.ts';
import { localnetTie } from './nat-ties.ts';
import { isAtLoopbackAlone } from './published.ts';
import { checkNeeded } from './standing.ts';

/** Checks the intent and lays it over the draft; what is so already is left as it is, its revision too. */
export function layOver<K extends Kind>(
  draft: Draft,
  kind: K,
  spec: SpecOf<K>,
  before: Stored<K> | null,
  { prospect = null, ...given }: Omit<Choosing, 'draft' | 'now'> & { prospect?: Prospect<K> | null },
): void {
  const service = kindOf(kind);
  const intent = service.complete(spec);
  const isSame = before !== null && isDeepStrictEqual(before.intent, intent);
  if (isSame && service.isCurrent?.(before) !== false) return;
  service.check(intent, draft, before);
  if (prospect !== null && prospect.problem !== null) throw prospect.problem;
  const now = new Date().toISOString();
  const choosing = { ...given, draft, now };
  const resource: Stored<K> = {
    kind,
    name: spec.name,
    intent,
    assigned:
      prospect === null
        ? service.assign(intent, before, choosing)
        : (service.adopted?.(intent, prospect.assigned, draft) ?? prospect.assigned),
    observed: null,
    failure: null,
    ...metaAfter(before, now),
  };
  checkNeeded(before, resource, draft, tiesOf);
  if (service.usesIpam?.(intent) === true) checkClaims(tiesOf(resource).claims, resource, draft);
  draft.put(resource, prospect?.adoption);
  followThrough(before, resource, choosing);
}

/** What depends on it follows. */
function followThrough(before: Stored | null, after: Stored, choosing: Choosing): void {
  // Rules go by what links have in the end: with an address of the old subnet one might have nothing.
  const links = before !== null && isOf(before, 'bridge') ? reassign(before, choosing) : [];
  followInNat(choosing.draft, before, after);
  for (const link of links) followInNat(choosing.draft, link, link);
}

function metaAfter(before: Stored | null, now: string): Meta {
  if (before === null) return { revision: 1, createdAt: now, updatedAt: now };
  return { revision: before.revision + 1, createdAt: before.createdAt, updatedAt: now };
}

/** Those that name it, and the rules that name its interfaces, or have nothing without them. */
export function referrersOf(resource: Stored, draft: Draft): Ref[] {
  const interfaces = tiesOf(resource).claims.filter(({ what }) => what.startsWith(interfaceTie('')));
  const all = [
    ...draft.referrers(resource),
    ...interfaces.flatMap((claim) => [...draft.needing(claim), ...thoseAtLoopbackOf(claim, draft)]),
  ];
  return [...new Map(all.map((ref) => [refText(ref), ref])).values()];
}

/** The rules that publish at 127.0.0.1 alone, by way of an interface. */
function thoseAtLoopbackOf({ namespace, what }: Tie, draft: Draft): Ref[] {
  const device = what.slice(interfaceTie('').length);
  return draft.needing({ namespace, what: localnetTie(device) }).filter(({ kind, name }) => {
    const rule = kind === 'nat' ? draft.get('nat', name) : null;
    return rule?.intent.type === 'dnat' && isAtLoopbackAlone(rule.intent);
  });
}

/**
 * Takes it away with all that refers to it.
 *
 * @param going what is being taken away already: two bridges may name each other
 */
export function deleteWithReferrers(
  resource: Stored,
  draft: Draft,
  going: ReadonlySet<string> = new Set(),
): void {
  const all = new Set([...going, refText(resource)]);
  for (const ref of referrersOf(resource, draft)) {
    const referrer = all.has(refText(ref)) ? null : draft.get(ref.kind, ref.name);
    if (referrer !== null) deleteWithReferrers(referrer, draft, all);
  }
  draft.delete({ kind: resource.kind, name: resource.name });
  followInNat(draft, resource, null);
}
