import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import type { FastifySchemaCompiler } from 'fastify';
import type { TSchema } from 'typebox';
import { Problem } from '../services/problem.ts';
import { formats, type FormatName } from '../schemas/format.ts';
import type { Kind } from '../schemas/common.ts';
import { linkTypes } from '../schemas/link-types.ts';
import type { ProblemError } from '../schemas/problem.ts';
import { putSchemas } from '../schemas/put.ts';
import type { SpecOf } from '../services/kind.ts';

/** Strict validation: of bodies nothing is converted, dropped or filled in. */
export interface Validation {
  compiler: FastifySchemaCompiler<TSchema>;
  /** Throws a problem unless the value fits the schema. */
  check: (schema: TSchema, value: unknown) => void;
}

/** Checks what a merge patch makes of a resource against the schema of its kind. */
export function validatorOf(
  check: Validation['check'],
): <K extends Kind>(kind: K, body: unknown) => SpecOf<K> {
  return (kind, body) => {
    check(putSchemas[kind], body);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what was just checked
    return body as never;
  };
}

/** @param shared every schema that others refer to by its `$id` */
export function createValidation(shared: readonly TSchema[]): Validation {
  const strict = createAjv({ coerceTypes: false });
  // What stands in a URL or a header is text, and a parameter that may be repeated may stand there once.
  const fromText = createAjv({ coerceTypes: 'array' });
  for (const schema of shared) {
    strict.addSchema(schema);
    fromText.addSchema(schema);
  }
  const compiled = new WeakMap<TSchema, Validator>();
  return {
    compiler: ({ schema, httpPart }) =>
      httpPart === 'body'
        ? lazily(() => tellingMore(strict, strict.compile(schema)))
        : lazily(() => fromText.compile(schema)),
    check: (schema, value) => {
      const validate = compiled.get(schema) ?? tellingMore(strict, compileShared(strict, schema));
      compiled.set(schema, validate);
      if (validate(value)) return;
      const errors = describeErrors(validate.errors ?? [], 'body');
      throw invalidRequest(errors, 'body');
    },
  };
}

/** Ajv's own kind of function, of which callers use no more than this. */
interface Validator {
  (value: unknown): boolean;
  errors?: ErrorObject[] | null;
}

/** Made when it is first needed: to make all of them would be a third of the time that netnsd takes to start. */
function lazily(make: () => Validator): Validator {
  let made: Validator | null = null;
  const validate: Validator = (value) => {
    made ??= make();
    const fits = made(value);
    validate.errors = made.errors ?? null;
    return fits;
  };
  return validate;
}

/**
 * Where the one kind of link that there always was is most likely to be meant by a type that there is not, what is wrong
 * with the other fields is told as well: all is to be told at once.
 */
function tellingMore(ajv: Ajv, validate: ValidateFunction): Validator {
  const telling: Validator = (value) => {
    const fits = validate(value);
    const errors = validate.errors ?? [];
    const taken = errors.map(takenFor).find((id) => id !== undefined);
    const guess = taken === undefined ? undefined : ajv.getSchema(taken);
    const more = guess === undefined || guess(value) ? null : guess.errors;
    // What the rest is measured by comes first, and with it what the detail says.
    telling.errors =
      more?.map(namingAllTypes).toSorted((a, b) => Number(isOfType(b)) - Number(isOfType(a))) ?? errors;
    return fits;
  };
  return telling;
}

function takenFor({ keyword, parentSchema }: ErrorObject): string | undefined {
  const id: unknown = keyword === 'discriminator' ? parentSchema?.['$id'] : undefined;
  return typeof id === 'string' ? TAKEN_FOR[id] : undefined;
}

function isOfType(error: ErrorObject): boolean {
  return pointerOf(error) === '/type';
}

/** It would have none but its own. */
function namingAllTypes(error: ErrorObject): ErrorObject {
  if (error.keyword !== 'const' || error.instancePath !== '/type') return error;
  return { ...error, keyword: 'enum', params: { allowedValues: linkTypes } };
}

const TAKEN_FOR: Readonly<Record<string, string>> = { LinkCreate: 'VethCreate', LinkPut: 'VethPut' };

function compileShared(ajv: Ajv, schema: TSchema): ValidateFunction {
  const known = '$id' in schema && typeof schema.$id === 'string' ? ajv.getSchema(schema.$id) : undefined;
  return known ?? ajv.compile(schema);
}

