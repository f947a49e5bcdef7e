import { isJsonObject } from '../schemas/json-object.ts';

/**
 * JSON Merge Patch (RFC 7396, section 2): members of the patch replace those of the target, objects are merged,
 * null removes, but where it is a value of its own and not the default. Neither argument is changed.
 */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isJsonObject(patch)) return patch;
  const merged = new Map(Object.entries(isJsonObject(target) ? target : {}));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null && !NULL_SAYS.has(name)) merged.delete(name);
    else merged.set(name, mergePatch(merged.get(name), value));
  }
  return Object.fromEntries(merged);
}

/** `firewall: null` is no firewall, whatever a bridge has by default. */
const NULL_SAYS: ReadonlySet<string> = new Set(['firewall']);
