import type { FastifyInstance, FastifyReply } from 'fastify';
import { Type, type Static, type TSchema } from 'typebox';
import { collectionOf, type Kind } from '../schemas/common.ts';
import { nullable, ref, strictObject } from '../schemas/object.ts';
import { DryRunAnswer } from '../schemas/operation.ts';
import type { Change } from '../services/engine.ts';
import type { SpecOf } from '../services/kind.ts';
import { etagOf, type ChangeAnswer, type ListChoice, type ResourceService } from '../services/resources.ts';
import { invalidField } from '../services/problem.ts';
import { CHANGE_PROBLEMS, READ_PROBLEMS, answer, emptyAnswer, problemAnswers } from './answers.ts';
import { ChangeHeaders, ReadHeaders, callerOf, conditionsOf, matchesNone } from './conditions.ts';
import { dryRunExample } from './examples.ts';

/** What the routes of one collection need to know of its kind. */
export interface Collection<K extends Kind> {
  kind: K;
  tag: string;
  /** `a link`, for summaries. */
  noun: string;
  schemas: { resource: TSchema; create: TSchema; put: TSchema; patch: TSchema; name: TSchema };
  /** The filters that make sense for the kind, beside labels. */
  filters: readonly ('namespace' | 'bridge')[];
  examples: { create: object; resource: object; patch: object };
  /** Items that `?all=true` adds; left out where the kind has no such thing. */
  foreign?: {
    schema: TSchema;
    list: (namespace: string | null) => Promise<object[]>;
    /** One by name, or null. */
    get: (name: string) => Promise<object | null>;
  };
}

const DRY_RUN = Type.Optional(
  Type.Boolean({ default: false, description: 'say which commands would run and what would change; record and do nothing' }),
);
const ChangeQuery = strictObject({ dryRun: DRY_RUN });
const DeleteQuery = strictObject({
  dryRun: DRY_RUN,
  cascade: Type.Optional(Type.Boolean({ default: false, description: 'delete what refers to it as well' })),
});

/** Registers list, create, read, put, patch and delete of one kind. */
export function registerCollection<K extends Kind>(app: FastifyInstance, resources: ResourceService, collection: Collection<K>): void {
  registerReads(app, resources, collection);
  registerChanges(app, resources, collection);
}

function registerReads<K extends Kind>(app: FastifyInstance, resources: ResourceService, collection: Collection<K>): void {
  const { kind, tag, noun, schemas, examples, foreign } = collection;
  const path = `/${collectionOf[kind]}`;
  const item = foreign === undefined ? ref(schemas.resource) : Type.Union([ref(schemas.resource), ref(foreign.schema)]);
  const title = titleOf(kind);

  app.get<{ Querystring: ListQuery }>(
    path,
    {
      schema: {
        operationId: `list${title}${kind === 'nat' ? 'Rules' : 's'}`,
        summary: `List ${collectionOf[kind] === 'nat' ? 'address translations' : collectionOf[kind]}`,
        description: 'In order of name, with what the kernel was last seen to have. No process is started for what netnsd made.',
        tags: [tag],
        querystring: listQuery(collection),
        response: {
          200: answer(strictObject({ items: Type.Array(item), next: nullable(Type.String({ description: 'the cursor for `after`; null at the end' })) }), 'a page of the collection', { items: [examples.resource], next: null }),
          ...problemAnswers('invalid-request'),
        },
      },
    },
    async ({ query }) => {
      const page: { items: object[]; next: string | null } = resources.list(kind, listChoice(query));
      // What others made has no place in the order of ours: it stands at the end of the last page.
      if (foreign === undefined || query.all !== true || page.next !== null) return page;
      return { ...page, items: [...page.items, ...(await foreign.list(query.namespace ?? null))] };
    },
  );

  app.get<{ Params: NameParams; Headers: Static<typeof ReadHeaders> }>(
    `${path}/:name`,
    {
      schema: {
        operationId: `get${title}`,
        summary: `Read ${noun}`,
        description: 'The intent, and beside it in `status` what the kernel has now.',
        tags: [tag],
        params: nameParams(foreign === undefined ? schemas.name : Type.String({ ...schemas.name, pattern: ANY_NAME })),
        headers: ReadHeaders,
        response: {
          200: answer(item, 'the resource', examples.resource, ['ETag']),
          304: emptyAnswer('it is still at the revision that was named', ['ETag']),
          ...problemAnswers(...READ_PROBLEMS),
        },
      },
    },
    async ({ params: { name }, headers }, reply) => {
      if (foreign !== undefined && !resources.has(kind, name)) {
        const found = await foreign.get(name);
        if (found !== null) return found;
      }
      const etag = etagOf(resources.revision(kind, name));
      void reply.header('etag', etag);
      if (!matchesNone(headers['if-none-match'], etag)) return reply.code(304).send();
      return resources.get(kind, name);
    },
  );
}

