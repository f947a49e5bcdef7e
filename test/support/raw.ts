import { connect } from 'node:net';
import { text } from 'node:stream/consumers';

export interface RawAnswer {
  status: number;
  /** Names in lower case. */
  headers: Record<string, string>;
  body: string;
  /** Until the other side closed the connection, in milliseconds. */
  durationMs: number;
}

/**
 * Sends bytes as they are, and reads until the other side closes the connection; status 0 if it says nothing.
 *
 * @param parts sent one after the other, with `pauseMs` between them
 */
export async function sendRaw(origin: string, parts: readonly string[], pauseMs = 0): Promise<RawAnswer> {
  const { hostname, port } = new URL(origin);
  const startedAt = performance.now();
  const socket = connect({ host: hostname, port: Number(port) });
  // A connection that is cut while something is being written says what there is to say.
  socket.on('error', () => undefined);
  const sending = (async () => {
    for (const part of parts) {
      if (!socket.writable) return;
      socket.write(part, 'latin1');
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  })();
  const received = await text(socket).catch(() => '');
  await sending;
  socket.destroy();
  const [head, body] = split(received);
  const [statusLine = '', ...lines] = head.split('\r\n');
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1] ?? 0),
    headers: Object.fromEntries(
      lines.map((line) => [line.split(':')[0]?.toLowerCase(), line.replace(/^[^:]*: */, '')]),
    ) as Record<string, string>,
    body,
    durationMs: performance.now() - startedAt,
  };
}

function split(received: string): [string, string] {
  const at = received.indexOf('\r\n\r\n');
  return at === -1 ? [received, ''] : [received.slice(0, at), received.slice(at + 4)];
}
