import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import pLimit from 'p-limit';
import type { Logger } from 'pino';
import { isStoreThere } from './db/open.ts';
import { createStore, type Store } from './db/store.ts';
import { DEFAULTS } from './defaults.ts';
import { lockHost } from './kernel/host-lock.ts';
import { NameFiles } from './kernel/name-files.ts';
import { endLeftovers } from './kernel/leftovers.ts';
import { createProcesses, type Processes } from './kernel/processes.ts';
import { access } from './plugins/access.ts';
import { createFastify } from './plugins/fastify.ts';
import { Listeners, behindRule } from './plugins/listeners.ts';
import { collectMethods } from './plugins/methods.ts';
import { openApi, openApiDocument } from './plugins/openapi.ts';
import { problems } from './plugins/problems.ts';
import { createValidation, validatorOf, type Validation } from './plugins/validation.ts';
import { bridgeRoutes } from './routes/bridges.ts';
import { linkRoutes } from './routes/links.ts';
import { namespaceInspectRoutes } from './routes/namespace-inspect.ts';
import { namespaceRoutes } from './routes/namespaces.ts';
import { natRoutes } from './routes/nat.ts';
import { operationRoutes } from './routes/operations.ts';
import { problemRoutes } from './routes/problems.ts';
import { reconcileRoutes } from './routes/reconcile.ts';
import { systemRoutes } from './routes/system.ts';
import { sharedSchemas } from './schemas/index.ts';
import type { AddressPool } from './schemas/ipam.ts';
import type { ListenAddress } from './schemas/listen.ts';
import { Engine } from './services/engine.ts';
import { ForeignService } from './services/foreign.ts';
import { checkHost } from './services/host.ts';
import { Idempotency } from './services/idempotency.ts';
import { InspectService } from './services/inspect.ts';
import { Names } from './services/names.ts';
import { OperationService } from './services/operations.ts';
import { Reconciler, type ReconcileMode } from './services/reconcile.ts';
import { ruleInFrontOf } from './services/published.ts';
import { ResourceService } from './services/resources.ts';
import { SystemService } from './services/system.ts';
import { teardown, type Removed } from './services/teardown.ts';
import { NO_WATCH, type KernelWatch } from './services/no-watch.ts';
import { Watch } from './services/watch.ts';

export interface AppOptions {
  version: string;
  stateDir: string;
  /** What a request over TCP must carry. */
  token: string;
  needsToken: boolean;
  log: Logger;
  /** What is done about drift; `repair` if left out. */
  reconcileMode?: ReconcileMode;
  /** Between two looks at everything; a minute if left out. */
  reconcileIntervalMs?: number;
  /** A change that is not made by then is undone; half a minute if left out. */
  changeTimeoutMs?: number;
  /**
   * `serve` if left out. `teardown`: only to remove everything; then what another store has left is no obstacle.
   * `document`: only to be described; then the kernel is neither looked at nor locked.
   */
  purpose?: 'serve' | 'teardown' | 'document';
  addressPools?: readonly AddressPool[];
  /** Where files by which namespaces find each other are kept, /etc/netns if left out; null: nowhere. */
  namesDir?: string | null;
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
  /** Removes all that is netnsd's from the kernel and the store, or only what the store does not know. */
  teardown: (isOnlyUnrecorded: boolean) => Promise<Removed>;
  /** How many processes were started for requests so far: what they cost. */
  processesStarted: () => number;
  /** Finishes the changes in hand, answers them, and closes everything. */
  stop: () => Promise<void>;
}

/** So many reads look at the kernel side by side; the others wait. */
const LOOKS_AT_ONCE = 8;

/**
 * Wires everything, undoes what was not finished when netnsd last ended, and begins to look for drift.
 *
 * @throws StoreError, HostLocked, ForeignHost
 */
export async function buildApp(options: AppOptions): Promise<App> {
  const { version, stateDir, token, needsToken, log, purpose = 'serve' } = options;
  const opened: (() => void | Promise<void>)[] = [];
  try {
    if (purpose !== 'document')
      opened.push((await lockHost(`process ${process.pid}, with the state directory ${stateDir}`)).release);
    const path = join(stateDir, 'netnsd.db');
    // Before a new one is made, which would be in the way of the one that was there and is to be put back.
    if (purpose === 'serve' && !isStoreThere(path)) await checkHost(null, createOwnProcesses(options), log);
    const store = createStore(path);
    opened.unshift(() => store.close());
    const services = await createServices(store, options);
    const listeners = new Listeners(log);
    const fastify = await createRoutes({ version, token, log }, services, listeners);
    // What changes while everything is first looked at is told.
    const started =
      purpose === 'document'
        ? Promise.resolve()
        : services.watch
            .start()
            .catch((error: unknown) => log.error({ err: error }, 'the kernel is not listened to'))
            .then(() => services.reconciler.start());
    return {
      fastify,
      listen: async (address) => {
        const rule = address.transport === 'tcp' ? ruleInFrontOf(address, store.resources) : null;
        if (rule !== null) throw behindRule(address, rule);
        return listeners.listen(address, needsToken, (request, response) =>
          fastify.routing(request, response),
        );
      },
      holderOf: async (address) => services.system.holderOf(address),
      teardown: async (isOnlyUnrecorded) => teardown({ store, ...services }, isOnlyUnrecorded),
      processesStarted: () => services.processes.started(),
      stop: async () => {
        await started;
        await services.watch.stop();
        // With the lane closed, what is being put in order ends after the group in hand.
        await Promise.all([services.engine.stop(), services.reconciler.stop()]);
        await services.names.stop();
        await listeners.close();
        await fastify.close();
        for (const close of opened) await close();
      },
    };
  } catch (error) {
    for (const close of opened) await close();
    throw error;
  }
}

