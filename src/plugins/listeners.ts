import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { STATUS_CODES, createServer, type RequestListener, type Server } from 'node:http';
import { connect, type AddressInfo, type ListenOptions, type Socket } from 'node:net';
import { dirname } from 'node:path';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { ListenAddress } from '../schemas/listen.ts';
import { Problem } from '../services/problem.ts';
import type { Entrance } from './access.ts';
import { PROBLEM_TYPE, documentOf } from './problems.ts';

/** An address can't be listened on; `address` is free for whoever wants to find out who holds it. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly address: ListenAddress;
  readonly inUse: boolean;

  constructor(address: ListenAddress, inUse: boolean, message: string) {
    super(message);
    this.address = address;
    this.inUse = inUse;
  }
}

/** Bounds that keep slow or idle clients from holding sockets for minutes (Node's defaults would); in milliseconds. */
export const clientBounds = {
  requestTimeout: 60_000,
  headersTimeout: 10_000,
  keepAliveTimeout: 30_000,
  connectionsCheckingInterval: 5_000,
  maxConnections: 1_000,
};
const MAX_HEADER_BYTES = 16 * 1024;

/** How long the answers in hand may take once netnsd is to end. */
const LAST_ANSWERS_MS = 2_000;

/** The places where netnsd listens: each an HTTP server of its own before one application. */
export class Listeners {
  readonly #servers: { server: Server; address: ListenAddress }[] = [];
  readonly #entrances = new WeakMap<Socket, Entrance>();
  readonly #log: Logger;
  readonly #bounds: typeof clientBounds;

  constructor(log: Logger, bounds: typeof clientBounds = clientBounds) {
    this.#log = log;
    this.#bounds = bounds;
  }

  /** How a connection came in. */
  entranceOf(socket: Socket): Entrance | undefined {
    return this.#entrances.get(socket);
  }

  /**
   * Listens; resolves with the address, in which a port 0 has become the real one.
   *
   * @throws ListenError
   */
  async listen(address: ListenAddress, needsToken: boolean, handle: RequestListener): Promise<ListenAddress> {
    const { maxConnections, ...timeouts } = this.#bounds;
    const server = createServer({ ...timeouts, maxHeaderSize: MAX_HEADER_BYTES }, handle);
    server.maxConnections = maxConnections;
    // Any other expectation than 100-continue may be left out of account (RFC 9110, section 10.1.1).
    server.on('checkExpectation', handle);
    server.on('clientError', (error, socket) => refuseBrokenRequest(error, socket, this.#log));
    const hostNames = address.transport === 'tcp' ? [address.host] : [];
    server.on('connection', (socket) =>
      this.#entrances.set(socket, { transport: address.transport, needsToken, hostNames }),
    );
    if (address.transport === 'unix') await clearSocket(address);
    await bind(server, address);
    const actual = address.transport === 'tcp' ? { ...address, port: portOf(server.address()) } : address;
    this.#servers.push({ server, address: actual });
    return actual;
  }

  /** Takes no more connections; resolves when the requests in hand are answered. */
  async close(): Promise<void> {
    await Promise.all(
      this.#servers.map(async ({ server }) => {
        const closed = once(server, 'close');
        server.close();
        server.closeIdleConnections();
        // A client that holds a connection open, or never finishes its request, does not hold up the end.
        const end = setTimeout(() => server.closeAllConnections(), LAST_ANSWERS_MS);
        await closed;
        clearTimeout(end);
      }),
    );
  }
}

/** What a rule of netnsd's leads elsewhere does not come to netnsd, nor do the tokens in it. */
export function behindRule(address: ListenAddress, rule: string): ListenError {
  return new ListenError(
    address,
    false,
    `${textOf(address)} is where nat/${rule} publishes a port, and what is sent there would go where that leads; listen elsewhere with --listen, or start without it and change or delete that rule`,
  );
}

async function bind(server: Server, address: ListenAddress): Promise<void> {
  const options: ListenOptions =
    address.transport === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
  // The socket is made within `listen`; with a mask there is no moment in which others may write to it.
  const mask = address.transport === 'unix' ? process.umask(0o117) : null;
  try {
    server.listen(options);
  } finally {
    if (mask !== null) process.umask(mask);
  }
  try {
    await once(server, 'listening');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const message = error instanceof Error ? error.message : String(error);
    throw new ListenError(address, code === 'EADDRINUSE', `can't listen on ${textOf(address)}: ${message}`);
  }
}

/** Removes a socket that a killed daemon left behind; what is in use, or no socket, stays. */
async function clearSocket(address: ListenAddress & { transport: 'unix' }): Promise<void> {
  const { path } = address;
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  if (!existsSync(path)) return;
  if (!statSync(path).isSocket())
    throw new ListenError(
      address,
      false,
      `can't listen on ${path}: there is a file of that name which is no socket; remove it or name another path`,
    );
  if (await isAnswered(path)) throw new ListenError(address, true, `can't listen on ${path}: it is in use`);
  rmSync(path);
}

async function isAnswered(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    // ECONNREFUSED: nobody listens behind it any more.
    return false;
  } finally {
    socket.destroy();
  }
}

/** What is no HTTP, or comes too slowly, never reaches the application; the answer is a problem all the same. */
function refuseBrokenRequest(error: Error & { code?: string }, socket: Duplex, log: Logger): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const problem = problemOfParser(error.code);
  const id = randomUUID();
  log.info({ requestId: id, code: error.code }, 'refused what is no complete HTTP request');
  const document = documentOf(problem, { url: '', id });
  const body = JSON.stringify(document);
  const { status } = document;
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\ncontent-type: ${PROBLEM_TYPE}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function problemOfParser(code: string | undefined): Problem {
  if (code === 'HPE_HEADER_OVERFLOW') {
    const detail = `the request line and the headers are larger than ${MAX_HEADER_BYTES / 1024} KiB`;
    return new Problem('too-large', detail);
  }
  const isSlow = code === 'ERR_HTTP_REQUEST_TIMEOUT';
  return new Problem(
    'invalid-request',
    isSlow ? 'the request was not complete in time' : 'this is no HTTP request',
  );
}

export function textOf(address: ListenAddress): string {
  if (address.transport === 'unix') return `unix:${address.path}`;
  const host = address.host.includes(':') ? `[${address.host}]` : address.host;
  return `tcp:${host}:${address.port}`;
}

function portOf(address: AddressInfo | string | null): number {
  return typeof address === 'object' && address !== null ? address.port : 0;
}
