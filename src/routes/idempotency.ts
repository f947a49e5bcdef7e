import type { FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import type { KeptAnswer } from '../db/idempotency.ts';
import { sendAnswer } from '../plugins/answers.ts';
import { problemAnswer } from '../plugins/problems.ts';
import type { ProblemSlug } from '../schemas/problem.ts';
import type { Idempotency, Keep } from '../services/idempotency.ts';
import { describedHeaders, exampleOf, problemAnswers, type DescribedAnswer } from './answers.ts';

/** The header of a request that may be sent again without being done again. */
export const keyHeader = {
  'idempotency-key': Type.Optional(
    Type.String({
      pattern: '^[ -~]{1,255}$',
      description:
        'a key of your own, 1 to 255 printable ASCII characters: the same request with the same key gives the first answer again, for 24 hours, and is not done twice',
    }),
  ),
};

/** For the description of a route that takes a key. */
export const KEY_DESCRIPTION =
  'With `Idempotency-Key`, the same request again within 24 hours gives the first answer again, with `Idempotent-Replayed: true`, and nothing is done. Kept are successes and refusals (409, 422); after any other answer the request is made anew. With `dryRun` the key is ignored.';

/**
 * Answers a request once for each key; without a key, each time.
 *
 * @param make does what is asked. Within the transaction that acknowledges it, `keep` is to be given the answer.
 */
export async function answerOnce(
  idempotency: Idempotency,
  request: FastifyRequest,
  reply: FastifyReply,
  make: (keep?: Keep) => Promise<KeptAnswer>,
): Promise<FastifyReply> {
  const { 'idempotency-key': key } = request.headers;
  if (typeof key !== 'string') return sendAnswer(await make(), reply);
  const { method, url, query, body } = request;
  const path = url.split('?')[0] ?? url;
  const { answer, isReplay } = await idempotency.once({ key, method, path, query, body }, async (keep) => {
    try {
      return await make(keep);
    } catch (error) {
      return problemAnswer(error, request);
    }
  });
  if (isReplay) void reply.header('idempotent-replayed', 'true');
  return sendAnswer(answer, reply);
}

/** The problems of a route that takes a key. */
export function keyedProblemAnswers(...slugs: readonly ProblemSlug[]): Record<number, DescribedAnswer> {
  const answers = problemAnswers(...slugs, 'request-in-flight', 'unprocessable');
  for (const status of [409, 422]) {
    const described = answers[status];
    if (described !== undefined) described.headers = describedHeaders(['Idempotent-Replayed']);
  }
  const examples = answers[422]?.content['application/problem+json']?.examples;
  if (examples !== undefined)
    examples['key-of-another-request'] = {
      summary: 'The key came with another request before',
      value: exampleOf('unprocessable', {
        detail:
          'the Idempotency-Key "6f1c" came with another request before; send that one to get its answer, or this one with a new key',
        errors: [{ pointer: 'idempotency-key', message: 'came with another request before' }],
      }),
    };
  return answers;
}
