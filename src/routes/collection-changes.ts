import type { FastifyInstance, FastifyReply } from 'fastify';
import { Type, type Static } from 'typebox';
import { collectionOf, type Kind } from '../schemas/common.ts';
import { ref, strictObject } from '../schemas/object.ts';
import type { KeptAnswer } from '../db/idempotency.ts';
import { sendAnswer } from '../plugins/answers.ts';
import type { Change } from '../services/change.ts';
import type { SpecOf } from '../services/kind.ts';
import { invalidField } from '../services/problem.ts';
import { etagOf } from '../services/conditions.ts';
import type { ChangeAnswer, ResourceService } from '../services/resources.ts';
import { CHANGE_PROBLEMS, emptyAnswer, problemAnswers } from './answers.ts';
import { changed, changedOrDry, dryRunAnswer } from './changed.ts';
import {
  examplesOf,
  nameParams,
  titleOf,
  type Collection,
  type CollectionServices,
  type NameParams,
} from './collection-kind.ts';
import { ChangeHeaders, callerOf, conditionsOf } from './conditions.ts';
import { KEY_DESCRIPTION, answerOnce, keyHeader, keyedProblemAnswers } from './idempotency.ts';

const DRY_RUN = Type.Optional(
  Type.Boolean({
    default: false,
    description: 'say which commands would run and what would change; record and do nothing',
  }),
);
const ChangeQuery = strictObject({ dryRun: DRY_RUN });
/** Of PUT, for what may be in the kernel before netnsd knows of it. */
const AdoptQuery = strictObject({
  dryRun: DRY_RUN,
  adopt: Type.Optional(
    Type.Boolean({
      default: false,
      description: 'take over what is in the kernel already, if it is as the body says',
    }),
  ),
});
const ADOPTION =
  ' With `adopt`, what is in the kernel already and is as the body says is marked as netnsd’s and recorded, with nothing else about it changed; where it differs, the answer is 409 `foreign-object`, and `differences` says in what. What is not there is made; what is recorded is changed, as without `adopt`.';
const DeleteQuery = strictObject({
  dryRun: DRY_RUN,
  cascade: Type.Optional(Type.Boolean({ default: false, description: 'delete what refers to it as well' })),
});

const CreateHeaders = Type.Object({ ...ChangeHeaders.properties, ...keyHeader });

/** Registers the routes that change. */
export function registerChanges<K extends Kind>(
  app: FastifyInstance,
  { resources, idempotency }: CollectionServices,
  collection: Collection<K>,
): void {
  registerPost(app, { resources, idempotency }, collection);
  registerPut(app, resources, collection);
  registerPatch(app, resources, collection);
  registerDelete(app, resources, collection);
}

function registerPost<K extends Kind>(
  app: FastifyInstance,
  { resources, idempotency }: CollectionServices,
  collection: Collection<K>,
): void {
  const { kind, noun, schemas } = collection;
  app.post<{ Body: unknown; Querystring: Static<typeof ChangeQuery>; Headers: Static<typeof CreateHeaders> }>(
    `/${collectionOf[kind]}`,
    {
      schema: {
        tags: [collection.tag],
        headers: CreateHeaders,
        operationId: `create${titleOf(kind)}`,
        summary: `Create ${noun}`,
        description: KEY_DESCRIPTION,
        querystring: ChangeQuery,
        body: ref(schemas.create),
        'x-body-examples': examplesOf(collection, 'create'),
        response: {
          200: dryRunAnswer,
          201: changed(
            collection,
            'created: it is in the kernel and on disk',
            'Location',
            'Idempotent-Replayed',
          ),
          ...keyedProblemAnswers(...CHANGE_PROBLEMS, 'name-conflict'),
        },
      },
    },
    async (request, reply) => {
      const { body, query, headers } = request;
      const change = resources.creation(kind, asSpec<K>(body), conditionsOf(headers), callerOf(request));
      if (query.dryRun === true) return makeChange(resources, change, true, reply);
      return answerOnce(idempotency, request, reply, async (keep) =>
        answerTo(await resources.make(change, (done) => keep?.(answerTo(done, change))), change),
      );
    },
  );
}

