import { randomUUID } from 'node:crypto';
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import { jsonBodies } from './bodies.ts';
import { sendProblem } from './problems.ts';

const BODY_LIMIT = 256 * 1024;

/** Fastify as netnsd sets it: strict about what comes in, and without a line in the log for each read. */
export function createFastify(loggerInstance: FastifyBaseLogger): FastifyInstance {
  const fastify = Fastify({
    loggerInstance,
    // A change has its own line, and a read is worth none.
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    bodyLimit: BODY_LIMIT,
    exposeHeadRoutes: true,
    return503OnClosing: false,
    routerOptions: { maxParamLength: 256, caseSensitive: true, ignoreTrailingSlash: false },
    frameworkErrors: (error, request, reply) => {
      // oxlint-disable-next-line typescript/no-floating-promises -- Fastify does not wait for this hook
      sendProblem(error, request, reply);
    },
  });
  jsonBodies(fastify);
  return fastify;
}
