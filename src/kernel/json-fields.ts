import { isJsonObject, type JsonObject } from '../schemas/json-object.ts';

/* Fields of what the tools print as JSON: what is not there, or of another type than it should be, is null. */

export function asObject(value: unknown): JsonObject | null {
  return isJsonObject(value) ? value : null;
}

export function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

export function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' ? value : null;
}
