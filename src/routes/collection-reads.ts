import type { FastifyInstance } from 'fastify';
import { Type, type Static, type TSchema } from 'typebox';
import { LABEL_KEY, collectionOf, type Kind } from '../schemas/common.ts';
import { nullable, ref, strictObject } from '../schemas/object.ts';
import { etagOf } from '../services/conditions.ts';
import type { ListChoice, ResourceService } from '../services/resources.ts';
import { READ_PROBLEMS, answer, answerByExamples, emptyAnswer, problemAnswers } from './answers.ts';
import { examplesOf, nameParams, titleOf, type Collection, type NameParams } from './collection-kind.ts';
import { ReadHeaders, matchesNone } from './conditions.ts';

/** Registers the routes that read. */
export function registerReads<K extends Kind>(
  app: FastifyInstance,
  resources: ResourceService,
  collection: Collection<K>,
): void {
  registerList(app, resources, collection);
  registerGet(app, resources, collection);
}

function registerList<K extends Kind>(
  app: FastifyInstance,
  resources: ResourceService,
  collection: Collection<K>,
): void {
  const { kind, tag, schemas, foreign } = collection;
  const path = `/${collectionOf[kind]}`;
  const item =
    foreign === undefined ? ref(schemas.resource) : Type.Union([ref(schemas.resource), ref(foreign.schema)]);
  const title = titleOf(kind);

  app.get<{ Querystring: ListQuery }>(
    path,
    {
      schema: {
        operationId: `list${title}${kind === 'nat' ? 'Rules' : 's'}`,
        summary: `List ${collectionOf[kind] === 'nat' ? 'address translations' : collectionOf[kind]}`,
        description:
          'In order of name, with what the kernel was last seen to have. No process is started for what netnsd made.',
        tags: [tag],
        querystring: listQuery(collection),
        response: {
          200: answer(
            strictObject({
              items: Type.Array(item),
              next: nullable(Type.String({ description: 'the cursor for `after`; null at the end' })),
            }),
            'a page of the collection',
            { items: Object.values(examplesOf(collection, 'resource')), next: null },
          ),
          ...problemAnswers('invalid-request'),
        },
      },
    },
    async ({ query }) => {
      const page: { items: object[]; next: string | null } = resources.list(kind, listChoice(query));
      // What others made has no place in the order of ours: it stands at the end of the last page.
      // It has no labels either.
      const isWanted = query.all === true && page.next === null && query.label === undefined;
      if (foreign === undefined || !isWanted) return page;
      return { ...page, items: [...page.items, ...(await foreign.list(query.namespace ?? null))] };
    },
  );
}

function registerGet<K extends Kind>(
  app: FastifyInstance,
  resources: ResourceService,
  collection: Collection<K>,
): void {
  const { kind, tag, noun, schemas, foreign } = collection;
  const path = `/${collectionOf[kind]}`;
  const item =
    foreign === undefined ? ref(schemas.resource) : Type.Union([ref(schemas.resource), ref(foreign.schema)]);
  const title = titleOf(kind);

  app.get<{ Params: NameParams; Headers: Static<typeof ReadHeaders> }>(
    `${path}/:name`,
    {
      schema: {
        operationId: `get${title}`,
        summary: `Read ${noun}`,
        description: 'The intent, and beside it in `status` what the kernel has now.',
        tags: [tag],
        params: nameParams(
          foreign === undefined ? schemas.name : Type.String({ ...schemas.name, pattern: ANY_NAME }),
        ),
        querystring: strictObject({}),
        headers: ReadHeaders,
        response: {
          200: answerByExamples(item, 'the resource', examplesOf(collection, 'resource'), ['ETag']),
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
  const byReference = {
    namespace: 'only what is in this namespace, with either end',
    bridge: 'only what is on this bridge',
  };
  return strictObject({
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: DEFAULT_LIMIT })),
    after: Type.Optional(
      Type.String({ ...schemas.name, description: 'the cursor that the page before gave as `next`' }),
    ),
    label: Type.Optional(
      Type.Array(Type.String({ pattern: `^${LABEL_KEY}=[^]{0,255}$`, description: '`key=value`' }), {
        maxItems: 16,
        description: 'only resources with this label; if given more than once, all must match',
      }),
    ),
    ...Object.fromEntries(
      filters.map((name) => [
        name,
        Type.Optional(
          Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$', description: byReference[name] }),
        ),
      ]),
    ),
    ...(foreign === undefined
      ? {}
      : {
          all: Type.Optional(
            Type.Boolean({
              default: false,
              description: 'also what is in the kernel and was made by others',
            }),
          ),
        }),
  });
}

function listChoice({
  limit = DEFAULT_LIMIT,
  after = '',
  label = [],
  namespace,
  bridge,
}: ListQuery): ListChoice {
  return {
    limit,
    after: after === '' ? null : after,
    labels: label.map((text) => ({
      key: text.slice(0, text.indexOf('=')),
      value: text.slice(text.indexOf('=') + 1),
    })),
    namespace: namespace ?? null,
    bridge: bridge ?? null,
  };
}
