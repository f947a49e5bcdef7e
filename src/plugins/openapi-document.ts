/**
 * What the swagger plugin leaves out of an OpenAPI document: the examples of bodies (it drops what stands beside a
 * `$ref`) and the mapping of discriminators (without one, OpenAPI takes the values for names of schemas).
 */
export function completeDocument(document: object): void {
  const { paths, components } = document as { paths?: unknown; components?: unknown };
  for (const path of valuesOf(paths)) for (const operation of valuesOf(path)) moveBodyExamples(operation);
  const schemas = isRecord(components) && isRecord(components['schemas']) ? components['schemas'] : {};
  for (const schema of valuesOf(schemas)) completeDiscriminator(schema, schemas);
}

function moveBodyExamples(operation: Json): void {
  const { requestBody, 'x-body-examples': named } = operation;
  if (!isRecord(named)) return;
  Reflect.deleteProperty(operation, 'x-body-examples');
  if (!isRecord(requestBody)) return;
  const examples = Object.fromEntries(Object.entries(named).map(([name, value]) => [name, { value }]));
  for (const media of valuesOf(requestBody['content'])) media['examples'] = examples;
}

function completeDiscriminator({ discriminator, oneOf }: Json, schemas: Json): void {
  if (!isRecord(discriminator) || !Array.isArray(oneOf)) return;
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
  const properties = isRecord(variant) ? variant['properties'] : null;
  const schema = isRecord(properties) ? properties[property] : null;
  return isRecord(schema) && typeof schema['const'] === 'string' ? schema['const'] : null;
}

type Json = Record<string, unknown>;

function valuesOf(value: unknown): Json[] {
  return typeof value === 'object' && value !== null ? Object.values(value).filter(isRecord) : [];
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
