import { isJsonObject } from '../schemas/json-object.ts';

/**
 * JSON Merge Patch (RFC 7396, section 2) for a resource: members of the patch replace those of the target, objects are
 * merged, null removes, but from fields of the resource in which it is a value of its own and not the default. Neither
 * argument is changed.
 */
export function mergePatch(target: unknown, patch: unknown): unknown {
  return merged(target, patch, NULL_SAYS);
}

/** @param nullSays the members of this object, not of those within it, whose value may be null */
function merged(target: unknown, patch: unknown, nullSays: ReadonlySet<string>): unknown {
  if (!isJsonObject(patch)) return patch;
  const members = new Map(Object.entries(isJsonObject(target) ? target : {}));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null && !nullSays.has(name)) members.delete(name);
    else members.set(name, merged(members.get(name), value, NONE));
  }
  return Object.fromEntries(members);
}

/** `firewall: null` is no firewall, whatever a bridge has by default. */
const NULL_SAYS: ReadonlySet<string> = new Set(['firewall']);
const NONE: ReadonlySet<string> = new Set();
