import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pino } from 'pino';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createStore } from '../../src/db/store.ts';
import { NameFiles } from '../../src/kernel/name-files.ts';
import { Names } from '../../src/services/names.ts';
import { create } from '../support/create.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { directoryToTearDown, startServer, temporaryDirectory, type Server } from '../support/server.ts';
import { ipJson, run } from '../support/shell.ts';
import { putInFront } from '../support/wrapper.ts';

const bridge = { name: 'br00', addresses: ['10.1.1.3/24'] };

/** What every change is answered with; meanwhile no process is started, and nothing in the kernel is touched. */
async function expectRefused(
  { app, request }: Daemon,
  changes: ('create' | 'delete')[],
  expected: { status: number; type: string; detail: RegExp },
): Promise<void> {
  const kernel = await kernelState();
  const before = app.processesStarted();
  for (const change of changes) {
    const { status, body } =
      change === 'create'
        ? await request.post('/bridges').send(bridge)
        : await request.delete('/namespaces/blue');
    expect({ status, type: body.type, detail: body.detail }).toEqual({
      status: expected.status,
      type: expected.type,
      detail: expect.stringMatching(expected.detail),
    });
  }
  expect(app.processesStarted()).toBe(before);
  expect(kernelDifferences(kernel, await kernelState())).toEqual([]);
}

/** Reads look at the kernel and the store as ever. */
async function expectReads({ request }: Daemon): Promise<void> {
  const one = await request.get('/namespaces/blue');
  expect([one.status, one.body.status.state]).toEqual([200, 'ready']);
  const all = await request.get('/namespaces');
  expect(all.body.items.map(({ name }: { name: string }) => name)).toEqual(['blue']);
  expect((await request.get('/operations')).status).toBe(200);
}

async function expectReadiness({ request }: Daemon, ready: boolean, reason?: RegExp): Promise<void> {
  const { status, body } = await request.get('/readyz');
  expect(status).toBe(ready ? 200 : 503);
  if (reason !== undefined) expect(JSON.stringify(body)).toMatch(reason);
}

const lost = {
  status: 503,
  type: '/problems/store-unavailable',
  detail: /has lost its file .* put that very file back, or stop netnsd and restore a copy/,
};

describe('a store that is lost while it is open', () => {
  it.each([
    ['netnsd.db', 'taken away'],
    ['netnsd.db', 'replaced'],
    ['netnsd.db-wal', 'taken away'],
    ['netnsd.db-wal', 'replaced'],
  ])('has changes refused, and reads go on, until it is back: %s, %s', async (file, how) => {
    const daemon = await startDaemon({ stateDir: temporaryDirectory() });
    const { request, stateDir } = daemon;
    await request.post('/namespaces').send({ name: 'blue' });
    const path = join(stateDir, file);
    renameSync(path, `${path}.away`);
    if (how === 'replaced') copyFileSync(`${path}.away`, path);
    await expectRefused(daemon, ['create', 'delete'], { ...lost, detail: new RegExp(`lost its .*${how}`) });
    await expectReads(daemon);
    await expectReadiness(daemon, false, lost.detail);
    renameSync(`${path}.away`, path);
    await expectReadiness(daemon, true);
    expect((await request.post('/bridges').send(bridge)).status).toBe(201);
  });

  it('has changes refused where the whole directory was moved', async () => {
    const stateDir = join(temporaryDirectory(), 'state');
    const daemon = await startDaemon({ stateDir });
    await daemon.request.post('/namespaces').send({ name: 'blue' });
    renameSync(stateDir, `${stateDir}.away`);
    await expectRefused(daemon, ['create', 'delete'], lost);
    renameSync(`${stateDir}.away`, stateDir);
    expect((await daemon.request.delete('/namespaces/blue')).status).toBe(204);
  });

  it('has a change undone, and not acknowledged, in the middle of which it is taken away', async () => {
    const daemon = await startDaemon({ stateDir: temporaryDirectory() });
    const path = join(daemon.stateDir, 'netnsd.db');
    await daemon.request.post('/namespaces').send({ name: 'blue' });
    const kernel = await kernelState();
    const restore = putInFront('ip', () => `mv ${path} ${path}.away 2>/dev/null; exec /usr/sbin/ip "$@"`);
    const refused = await daemon.request.post('/bridges').send(bridge);
    restore();
    expect([refused.status, refused.body.type]).toEqual([503, lost.type]);
    expect(kernelDifferences(kernel, await kernelState())).toEqual([]);
    renameSync(`${path}.away`, path);
    expect((await daemon.request.get('/bridges/br00')).status).toBe(404);
    expect((await daemon.request.post('/bridges').send(bridge)).status).toBe(201);
  });

  it('has all that was suspected meanwhile mended once it is back, without a sweep', async () => {
    const daemon = await startDaemon({
      stateDir: temporaryDirectory(),
      reconcileMode: 'repair',
      reconcileIntervalMs: 600_000,
    });
    const { app, request, stateDir } = daemon;
    // More than are mended in one turn of the lane: that which fails leaves others.
    const names = Array.from({ length: 130 }, (_, n) => `br${n}`);
    await Promise.all(names.map(async (name) => create(request, '/bridges', { name })));
    const settled = async () => (await request.get('/system')).body.reconcile.settled;
    await expect.poll(settled).toBe(true);
    // What was made just now is suspected a little later than the rest.
    await sleep(1_000);
    const bridges = async () => (await ipJson('link', 'show', 'type', 'bridge')).length;
    const path = join(stateDir, 'netnsd.db');
    renameSync(path, `${path}.away`);
    // All of it is told at once, and suspected together.
    const monitor = Number(await run('pgrep', '-f', '^ip .* monitor '));
    process.kill(monitor, 'SIGSTOP');
    await run('ip', 'link', 'delete', 'group', '20851');
    process.kill(monitor, 'SIGCONT');
    await expect.poll(bridges).toBe(128);
    const started = app.processesStarted();
    await sleep(2_000);
    // It is not tried all the time.
    expect(app.processesStarted() - started).toBeLessThan(5);
    renameSync(`${path}.away`, path);
    await expect.poll(bridges).toBe(names.length);
  });

  it('can be saved from the process that has it open, as docs/operations.md says', async () => {
    const { pid, stateDir, curl, end } = await startServer();
    const store = join(stateDir, 'netnsd.db');
    await curl('/namespaces', 'POST', { name: 'blue' });
    rmSync(store);
    rmSync(`${store}-wal`);
    expect((await curl('/bridges', 'POST', bridge)).status).toBe(503);
    for (const suffix of ['', '-wal']) {
      const open = await openFile(pid, `${store}${suffix}`);
      copyFileSync(open, `${store}.saved${suffix}`);
    }
    await end();
    for (const suffix of ['', '-wal']) renameSync(`${store}.saved${suffix}`, `${store}${suffix}`);
    const { request } = await startDaemon({ stateDir });
    const { status, body } = await request.get('/namespaces/blue');
    expect([status, body.status.state]).toEqual([200, 'ready']);
  });
});

