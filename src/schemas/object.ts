import { Type, type Static, type TObject, type TProperties, type TSchema, type TUnsafe } from 'typebox';

/** A JSON object that has the given properties and no others: unknown fields are errors, never dropped. */
export function strictObject<T extends TProperties>(
  properties: T,
  options: Record<string, unknown> = {},
): TObject<T> {
  return Type.Object(properties, { additionalProperties: false, ...options });
}

/** The schema's values, or null. */
export function nullable<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()]);
}

/** A reference to a shared schema (one that has an `$id`), with the type of its values. */
export function ref<T extends TSchema>(schema: T): TUnsafe<Static<T>> {
  if (!('$id' in schema) || typeof schema.$id !== 'string')
    throw new TypeError('a shared schema needs an $id');
  return Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#` });
}

/** A choice by `type`, with the keyword that lets the validator report on the chosen variant alone. */
export function byType<T>($id: string, schemas: readonly TSchema[]): TUnsafe<T> {
  return Type.Unsafe<T>({
    $id,
    type: 'object',
    required: ['type'],
    discriminator: { propertyName: 'type' },
    oneOf: schemas.map((schema) => ref(schema)),
  });
}
