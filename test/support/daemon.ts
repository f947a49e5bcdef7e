import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import supertest from 'supertest';
import { afterAll, afterEach, beforeAll, onTestFinished } from 'vitest';
import { buildApp, type App, type AppOptions } from '../../src/app.ts';
import { readToken } from '../../src/plugins/token.ts';
import { createConformance, type Conformance } from './conformance.ts';

/** A running netnsd, wired as main.ts wires it. */
export interface Daemon {
  app: App;
  origin: string;
  token: string;
  socketPath: string;
  stateDir: string;
  /** Requests over TCP, with the token. Each answer must be as the OpenAPI document says. */
  request: ReturnType<typeof supertest.agent>;
  /** The same check for requests that are made otherwise. */
  complaints: Conformance;
  /** Ends it; called by itself when the test is over. */
  stop: () => Promise<void>;
}

export interface DaemonOptions extends Pick<
  AppOptions,
  'reconcileMode' | 'reconcileIntervalMs' | 'addressPools' | 'namesDir'
> {
  /** Where the store is; a new directory that goes with the test if left out. */
  stateDir?: string;
  needsToken?: boolean;
  /** The time that it goes by, in milliseconds since 1970. */
  now?: () => number;
  /** `off` if left out: drift that a test makes by hand is to stay. */
  reconcileMode?: NonNullable<AppOptions['reconcileMode']>;
  reconcileIntervalMs?: number;
  changeTimeoutMs?: number;
  /** Whether what the test leaves recorded is deleted when it is over. */
  cleansUp?: boolean;
}

/** Starts netnsd for one test, on a free port of loopback and a unix socket. */
export async function startDaemon({ cleansUp = true, ...options }: DaemonOptions = {}): Promise<Daemon> {
  const daemon = await openDaemon(options);
  onTestFinished(async () => {
    if (cleansUp && !daemon.isStopped()) await deleteEverything(daemon.request);
    await daemon.close();
  });
  return daemon;
}

/** Starts one netnsd for all tests of a file, which is faster; each begins with nothing recorded. */
export function sharedDaemon(options: Omit<DaemonOptions, 'cleansUp'> = {}): () => Daemon {
  let daemon: OpenDaemon | null = null;
  beforeAll(async () => {
    daemon = await openDaemon(options);
  });
  afterEach(async () => {
    if (daemon !== null) await deleteEverything(daemon.request);
  });
  afterAll(async () => {
    await daemon?.close();
  });
  return () => {
    if (daemon === null) throw new Error('the daemon is there within tests only');
    return daemon;
  };
}

interface OpenDaemon extends Daemon {
  isStopped: () => boolean;
  /** Ends it, and removes the directory if it was made for it. */
  close: () => Promise<void>;
}

async function openDaemon({
  stateDir,
  needsToken = true,
  reconcileMode = 'off',
  ...options
}: Omit<DaemonOptions, 'cleansUp'>): Promise<OpenDaemon> {
  const directory = stateDir ?? mkdtempSync(join(tmpdir(), 'netnsd-test-'));
  const token = readToken(directory);
  const log = pino({ level: process.env['NETNSD_TEST_LOG'] ?? 'silent' });
  const app = await buildApp({
    ...options,
    version: '0.0.0-test',
    stateDir: directory,
    token,
    needsToken,
    log,
    reconcileMode,
  });
  const socketPath = join(directory, 'netnsd.sock');
  await app.listen({ transport: 'unix', path: socketPath });
  const tcp = await app.listen({ transport: 'tcp', host: '127.0.0.1', port: 0 });
  const origin = `http://127.0.0.1:${tcp.transport === 'tcp' ? tcp.port : 0}`;
  const complaints = createConformance(app.fastify.swagger());
  const request = supertest.agent(origin).set('authorization', `Bearer ${token}`).use(conforming(complaints));
  let stopped: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    stopped ??= app.stop();
    await stopped;
  };
  const close = async (): Promise<void> => {
    await stop();
    if (stateDir === undefined) rmSync(directory, { recursive: true, force: true });
  };
  return {
    app,
    origin,
    token,
    socketPath,
    stateDir: directory,
    request,
    complaints,
    stop,
    isStopped: () => stopped !== null,
    close,
  };
}

/** Has every request of an agent fail whose answer is not documented as it is. */
function conforming(complaints: Conformance): (request: object) => void {
  return (request) => {
    if (!(request instanceof supertest.Test)) return;
    request.expect((response) => {
      const { status, headers, text } = response;
      const { pathname, search } = new URL(request.url);
      const found = complaints({
        method: request.method,
        url: pathname + search,
        status,
        headers,
        body: text,
      });
      if (found.length > 0)
        throw new Error(`The answer is not as the OpenAPI document says:\n${found.join('\n')}`);
    });
  };
}

/** Deletes all that is recorded, as a client would: what is not recorded any more stays, and fails the test. */
async function deleteEverything(request: Daemon['request']): Promise<void> {
  for (const collection of ['nat', 'links', 'bridges', 'namespaces']) {
    const { body } = await request.get(`/${collection}?limit=1000`);
    for (const { name } of body.items as { name: string }[])
      await request.delete(`/${collection}/${name}?cascade=true`);
  }
}
