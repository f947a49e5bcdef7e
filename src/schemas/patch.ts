import { Type, type TSchema } from 'typebox';
import { isJsonObject, type JsonObject } from './json-object.ts';

type JsonSchema = JsonObject;

/**
 * The schema of a JSON Merge Patch (RFC 7396) for documents of another schema: the same fields, none required,
 * and null anywhere, since null is how a patch removes.
 *
 * @param shared the schemas that references may lead to
 */
export function mergePatchSchema($id: string, schema: TSchema, shared: readonly TSchema[]): TSchema {
  return Type.Unsafe({ $id, ...partial(schema, shared) });
}

function partial(given: unknown, shared: readonly TSchema[]): JsonSchema {
  const schema = resolve(asSchema(given), shared);
  const variants = schema['oneOf'];
  if (Array.isArray(variants)) return merged(variants.map((variant) => partial(variant, shared)));
  const patterns = schema['patternProperties'];
  if (patterns !== undefined) return { ...schema, patternProperties: mapValues(patterns, nullable) };
  const properties = schema['properties'];
  if (properties === undefined) return schema;
  return {
    type: 'object',
    additionalProperties: false,
    properties: mapValues(properties, (property) => nullable(partial(property, shared))),
  };
}

/** A patch of one variant may become another: the fields of all, and of a field with several forms any. */
function merged(variants: readonly JsonSchema[]): JsonSchema {
  const properties = new Map<string, JsonSchema[]>();
  for (const variant of variants)
    for (const [name, property] of Object.entries(asSchema(variant['properties']))) {
      const known = properties.get(name) ?? [];
      const text = JSON.stringify(property);
      if (!known.some((other) => JSON.stringify(other) === text)) known.push(asSchema(property));
      properties.set(name, known);
    }
  const anyOf = ([name, forms]: [string, JsonSchema[]]) =>
    [name, forms.length === 1 ? forms[0] : { anyOf: forms }] as const;
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries([...properties].map(anyOf)),
  };
}

function nullable(schema: JsonSchema): JsonSchema {
  const alternatives: unknown = schema['anyOf'];
  if (!Array.isArray(alternatives)) return { anyOf: [schema, { type: 'null' }] };
  const isNullable = alternatives.some((alternative) => asSchema(alternative)['type'] === 'null');
  return isNullable ? schema : { ...schema, anyOf: [...alternatives.map(asSchema), { type: 'null' }] };
}

function resolve(schema: JsonSchema, shared: readonly TSchema[]): JsonSchema {
  const reference = schema['$ref'];
  if (typeof reference !== 'string') return schema;
  const found = shared.find(
    (candidate) => '$id' in candidate && `${String(candidate['$id'])}#` === reference,
  );
  if (found === undefined) throw new TypeError(`no schema ${reference}`);
  return asSchema(found);
}

function mapValues(given: unknown, map: (schema: JsonSchema) => JsonSchema): JsonSchema {
  return Object.fromEntries(
    Object.entries(asSchema(given)).map(([key, value]) => [key, map(asSchema(value))]),
  );
}

function asSchema(value: unknown): JsonSchema {
  if (!isJsonObject(value)) throw new TypeError(`${JSON.stringify(value)} is no schema`);
  return value;
}
