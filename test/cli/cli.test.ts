import { once } from 'node:events';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { runServer, startServer, temporaryDirectory } from '../support/server.ts';

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

describe('the command line', () => {
  it('says its version and how it is used', async () => {
    expect(await runServer(['--version'])).toMatchObject({ exitCode: 0, stdout: version });
    const help = await runServer(['--help']);
    expect(help.exitCode).toBe(0);
    for (const flag of [
      '--listen',
      '--state-dir',
      '--log-level',
      '--auth',
      'NETNSD_STATE_DIR',
      'NETNSD_LISTEN',
    ])
      expect(help.stdout).toContain(flag);
  });

  it.each([
    [['--listen', 'tcp:127.0.0.1'], {}],
    [['--listen', 'tcp:example.org:80'], {}],
    [['--listen', 'tcp:127.0.0.1:70000'], {}],
    [['--listen', 'unix:relative.sock'], {}],
    [['--listen', `unix:/${'x'.repeat(120)}`], {}],
    [['--listen', 'http://127.0.0.1'], {}],
    [['--state-dir', 'relative'], {}],
    [['--log-level', 'loud'], {}],
    [['--auth', 'maybe'], {}],
    [['--auth', 'none', '--listen', 'tcp:0.0.0.0:8470'], {}],
    [['--change-timeout', '0'], {}],
    [['--reconcile-interval', '86401'], {}],
    [['--no-such-flag'], {}],
    [['stray'], {}],
    [[], { NETNSD_LISTEN: 'tcp:nowhere' }],
    [[], { NETNSD_STATE_DIR: 'relative' }],
    [[], { NETNSD_LOG_LEVEL: 'loud' }],
  ])(
    'refuses %j %j in one clear line, with status 2',
    async (args: string[], env: Record<string, string>) => {
      const { exitCode, stderr, stdout } = await runServer(args, env);
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
      expect(stderr.split('\n')).toHaveLength(1);
      expect(stderr).toMatch(/^netnsd: .*; see --help$/);
    },
  );
});

describe('a start', () => {
  it('says where it listens, how to call it and where Swagger UI is', async () => {
    const { greeting, stateDir, socketPath } = await startServer(['--listen', 'tcp:127.0.0.1:0']);
    const port = /tcp:127\.0\.0\.1:(\d+)/.exec(greeting)?.[1];
    expect(greeting).toContain(`curl --unix-socket ${socketPath} http://localhost/namespaces`);
    expect(greeting).toContain(
      `curl -H "Authorization: Bearer $(cat ${stateDir}/token)" http://127.0.0.1:${String(port)}/namespaces`,
    );
    expect(greeting).toContain(`Swagger UI: http://127.0.0.1:${String(port)}/docs`);
    const token = readFileSync(join(stateDir, 'token'), 'utf8').trim();
    const answer = await fetch(`http://127.0.0.1:${String(port)}/namespaces`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(answer.status).toBe(200);
  });

  it('makes the token once, for its owner alone, and a socket for owner and group', async () => {
    const first = await startServer();
    const token = readFileSync(join(first.stateDir, 'token'), 'utf8');
    expect((statSync(join(first.stateDir, 'token')).mode & 0o777).toString(8)).toBe('600');
    expect((statSync(first.socketPath).mode & 0o777).toString(8)).toBe('660');
    await first.end();
    const second = await startServer([], { stateDir: first.stateDir });
    expect(readFileSync(join(second.stateDir, 'token'), 'utf8')).toBe(token);
  });

  it('listens on a socket that a killed netnsd left behind', async () => {
    const first = await startServer();
    await first.end('SIGKILL');
    expect(existsSync(first.socketPath)).toBe(true);
    const second = await startServer([], { stateDir: first.stateDir });
    expect((await second.curl('/namespaces')).status).toBe(200);
  });

  it('stops with status 1 where the port is in use, and says by whom', async () => {
    const squatter = createServer().listen(0, '127.0.0.1');
    onTestFinished(() => void squatter.close());
    await new Promise((resolve) => squatter.once('listening', resolve));
    const address = squatter.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const { exitCode, stderr } = await runServer([
      '--state-dir',
      temporaryDirectory(),
      '--log-level',
      'silent',
      '--listen',
      `tcp:127.0.0.1:${port}`,
    ]);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      new RegExp(
        `^netnsd: tcp:127\\.0\\.0\\.1:${port} is in use by .* \\(process ${process.pid}\\); stop that, or listen elsewhere`,
      ),
    );
  });

  it('stops with status 1 where the socket is in use or is none, and leaves it alone', async () => {
    const path = join(temporaryDirectory(), 'in-use.sock');
    const other = createServer((socket) => socket.end()).listen(path);
    await once(other, 'listening');
    const args = (socketPath: string): string[] => [
      '--state-dir',
      temporaryDirectory(),
      '--log-level',
      'silent',
      '--listen',
      `unix:${socketPath}`,
    ];
    const inUse = await runServer(args(path));
    other.close();
    expect(inUse.exitCode).toBe(1);
    expect(inUse.stderr).toContain(`is in use by`);
    const plain = join(temporaryDirectory(), 'file');
    writeFileSync(plain, 'precious');
    const noSocket = await runServer(args(plain));
    expect(noSocket.exitCode).toBe(1);
    expect(noSocket.stderr).toContain('no socket');
    expect(readFileSync(plain, 'utf8')).toBe('precious');
  });

  it('stops with status 1 where another netnsd runs, and where the store is damaged, and says so', async () => {
    const first = await startServer();
    const second = await runServer([
      '--state-dir',
      first.stateDir,
      '--log-level',
      'silent',
      '--listen',
      `unix:${first.stateDir}/other.sock`,
    ]);
    expect(second.exitCode).toBe(1);
    expect(second.stderr).toMatch(
      new RegExp(`another netnsd works on this host: process ${first.pid}, .* stop that one first`),
    );
    await first.end();
    for (const [content, said] of [
      ['', 'is empty'],
      ['x'.repeat(8192), 'damaged'],
    ] as const) {
      const stateDir = temporaryDirectory();
      writeFileSync(join(stateDir, 'netnsd.db'), content);
      const broken = await runServer([
        '--state-dir',
        stateDir,
        '--log-level',
        'silent',
        '--listen',
        `unix:${stateDir}/s`,
      ]);
      expect(broken.exitCode).toBe(1);
      expect(broken.stderr).toContain(said);
      expect(readFileSync(join(stateDir, 'netnsd.db'), 'utf8')).toBe(content);
    }
  });
});

