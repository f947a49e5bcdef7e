import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { nullable, ref, strictObject } from '../schemas/object.ts';
import { Operation } from '../schemas/operation.ts';
import type { OperationService } from '../services/operations.ts';
import { answer, problemAnswers } from './answers.ts';
import { operationExample } from './examples.ts';

const NUMBER = '^[1-9][0-9]{0,14}$';

export function operationRoutes(
  app: FastifyInstance,
  { operations }: { operations: OperationService },
): void {
  app.get<{ Querystring: { limit?: number; after?: string } }>(
    '/operations',
    {
      schema: {
        operationId: 'listOperations',
        summary: 'List the changes that were asked for',
        description: 'The newest first. The journal keeps the newest 10,000.',
        tags: ['operations'],
        querystring: strictObject({
          limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, default: 100 })),
          after: Type.Optional(
            Type.String({ pattern: NUMBER, description: 'the cursor that the page before gave as `next`' }),
          ),
        }),
        response: {
          200: answer(
            strictObject({ items: Type.Array(ref(Operation)), next: nullable(Type.String()) }),
            'a page of the journal',
            { items: [operationExample], next: null },
          ),
          ...problemAnswers('invalid-request'),
        },
      },
    },
    async ({ query }) => operations.list(query.limit ?? 100, query.after ?? null),
  );

  app.get<{ Params: { id: string } }>(
    '/operations/:id',
    {
      schema: {
        operationId: 'getOperation',
        summary: 'Read one change that was asked for',
        description:
          'What, when, by whom, how it ended, and each command that ran as a person would type it.',
        tags: ['operations'],
        querystring: strictObject({}),
        params: strictObject({ id: Type.String({ pattern: NUMBER, description: 'a number' }) }),
        response: {
          200: answer(ref(Operation), 'the operation', operationExample),
          ...problemAnswers('invalid-request', 'not-found'),
        },
      },
    },
    async ({ params }) => operations.get(params.id),
  );
}
