import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { formats } from '../../src/schemas/format.ts';
import { problemKinds } from '../../src/schemas/problem.ts';

/** A request and what came back, as far as the OpenAPI document says something of it. */
export interface Exchange {
  method: string;
  /** With its query. */
  url: string;
  status: number;
  headers: Readonly<Record<string, unknown>>;
  body: string;
}

/** Says where an exchange is not as the document describes it; no lines for one that is. */
export type Conformance = (exchange: Exchange) => string[];

type Json = Readonly<Record<string, unknown>>;

/** @param document the OpenAPI 3.1 document that the daemon serves */
export function createConformance(document: object): Conformance {
  const schemas = new Schemas(document);
  const paths = Object.entries(at(document, ['paths'])).map(([path, operations]) => ({
    path,
    matches: new RegExp(
      `^${path.replaceAll(/[.*+?^$()|[\]\\]/g, '\\$&').replaceAll(/\{[^}]+\}/g, '[^/]*')}$`,
    ),
    operations: operations as Json,
  }));
  return (exchange) => {
    const pathname = exchange.url.split('?')[0] ?? '';
    if (isUndocumented(pathname)) return [];
    const found = paths.find(({ matches }) => matches.test(pathname));
    const method = exchange.method.toLowerCase() === 'head' ? 'get' : exchange.method.toLowerCase();
    const complaints = isProblem(exchange) ? problemComplaints(exchange, schemas) : [];
    if (found === undefined) return [...complaints, ...mustBe(exchange, [400, 401, 403, 404, 413, 415])];
    if (!(method in found.operations)) return [...complaints, ...mustBe(exchange, [400, 401, 403, 405])];
    return [
      ...complaints,
      ...answerComplaints(exchange, ['paths', found.path, method, 'responses'], document, schemas),
    ];
  };
}

/** Pages for people, and the document itself. */
function isUndocumented(pathname: string): boolean {
  return pathname === '/docs' || pathname.startsWith('/docs/') || pathname === '/openapi.json';
}

function answerComplaints(
  exchange: Exchange,
  place: readonly string[],
  document: object,
  schemas: Schemas,
): string[] {
  const { method, status, headers, body, url } = exchange;
  const responses = at(document, place);
  const response = responses[String(status)] as { headers?: Json; content?: Json } | undefined;
  if (response === undefined)
    return [`status ${status} is not documented for ${method} ${url.slice(0, 200)}: ${body.slice(0, 500)}`];
  if (method.toUpperCase() === 'HEAD') return [];
  // Only what is answered again says so. A dry run is answered under the status of the change, without its headers; what is not ours has no revision.
  const hasNoRevision = /[?&]dryRun=true/.test(url) || body.includes('"managed":false');
  const missing = Object.keys(response.headers ?? {}).filter(
    (name) => !hasNoRevision && name !== 'Idempotent-Replayed' && headers[name.toLowerCase()] === undefined,
  );
  const complaints = missing.map((name) => `${method} ${url}: ${status} lacks the header ${name}`);
  if (response.content === undefined)
    return body === '' ? complaints : [...complaints, `${status} has a body: ${body}`];
  const type = mediaType(headers);
  if (!(type in response.content)) return [...complaints, `${status} has the undocumented type ${type}`];
  const value: unknown = type.endsWith('json') ? parse(body) : body;
  return [...complaints, ...schemas.complaints([...place, String(status), 'content', type, 'schema'], value)];
}

function isProblem({ method, status }: Exchange): boolean {
  return status >= 400 && method.toUpperCase() !== 'HEAD';
}

/** RFC 9457, whatever the route. */
function problemComplaints({ url, status, headers, body }: Exchange, schemas: Schemas): string[] {
  // Whether the daemon is ready is told by a document of its own.
  if (url.startsWith('/readyz') && status === 503) return [];
  if (mediaType(headers) !== 'application/problem+json')
    return [`${url}: ${status} is no problem but ${mediaType(headers)}: ${body.slice(0, 500)}`];
  const problem = parse(body);
  const complaints = schemas.complaints(['components', 'schemas', 'Problem'], problem);
  if (complaints.length > 0) return complaints;
  const { type, title, status: told } = problem as { type: string; title: string; status: number };
  const kind = Object.entries(problemKinds).find(([slug]) => type === `/problems/${slug}`)?.[1];
  if (kind === undefined) return [`there is no problem ${type}`];
  return kind.status === status && told === status && kind.title === title
    ? []
    : [`${type} has the status ${status}: ${body}`];
}

function mustBe({ method, url, status }: Exchange, allowed: readonly number[]): string[] {
  return allowed.includes(status)
    ? []
    : [`${method} ${url} is not documented, and was answered with ${status}`];
}

/** Validates values against the schemas of an OpenAPI document, named by their place in it. */
export class Schemas {
  readonly #ajv = new Ajv2020({ strict: false, allErrors: true });
  readonly #compiled = new Map<string, ValidateFunction>();

  constructor(document: object) {
    this.#ajv.addFormat('date-time', /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z$/);
    for (const [name, explain] of Object.entries(formats))
      this.#ajv.addFormat(name, (text: string) => explain(text) === null);
    this.#ajv.addSchema({ ...document, $id: DOCUMENT });
  }

  complaints(place: readonly string[], value: unknown): string[] {
    const validate = this.#validator(place);
    if (validate(value)) return [];
    const errors =
      validate.errors?.map(({ instancePath, message }) => `${instancePath} ${message ?? ''}`) ?? [];
    return [`${place.slice(0, -1).join(' ')}: ${errors.join('; ')}: ${JSON.stringify(value)}`];
  }

  #validator(place: readonly string[]): ValidateFunction {
    const pointer = place
      .map((part) => `/${encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))}`)
      .join('');
    const compiled = this.#compiled.get(pointer) ?? this.#ajv.compile({ $ref: `${DOCUMENT}#${pointer}` });
    this.#compiled.set(pointer, compiled);
    return compiled;
  }
}

const DOCUMENT = 'http://netnsd/openapi.json';

function at(document: object, place: readonly string[]): Json {
  return place.reduce<Json>((value, part) => (value[part] ?? {}) as Json, document as Json);
}

function mediaType(headers: Exchange['headers']): string {
  const { 'content-type': type } = headers;
  return typeof type === 'string' ? (type.split(';')[0] ?? '') : 'none';
}

function parse(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    // No schema accepts it, and the complaint shows it.
    return { notJson: body };
  }
}