function createAjv({ coerceTypes }: { coerceTypes: false | 'array' }): Ajv {
  const ajv = new Ajv({
    coerceTypes,
    removeAdditional: false,
    useDefaults: false,
    allErrors: true,
    // Errors carry the value and the schema, so that a message can say what was wrong with which value.
    verbose: true,
    discriminator: true,
    strict: true,
    strictRequired: false,
    allowUnionTypes: true,
  });
  for (const [name, explain] of Object.entries(formats))
    ajv.addFormat(name, { type: 'string', validate: (text: string) => explain(text) === null });
  // Only in answers, which are not validated.
  ajv.addFormat('date-time', true);
  return ajv;
}

/** The part of a request that a schema is for, as Fastify names it. */
export type RequestPart = 'body' | 'querystring' | 'params' | 'headers';

export function invalidRequest(errors: ProblemError[], part: RequestPart): Problem {
  const [first] = errors;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more, see \`errors\`)` : '';
  const place =
    first === undefined || first.pointer === '' ? partNames[part] : `${partNames[part]}: ${first.pointer}`;
  return new Problem('invalid-request', `${place}: ${first?.message ?? 'does not fit'}${more}`, { errors });
}

const partNames: Record<RequestPart, string> = {
  body: 'the body',
  querystring: 'the query',
  params: 'the path',
  headers: 'the headers',
};

const MOST_ERRORS = 20;

/** What Ajv found, in words, without what is only the shadow of another error. */
export function describeErrors(found: readonly ErrorObject[], part: RequestPart): ProblemError[] {
  const telling = found.filter((error) => !isShadow(error, found));
  const errors = (telling.length > 0 ? telling : found).map((error) => ({
    pointer: part === 'body' ? pointerOf(error) : pointerOf(error).replace(/^\//, ''),
    message: messageOf(error),
  }));
  const unique = new Map(errors.map((error) => [`${error.pointer} ${error.message}`, error]));
  return [...unique.values()].slice(0, MOST_ERRORS);
}

/**
 * "Must be null" beside "must be a MAC address" or above what is wrong with a part of it, and "must match a schema in anyOf"
 * above both, tell nothing.
 */
function isShadow(error: ErrorObject, all: readonly ErrorObject[]): boolean {
  if (error.keyword === 'anyOf' || error.keyword === 'propertyNames') return true;
  const isNull = error.keyword === 'type' && error.params['type'] === 'null';
  return (
    isNull &&
    all.some(
      (other) =>
        other !== error &&
        `${other.instancePath}/`.startsWith(`${error.instancePath}/`) &&
        other.keyword !== 'anyOf',
    )
  );
}

function pointerOf({ instancePath, keyword, params }: ErrorObject): string {
  const named: unknown =
    keyword === 'required'
      ? params['missingProperty']
      : keyword === 'additionalProperties'
        ? params['additionalProperty']
        : undefined;
  return typeof named === 'string'
    ? `${instancePath}/${named.replaceAll('~', '~0').replaceAll('/', '~1')}`
    : instancePath;
}

function messageOf({ keyword, params, data, parentSchema, message }: ErrorObject): string {
  const description: unknown = parentSchema?.['description'];
  switch (keyword) {
    case 'required':
      return 'is required';
    case 'additionalProperties':
      return 'is not a field of this; unknown fields are errors';
    case 'format':
      return explainFormat(params['format'], data);
    case 'pattern':
      return `${quote(data)} does not fit; needed is ${typeof description === 'string' ? description : `what matches ${String(params['pattern'])}`}`;
    case 'enum':
      return `${quote(data)} is none of ${JSON.stringify(params['allowedValues'])}`;
    case 'const':
      return `${quote(data)} is not ${JSON.stringify(params['allowedValue'])}`;
    case 'discriminator':
      return `the field ${String(params['tag'])} is ${quote(params['tagValue'])}, which is none of its values`;
    default:
      return `${message ?? 'does not fit'}${keyword === 'type' ? `, and is ${quote(data)}` : ''}`;
  }
}

function explainFormat(format: unknown, data: unknown): string {
  const known = Object.keys(formats).find((name): name is FormatName => name === format);
  const explained = known === undefined || typeof data !== 'string' ? null : formats[known](data);
  return explained ?? `${quote(data)} does not have the format ${String(format)}`;
}

function quote(value: unknown): string {
  const text = JSON.stringify(value) ?? 'undefined';
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
