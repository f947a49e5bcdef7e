import { existsSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { runServer, startServer, temporaryDirectory, type Server } from '../support/server.ts';
import { run } from '../support/shell.ts';

const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.1/24'] };
const made: [path: string, body: object][] = [
  ['/namespaces', { name: 'blue' }],
  ['/bridges', { name: 'br00', addresses: ['10.1.1.3/24'] }],
  ['/links', { name: 'veth00', type: 'veth', bridge: 'br00', peer }],
  ['/nat', { name: 'out', type: 'masquerade', source: '10.1.1.0/24', inInterface: 'br00' }],
];

/** A netnsd that has made something of each kind. */
async function startWithNetworks(stateDir = temporaryDirectory()): Promise<Server> {
  const server = await startServer([], { stateDir });
  for (const [path, body] of made) expect((await server.curl(path, 'POST', body)).status).toBe(201);
  return server;
}

/** Everything is there, and deleted when the test is over. */
async function expectAllThere(stateDir: string): Promise<void> {
  const { request } = await startDaemon({ stateDir });
  await expect.poll(async () => (await request.get('/readyz')).status).toBe(200);
  for (const [path, { name }] of made as [string, { name: string }][])
    expect((await request.get(`${path}/${name}`)).body.status?.state).toBe('ready');
}

/** Starts netnsd, which is to end with status 1 and one line, having touched neither kernel nor the directory. */
async function expectRefused(stateDir: string, line: RegExp, ...args: string[]): Promise<void> {
  const before = { kernel: await kernelState(), files: readdirSync(stateDir) };
  const { exitCode, stdout, stderr } = await runServer([
    ...args,
    '--state-dir',
    stateDir,
    '--listen',
    `unix:${join(stateDir, 's')}`,
  ]);
  expect(stderr).toMatch(line);
  expect(stderr).toMatch(/^netnsd: [^\n]*$/);
  expect([exitCode, stdout]).toEqual([1, '']);
  expect(kernelDifferences(before.kernel, await kernelState())).toEqual([]);
  // The token is made by the first start, whatever comes of it.
  expect(readdirSync(stateDir).filter((file) => file !== 'token')).toEqual(
    before.files.filter((file) => file !== 'token'),
  );
}

const FOREIGN =
  /what netnsd made with another store: 2 interfaces \(br00, veth00\) and \d+ rules \(netnsd:nat\/out:.*nothing was touched\. Start netnsd with the --state-dir .*put its store back.*`netnsd teardown`/;

describe('while a netnsd runs on a host', () => {
  it.each(['the same', 'another'])('a second with %s state directory says so and stops', async (which) => {
    const first = await startWithNetworks();
    const stateDir = which === 'another' ? temporaryDirectory() : first.stateDir;
    const line = new RegExp(
      `another netnsd works on this host: process ${first.pid}, with the state directory ${first.stateDir}; .* stop that one first`,
    );
    await expectRefused(stateDir, line);
    await expectRefused(stateDir, line, 'teardown');
    expect((await first.curl('/links/veth00')).body).toMatchObject({ status: { state: 'ready' } });
    await first.end();
    await expectAllThere(first.stateDir);
  });

  it('a second in another network namespace is refused the same store, and can have its own', async () => {
    const first = await startServer();
    const inside = ['unshare', '--net'];
    const { exitCode, stderr } = await execa(
      'unshare',
      ['--net', process.execPath, 'src/main.ts', '--state-dir', first.stateDir, '--listen', 'unix:/run/b'],
      { reject: false },
    );
    expect([exitCode, stderr]).toEqual([
      1,
      expect.stringMatching(/^netnsd: the store .* another process has it open/),
    ]);
    const second = await startServer([], { through: inside });
    expect((await second.curl('/healthz')).status).toBe(200);
    await second.end();
  });

  it('its place is free as soon as it ends, even if it is killed', async () => {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      const { stateDir, end } = await startServer();
      await end(signal);
      const next = await startServer([], { stateDir });
      expect((await next.curl('/healthz')).status).toBe(200);
      await next.end();
    }
  });
});

describe('a host that has what another store’s netnsd made', () => {
  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'is left alone by a start without a store, after %s',
    async (signal) => {
      const { stateDir, end } = await startWithNetworks();
      await end(signal);
      await expectRefused(temporaryDirectory(), FOREIGN);
      await expectAllThere(stateDir);
    },
  );

  it.each(['an empty store', 'a store with other networks'])(
    'is left alone by a start with %s',
    async (what) => {
      // Made in another network namespace, as on another machine.
      const other = temporaryDirectory();
      const elsewhere = await startServer([], {
        stateDir: other,
        through: ['unshare', '--net', '--mount', '--propagation', 'private'],
      });
      if (what !== 'an empty store')
        for (const [path, body] of [
          ['/bridges', { name: 'br00', addresses: ['10.1.1.3/24'] }],
          ['/nat', { name: 'out', type: 'masquerade', source: '10.2.0.0/24' }],
        ] as const)
          expect((await elsewhere.curl(path, 'POST', body)).status).toBe(201);
      await elsewhere.end();
      const { stateDir, end } = await startWithNetworks();
      await end();
      await expectRefused(other, FOREIGN);
      await expectAllThere(stateDir);
    },
  );

  it('is left alone while its store is missing; when that is put back, all goes on', async () => {
    const { stateDir, end } = await startWithNetworks();
    await end();
    const store = join(stateDir, 'netnsd.db');
    const aside = join(temporaryDirectory(), 'aside.db');
    renameSync(store, aside);
    await expectRefused(stateDir, /There is no store here, so nothing was touched/);
    expect(existsSync(store)).toBe(false);
    renameSync(aside, store);
    await expectAllThere(stateDir);
  });
});

describe('a stray with our mark', () => {
  it('is told of and left alone; the resources are served', async () => {
    const first = await startWithNetworks();
    await first.end();
    await run('ip', 'link', 'add', 'stray0', 'group', '20851', 'type', 'bridge');
    onTestFinished(async () => void (await run('ip', 'link', 'delete', 'dev', 'stray0')));
    const { request } = await startDaemon({ stateDir: first.stateDir, reconcileMode: 'repair' });
    await expect.poll(async () => (await request.get('/readyz')).status).toBe(200);
    expect((await request.get('/links/veth00')).body.status.state).toBe('ready');
    const { body } = await request.get('/drift');
    expect(body).toMatchObject({
      items: [],
      unrecorded: [{ namespace: 'host', type: 'interface', name: 'stray0' }],
    });
    const { warnings } = (await request.get('/system')).body as { warnings: string[] };
    expect(warnings).toContainEqual(expect.stringMatching(/left alone: stray0 \(host\); .*GET \/drift/));
    const asked = await request.post('/reconcile?wait=true');
    expect(asked.body).toMatchObject({ state: 'unchanged', commands: [] });
    expect(await run('ip', '-br', 'link', 'show', 'dev', 'stray0')).toContain('stray0');
  });
});