describe('SIGTERM', () => {
  it('has the change in hand finished and answered, then ends with status 0', async () => {
    const server = await startServer();
    const names = Array.from({ length: 10 }, (_, n) => `n${n}`);
    const answers = names.map(async (name) => server.curl('/namespaces', 'POST', { name }));
    // As soon as the first of them is on its way.
    await new Promise((resolve) => setTimeout(resolve, 15));
    const { exitCode, log } = await server.end();
    expect(exitCode).toBe(0);
    expect(log).toContain('"msg":"stopped"');
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    // Each was made and answered, or refused, or not heard at all; none is half done.
    const again = await startServer([], { stateDir: server.stateDir });
    const { body } = await again.curl('/namespaces');
    const recorded = (body['items'] as { name: string }[]).map(({ name }) => name);
    expect(recorded).toEqual(names.filter((_, at) => statuses[at] === 201));
    for (const name of recorded) expect((await again.curl(`/namespaces/${name}`, 'DELETE')).status).toBe(204);
  });

  it('leaves the network standing, and the next start knows it', async () => {
    const first = await startServer();
    await first.curl('/namespaces', 'POST', { name: 'blue' });
    await first.curl('/links', 'POST', {
      name: 'v0',
      type: 'veth',
      peer: { interface: 'eth0', namespace: 'blue', addresses: ['10.3.0.1/24'] },
    });
    expect((await first.end()).exitCode).toBe(0);
    const second = await startServer([], { stateDir: first.stateDir });
    const { body } = await second.curl('/links/v0');
    expect(body).toMatchObject({ revision: 1, status: { state: 'ready', peer: { up: true } } });
    expect((await second.curl('/namespaces/blue?cascade=true', 'DELETE')).status).toBe(204);
  });
});

describe('the log', () => {
  it('has one line a change: who, what, outcome, duration, processes', async () => {
    const server = await startServer();
    await server.curl('/namespaces', 'POST', { name: 'blue' });
    await server.curl('/namespaces', 'POST', { name: 'blue' });
    await server.curl('/namespaces/blue');
    await server.curl('/namespaces/blue', 'DELETE');
    const { log } = await server.end();
    const lines = log.split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
    const changes = lines.filter(({ msg }) => msg === 'change');
    expect(changes).toEqual([
      expect.objectContaining({
        actor: 'unix socket',
        action: 'create',
        resource: 'namespace/blue',
        outcome: 'succeeded',
        processes: 2,
        operation: 1,
      }),
      expect.objectContaining({
        outcome: 'refused',
        processes: 0,
        problem: expect.objectContaining({ slug: 'name-conflict' }),
      }),
      expect.objectContaining({ action: 'delete', outcome: 'succeeded', processes: 1 }),
    ]);
    for (const { requestId, durationMs } of changes) {
      expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
      expect(durationMs).toBeGreaterThan(0);
    }
  });
});
