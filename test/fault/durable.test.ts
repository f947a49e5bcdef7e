import { describe, expect, it } from 'vitest';
import { ask } from '../support/ask.ts';
import { Client } from '../support/load.ts';
import { reportFigures, rounds } from '../support/rounds.ts';
import { directoryToTearDown, startServer } from '../support/server.ts';
import { recorded, settledComplaints } from '../support/standing.ts';

const CLIENTS = 8;
const ROUNDS = rounds(8, 500);
const RANDOM_ROUNDS = rounds(5, 300);
const LONGEST_MS = 5_000;

/** A kill and a restart take about a second and a half, on a machine that is busy with other things too. */
const roundsTimeoutMs = (count: number): number => 60_000 + count * 6_000;

describe('netnsd is killed under load', () => {
  it(
    'right after an answer: all that was acknowledged is there when it is started again, and nothing else',
    async () => {
      const stateDir = directoryToTearDown();
      const clients = Array.from({ length: CLIENTS }, (_, n) => new Client(n + 1));
      let answers = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const server = await startServer([], { stateDir });
        const last = 1 + Math.floor(Math.random() * 60);
        let count = 0;
        const work = clients.map(async (client) =>
          client.work(server.socketPath, () => {
            count += 1;
            if (count === last) process.kill(server.pid, 'SIGKILL');
            return true;
          }),
        );
        await Promise.all(work);
        await server.end('SIGKILL');
        answers += count;
        await checkRestarted(stateDir, clients, round);
      }
      reportFigures(
        'acknowledged is durable',
        `${ROUNDS} kills, ${answers} answers`,
        'nothing lost, nothing left over',
      );
    },
    roundsTimeoutMs(ROUNDS),
  );

  it(
    'at any time: nothing is half, and all is ready again soon',
    async () => {
      const stateDir = directoryToTearDown();
      const clients = Array.from({ length: 24 }, (_, n) => new Client(n + 1));
      const times: number[] = [];
      let resources = 0;
      for (let round = 0; round < RANDOM_ROUNDS; round++) {
        const server = await startServer([], { stateDir });
        const work = clients.map(async (client) => client.work(server.socketPath, () => true));
        await new Promise((resolve) => setTimeout(resolve, (round === 0 ? 1500 : 0) + Math.random() * 600));
        await server.end('SIGKILL');
        await Promise.all(work);
        const { elapsedMs, count } = await checkRestarted(stateDir, clients, round);
        times.push(elapsedMs);
        resources = Math.max(resources, count);
      }
      const longest = Math.round(Math.max(...times));
      // The promise, for a hundred resources; starting netnsd is in it.
      expect(longest).toBeLessThanOrEqual(LONGEST_MS);
      const median = Math.round(times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0);
      reportFigures(
        'dying anywhere converges: at random times',
        `${RANDOM_ROUNDS} kills, up to ${resources} resources`,
        `no drift ${median} ms after the start (median; at most ${longest} ms)`,
      );
    },
    roundsTimeoutMs(RANDOM_ROUNDS),
  );
});

/** Starts netnsd again and has it put everything in order; then ends it. */
async function checkRestarted(stateDir: string, clients: readonly Client[], round: number) {
  const start = performance.now();
  const server = await startServer([], { stateDir });
  const soon = await withoutDrift(server.socketPath);
  const elapsedMs = performance.now() - start;
  const resources = await recorded(server.socketPath);
  const complaints = clients.flatMap((client) => [
    ...client.complaints(resources),
    ...client.refused.splice(0),
  ]);
  const unsettled = await settledComplaints(server.socketPath);
  const { log } = await server.end();
  if (complaints.length + unsettled.length > 0) console.error(`round ${round}:\n${log}`);
  expect([...soon, ...complaints, ...unsettled]).toEqual([]);
  return { elapsedMs, count: resources.size };
}

/** Looks until all is as asked for, for a bounded time. */
async function withoutDrift(socketPath: string): Promise<unknown[]> {
  let items: unknown[] = [];
  const end = performance.now() + 2 * LONGEST_MS;
  do {
    items = ((await ask(socketPath, 'GET', '/drift'))?.body['items'] ?? ['no answer']) as unknown[];
    if (items.length === 0) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  } while (performance.now() < end);
  return items;
}
