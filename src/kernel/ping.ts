import { familyOf } from '../schemas/address.ts';
import type { PingAnswer } from '../schemas/inspect.ts';
import { CommandFailed } from './errors.ts';
import { runInside } from './inspect.ts';
import type { Processes } from './processes.ts';

/** Between two packets; ping(8) lets only root go below it. */
const INTERVAL_MS = 200;

/** ping(8) waits for the last answer up to twice as long as the slowest took; a slow start comes on top. */
const GRACE_MS = 5000;

interface Ping {
  /** A plain address: nothing is asked of DNS. */
  to: string;
  count: number;
  /** How long to wait for an answer, in milliseconds. */
  timeoutMs: number;
}

/**
 * Pings from inside a namespace. That nothing comes back, or that there is no way to the address, is an answer.
 *
 * @throws CommandFailed if ping could not ask at all
 */
export async function ping(
  processes: Processes,
  namespace: string,
  { to, count, timeoutMs }: Ping,
): Promise<PingAnswer> {
  const often = ['-c', String(count), '-i', String(INTERVAL_MS / 1000), '-W', String(timeoutMs / 1000)];
  const { stdout, stderr, exitCode, command } = await runInside(
    processes,
    namespace,
    ['ping', '-n', '-q', `-${familyOf(to)}`, ...often, '--', to],
    count * INTERVAL_MS + 2 * timeoutMs + GRACE_MS,
  );
  const answer = parsePing(stdout);
  if (answer !== null) return answer;
  if (NO_WAY.test(stderr)) return summary(count, 0, null);
  throw new CommandFailed(
    command,
    exitCode,
    stderr,
    BROADCAST.test(stderr) ? { cause: 'refusal', refusal: 'unprocessable' } : undefined,
  );
}

/** What connect(2) says of an address that the routing table leads nowhere; a blackhole route is "Invalid argument". */
const NO_WAY =
  /connect: (?:Network is unreachable|No route to host|Network is down|Invalid argument|Cannot assign requested address)/;

/** Said of the broadcast address of a network that the namespace is in, and of what a `prohibit` route forbids. */
const BROADCAST = /Do you want to ping broadcast/;

/** Parses the summary that ping(8) of iputils prints at its end; null if there is none. */
export function parsePing(text: string): PingAnswer | null {
  const [, transmitted, received] = /^(\d+) packets transmitted, (\d+) received\b/m.exec(text) ?? [];
  if (transmitted === undefined || received === undefined) return null;
  return summary(Number(transmitted), Number(received), parseRtt(text));
}

/** `rtt min/avg/max/mdev = 0.052/0.109/0.216/0.075 ms`, which is missing if nothing came back. */
function parseRtt(text: string): PingAnswer['rtt'] {
  const [, min, avg, max, mdev] =
    /^rtt min\/avg\/max\/mdev = ([\d.]+)\/([\d.]+)\/([\d.]+)\/([\d.]+) ms/m.exec(text) ?? [];
  if (min === undefined) return null;
  return { min: Number(min), avg: Number(avg), max: Number(max), mdev: Number(mdev) };
}

function summary(transmitted: number, received: number, rtt: PingAnswer['rtt']): PingAnswer {
  const lost = transmitted === 0 ? 0 : (transmitted - received) / transmitted;
  return { transmitted, received, lossPercent: Math.round(lost * 1000) / 10, rtt };
}
