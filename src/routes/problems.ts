import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { strictObject } from '../schemas/object.ts';
import { problemKinds, problemSlugs } from '../schemas/problem.ts';
import { Problem } from '../services/problem.ts';
import { problemAnswers } from './answers.ts';

/** Where the `type` of a problem leads: what it means and what to do, for a person. */
export function problemRoutes(app: FastifyInstance): void {
  app.get<{ Params: { slug: string } }>(
    '/problems/:slug',
    {
      config: { isPublic: true },
      schema: {
        operationId: 'getProblem',
        summary: 'Read what a problem means',
        tags: ['problems'],
        security: [],
        querystring: strictObject({}),
        params: strictObject({
          slug: Type.String({
            pattern: '^[a-z-]{1,40}$',
            description: 'the last part of a problem’s `type`',
          }),
        }),
        response: {
          200: {
            description: 'an explanation',
            content: {
              'text/plain': { schema: Type.String(), examples: { example: { value: pageOf('in-use') } } },
            },
          },
          ...problemAnswers('not-found', 'invalid-request'),
        },
      },
    },
    async ({ params }, reply) => {
      const slug = problemSlugs.find((known) => known === params.slug);
      if (slug === undefined)
        throw new Problem(
          'not-found',
          `there is no problem ${params.slug}; there are ${problemSlugs.join(', ')}`,
        );
      return reply.type('text/plain; charset=utf-8').send(pageOf(slug));
    },
  );
}

function pageOf(slug: keyof typeof problemKinds): string {
  const { status, title, explanation } = problemKinds[slug];
  return `${title} (${slug}, HTTP ${status})\n\n${explanation}\n`;
}
