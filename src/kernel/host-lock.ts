import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** An abstract socket (unix(7)) belongs to a network namespace, and is gone with the process: just what is to be locked. */
const LOCK = '\0netnsd';

/** Another netnsd works in this network namespace. */
class HostLocked extends Error {
  override readonly name = 'HostLocked';
}

interface HostLock {
  release: () => Promise<void>;
}

/**
 * Takes the daemon's own network namespace for itself: two daemons would undo each other's work.
 *
 * @param holder what another one that comes is told of this one
 * @throws HostLocked saying who has it
 */
export async function lockHost(holder: string): Promise<HostLock> {
  const asking = new Set<Socket>();
  const server = createServer((socket) => {
    asking.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => asking.delete(socket));
    socket.end(holder);
  });
  try {
    server.listen(LOCK);
    await once(server, 'listening');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error;
    throw new HostLocked(
      `another netnsd works on this host: ${await askHolder()}; one at a time can, so stop that one first`,
      { cause: error },
    );
  }
  server.unref();
  return {
    release: async () => {
      server.close();
      // One that does not hang up keeps nobody waiting.
      for (const socket of asking) socket.destroy();
      await once(server, 'close');
    },
  };
}

const PATIENCE_MS = 1_000;

async function askHolder(): Promise<string> {
  return new Promise((resolve) => {
    let told = '';
    const socket = connect(LOCK);
    const answer = (): void => {
      socket.destroy();
      resolve(told === '' ? 'it does not say which' : told);
    };
    socket.setTimeout(PATIENCE_MS, answer);
    socket.on('data', (chunk: Buffer) => (told += chunk.toString()));
    socket.on('end', answer);
    socket.on('error', answer);
  });
}
