import { createHash } from 'node:crypto';
import {
  cpSync,
  mkdtempSync,
  openSync,
  closeSync,
  writeSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { runServer, startServer, temporaryDirectory } from '../support/server.ts';
import { run } from '../support/shell.ts';

const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.1/24'] };

/** What is made before the store is damaged. */
const made: [path: string, body: object][] = [
  ['/namespaces', { name: 'blue' }],
  ['/bridges', { name: 'br00', addresses: ['10.1.1.3/24'] }],
  ['/links', { name: 'veth00', type: 'veth', bridge: 'br00', peer }],
];

interface Laid {
  stateDir: string;
  store: string;
}

/** A store and the networks that it knows; netnsd has ended as it should. */
async function layOut(): Promise<Laid> {
  const stateDir = temporaryDirectory();
  const { request, stop } = await startDaemon({ stateDir });
  for (const [path, body] of made) expect((await request.post(path).send(body)).status).toBe(201);
  await stop();
  return { stateDir, store: join(stateDir, 'netnsd.db') };
}

/** As `layOut`, but netnsd was killed: most of the store is in the write-ahead log. */
async function layOutKilled(): Promise<Laid> {
  const { stateDir, curl, end } = await startServer();
  for (const [path, body] of made) expect((await curl(path, 'POST', body)).status).toBe(201);
  await end('SIGKILL');
  const store = join(stateDir, 'netnsd.db');
  expect(statSync(`${store}-wal`).size).toBeGreaterThan(0);
  return { stateDir, store };
}

/**
 * Damages a store, and expects that netnsd ends with status 1 and one line, and that neither the kernel nor any byte
 * of the directory is changed by it. Then the copy from before is put back, as an operator would: all is there again.
 */
async function expectRefusal(
  { stateDir, store }: Laid,
  damage: () => unknown,
  line: RegExp,
  mend: () => unknown = () => undefined,
): Promise<void> {
  const backup = mkdtempSync(join(tmpdir(), 'netnsd-backup-'));
  const files = readdirSync(stateDir).filter((file) => file.startsWith('netnsd.db'));
  for (const file of files) cpSync(join(stateDir, file), join(backup, file));
  try {
    await damage();
    const before = { kernel: await kernelState(), files: filesOf(stateDir) };
    const { exitCode, stderr } = await runServer([
      '--state-dir',
      stateDir,
      '--listen',
      `unix:${join(stateDir, 's')}`,
    ]);
    expect(stderr).toMatch(line);
    expect(stderr).toMatch(/^netnsd: [^\n]*$/);
    expect(exitCode).toBe(1);
    expect(filesOf(stateDir)).toEqual(before.files);
    expect(kernelDifferences(before.kernel, await kernelState())).toEqual([]);
  } finally {
    await mend();
    for (const suffix of ['', '-wal']) rmSync(store + suffix, { force: true });
    for (const file of files) cpSync(join(backup, file), join(stateDir, file));
    rmSync(backup, { recursive: true });
  }
  await expectAllThere(stateDir);
}

/** Starts netnsd, and has it delete everything when the test is over. */
async function expectAllThere(stateDir: string): Promise<void> {
  const { request } = await startDaemon({ stateDir });
  const link = await request.get('/links/veth00');
  expect([link.status, link.body.status?.state]).toEqual([200, 'ready']);
  expect((await request.get('/operations')).body.items).toHaveLength(made.length);
}

/** Every file with its size and what is in it. */
function filesOf(directory: string): string[] {
  return readdirSync(directory)
    .toSorted()
    .map((file) => {
      const path = join(directory, file);
      if (!statSync(path).isFile()) return file;
      const content = readFileSync(path);
      return `${file} ${content.length} ${createHash('sha256').update(content).digest('hex')}`;
    });
}

const PAGE_BYTES = 4096;

function overwrite(path: string, at: number, bytes: number): void {
  const file = openSync(path, 'r+');
  writeSync(file, Buffer.alloc(bytes, 0xa5), 0, bytes, at);
  closeSync(file);
}

function withSql(path: string, sql: string): void {
  const database = new Database(path);
  database.exec(sql);
  database.close();
}

describe('netnsd does not start, and changes nothing in the kernel or the store, if the store', () => {
  it('is empty', async () => {
    const laid = await layOut();
    await expectRefusal(
      laid,
      () => truncateSync(laid.store, 0),
      /the store \S+netnsd\.db is empty: .* restore a copy/,
    );
  });

  it('has a damaged header', async () => {
    const laid = await layOut();
    await expectRefusal(
      laid,
      () => overwrite(laid.store, 0, 100),
      /is damaged: it does not begin as one; restore a copy/,
    );
  });

  it('has a damaged page in the middle', async () => {
    const laid = await layOut();
    const pages = statSync(laid.store).size / PAGE_BYTES;
    expect(pages).toBeGreaterThan(8);
    await expectRefusal(
      laid,
      () => overwrite(laid.store, Math.floor(pages / 2) * PAGE_BYTES, 64),
      /damaged.*restore a copy/,
    );
  });

  it('has damage within a page', async () => {
    const laid = await layOut();
    const at = readFileSync(laid.store).indexOf('"name":"veth00"');
    await expectRefusal(laid, () => overwrite(laid.store, at, 1), /is damaged: .*restore a copy/);
  });

  it('has lost its last pages', async () => {
    const laid = await layOut();
    const { size } = statSync(laid.store);
    await expectRefusal(
      laid,
      () => truncateSync(laid.store, size - 2 * PAGE_BYTES),
      /damaged.*restore a copy/,
    );
  });

  it('was cut off in the middle of a page', async () => {
    const laid = await layOut();
    await expectRefusal(laid, () => truncateSync(laid.store, 5000), /damaged.*restore a copy/);
  });

  it('names what it does not have', async () => {
    const laid = await layOut();
    await expectRefusal(
      laid,
      () =>
        withSql(
          laid.store,
          "PRAGMA foreign_keys = OFF; DELETE FROM resource WHERE kind = 'bridge'; PRAGMA journal_mode = DELETE",
        ),
      /is damaged: a row of \w+ names a resource that is not there/,
    );
  });

  it.each(['DELETE', 'WAL'])('is a database of somebody else (journal mode %s)', async (mode) => {
    const laid = await layOut();
    const replace = (): void => {
      rmSync(laid.store);
      withSql(laid.store, `PRAGMA journal_mode = ${mode}; CREATE TABLE theirs (x)`);
    };
    await expectRefusal(laid, replace, /is a database, but no store of netnsd; name another --state-dir/);
  });

  it('was written by a newer netnsd', async () => {
    const laid = await layOut();
    await expectRefusal(
      laid,
      () => withSql(laid.store, 'PRAGMA user_version = 99'),
      /has schema 99, and this netnsd knows \d+ at most: .*newer netnsd; start that one/,
    );
  });

  it('is damaged where a crash has left a write-ahead log, which stays as well', async () => {
    const laid = await layOutKilled();
    const { size } = statSync(laid.store);
    await expectRefusal(
      laid,
      () => overwrite(laid.store, PAGE_BYTES, size - PAGE_BYTES),
      /damaged.*restore a copy/,
    );
  });

  it('is missing where a crash has left a write-ahead log, which stays', async () => {
    const laid = await layOutKilled();
    await expectRefusal(
      laid,
      () => rmSync(laid.store),
      /is missing, and its \S+-wal is there; put the store back/,
    );
  });

  it.each(['directory', 'file'])('can’t be written, because its %s is mounted read-only', async (what) => {
    const laid = await layOut();
    const place = what === 'file' ? laid.store : laid.stateDir;
    await expectRefusal(
      laid,
      async () => {
        await run('mount', '--bind', place, place);
        await run('mount', '-o', 'remount,bind,ro', place);
      },
      /the store \S+netnsd\.db: it can’t be written; make .* writable .*EROFS/,
      async () => run('umount', place),
    );
  });
});

describe('netnsd starts as ever', () => {
  it('from what a crash has left', async () => {
    const { stateDir } = await layOutKilled();
    await expectAllThere(stateDir);
  });

  it('from a copy that `VACUUM INTO` made', async () => {
    const { stateDir, store } = await layOutKilled();
    withSql(store, `VACUUM INTO '${store}.copy'`);
    for (const suffix of ['', '-wal', '-shm']) rmSync(store + suffix, { force: true });
    await run('mv', `${store}.copy`, store);
    await expectAllThere(stateDir);
  });

  it('where there was no room to make a new store, and now there is', async () => {
    const stateDir = temporaryDirectory();
    await run('mount', '-t', 'tmpfs', '-o', 'size=40k', 'tmpfs', stateDir);
    onTestFinished(async () => void (await run('umount', stateDir)));
    const args = ['--state-dir', stateDir, '--listen', `unix:${join(stateDir, 's')}`];
    await run('fallocate', '-l', '40KiB', join(stateDir, 'filler'));
    const noToken = await runServer(args);
    expect([noToken.exitCode, noToken.stderr]).toEqual([
      1,
      expect.stringMatching(/^netnsd: the token \S+ can’t be written: [^\n]*ENOSPC[^\n]*$/),
    ]);
    expect(readdirSync(stateDir)).toEqual(['filler']);
    rmSync(join(stateDir, 'filler'));
    const { exitCode, stderr } = await runServer(args);
    expect(stderr).toMatch(/^netnsd: the store \S+: there is no room left on its disk; make some[^\n]*$/);
    expect(exitCode).toBe(1);
    expect(readdirSync(stateDir)).toEqual(['token']);
    await run('mount', '-o', 'remount,size=4m', stateDir);
    const { curl, end } = await startServer([], { stateDir });
    await expect.poll(async () => (await curl('/readyz')).status).toBe(200);
    await end();
  });
});

describe('a migration that is killed half-way', () => {
  it('leaves the store as it was, with a copy beside it, and is done at the next start', async () => {
    const path = join(temporaryDirectory(), 'netnsd.db');
    withSql(path, "CREATE TABLE a (x TEXT) STRICT; INSERT INTO a VALUES ('kept'); PRAGMA user_version = 1");
    const program = `
      import Database from 'better-sqlite3';
      import { migrate } from '${new URL('../../src/db/migrate.ts', import.meta.url).href}';
      const database = new Database(${JSON.stringify(path)});
      database.pragma('journal_mode = WAL');
      database.pragma('cache_size = 10');
      database.function('started', () => { process.stdout.write('started'); return 0; });
      const sql = \`DELETE FROM a; CREATE TABLE b (y INTEGER) STRICT; SELECT started();
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) INSERT INTO b SELECT i FROM n;\`;
      migrate(database, [{ number: 1, name: 'a', sql: '' }, { number: 2, name: 'b', sql }]);`;
    const child = execa(process.execPath, ['--input-type=module', '-e', program], {
      reject: false,
      buffer: false,
    });
    await new Promise((resolve) => child.stdout.once('data', resolve));
    // Long enough for pages of the unfinished transaction to reach the disk.
    await expect.poll(() => statSync(`${path}-wal`).size).toBeGreaterThan(1024 * 1024);
    child.kill('SIGKILL');
    await child;
    for (const file of [path, `${path}.before-002`]) {
      const database = new Database(file);
      expect(database.prepare('SELECT x FROM a').pluck().all()).toEqual(['kept']);
      expect(database.pragma('user_version', { simple: true })).toBe(1);
      expect(database.pragma('integrity_check', { simple: true })).toBe('ok');
      database.close();
    }
  });
});
