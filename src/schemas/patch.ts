import { Type, type TSchema } from 'typebox';

type JsonSchema = Record<string, unknown>;

/**
 * The schema of a JSON Merge Patch (RFC 7396) for documents of another schema: the same fields, none required,
 * and null anywhere, since null is how a patch removes.
 *
 * @param shared the schemas that references may lead to
 */
export function mergePatchSchema($id: string, schema: TSchema, shared: readonly TSchema[]): TSchema {
  return Type.Unsafe({ $id, ...partial(schema as JsonSchema, shared) });
}

function partial(given: JsonSchema, shared: readonly TSchema[]): JsonSchema {
  const schema = resolve(given, shared);
  const variants = schema['oneOf'];
  if (Array.isArray(variants)) return merged(variants.map((variant) => partial(variant as JsonSchema, shared)));
  const patterns = schema['patternProperties'];
  if (isSchema(patterns)) {
    const removable = Object.entries(patterns).map(([key, value]) => [key, nullable(value as JsonSchema)]);
    return { ...schema, patternProperties: Object.fromEntries(removable) };
  }
  const properties = schema['properties'];
  if (!isSchema(properties)) return schema;
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(
      Object.entries(properties).map(([name, property]) => [name, nullable(partial(property as JsonSchema, shared))]),
    ),
  };
}

/** A patch of one variant may become another: the fields of all, and of a field with several forms any. */
function merged(variants: readonly JsonSchema[]): JsonSchema {
  const properties = new Map<string, JsonSchema[]>();
  for (const variant of variants)
    for (const [name, property] of Object.entries(isSchema(variant['properties']) ? variant['properties'] : {})) {
      const known = properties.get(name) ?? [];
      const text = JSON.stringify(property);
      if (!known.some((other) => JSON.stringify(other) === text)) known.push(property as JsonSchema);
      properties.set(name, known);
    }
  return {
    type: 'object',
    additionalProperties: false,
    properties: Object.fromEntries(
      [...properties].map(([name, forms]) => [name, forms.length === 1 ? forms[0] : { anyOf: forms }]),
    ),
  };
}

function nullable(schema: JsonSchema): JsonSchema {
  const alternatives = schema['anyOf'];
  if (!Array.isArray(alternatives)) return { anyOf: [schema, { type: 'null' }] };
  const isNullable = alternatives.some((alternative: JsonSchema) => alternative['type'] === 'null');
  return isNullable ? schema : { ...schema, anyOf: [...(alternatives as JsonSchema[]), { type: 'null' }] };
}

function resolve(schema: JsonSchema, shared: readonly TSchema[]): JsonSchema {
  const reference = schema['$ref'];
  if (typeof reference !== 'string') return schema;
  const found = shared.find((candidate) => '$id' in candidate && `${String(candidate['$id'])}#` === reference);
  if (found === undefined) throw new TypeError(`no schema ${reference}`);
  return found as JsonSchema;
}

function isSchema(value: unknown): value is JsonSchema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
