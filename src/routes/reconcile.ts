import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { collectionOf } from '../schemas/common.ts';
import { Drift } from '../schemas/drift.ts';
import { ref, strictObject } from '../schemas/object.ts';
import { Operation } from '../schemas/operation.ts';
import type { Sweep } from '../services/drift.ts';
import type { Idempotency } from '../services/idempotency.ts';
import type { OperationService } from '../services/operations.ts';
import { Problem } from '../services/problem.ts';
import type { Reconciler } from '../services/reconcile.ts';
import { READ_PROBLEMS, answer, problemAnswers } from './answers.ts';
import { callerOf } from './conditions.ts';
import { driftExample, reconcileExample } from './examples.ts';
import { KEY_DESCRIPTION, answerOnce, keyHeader, keyedProblemAnswers } from './idempotency.ts';

interface ReconcileServices {
  reconciler: Reconciler;
  operations: OperationService;
  idempotency: Idempotency;
}

const JSON_TYPE = { 'content-type': 'application/json; charset=utf-8' };

/** Where the kernel differs from what was asked, and having it mended. */
export function reconcileRoutes(app: FastifyInstance, services: ReconcileServices): void {
  registerDrift(app, services.reconciler);
  registerReconcile(app, services);
}

function registerDrift(app: FastifyInstance, reconciler: Reconciler): void {
  app.get(
    '/drift',
    {
      schema: {
        operationId: 'getDrift',
        summary: 'List what differs from what was asked for, now',
        description:
          'Looks at everything, and changes nothing: one process for each namespace that has something of netnsd, and one for each family of rules in it.',
        tags: ['operations'],
        querystring: strictObject({}),
        response: {
          200: answer(ref(Drift), 'what differs', driftExample),
          ...problemAnswers(...READ_PROBLEMS, 'store-unavailable'),
        },
      },
    },
    async () => publicDrift(await reconciler.drift()),
  );
}

function publicDrift({ drifted, unrecorded, resources, startedAt, durationMs, processes }: Sweep): Drift {
  const items = drifted.map(({ ref: { kind, name }, differences, obstacle }) => ({
    resource: { kind, name, href: `/${collectionOf[kind]}/${encodeURIComponent(name)}` },
    state: obstacle === null ? ('drifted' as const) : ('failed' as const),
    message: obstacle,
    differences,
  }));
  return { items, unrecorded, resources, startedAt, durationMs, processes };
}

function registerReconcile(
  app: FastifyInstance,
  { reconciler, operations, idempotency }: ReconcileServices,
): void {
  app.post<{ Querystring: { wait?: boolean } }>(
    '/reconcile',
    {
      schema: {
        operationId: 'reconcile',
        summary: 'Have everything that differs from what was asked for mended',
        description: `Looks at everything at once and mends what has drifted, in any mode of --reconcile, without waiting for the next attempt on what has failed. The operation says what became of it. ${KEY_DESCRIPTION}`,
        tags: ['operations'],
        headers: Type.Object(keyHeader),
        querystring: strictObject({
          wait: Type.Optional(
            Type.Boolean({ default: false, description: 'answer when it is done, with the operation' }),
          ),
        }),
        response: {
          200: answer(ref(Operation), 'with `wait`: done', reconcileExample, ['Operation']),
          202: answer(
            ref(Operation),
            'begun: read the operation until it is no longer `running`',
            {
              ...reconcileExample,
              state: 'running',
            },
            ['Location', 'Operation'],
          ),
          ...keyedProblemAnswers('invalid-request', 'store-unavailable', 'limit-reached', 'shutting-down'),
        },
      },
    },
    async (request, reply) =>
      answerOnce(idempotency, request, reply, async () => {
        const { operation, done } = reconciler.reconcile(callerOf(request));
        if (operation === null)
          throw new Problem('store-unavailable', 'the journal can’t be written; see the log of netnsd');
        const path = `/operations/${operation}`;
        if (request.query.wait === true) await done;
        const body = JSON.stringify(operations.get(String(operation)));
        return request.query.wait === true
          ? { status: 200, headers: { ...JSON_TYPE, operation: path }, body }
          : { status: 202, headers: { ...JSON_TYPE, operation: path, location: path }, body };
      }),
  );
}