/** What is not ours may bear any name that a file may. */
const ANY_NAME = '^[^/\\x00-\\x1f]{1,255}$';

function registerChanges<K extends Kind>(app: FastifyInstance, resources: ResourceService, collection: Collection<K>): void {
  const { kind, tag, noun, schemas, examples } = collection;
  const path = `/${collectionOf[kind]}`;
  const title = titleOf(kind);
  const common = { tags: [tag], headers: ChangeHeaders };
  const dryRun = answer(ref(DryRunAnswer), 'with `dryRun`: what would be done', dryRunExample);
  const changed = (description: string, ...more: 'Location'[]) => answer(ref(schemas.resource), description, examples.resource, ['ETag', 'Operation', ...more]);
  const either = (description: string) => ({
    ...changed(`${description}; or, with \`dryRun\`, what would be done`),
    content: {
      'application/json': {
        schema: Type.Union([ref(schemas.resource), ref(DryRunAnswer)]),
        examples: { example: { value: examples.resource }, dryRun: { summary: 'with dryRun', value: dryRunExample } },
      },
    },
  });

  app.post<{ Body: unknown; Querystring: Static<typeof ChangeQuery>; Headers: Static<typeof ChangeHeaders> }>(
    path,
    {
      schema: {
        ...common,
        operationId: `create${title}`,
        summary: `Create ${noun}`,
        querystring: ChangeQuery,
        body: ref(schemas.create),
        'x-body-example': examples.create,
        response: { 200: dryRun, 201: changed('created: it is in the kernel and on disk', 'Location'), ...problemAnswers(...CHANGE_PROBLEMS, 'name-conflict') },
      },
    },
    async (request, reply) => {
      const { body, query, headers } = request;
      const change = resources.creation(kind, asSpec<K>(body), conditionsOf(headers), callerOf(request));
      return makeChange(resources, change, query.dryRun, reply);
    },
  );

  app.put<{ Params: NameParams; Body: { name?: string }; Querystring: Static<typeof ChangeQuery>; Headers: Static<typeof ChangeHeaders> }>(
    `${path}/:name`,
    {
      schema: {
        ...common,
        operationId: `put${title}`,
        summary: `Create ${noun}, or change it to be as given`,
        description: 'The same body again changes nothing, not even the revision. What is left out has its default.',
        params: nameParams(schemas.name),
        querystring: ChangeQuery,
        body: ref(schemas.put),
        'x-body-example': examples.create,
        response: { 200: either('changed, or as it was'), 201: changed('created', 'Location'), ...problemAnswers(...CHANGE_PROBLEMS) },
      },
    },
    async (request, reply) => {
      const { body, params, query, headers } = request;
      if (body.name !== undefined && body.name !== params.name)
        throw invalidField('/name', `is ${JSON.stringify(body.name)}, and the path says ${JSON.stringify(params.name)}; leave it out`);
      const spec = asSpec<K>({ ...body, name: params.name });
      const change = resources.replacement(kind, spec, conditionsOf(headers), callerOf(request));
      return makeChange(resources, change, query.dryRun, reply);
    },
  );

  app.patch<{ Params: NameParams; Body: unknown; Querystring: Static<typeof ChangeQuery>; Headers: Static<typeof ChangeHeaders> }>(
    `${path}/:name`,
    {
      schema: {
        ...common,
        operationId: `patch${title}`,
        summary: `Change ${noun} in part`,
        description: 'JSON Merge Patch (RFC 7396): fields that are given replace, null brings the default back.',
        consumes: ['application/merge-patch+json', 'application/json'],
        params: nameParams(schemas.name),
        querystring: ChangeQuery,
        body: ref(schemas.patch),
        'x-body-example': examples.patch,
        response: { 200: either('changed, or as it was'), ...problemAnswers(...CHANGE_PROBLEMS, 'not-found') },
      },
    },
    async (request, reply) => {
      const { body, params, query, headers } = request;
      const change = resources.patching(kind, params.name, body, conditionsOf(headers), callerOf(request));
      return makeChange(resources, change, query.dryRun, reply);
    },
  );

  app.delete<{ Params: NameParams; Querystring: Static<typeof DeleteQuery>; Headers: Static<typeof ChangeHeaders> }>(
    `${path}/:name`,
    {
      schema: {
        ...common,
        operationId: `delete${title}`,
        summary: `Delete ${noun}`,
        description: 'Refused while others refer to it, unless `cascade` deletes those too.',
        params: nameParams(schemas.name),
        querystring: DeleteQuery,
        response: { 200: dryRun, 204: emptyAnswer('deleted', ['Operation']), ...problemAnswers(...CHANGE_PROBLEMS, 'not-found') },
      },
    },
    async (request, reply) => {
      const { params, query, headers } = request;
      const change = resources.removal({ kind, name: params.name }, query.cascade === true, conditionsOf(headers), callerOf(request));
      return makeChange(resources, change, query.dryRun, reply);
    },
  );
}

