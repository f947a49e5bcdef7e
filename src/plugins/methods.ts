import type { FastifyInstance } from 'fastify';
import { Problem } from '../services/problem.ts';

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'] as const;

/**
 * Answers 405 with `Allow` (RFC 9110, section 15.5.6) where a path is there and the method is not. Takes note of
 * the routes that are registered after it; the function that it gives is called when all are.
 */
export function collectMethods(app: FastifyInstance): () => void {
  const methodsOf = new Map<string, Set<string>>();
  app.addHook('onRoute', ({ url, method }) => {
    const known = methodsOf.get(url) ?? new Set<string>();
    for (const each of Array.isArray(method) ? method : [method]) known.add(each);
    methodsOf.set(url, known);
  });
  return () => {
    for (const [url, methods] of new Map(methodsOf)) {
      const allow = [...methods].toSorted().join(', ');
      app.route({
        method: METHODS.filter((method) => !methods.has(method)),
        url,
        schema: { hide: true },
        onRequest: async ({ method }, reply) => {
          void reply.header('allow', allow);
          throw new Problem('method-not-allowed', `${url} has no ${method}; it has ${allow}`);
        },
        handler: () => undefined,
      });
    }
  };
}