function registerPut<K extends Kind>(
  app: FastifyInstance,
  resources: ResourceService,
  collection: Collection<K>,
): void {
  const { kind, noun, schemas, isAdoptable } = collection;
  app.put<{
    Params: NameParams;
    Body: { name?: string };
    Querystring: Static<typeof AdoptQuery>;
    Headers: Static<typeof ChangeHeaders>;
  }>(
    `/${collectionOf[kind]}/:name`,
    {
      schema: {
        tags: [collection.tag],
        headers: ChangeHeaders,
        operationId: `put${titleOf(kind)}`,
        summary: `Create ${noun}, or change it to be as given`,
        description: `The same body again changes nothing, not even the revision. What is left out has its default.${isAdoptable ? ADOPTION : ''}`,
        params: nameParams(schemas.name),
        querystring: isAdoptable ? AdoptQuery : ChangeQuery,
        body: ref(schemas.put),
        'x-body-examples': examplesOf(collection, 'create'),
        response: {
          200: changedOrDry(collection, 'changed, or as it was'),
          201: changed(collection, 'created', 'Location'),
          ...problemAnswers(...CHANGE_PROBLEMS),
        },
      },
    },
    async (request, reply) => {
      const { body, params, query, headers } = request;
      if (body.name !== undefined && body.name !== params.name)
        throw invalidField(
          '/name',
          `is ${JSON.stringify(body.name)}, and the path says ${JSON.stringify(params.name)}; leave it out`,
        );
      const spec = asSpec<K>({ ...body, name: params.name });
      const conditions = conditionsOf(headers);
      const change =
        query.adopt === true
          ? await resources.adoption(kind, spec, conditions, callerOf(request))
          : resources.replacement(kind, spec, conditions, callerOf(request));
      return makeChange(resources, change, query.dryRun, reply);
    },
  );
}

function registerPatch<K extends Kind>(
  app: FastifyInstance,
  resources: ResourceService,
  collection: Collection<K>,
): void {
  const { kind, noun, schemas } = collection;
  app.patch<{
    Params: NameParams;
    Body: unknown;
    Querystring: Static<typeof ChangeQuery>;
    Headers: Static<typeof ChangeHeaders>;
  }>(
    `/${collectionOf[kind]}/:name`,
    {
      schema: {
        tags: [collection.tag],
        headers: ChangeHeaders,
        operationId: `patch${titleOf(kind)}`,
        summary: `Change ${noun} in part`,
        description:
          'JSON Merge Patch (RFC 7396): fields that are given replace, null brings the default back.',
        consumes: ['application/merge-patch+json', 'application/json'],
        params: nameParams(schemas.name),
        querystring: ChangeQuery,
        body: ref(schemas.patch),
        'x-body-examples': examplesOf(collection, 'patch'),
        response: {
          200: changedOrDry(collection, 'changed, or as it was'),
          ...problemAnswers(...CHANGE_PROBLEMS, 'not-found'),
        },
      },
    },
    async (request, reply) => {
      const { body, params, query, headers } = request;
      const change = resources.patching(kind, params.name, body, conditionsOf(headers), callerOf(request));
      return makeChange(resources, change, query.dryRun, reply);
    },
  );
}

function registerDelete<K extends Kind>(
  app: FastifyInstance,
  resources: ResourceService,
  collection: Collection<K>,
): void {
  const { kind, noun, schemas } = collection;
  app.delete<{
    Params: NameParams;
    Querystring: Static<typeof DeleteQuery>;
    Headers: Static<typeof ChangeHeaders>;
  }>(
    `/${collectionOf[kind]}/:name`,
    {
      schema: {
        tags: [collection.tag],
        headers: ChangeHeaders,
        operationId: `delete${titleOf(kind)}`,
        summary: `Delete ${noun}`,
        description: 'Refused while others refer to it, unless `cascade` deletes those too.',
        params: nameParams(schemas.name),
        querystring: DeleteQuery,
        response: {
          200: dryRunAnswer,
          204: emptyAnswer('deleted', ['Operation']),
          ...problemAnswers(...CHANGE_PROBLEMS, 'not-found'),
        },
      },
    },
    async (request, reply) => {
      const { params, query, headers } = request;
      const change = resources.removal(
        { kind, name: params.name },
        query.cascade === true,
        conditionsOf(headers),
        callerOf(request),
      );
      return makeChange(resources, change, query.dryRun, reply);
    },
  );
}

async function makeChange(
  resources: ResourceService,
  change: Change,
  dryRun: boolean | undefined,
  reply: FastifyReply,
): Promise<FastifyReply> {
  if (dryRun === true) return reply.code(200).send(await resources.dryRun(change));
  return sendAnswer(answerTo(await resources.make(change), change), reply);
}

function answerTo({ operation, existed, body }: ChangeAnswer, { action, kind, name }: Change): KeptAnswer {
  const journalled = operation === null ? {} : { operation: `/operations/${operation}` };
  if (action === 'delete' || body === null) return { status: 204, headers: journalled, body: null };
  const location = `/${collectionOf[kind]}/${encodeURIComponent(name)}`;
  return {
    status: existed ? 200 : 201,
    headers: {
      ...journalled,
      etag: etagOf(body.revision),
      'content-type': 'application/json; charset=utf-8',
      ...(existed ? {} : { location }),
    },
    body: JSON.stringify(body),
  };
}

/** The body of a request, whose schema Fastify has checked: it is that of the kind. */
function asSpec<K extends Kind>(body: unknown): SpecOf<K> {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the route's schema is what was asserted
  return body as SpecOf<K>;
}
