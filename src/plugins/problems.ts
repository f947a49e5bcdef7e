import type { ErrorObject } from 'ajv';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { KeptAnswer } from '../db/idempotency.ts';
import { collectionOf } from '../schemas/common.ts';
import { problemKinds, type ProblemDocument, type ProblemSlug } from '../schemas/problem.ts';
import { CommandFailed } from '../kernel/errors.ts';
import { ChangeRefused } from '../services/change.ts';
import { Problem, problemOfCommand, problemOfStore } from '../services/problem.ts';
import { sendAnswer } from './answers.ts';
import { describeErrors, invalidRequest, type RequestPart } from './validation.ts';

export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** Seconds after which waiting may have helped. */
const RETRY_AFTER: Partial<Record<ProblemSlug, number>> = {
  'request-in-flight': 1,
  'firewall-busy': 5,
  timeout: 5,
  'shutting-down': 10,
};

/** Turns everything that is thrown into problem details (RFC 9457): the one place where errors become HTTP. */
export function problems(app: FastifyInstance): void {
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
  app.setNotFoundHandler((request, reply) =>
    sendProblem(
      new Problem('not-found', `there is no path ${request.url.slice(0, 200)}; /docs lists those there are`),
      request,
      reply,
    ),
  );
}

export async function sendProblem(
  thrown: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  return sendAnswer(problemAnswer(thrown, request), reply);
}

/** What a request is answered with that ended in something thrown. */
export function problemAnswer(thrown: unknown, request: FastifyRequest): KeptAnswer {
  const isRefusal = thrown instanceof ChangeRefused;
  const problem = asProblem(isRefusal ? thrown.problem : thrown, request);
  const { status } = problemKinds[problem.slug];
  if (status === 500) request.log.error({ err: thrown }, 'request failed');
  const retryAfter = RETRY_AFTER[problem.slug];
  const operation = isRefusal ? thrown.operation : null;
  return {
    status,
    headers: {
      'content-type': PROBLEM_TYPE,
      ...(operation === null ? {} : { operation: `/operations/${operation}` }),
      ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
      // RFC 6750, section 3.
      ...(status === 401 ? { 'www-authenticate': 'Bearer realm="netnsd"' } : {}),
    },
    body: JSON.stringify(documentOf(problem, request)),
  };
}

export function documentOf(
  problem: Problem,
  { url, id }: Pick<FastifyRequest, 'url' | 'id'>,
): ProblemDocument {
  const { status, title } = problemKinds[problem.slug];
  const { references, ...extras } = problem.extras;
  return {
    type: `/problems/${problem.slug}`,
    title,
    status,
    detail: problem.message,
    instance: url.split('?')[0] ?? url,
    requestId: id,
    ...extras,
    ...(references === undefined
      ? {}
      : {
          references: references.map((ref) => ({
            ...ref,
            href: `/${collectionOf[ref.kind]}/${encodeURIComponent(ref.name)}`,
          })),
        }),
  };
}

function asProblem(thrown: unknown, request: FastifyRequest): Problem {
  const error = problemOfStore(thrown);
  if (error instanceof Problem) return error;
  if (error instanceof CommandFailed) return problemOfCommand(error);
  return (
    problemOfFastify(error) ??
    new Problem('internal-error', `netnsd failed; its log has the details under ${request.id}`)
  );
}

/** What Fastify itself throws, by its codes (Fastify, "Errors"). */
function problemOfFastify(error: unknown): Problem | null {
  if (!isFastifyError(error)) return null;
  if (error.validation !== undefined) {
    const part = requestPart(error.validationContext);
    // Our compiler is Ajv, and these are its errors.
    return invalidRequest(describeErrors(error.validation as ErrorObject[], part), part);
  }
  const slug =
    bySlug[error.code] ??
    (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500
      ? 'invalid-request'
      : undefined);
  return slug === undefined ? null : new Problem(slug, adviceOf[slug] ?? error.message);
}

const bySlug: Record<string, ProblemSlug> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'too-large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported-media-type',
  FST_BEARER_AUTH_MISSING_AUTHORIZATION_HEADER: 'unauthenticated',
  FST_BEARER_AUTH_INVALID_AUTHORIZATION_HEADER: 'unauthenticated',
};

const adviceOf: Partial<Record<ProblemSlug, string>> = {
  'too-large': 'the body is larger than 256 KiB',
  'unsupported-media-type': 'send the body as JSON, with Content-Type: application/json',
  unauthenticated:
    'send `Authorization: Bearer TOKEN` with the token from the file `token` in the state directory, or use the unix socket, which needs none',
};

function isFastifyError(error: unknown): error is FastifyError {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

function requestPart(context: string | undefined): RequestPart {
  return context === 'querystring' || context === 'params' || context === 'headers' ? context : 'body';
}
