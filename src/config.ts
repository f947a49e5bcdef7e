import { isIP } from 'node:net';
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { DEFAULTS } from './defaults.ts';
import { DEFAULT_POOLS, parsePool, type AddressPool } from './schemas/ipam.ts';
import type { ListenAddress } from './schemas/listen.ts';

const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

const reconcileModes = ['repair', 'observe', 'off'] as const;

export interface Config {
  listen: ListenAddress[];
  stateDir: string;
  logLevel: (typeof logLevels)[number];
  auth: 'token' | 'none';
  reconcile: (typeof reconcileModes)[number];
  reconcileIntervalMs: number;
  changeTimeoutMs: number;
  /** What subnets of bridges are chosen from. */
  addressPools: readonly AddressPool[];
  /** Where files by which namespaces find each other are kept; null: nowhere. */
  namesDir: string | null;
  /** What to do: serve, or remove all that is netnsd's. */
  command: 'serve' | 'teardown';
  /** With teardown: only what is not recorded. */
  isOnlyUnrecorded: boolean;
}

/** A value that can't be, or nothing to run: what to print, and the exit status to end with. */
export class UsageExit extends Error {
  override readonly name = 'UsageExit';
  readonly exitCode: 0 | 2;

  constructor(exitCode: 0 | 2, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

const DEFAULT_LISTEN: ListenAddress[] = [
  { transport: 'unix', path: '/run/netnsd/netnsd.sock' },
  { transport: 'tcp', host: '127.0.0.1', port: 8470 },
];

/**
 * Reads the command line and NETNSD_* variables; the command line counts more.
 *
 * @param args without the names of interpreter and script
 * @throws UsageExit for --help and --version (0), and for what is wrong (2)
 */
export function readConfig(args: readonly string[], env: NodeJS.ProcessEnv, version: string): Config {
  const printed: string[] = [];
  const command = createCommand(version).configureOutput({
    writeOut: (text) => printed.push(text),
    writeErr: () => undefined,
  });
  try {
    command.parse([...args], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) throw new UsageExit(0, printed.join('').trimEnd());
    throw new UsageExit(
      2,
      `${error.message.replace(/^error: /, 'netnsd: ').replaceAll('\n', ' ')}; see --help`,
    );
  }
  const { listen, addressPool, reconcileInterval, changeTimeout, unrecorded, namesDir, ...options } = {
    ...command.opts<Options>(),
  };
  const config: Config = {
    ...options,
    listen: listen ?? parseAll('NETNSD_LISTEN', env, parseAddress) ?? DEFAULT_LISTEN,
    addressPools: addressPool ?? parseAll('NETNSD_ADDRESS_POOL', env, parseAddressPool) ?? DEFAULT_POOLS,
    reconcileIntervalMs: reconcileInterval * 1000,
    changeTimeoutMs: changeTimeout * 1000,
    command: command.args[0] === 'teardown' ? 'teardown' : 'serve',
    isOnlyUnrecorded: unrecorded === true,
    namesDir: namesDir === NOWHERE ? null : namesDir,
  };
  if (config.isOnlyUnrecorded && config.command !== 'teardown')
    throw new UsageExit(2, 'netnsd: --unrecorded goes with `netnsd teardown` only; see --help');
  checkAuth(config);
  return config;
}

interface Options extends Pick<Config, 'stateDir' | 'logLevel' | 'auth' | 'reconcile'> {
  listen?: ListenAddress[];
  addressPool?: AddressPool[];
  reconcileInterval: number;
  changeTimeout: number;
  unrecorded?: true;
  namesDir: string;
}

function createCommand(version: string): Command {
  const command = new Command('netnsd')
    .description('An HTTP control plane for Linux network namespaces.')
    .version(version)
    .exitOverride()
    .allowExcessArguments(false)
    .addArgument(
      new Argument(
        '[command]',
        'teardown: remove all that is netnsd’s from the kernel and the store, and say what; while netnsd does not run',
      ).choices(['teardown']),
    )
    .addOption(
      new Option(
        '--listen <address>',
        'unix:PATH or tcp:HOST:PORT; may be repeated (NETNSD_LISTEN: separated by commas; default: unix:/run/netnsd/netnsd.sock and tcp:127.0.0.1:8470)',
      ).argParser((text: string, previous: ListenAddress[] | undefined) => [
        ...(previous ?? []),
        parseAddress(text),
      ]),
    )
    .addOption(
      new Option('--state-dir <directory>', 'where the store and the token are')
        .env('NETNSD_STATE_DIR')
        .default('/var/lib/netnsd')
        .argParser(parseDirectory),
    )
    .addOption(
      new Option('--log-level <level>', 'what is logged, to standard error')
        .env('NETNSD_LOG_LEVEL')
        .choices(logLevels)
        .default('info'),
    )
    .addOption(
      new Option(
        '--auth <mode>',
        'what a request over TCP needs: none is accepted for loopback addresses only',
      )
        .env('NETNSD_AUTH')
        .choices(['token', 'none'])
        .default('token'),
    );
  return addReconcileOptions(command);
}

function addReconcileOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--reconcile <mode>',
        'what is done about drift: repair mends it, observe only reports it, off does neither unless asked by POST /reconcile',
      )
        .env('NETNSD_RECONCILE')
        .choices(reconcileModes)
        .default(DEFAULTS.reconcileMode),
    )
    .addOption(
      new Option('--reconcile-interval <seconds>', 'between two looks at everything')
        .env('NETNSD_RECONCILE_INTERVAL')
        .default(DEFAULTS.reconcileIntervalMs / 1000)
        .argParser(parseSeconds),
    )
    .addOption(
      new Option(
        '--change-timeout <seconds>',
        'a change that is not made by then is undone, and answered 503',
      )
        .env('NETNSD_CHANGE_TIMEOUT')
        .default(DEFAULTS.changeTimeoutMs / 1000)
        .argParser(parseSeconds),
    )
    .addOption(
      new Option(
        '--address-pool <pool>',
        'what `subnets: auto` is chosen from: blocks of a length out of a network; may be repeated, and replaces the default (NETNSD_ADDRESS_POOL: separated by commas; default: 10.192.0.0/12:24 and fd6e:6574:6e73::/48:64)',
      ).argParser((text: string, previous: AddressPool[] | undefined) => [
        ...(previous ?? []),
        parseAddressPool(text),
      ]),
    )
    .addOption(
      new Option(
        '--names-dir <directory>',
        'where `hosts` and `resolv.conf` of namespaces are kept, as ip-netns(8) has them; `none`: nowhere',
      )
        .env('NETNSD_NAMES_DIR')
        .default(DEFAULTS.namesDir)
        .argParser((text: string) => (text === NOWHERE ? text : parseDirectory(text))),
    )
    .addOption(
      new Option('--unrecorded', 'with teardown: remove only what bears netnsd’s marks and is not recorded'),
    );
}