async function makeChange(resources: ResourceService, change: Change, dryRun: boolean | undefined, reply: FastifyReply): Promise<FastifyReply> {
  if (dryRun === true) return reply.code(200).send(resources.dryRun(change));
  return sendChange(await resources.make(change), change, reply);
}

function sendChange({ operation, existed, body }: ChangeAnswer, { action, kind, name }: Change, reply: FastifyReply): FastifyReply {
  void reply.header('operation', `/operations/${operation}`);
  if (action === 'delete' || body === null) return reply.code(204).send();
  void reply.header('etag', etagOf(body.revision));
  if (existed) return reply.code(200).send(body);
  return reply.code(201).header('location', `/${collectionOf[kind]}/${encodeURIComponent(name)}`).send(body);
}

/** The body of a request, whose schema Fastify has checked: it is that of the kind. */
function asSpec<K extends Kind>(body: unknown): SpecOf<K> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the route's schema is what was asserted
  return body as SpecOf<K>;
}

interface NameParams {
  name: string;
}

function nameParams(name: TSchema): TSchema {
  return strictObject({ name });
}

interface ListQuery {
  limit?: number;
  after?: string;
  label?: string[];
  namespace?: string;
  bridge?: string;
  all?: boolean;
}

const DEFAULT_LIMIT = 100;

function listQuery<K extends Kind>({ filters, foreign, schemas }: Collection<K>): TSchema {
  const byReference = { namespace: 'only what is in this namespace, with either end', bridge: 'only what is on this bridge' };
  return strictObject({
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: DEFAULT_LIMIT })),
    after: Type.Optional(Type.String({ ...schemas.name, description: 'the cursor that the page before gave as `next`' })),
    label: Type.Optional(
      Type.Array(Type.String({ pattern: '^[^=]{1,63}=[^]{0,255}$', description: '`key=value`' }), {
        maxItems: 16,
        description: 'only resources with this label; if given more than once, all must match',
      }),
    ),
    ...Object.fromEntries(
      filters.map((name) => [name, Type.Optional(Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$', description: byReference[name] }))]),
    ),
    ...(foreign === undefined
      ? {}
      : { all: Type.Optional(Type.Boolean({ default: false, description: 'also what is in the kernel and was made by others' })) }),
  });
}

function listChoice({ limit = DEFAULT_LIMIT, after = '', label = [], namespace, bridge }: ListQuery): ListChoice {
  return {
    limit,
    after: after === '' ? null : after,
    labels: label.map((text) => ({ key: text.slice(0, text.indexOf('=')), value: text.slice(text.indexOf('=') + 1) })),
    namespace: namespace ?? null,
    bridge: bridge ?? null,
  };
}

function titleOf(kind: Kind): string {
  return kind === 'nat' ? 'Nat' : kind.charAt(0).toUpperCase() + kind.slice(1);
}

