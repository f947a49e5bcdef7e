import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import pLimit from 'p-limit';
import type { Logger } from 'pino';
import { createStore } from './db/store.ts';
import { createProcesses } from './kernel/processes.ts';
import { access } from './plugins/access.ts';
import { jsonBodies } from './plugins/bodies.ts';
import { Listeners } from './plugins/listeners.ts';
import { collectMethods } from './plugins/methods.ts';
import { openApi, openApiDocument } from './plugins/openapi.ts';
import { problems, sendProblem } from './plugins/problems.ts';
import { createValidation } from './plugins/validation.ts';
import { bridgeRoutes } from './routes/bridges.ts';
import { linkRoutes } from './routes/links.ts';
import { namespaceInspectRoutes } from './routes/namespace-inspect.ts';
import { namespaceRoutes } from './routes/namespaces.ts';
import { natRoutes } from './routes/nat.ts';
import { operationRoutes } from './routes/operations.ts';
import { problemRoutes } from './routes/problems.ts';
import { systemRoutes } from './routes/system.ts';
import { sharedSchemas } from './schemas/index.ts';
import type { ListenAddress } from './schemas/listen.ts';
import { putSchemas } from './schemas/put.ts';
import { Engine } from './services/engine.ts';
import { ForeignService } from './services/foreign.ts';
import { Idempotency } from './services/idempotency.ts';
import { InspectService } from './services/inspect.ts';
import { OperationService } from './services/operations.ts';
import { ResourceService } from './services/resources.ts';
import { SystemService } from './services/system.ts';

export interface AppOptions {
  version: string;
  stateDir: string;
  /** What a request over TCP must carry. */
  token: string;
  needsToken: boolean;
  log: Logger;
  /** The time, in milliseconds since 1970; the machine's if left out. */
  now?: () => number;
}

/** The whole of netnsd, ready to listen. */
export interface App {
  fastify: FastifyInstance;
  /** @throws ListenError */
  listen: (address: ListenAddress) => Promise<ListenAddress>;
  /** Says who holds an address that is in use, or null. */
  holderOf: (address: ListenAddress) => Promise<string | null>;
  /** How many processes were started so far: what netnsd costs. */
  processesStarted: () => number;
  /** Finishes the changes in hand, answers them, and closes everything. */
  stop: () => Promise<void>;
}

/** A tool that has not ended by then is ended, and its change undone. */
const TOOL_TIMEOUT_MS = 30_000;

/** So many reads look at the kernel side by side; the others wait. */
const LOOKS_AT_ONCE = 8;

const BODY_LIMIT = 256 * 1024;

/**
 * Wires everything: the one place that does.
 *
 * @throws StoreError
 */
export async function buildApp(options: AppOptions): Promise<App> {
  const { version, stateDir, token, needsToken, log, now = Date.now } = options;
  const store = createStore(join(stateDir, 'netnsd.db'));
  const processes = createProcesses({ timeoutMs: TOOL_TIMEOUT_MS });
  const lookLimit = pLimit(LOOKS_AT_ONCE);
  const validation = createValidation(sharedSchemas);
  const engine = new Engine({ store, processes, log });
  const services = {
    resources: new ResourceService({
      store,
      engine,
      processes,
      log,
      lookLimit,
      validate: validatorOf(validation.check),
    }),
    idempotency: new Idempotency({ store, log, now }),
    operations: new OperationService(store.operations),
    foreign: new ForeignService({ store, processes, lookLimit }),
    inspect: new InspectService({ processes, lookLimit }),
    system: new SystemService({ store, processes, version }),
  };
  const listeners = new Listeners(log);
  const fastify = createFastify(log);
  fastify.setValidatorCompiler(validation.compiler);
  // The answers are typed; a serializer made from their schemas would drop what a schema forgot.
  fastify.setSerializerCompiler(() => (data) => JSON.stringify(data));
  problems(fastify);
  await access(fastify, { token, entranceOf: (socket) => listeners.entranceOf(socket) });
  await openApi(fastify, { version, shared: sharedSchemas });
  const completeMethods = collectMethods(fastify);
  await fastify.register(async (routes) => {
    namespaceRoutes(routes, services);
    namespaceInspectRoutes(routes, services);
    linkRoutes(routes, services);
    bridgeRoutes(routes, services);
    natRoutes(routes, services);
    operationRoutes(routes, services);
    systemRoutes(routes, services);
    problemRoutes(routes);
    openApiDocument(routes);
  });
  completeMethods();
  await fastify.ready();

  return {
    fastify,
    listen: async (address) =>
      listeners.listen(address, needsToken, (request, response) => fastify.routing(request, response)),
    holderOf: async (address) => services.system.holderOf(address),
    processesStarted: () => processes.started(),
    stop: async () => {
      await engine.stop();
      await listeners.close();
      await fastify.close();
      store.close();
    },
  };
}

function createFastify(loggerInstance: FastifyBaseLogger): FastifyInstance {
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

/** Checks what a merge patch makes of a resource against the schema of its kind. */
function validatorOf(
  check: ReturnType<typeof createValidation>['check'],
): ConstructorParameters<typeof ResourceService>[0]['validate'] {
  return (kind, body) => {
    check(putSchemas[kind], body);
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what was just checked
    return body as never;
  };
}
