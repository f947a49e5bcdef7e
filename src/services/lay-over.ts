import { isDeepStrictEqual } from 'node:util';
import type { Stored } from '../db/resources.ts';
import { refText, type Kind, type Ref } from '../schemas/common.ts';
import type { Prospect } from './adoption.ts';
import type { Draft } from './draft.ts';
import { interfaceTie } from './interface.ts';
import type { SpecOf } from './kind.ts';
import { kindOf, tiesOf } from './kinds.ts';

/** Checks the intent and lays it over the draft; what is so already is left as it is, its revision too. */
export function layOver<K extends Kind>(
  draft: Draft,
  kind: K,
  spec: SpecOf<K>,
  before: Stored<K> | null,
  prospect: Prospect<K> | null = null,
): void {
  const service = kindOf(kind);
  const intent = service.complete(spec);
  const isSame = before !== null && isDeepStrictEqual(before.intent, intent);
  if (isSame && service.isCurrent?.(before) !== false) return;
  service.check(intent, draft, before);
  if (prospect !== null && prospect.problem !== null) throw prospect.problem;
  const now = new Date().toISOString();
  const resource: Stored<K> = {
    kind,
    name: spec.name,
    intent,
    assigned: prospect?.assigned ?? service.assign(intent, before),
    observed: null,
    failure: null,
    revision: (before?.revision ?? 0) + 1,
    createdAt: before?.createdAt ?? now,
    updatedAt: now,
  };
  draft.put(resource, prospect?.adoption);
}

/** Those that name it, and the rules that name its interfaces. */
export function referrersOf(resource: Stored, draft: Draft): Ref[] {
  const interfaces = tiesOf(resource).claims.filter(({ what }) => what.startsWith(interfaceTie('')));
  const all = [...draft.referrers(resource), ...interfaces.flatMap((claim) => draft.needing(claim))];
  return [...new Map(all.map((ref) => [refText(ref), ref])).values()];
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
}
