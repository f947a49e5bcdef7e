import { isJsonObject, type JsonObject } from '../schemas/json-object.ts';

/**
 * What the swagger plugin leaves out of an OpenAPI document: the examples of bodies (it drops what stands beside a
 * `$ref`) and the mapping of discriminators (without one, OpenAPI takes the values for names of schemas).
 */
export function completeDocument(document: object): void {
  const { paths, components } = document as { paths?: unknown; components?: unknown };
  for (const path of valuesOf(paths)) for (const operation of valuesOf(path)) moveBodyExamples(operation);
  const schemas =
    isJsonObject(components) && isJsonObject(components['schemas']) ? components['schemas'] : {};
  for (const schema of valuesOf(schemas)) completeDiscriminator(schema, schemas);
}

function moveBodyExamples(operation: JsonObject): void {
  const { requestBody, 'x-body-examples': named } = operation;
  if (!isJsonObject(named)) return;
  Reflect.deleteProperty(operation, 'x-body-examples');
  if (!isJsonObject(requestBody)) return;
  const examples = Object.fromEntries(Object.entries(named).map(([name, value]) => [name, { value }]));
  for (const media of valuesOf(requestBody['content'])) media['examples'] = examples;
}

function completeDiscriminator({ discriminator, oneOf }: JsonObject, schemas: JsonObject): void {
  if (!isJsonObject(discriminator) || !Array.isArray(oneOf)) return;
  const property = String(discriminator['propertyName']);
  discriminator['mapping'] = Object.fromEntries(
    valuesOf(oneOf).flatMap(({ $ref }) => {
      const value =
        typeof $ref === 'string' ? valueOf(schemas[$ref.split('/').at(-1) ?? ''], property) : null;
      return value === null ? [] : [[value, $ref]];
    }),
  );
}

/** The one value that a variant's property may have. */
function valueOf(variant: unknown, property: string): string | null {
  const properties = isJsonObject(variant) ? variant['properties'] : null;
  const schema = isJsonObject(properties) ? properties[property] : null;
  return isJsonObject(schema) && typeof schema['const'] === 'string' ? schema['const'] : null;
}

function valuesOf(value: unknown): JsonObject[] {
  return typeof value === 'object' && value !== null ? Object.values(value).filter(isJsonObject) : [];
}
