import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { harmlessRequests, type Generated } from '../support/requests.ts';

const REQUESTS = 10_000;
const AT_ONCE = 50;

async function createNetwork({ request }: Daemon): Promise<void> {
  await request
    .post('/namespaces')
    .send({ name: 'blue', labels: { app: 'web' } })
    .expect(201);
  await request
    .post('/bridges')
    .send({ name: 'br00', addresses: ['10.1.1.3/24'] })
    .expect(201);
  const peer = { interface: 'veth10', namespace: 'blue', addresses: ['10.1.1.1/24'] };
  await request.post('/links').send({ name: 'veth00', type: 'veth', bridge: 'br00', peer }).expect(201);
  for (const link of [
    { name: 'mac0', type: 'macvlan', parent: 'br00', namespace: 'blue' },
    { name: 'vx0', type: 'vxlan', id: 42, remote: '192.0.2.9', bridge: 'br00' },
    { name: 'tap0', type: 'tap', owner: 1000, bridge: 'br00' },
  ])
    await request.post('/links').send(link).expect(201);
  await request
    .post('/nat')
    .send({ name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' })
    .expect(201);
}

/** What is recorded, without what the kernel was last seen to have of it. */
async function recorded({ request }: Daemon): Promise<unknown[]> {
  const paths = ['/namespaces', '/bridges', '/links', '/nat'];
  const pages = await Promise.all(paths.map(async (path) => (await request.get(path).expect(200)).body));
  return pages.flatMap(({ items }: { items: object[] }) => items.map((item) => ({ ...item, status: null })));
}

/** Sends one of the requests; says what is wrong with the answer. */
async function complaintsAbout(
  daemon: Daemon,
  agent: Agent,
  { way, method, url, headers, body }: Generated,
): Promise<string[]> {
  const { hostname, port } = new URL(daemon.origin);
  const request = httpRequest({
    agent,
    hostname,
    port,
    method,
    path: url,
    headers: { authorization: `Bearer ${daemon.token}`, ...headers },
  });
  request.end(body);
  const [response] = await once(request, 'response');
  const received = await text(response);
  const status = response.statusCode as number;
  const found = daemon.complaints({ method, url, status, headers: response.headers, body: received });
  if (status >= 500) found.push(`status ${status}: ${received}`);
  if (status < 400 && (way === 'guarded' || way === 'spoilt'))
    found.push(`was not refused: ${status} ${received}`);
  return found;
}

test(
  `${REQUESTS} requests of any kind are answered as documented, never with a fault, and change nothing`,
  { timeout: 180_000 },
  async () => {
    const daemon = await startDaemon();
    await createNetwork(daemon);
    const before = { kernel: await kernelState(), recorded: await recorded(daemon) };
    const agent = new Agent({ keepAlive: true, maxSockets: 8 });
    try {
      const batches = fc.array(harmlessRequests, { minLength: AT_ONCE, maxLength: AT_ONCE });
      await fc.assert(
        fc.asyncProperty(batches, async (requests) => {
          const answers = await Promise.all(
            requests.map(async (request) => ({
              request,
              complaints: await complaintsAbout(daemon, agent, request),
            })),
          );
          expect(answers.filter(({ complaints }) => complaints.length > 0)).toEqual([]);
        }),
        { numRuns: REQUESTS / AT_ONCE, endOnFailure: true },
      );
    } finally {
      agent.destroy();
    }
    expect(kernelDifferences(before.kernel, await kernelState())).toEqual([]);
    expect(await recorded(daemon)).toEqual(before.recorded);
  },
);