async function openFile(pid: number, path: string): Promise<string> {
  const listing = await run('ls', '-l', `/proc/${pid}/fd`);
  const line = listing.split('\n').find((each) => each.endsWith(`-> ${path} (deleted)`));
  const number = /(\d+) -> /.exec(line ?? '')?.[1];
  return `/proc/${pid}/fd/${number ?? 'none'}`;
}

/** The labels of one bridge are full of this, */
const MARK = 'y';

/** in a store with so many more that SQLite has to read it from the file each time. */
function fillStore(path: string, name: string): void {
  const store = createStore(path);
  const marked = store.resources.get('bridge', name);
  if (marked === null) throw new Error(`${name} is not recorded`);
  const withLabels = (filling: string): typeof marked.intent => ({
    ...marked.intent,
    labels: { long: filling.repeat(500_000) },
  });
  store.commit(() => {
    store.resources.put({ ...marked, intent: withLabels(MARK) });
    for (let n = 0; n < 60; n++)
      store.resources.put({ ...marked, name: `more${n}`, intent: withLabels('x') });
  });
  store.close();
}

const PAGE_BYTES = 4096;

/** Damages the labels of that one, and nothing else (sqlite.org/fileformat2.html, 1.6). */
function damageMarked(path: string): void {
  const content = readFileSync(path);
  for (let at = 0; at < content.length; at += PAGE_BYTES) {
    const page = content.subarray(at, at + PAGE_BYTES);
    if (page.subarray(4).every((byte) => byte === MARK.charCodeAt(0))) page.fill(0xa5);
  }
  writeFileSync(path, content);
}

describe('a store in which something can’t be read for a while', () => {
  it('has the files of names written again once it can', async () => {
    const stateDir = directoryToTearDown();
    const namesDir = temporaryDirectory();
    const { request, stop } = await startDaemon({ stateDir, namesDir });
    await create(request, '/bridges', { name: 'br00', subnets: ['10.1.1.0/24'] });
    await create(request, '/namespaces', { name: 'blue' });
    const peer = { namespace: 'blue', interface: 'eth0', addresses: ['auto'] };
    await create(request, '/links', { name: 'v0', type: 'veth', bridge: 'br00', peer });
    await stop();

    const path = join(temporaryDirectory(), 'netnsd.db');
    copyFileSync(join(stateDir, 'netnsd.db'), path);
    fillStore(path, 'br00');
    const sound = readFileSync(path);
    const store = createStore(path);
    onTestFinished(() => store.close());
    const names = new Names({ store, log: pino({ level: 'silent' }), files: new NameFiles(namesDir) });
    const hosts = join(namesDir, 'blue', 'hosts');
    rmSync(hosts);
    damageMarked(path);
    await names.check();
    expect(existsSync(hosts)).toBe(false);
    writeFileSync(path, sound);
    await names.check();
    expect(existsSync(hosts)).toBe(true);
  });
});

const full = { status: 507, type: '/problems/limit-reached' };