interface Services {
  processes: Processes;
  validation: Validation;
  engine: Engine;
  reconciler: Reconciler;
  watch: KernelWatch;
  names: Names;
  resources: ResourceService;
  idempotency: Idempotency;
  operations: OperationService;
  foreign: ForeignService;
  inspect: InspectService;
  system: SystemService;
}

function createWatch({
  engine,
  reconciler,
  ...deps
}: Pick<Services, 'processes' | 'engine' | 'reconciler'> & { store: Store; log: Logger }): Watch {
  return new Watch({
    ...deps,
    onSuspects: (suspects) => reconciler.suspect(suspects),
    isBusy: () => engine.isBusy,
    isChanging: (ref) => engine.isChanging(ref),
  });
}

/** What changes the kernel, and what keeps it so. */
function createCore(
  store: Store,
  options: AppOptions,
  processes: Processes,
): Pick<Services, 'engine' | 'reconciler' | 'watch' | 'names'> {
  const { log, changeTimeoutMs = DEFAULTS.changeTimeoutMs, reconcileMode = DEFAULTS.reconcileMode } = options;
  const { reconcileIntervalMs = DEFAULTS.reconcileIntervalMs, namesDir = DEFAULTS.namesDir } = options;
  const ownProcesses = createOwnProcesses(options);
  const names = new Names({ store, log, files: namesDir === null ? null : new NameFiles(namesDir) });
  const engine: Engine = new Engine({
    store,
    processes,
    log,
    changeTimeoutMs,
    onSettled: (settled) => {
      try {
        reconciler.settled(settled);
        watch.update();
        names.settled(settled.touched);
      } catch (error) {
        // It is done and on disk, and is to be answered so; what was not looked at now is at the next sweep.
        log.error({ err: error }, 'what depends on a change could not be looked at');
      }
    },
  });
  const reconciler = new Reconciler({
    store,
    engine,
    processes: ownProcesses,
    log,
    mode: reconcileMode,
    intervalMs: reconcileIntervalMs,
    onMended: () => watch.update(),
    mendNames: async () => names.check(),
  });
  const watch =
    reconcileMode === 'repair'
      ? createWatch({ store, processes: ownProcesses, log, engine, reconciler })
      : NO_WATCH;
  return { engine, reconciler, watch, names };
}

async function createServices(store: Store, options: AppOptions): Promise<Services> {
  const { version, log, now = Date.now, purpose = 'serve' } = options;
  const processes = createProcesses({ timeoutMs: options.changeTimeoutMs ?? DEFAULTS.changeTimeoutMs });
  const lookLimit = pLimit(LOOKS_AT_ONCE);
  const validation = createValidation(sharedSchemas);
  const { engine, reconciler, watch, names } = createCore(store, options, processes);
  if (purpose !== 'document') {
    await endLeftovers();
    await reconciler.recover();
  }
  if (purpose === 'serve') await checkHost(store, createOwnProcesses(options), log);
  if (purpose !== 'document') await names.start();
  return {
    processes,
    validation,
    engine,
    reconciler,
    watch,
    names,
    resources: new ResourceService({
      store,
      engine,
      processes,
      log,
      lookLimit,
      pools: options.addressPools,
      mend: async (ref) => reconciler.mend(ref),
      statusBeside: (ref) => names.statusOf(ref),
      validate: validatorOf(validation.check),
    }),
    idempotency: new Idempotency({ store, log, now }),
    operations: new OperationService(store.operations),
    foreign: new ForeignService({ store, processes, lookLimit }),
    inspect: new InspectService({ processes, lookLimit }),
    system: new SystemService({
      store,
      processes,
      version,
      report: () => ({ ...reconciler.report(), ...watch.state() }),
      warnings: () => names.warnings(),
    }),
  };
}

/** What is done of netnsd's own accord is counted apart: what a request costs is to be told. */
function createOwnProcesses({ changeTimeoutMs = DEFAULTS.changeTimeoutMs }: AppOptions): Processes {
  return createProcesses({ timeoutMs: changeTimeoutMs });
}

async function createRoutes(
  { version, token, log }: Pick<AppOptions, 'version' | 'token' | 'log'>,
  services: Services,
  listeners: Listeners,
): Promise<FastifyInstance> {
  const { validation } = services;
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
    reconcileRoutes(routes, services);
    systemRoutes(routes, services);
    problemRoutes(routes);
    openApiDocument(routes);
  });
  completeMethods();
  await fastify.ready();
  return fastify;
}
