import { describe, expect, it } from 'vitest';
import { startServer, temporaryDirectory, type Server } from '../support/server.ts';

const COUNT = 100;
const LONGEST_MS = 10_000;

/** Another network with an empty /run, in the same boot: what a daemon sees after a reboot, but for the boot id. */
const ELSEWHERE = { through: ['script/sandbox'] };

const numbers = Array.from({ length: COUNT }, (_, at) => at);

async function makeAll(server: Server): Promise<void> {
  const make = async (path: string, body: object): Promise<void> =>
    expect((await server.curl(path, 'POST', body)).status).toBe(201);
  await make('/bridges', { name: 'br00', addresses: ['10.1.0.1/16'], stp: true });
  await Promise.all(numbers.map(async (at) => make('/namespaces', { name: `n${at}` })));
  await Promise.all(
    numbers.map(async (at) =>
      make('/links', {
        name: `l${at}`,
        type: 'veth',
        bridge: 'br00',
        peer: {
          interface: 'eth0',
          namespace: `n${at}`,
          addresses: [`10.1.1.${at}/16`],
          routes: [{ to: 'default', via: '10.1.0.1' }],
        },
      }),
    ),
  );
  await Promise.all(
    numbers.map(async (at) =>
      make('/nat', {
        name: `web${at}`,
        type: 'dnat',
        protocol: 'tcp',
        port: `${8000 + at}`,
        to: { address: `10.1.1.${at}`, port: '80' },
      }),
    ),
  );
}

interface Interface {
  name: string;
  mac: string;
  mtu: number;
  up: boolean;
  addresses: string[];
}

/** What the kernel has, without numbers and counters. */
async function everythingIn({ curl }: Server): Promise<unknown> {
  const inside = async (namespace: string): Promise<unknown> => {
    const interfaces = (await curl(`/namespaces/${namespace}/interfaces`)).body['items'] as Interface[];
    const routes = (await curl(`/namespaces/${namespace}/routes`)).body['items'] as Record<string, unknown>[];
    return {
      interfaces: interfaces
        .filter(({ name }) => name !== 'uplink0')
        .map(({ name, mac, mtu, up, addresses }) => ({
          name,
          mac,
          mtu,
          up,
          addresses: addresses.filter((address) => !address.startsWith('fe80:')),
        }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      routes: routes
        .filter(({ family, dev }) => family === 'inet' && dev !== 'uplink0')
        .map((route) => JSON.stringify(route))
        .toSorted(),
    };
  };
  const rules = numbers.map(async (at) => {
    const { name, status } = (await curl(`/nat/web${at}`)).body as {
      name: string;
      status: { rules: string[] };
    };
    return { name, rules: status.rules };
  });
  return {
    inside: await Promise.all(['host', ...numbers.map((at) => `n${at}`)].map(inside)),
    rules: await Promise.all(rules),
  };
}

describe('after a reboot', () => {
  it(
    `${COUNT} namespaces, links and rules are back within ${LONGEST_MS / 1000} s, as they were`,
    { timeout: 180_000 },
    async () => {
      const stateDir = temporaryDirectory();
      const first = await startServer([], { stateDir, ...ELSEWHERE });
      await makeAll(first);
      const before = await everythingIn(first);
      await first.end('SIGKILL');
      const startedAt = performance.now();
      const second = await startServer([], { stateDir, ...ELSEWHERE });
      await expect
        .poll(async () => (await second.curl('/readyz')).status, { timeout: LONGEST_MS, interval: 50 })
        .toBe(200);
      const tookMs = performance.now() - startedAt;
      expect(tookMs).toBeLessThan(LONGEST_MS);
      process.stdout.write(`what was recorded was back ${Math.round(tookMs)} ms after the start\n`);
      expect(await everythingIn(second)).toEqual(before);
      expect((await second.curl('/drift')).body).toMatchObject({
        items: [],
        unrecorded: [],
        resources: 3 * COUNT + 1,
      });
      await second.end();
    },
  );
});