/** In place of a directory. */
const NOWHERE = 'none';

const LONGEST_SECONDS = 86_400;

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^\d+(\.\d+)?$/.test(text) || seconds <= 0 || seconds > LONGEST_SECONDS)
    throw new InvalidArgumentError(
      `${JSON.stringify(text)} is no number of seconds above 0 and up to ${LONGEST_SECONDS}`,
    );
  return seconds;
}

/** The values of a variable, separated by commas. */
function parseAll<T>(variable: string, env: NodeJS.ProcessEnv, parse: (text: string) => T): T[] | undefined {
  const texts = env[variable]?.split(/[\s,]+/).filter((text) => text !== '') ?? [];
  if (texts.length === 0) return undefined;
  return texts.map((text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new UsageExit(
        2,
        `netnsd: ${variable}: ${error instanceof Error ? error.message : String(error)}; see --help`,
      );
    }
  });
}

function parseAddressPool(text: string): AddressPool {
  const pool = parsePool(text);
  if (typeof pool === 'string') throw new InvalidArgumentError(pool);
  return pool;
}

/** sun_path of unix(7) holds 108 bytes with the final NUL. */
const LONGEST_SOCKET_PATH = 107;

function parseAddress(text: string): ListenAddress {
  const [, path] = /^unix:(\/.+)$/.exec(text) ?? [];
  if (path !== undefined) {
    if (Buffer.byteLength(path) > LONGEST_SOCKET_PATH)
      throw new InvalidArgumentError(
        `the path of a socket has at most ${LONGEST_SOCKET_PATH} bytes: ${JSON.stringify(text)}`,
      );
    return { transport: 'unix', path };
  }
  const [, bracketed, plain, digits] = /^tcp:(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || port > 65_535 || (isIP(host) === 0 && host !== 'localhost'))
    throw new InvalidArgumentError(
      `${JSON.stringify(text)} is neither unix:/PATH nor tcp:ADDRESS:PORT, such as tcp:127.0.0.1:8470 or tcp:[::1]:8470`,
    );
  return { transport: 'tcp', host, port };
}

function parseDirectory(text: string): string {
  if (!text.startsWith('/') || text.includes('\0'))
    throw new InvalidArgumentError(`${JSON.stringify(text)} is no absolute path`);
  return text;
}

function checkAuth({ auth, listen }: Config): void {
  if (auth === 'token') return;
  const exposed = listen.find((address) => address.transport === 'tcp' && !isLoopback(address.host));
  if (exposed?.transport === 'tcp')
    throw new UsageExit(
      2,
      `netnsd: --auth none is accepted for loopback addresses only, and ${exposed.host} is none: who reaches netnsd is root on the network; see --help`,
    );
}

/** RFC 1122, section 3.2.1.3; RFC 4291, section 2.5.3. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
