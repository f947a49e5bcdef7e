#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { pino, type Logger } from 'pino';
import { buildApp, type App, type AppOptions } from './app.ts';
import { UsageExit, readConfig, type Config } from './config.ts';
import { ListenError, textOf } from './plugins/listeners.ts';
import type { ListenAddress } from './schemas/listen.ts';
import { readToken } from './plugins/token.ts';

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- our own package.json
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

// What ps(1) and ss(8) show.
process.title = 'netnsd';

try {
  process.exitCode = await main(readConfig(process.argv.slice(2), process.env, version));
} catch (error) {
  process.exitCode = report(error);
}

/** Does what it is told to; gives the exit status. */
async function main(config: Config): Promise<number> {
  return config.command === 'teardown' ? tearDown(config) : serve(config);
}

/** Runs until it is told to stop. */
async function serve(config: Config): Promise<number> {
  const log = createLog(config);
  const told = untilTold();
  const app = await buildApp({ ...optionsOf(config), log, reconcileMode: config.reconcile });
  try {
    const addresses: ListenAddress[] = [];
    for (const address of config.listen) addresses.push(await listenOn(app, address));
    process.stdout.write(greeting(config, addresses));
    log.info({ version, listen: addresses.map(textOf), stateDir: config.stateDir }, 'started');
    const signal = await told;
    log.info({ signal }, 'stopping: the changes in hand are finished first');
    return 0;
  } finally {
    await app.stop();
    log.info('stopped');
  }
}

/** Removes all that is netnsd's, and says what; 1 if something could not be removed. */
async function tearDown(config: Config): Promise<number> {
  const log = createLog({ ...config, logLevel: 'error' });
  const app = await buildApp({ ...optionsOf(config), log, reconcileMode: 'off', purpose: 'teardown' });
  try {
    const { resources, unrecorded, failed } = await app.teardown(config.isOnlyUnrecorded);
    const lines = [
      ...resources.map(({ kind, name }) => `removed ${kind}/${name}`),
      ...unrecorded.map((command) => `removed what was not recorded: ${command}`),
    ];
    if (lines.length + failed.length === 0) lines.push('there was nothing to remove');
    process.stdout.write(lines.map((line) => `${line}\n`).join(''));
    process.stderr.write(failed.map((line) => `netnsd: could not remove ${line}\n`).join(''));
    return failed.length === 0 ? 0 : 1;
  } finally {
    await app.stop();
  }
}

function createLog({ logLevel }: Config): Logger {
  return pino(
    { level: logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ dest: 2, sync: true }),
  );
}

function optionsOf({
  stateDir,
  auth,
  reconcileIntervalMs,
  changeTimeoutMs,
  addressPools,
  namesDir,
}: Config): Omit<AppOptions, 'log'> {
  const token = readToken(stateDir);
  const needsToken = auth === 'token';
  return {
    version,
    stateDir,
    token,
    needsToken,
    reconcileIntervalMs,
    changeTimeoutMs,
    addressPools,
    namesDir,
  };
}

async function listenOn(app: App, address: ListenAddress): Promise<ListenAddress> {
  try {
    return await app.listen(address);
  } catch (error) {
    if (!(error instanceof ListenError) || !error.inUse) throw error;
    const holder = await app.holderOf(address);
    throw new Error(
      `${textOf(address)} is in use${holder === null ? '' : ` by ${holder}`}; stop that, or listen elsewhere with --listen`,
      { cause: error },
    );
  }
}

async function untilTold(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, resolve);
  });
}

function greeting({ stateDir, auth }: Config, addresses: readonly ListenAddress[]): string {
  const lines = [`netnsd ${version} listens on ${addresses.map(textOf).join(' and ')}`];
  for (const address of addresses) {
    if (address.transport === 'unix') {
      lines.push(`  curl --unix-socket ${address.path} http://localhost/namespaces`);
      continue;
    }
    const origin = `http://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
    const header = auth === 'token' ? `-H "Authorization: Bearer $(cat ${stateDir}/token)" ` : '';
    lines.push(`  curl ${header}${origin}/namespaces`, `  Swagger UI: ${origin}/docs`);
  }
  return `${lines.join('\n')}\n`;
}

/** One clear line for a person; the exit status says whose fault it is. */
function report(error: unknown): number {
  if (error instanceof UsageExit) {
    (error.exitCode === 0 ? process.stdout : process.stderr).write(`${error.message}\n`);
    return error.exitCode;
  }
  process.stderr.write(`netnsd: ${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
}