/** A state directory on a small disk of its own. */
async function smallDisk(): Promise<{ stateDir: string; leave: (kibibytes: number) => Promise<void> }> {
  const stateDir = temporaryDirectory();
  await run('mount', '-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', stateDir);
  onTestFinished(async () => void (await run('umount', stateDir)));
  return {
    stateDir,
    leave: async (kibibytes) => {
      const filler = join(stateDir, 'filler');
      rmSync(filler, { force: true });
      const available = Number((await run('df', '--output=avail', '-k', stateDir)).split('\n')[1]);
      if (available > kibibytes) await run('fallocate', '-l', `${available - kibibytes}KiB`, filler);
    },
  };
}

describe('a store on a disk that is full', () => {
  it('has changes refused before anything is touched; deletions go on for longer, and reads always', async () => {
    const { stateDir, leave } = await smallDisk();
    const daemon = await startDaemon({ stateDir });
    const { request } = daemon;
    for (const name of ['blue', 'red']) await request.post('/namespaces').send({ name });
    await leave(900);
    await expectRefused(daemon, ['create'], {
      ...full,
      detail: /its disk has 900 KiB free, .* needs 1040 KiB; make room \(deletions need less\)/,
    });
    await expectReadiness(daemon, false, /make room/);
    expect((await request.delete('/namespaces/red')).status).toBe(204);
    await leave(100);
    await expectRefused(daemon, ['create', 'delete'], { ...full, detail: /100 KiB free/ });
    await expectReads(daemon);
    await leave(0);
    await expectRefused(daemon, ['create', 'delete'], { ...full, detail: /0 KiB free/ });
    await expectReads(daemon);
    await leave(8192);
    await expectReadiness(daemon, true);
    expect((await request.post('/bridges').send(bridge)).status).toBe(201);
  });

  it('fails no other change that goes together with one that needs too much', async () => {
    const { stateDir, leave } = await smallDisk();
    const { request } = await startDaemon({ stateDir });
    await request.post('/namespaces').send({ name: 'blue' });
    await leave(900);
    const answers = await Promise.all([
      request.delete('/namespaces/blue'),
      request.post('/bridges').send(bridge),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([204, 507]);
    await leave(8192);
  });

  it('has a change undone, and not acknowledged, in the middle of which the disk fills up', async () => {
    const { stateDir, leave } = await smallDisk();
    const { request } = await startDaemon({ stateDir });
    await request.post('/namespaces').send({ name: 'blue' });
    const kernel = await kernelState();
    const restore = putInFront(
      'ip',
      () => `dd if=/dev/zero of=${stateDir}/filler bs=4k 2>/dev/null; exec /usr/sbin/ip "$@"`,
    );
    const refused = await request.post('/bridges').send(bridge);
    restore();
    expect({ status: refused.status, type: refused.body.type }).toEqual(full);
    expect(kernelDifferences(kernel, await kernelState())).toEqual([]);
    expect((await request.get('/bridges/br00')).status).toBe(404);
    await leave(8192);
    expect((await request.post('/bridges').send(bridge)).status).toBe(201);
  });

  it('is read after a stop and a start too, with all that is in it', async () => {
    const { stateDir, leave } = await smallDisk();
    const first = await startDaemon({ stateDir });
    await first.request.post('/namespaces').send({ name: 'blue' });
    await leave(0);
    await first.stop();
    const second = await startDaemon({ stateDir });
    await expectReads(second);
    await expectRefused(second, ['create'], { ...full, detail: /free/ });
    await leave(8192);
    expect((await second.request.delete('/namespaces/blue')).status).toBe(204);
  });
});

/** No file of the process may grow beyond that: writes fail, though not for want of room. */
async function failWritesBeyond({ pid }: Server, bytes: number | 'unlimited'): Promise<void> {
  await run('prlimit', '--pid', String(pid), `--fsize=${bytes}:unlimited`);
}

describe('a store whose disk fails', () => {
  it('has changes refused before anything is touched, and reads go on', async () => {
    // The signal that comes with the limit would end netnsd.
    const through = ['sh', '-c', 'trap "" XFSZ; exec "$@"', 'sh'];
    const server = await startServer([], { through });
    const { curl, stateDir } = server;
    await curl('/namespaces', 'POST', { name: 'blue' });
    const kernel = await kernelState();
    await failWritesBeyond(server, statSync(join(stateDir, 'netnsd.db-wal')).size);
    for (const [path, method, body] of [
      ['/bridges', 'POST', bridge],
      ['/namespaces/blue', 'DELETE', undefined],
    ] as const) {
      const answer = await curl(path, method, body);
      expect([answer.status, answer.body['type']]).toEqual([503, '/problems/store-unavailable']);
      expect(answer.body['detail']).toMatch(/its disk can’t be read or written; .* \(SQLITE_IOERR_WRITE\)/);
    }
    expect(kernelDifferences(kernel, await kernelState())).toEqual([]);
    expect((await curl('/namespaces/blue')).status).toBe(200);
    await failWritesBeyond(server, 'unlimited');
    expect((await curl('/bridges', 'POST', bridge)).status).toBe(201);
    for (const path of ['/bridges/br00', '/namespaces/blue'])
      expect((await curl(path, 'DELETE')).status).toBe(204);
  });
});
