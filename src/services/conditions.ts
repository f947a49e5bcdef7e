import type { Stored } from '../db/resources.ts';
import { refText, type Ref } from '../schemas/common.ts';
import { Problem } from './problem.ts';

/** What a client may demand of a change, by header or query. */
export interface Conditions {
  /** Entity tags of If-Match; null if the header is not there, `*` for any. */
  ifMatch: readonly string[] | '*' | null;
  /** If-None-Match: `*`. */
  mustBeNew: boolean;
}

/** For what is there, or may be made: what is not found is not found, whatever the conditions (RFC 9110, section 13.2.1). */
export function checkConditions({ ifMatch, mustBeNew }: Conditions, before: Stored | null, ref: Ref): void {
  if (mustBeNew && before !== null)
    throw new Problem(
      'revision-mismatch',
      `${refText(ref)} is there already, and If-None-Match: * asks that it is not`,
    );
  if (ifMatch === null) return;
  if (before === null)
    throw new Problem(
      'revision-mismatch',
      `${refText(ref)} is not there, and If-Match asks for a revision of it`,
    );
  const current = etagOf(before.revision);
  if (ifMatch !== '*' && !ifMatch.includes(current))
    throw new Problem(
      'revision-mismatch',
      `${refText(ref)} is at revision ${current}, not ${ifMatch.join(', ')}; read it again and decide again`,
    );
}

/** The entity tag of a revision (RFC 9110, section 8.8.3). */
export function etagOf(revision: number): string {
  return `"${revision}"`;
}
