import { Type, type Static } from 'typebox';
import type { FastifyRequest } from 'fastify';
import type { Caller } from '../services/change.ts';
import type { Conditions } from '../services/conditions.ts';

/** RFC 9110, section 8.8.3: an entity tag, or a list of them. */
const ENTITY_TAG = '(?:W/)?"[\\x21\\x23-\\x7e]*"';

/** The headers that a change takes; all others are let through. */
export const ChangeHeaders = Type.Object({
  'if-match': Type.Optional(
    Type.String({
      pattern: `^(?:\\*|${ENTITY_TAG}(?:\\s*,\\s*${ENTITY_TAG})*)$`,
      maxLength: 1024,
      description:
        'an entity tag such as "3": make the change only if the resource is still at that revision',
    }),
  ),
  'if-none-match': Type.Optional(
    Type.String({
      pattern: '^\\*$',
      description: '`*`: make the change only if the resource is not there yet',
    }),
  ),
});

/** The header of a conditional read. */
export const ReadHeaders = Type.Object({
  'if-none-match': Type.Optional(
    Type.String({ maxLength: 1024, description: 'an entity tag: answer 304 if that is still the revision' }),
  ),
});

export function conditionsOf(headers: Static<typeof ChangeHeaders>): Conditions {
  return {
    ifMatch: headers['if-match'] === undefined ? null : tagsOf(headers['if-match']),
    mustBeNew: headers['if-none-match'] === '*',
  };
}

/** Weak tags never match where bytes count; ours are strong (RFC 9110, section 8.8.3.2). */
function tagsOf(header: string): string[] | '*' {
  if (header.trim() === '*') return '*';
  return [...header.matchAll(/(W\/)?("[^"]*")/g)].flatMap(([, weak, tag]) =>
    weak === undefined && tag !== undefined ? [tag] : [],
  );
}

/** RFC 9110, section 13.1.2: for reads the comparison is weak. */
export function matchesNone(header: string | undefined, etag: string): boolean {
  if (header === undefined) return true;
  if (header.trim() === '*') return false;
  return ![...header.matchAll(/(?:W\/)?("[^"]*")/g)].some(([, tag]) => tag === etag);
}

/** Who asks: what the journal and the log call it. */
export function callerOf(request: FastifyRequest): Caller {
  const address = request.raw.socket.remoteAddress;
  const port = request.raw.socket.remotePort;
  return {
    actor: address === undefined ? 'unix socket' : `${address} port ${String(port)}`,
    requestId: request.id,
  };
}
