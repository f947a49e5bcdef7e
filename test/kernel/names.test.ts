import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { execa } from 'execa';
import { describe, expect, it, onTestFinished } from 'vitest';
import { NAMES_MARK } from '../../src/schemas/names.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { directoryToTearDown, startServer } from '../support/server.ts';
import { run } from '../support/shell.ts';

const HOSTS = '/etc/netns/blue/hosts';
const RESOLV = '/etc/netns/blue/resolv.conf';

function linkTo(namespace: string, { bridge = 'br00', name = `v-${namespace}` } = {}): object {
  const device = `e-${name}`.slice(0, 15);
  return { name, type: 'veth', bridge, peer: { interface: device, namespace, addresses: ['auto'] } };
}

async function createNetwork({ request }: Daemon, namespaces: readonly string[], bridge: object = {}) {
  const body = { name: 'br00', subnets: ['10.1.1.0/24', 'fd00:1::/64'], ...bridge };
  await request.post('/bridges').send(body).expect(201);
  for (const name of namespaces) {
    await request.post('/namespaces').send({ name }).expect(201);
    await request.post('/links').send(linkTo(name)).expect(201);
  }
}

/** What a process that is started in a namespace now finds under a name. */
async function found(namespace: string, name: string): Promise<string[]> {
  const { stdout } = await execa(
    'ip',
    ['netns', 'exec', namespace, 'getent', '--service=hosts:files', 'ahosts', name],
    { reject: false },
  );
  return [...new Set(stdout.split('\n').map((line) => line.split(/\s/)[0] ?? ''))]
    .filter((address) => address !== '')
    .toSorted();
}

/** The lines of the file without comments and what is the same everywhere. */
function entries(path = HOSTS): string[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => !/^(#|$|127\.|::1\t|ff02:)/.test(line));
}

/** A file of somebody else's, until the test is over. */
function given(path: string, text: string): void {
  const directory = path.slice(0, path.lastIndexOf('/'));
  mkdirSync(directory, { recursive: true });
  writeFileSync(path, text);
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
}

const RED = ['10.1.1.3', 'fd00:1::3'];

describe('namespaces on a bridge with subnets', () => {
  it('find each other by the names of namespaces and links, and reach each other so', async () => {
    const daemon = await startDaemon();
    await createNetwork(daemon, ['blue', 'red']);
    for (const [from, name, expected] of [
      ['blue', 'red', RED],
      ['blue', 'v-red', RED],
      ['red', 'blue', ['10.1.1.2', 'fd00:1::2']],
      ['blue', 'blue', ['10.1.1.2', 'fd00:1::2']],
      ['blue', 'green', []],
    ] as const)
      expect([name, await found(from, name)]).toEqual([name, expected]);
    expect(await found('blue', 'localhost')).toContain('127.0.0.1');
    const ping = ['ping', '-4', '-c', '1', '-W', '2', 'red'];
    expect((await execa('ip', ['netns', 'exec', 'blue', ...ping])).stdout).toContain('10.1.1.3');
    const { body } = await daemon.request.get('/namespaces/blue');
    expect(body.status.names).toEqual({ hosts: 'written', resolvConf: null });
    expect(existsSync(RESOLV)).toBe(false);
  });

  it('are found by fixed addresses as well, and only by those in a subnet', async () => {
    const { request } = await startDaemon();
    await request.post('/bridges').send({ name: 'br00', subnets: ['10.1.1.0/24'] });
    await request.post('/namespaces').send({ name: 'blue' });
    const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.77/24', '192.0.2.1/24'] };
    await request.post('/links').send({ name: 'v_1', type: 'veth', bridge: 'br00', peer }).expect(201);
    expect(entries()).toEqual(['10.1.1.77\tblue']);
  });

  it('know only who is on their own bridges', async () => {
    const daemon = await startDaemon();
    await createNetwork(daemon, ['blue', 'red']);
    await daemon.request.post('/bridges').send({ name: 'br01', subnets: ['10.2.0.0/24'] });
    await daemon.request.post('/namespaces').send({ name: 'green' });
    for (const link of [
      linkTo('green', { bridge: 'br01' }),
      linkTo('red', { bridge: 'br01', name: 'w-red' }),
    ])
      await daemon.request.post('/links').send(link).expect(201);
    expect(await found('green', 'red')).toEqual(['10.2.0.3']);
    expect(await found('green', 'blue')).toEqual([]);
    expect(await found('blue', 'red')).toEqual(RED);
    expect(await found('blue', 'green')).toEqual([]);
    expect(await found('red', 'green')).toEqual(['10.2.0.2']);
    expect(await found('red', 'v-red')).toEqual(RED);
    expect(await found('red', 'w-red')).toEqual(['10.2.0.3']);
  });

  it('have no files where there are no subnets, and the host has none', async () => {
    const { request } = await startDaemon();
    await request.post('/bridges').send({ name: 'br00', addresses: ['10.1.1.1/24'] });
    await request.post('/namespaces').send({ name: 'blue' });
    const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.2/24'] };
    await request.post('/links').send({ name: 'v', type: 'veth', bridge: 'br00', peer });
    expect(existsSync('/etc/netns/blue')).toBe(false);
    await request
      .patch('/bridges/br00')
      .send({ subnets: ['10.1.1.0/24'] })
      .expect(200);
    expect(entries()).toEqual(['10.1.1.2\tblue v']);
    const here = { interface: 'here0', addresses: ['auto'] };
    await request.post('/links').send({ name: 'w', type: 'veth', bridge: 'br00', peer: here }).expect(201);
    expect([entries(), readdirSync('/etc/netns')]).toEqual([['10.1.1.2\tblue v'], ['blue']]);
  });
});

describe('the file of a namespace', () => {
  it('stays the same one as links come and go, so that what runs inside sees it', async () => {
    const daemon = await startDaemon();
    await createNetwork(daemon, ['blue']);
    const { ino } = statSync(HOSTS);
    const inside = execa('ip', [
      'netns',
      'exec',
      'blue',
      'sh',
      '-c',
      'while read -r name; do getent hosts "$name" || echo none; done',
    ]);
    onTestFinished(async () => {
      inside.kill();
      await inside.catch(() => undefined);
    });
    const answers = inside.stdout[Symbol.asyncIterator]();
    const ask = async (name: string): Promise<string> => {
      inside.stdin.write(`${name}\n`);
      const { value } = await answers.next();
      return String(value).trim().split(/\s+/)[0] ?? '';
    };
    expect(await ask('red')).toBe('none');
    await daemon.request.post('/namespaces').send({ name: 'red' });
    await daemon.request.post('/links').send(linkTo('red')).expect(201);
    expect(await ask('red')).toBe('fd00:1::3');
    await daemon.request.delete('/links/v-red').expect(204);
    expect(await ask('red')).toBe('none');
    await daemon.request.delete('/links/v-blue').expect(204);
    expect(await ask('blue')).toBe('none');
    expect(await ask('localhost')).toBe('::1');
    await daemon.request.post('/links').send(linkTo('blue')).expect(201);
    expect(await ask('blue')).toBe('fd00:1::2');
    expect(statSync(HOSTS).ino).toBe(ino);
  });

  it('follows what links and subnets become', async () => {
    const { request, ...daemon } = await startDaemon();
    await createNetwork({ request, ...daemon }, ['blue', 'red'], { subnets: ['10.1.1.0/24'] });
    await request
      .patch('/bridges/br00')
      .send({ subnets: ['10.3.0.0/24'] })
      .expect(200);
    expect(entries()).toEqual(['10.3.0.2\tblue v-blue', '10.3.0.3\tred v-red']);
    await request.post('/namespaces').send({ name: 'green' });
    await request
      .patch('/links/v-red')
      .send({ peer: { namespace: 'green' } })
      .expect(200);
    expect(entries()).toEqual(['10.3.0.2\tblue v-blue', '10.3.0.3\tgreen v-red']);
    expect(entries('/etc/netns/red/hosts')).toEqual([]);
    await request
      .patch('/links/v-red')
      .send({ bridge: null, peer: { addresses: [] } })
      .expect(200);
    expect(entries()).toEqual(['10.3.0.2\tblue v-blue']);
  });

  it('is as it was after a change that failed, or was only asked what it would do', async () => {
    const daemon = await startDaemon();
    await createNetwork(daemon, ['blue', 'red']);
    const before = entries();
    await daemon.request.delete('/namespaces/red?cascade=true&dryRun=true').expect(200);
    const { status } = await daemon.request.post('/links').send({ ...linkTo('red', { name: 'w' }), mtu: 60 });
    expect(status).toBeGreaterThanOrEqual(400);
    expect(entries()).toEqual(before);
  });

  it('goes with the namespace, and its directory with it', async () => {
    const daemon = await startDaemon();
    await createNetwork(daemon, ['blue', 'red'], { dns: ['10.1.1.1'] });
    await daemon.request.delete('/namespaces/blue?cascade=true').expect(204);
    expect([readdirSync('/etc/netns'), entries('/etc/netns/red/hosts')]).toEqual([
      ['red'],
      ['10.1.1.3\tred v-red', 'fd00:1::3\tred v-red'],
    ]);
    await daemon.request.delete('/bridges/br00?cascade=true').expect(204);
    expect(entries('/etc/netns/red/hosts')).toEqual([]);
    await daemon.request.delete('/namespaces/red').expect(204);
    expect(readdirSync('/etc/netns')).toEqual([]);
  });

  it('is left alone if it is somebody else’s, and that is told', async () => {
    const theirs = '192.0.2.7 theirs\n';
    given(HOSTS, theirs);
    const daemon = await startDaemon({ reconcileMode: 'repair' });
    await createNetwork(daemon, ['blue', 'red'], { dns: ['10.1.1.1'] });
    expect(readFileSync(HOSTS, 'utf8')).toBe(theirs);
    expect(entries(RESOLV)).toEqual(['nameserver 10.1.1.1']);
    const { body } = await daemon.request.get('/namespaces/blue');
    expect(body.status).toMatchObject({ state: 'ready', names: { hosts: 'foreign', resolvConf: 'written' } });
    const { warnings } = (await daemon.request.get('/system')).body;
    expect(warnings).toContain(`${HOSTS} is not netnsd’s, and is left alone`);
    await daemon.request.post('/reconcile').expect(202);
    await daemon.request.delete('/namespaces/blue?cascade=true').expect(204);
    expect([readFileSync(HOSTS, 'utf8'), readdirSync('/etc/netns/blue')]).toEqual([theirs, ['hosts']]);
  });

  it('that can’t be written is no reason for a change to fail, and is told and tried again', async () => {
    given('/etc/netns/blue/nothing', '');
    await run('mount', '-t', 'tmpfs', '-o', 'ro', 'tmpfs', '/etc/netns/blue');
    onTestFinished(async () => void (await execa('umount', ['/etc/netns/blue'], { reject: false })));
    const daemon = await startDaemon();
    await createNetwork(daemon, ['blue', 'red']);
    const { body } = await daemon.request.get('/namespaces/blue');
    expect(body.status.names).toEqual({ hosts: 'failed', resolvConf: null });
    expect((await daemon.request.get('/system')).body.warnings).toContainEqual(
      expect.stringContaining(HOSTS),
    );
    await run('umount', '/etc/netns/blue');
    await daemon.request.post('/reconcile').expect(202);
    await expect.poll(async () => found('blue', 'red')).toEqual(RED);
    expect((await daemon.request.get('/namespaces/blue')).body.status.names.hosts).toBe('written');
  });

  it('is written again if others change or remove it', async () => {
    const daemon = await startDaemon({ reconcileMode: 'repair', reconcileIntervalMs: 200 });
    await createNetwork(daemon, ['blue', 'red']);
    const text = readFileSync(HOSTS, 'utf8');
    writeFileSync(HOSTS, `${NAMES_MARK}\n192.0.2.1 red\n`);
    await expect.poll(() => readFileSync(HOSTS, 'utf8')).toBe(text);
    rmSync('/etc/netns/blue', { recursive: true });
    await expect.poll(() => existsSync(HOSTS) && readFileSync(HOSTS, 'utf8')).toBe(text);
  });

  it('has the names of an adopted namespace too', async () => {
    const daemon = await startDaemon();
    const inside = execa('unshare', ['--net', 'sleep', '60']);
    onTestFinished(async () => {
      inside.kill('SIGKILL');
      await inside.catch(() => undefined);
    });
    await expect
      .poll(
        async () => (await daemon.request.post('/namespaces').send({ name: 'red', pid: inside.pid })).status,
      )
      .toBe(201);
    await createNetwork(daemon, ['blue']);
    await daemon.request.post('/links').send(linkTo('red')).expect(201);
    expect(await found('blue', 'red')).toEqual(RED);
    await daemon.request.delete('/namespaces/red?cascade=true').expect(204);
    expect(readdirSync('/etc/netns')).toEqual(['blue']);
  });
});

describe('resolv.conf', () => {
  it('is there as long as a bridge says who resolves', async () => {
    const daemon = await startDaemon();
    await createNetwork(daemon, ['blue'], { dns: ['10.1.1.1', '2001:db8::1'] });
    expect(entries(RESOLV)).toEqual(['nameserver 10.1.1.1', 'nameserver 2001:db8::1']);
    expect(await run('ip', 'netns', 'exec', 'blue', 'cat', '/etc/resolv.conf')).toContain(
      'nameserver 10.1.1.1',
    );
    await daemon.request
      .patch('/bridges/br00')
      .send({ dns: ['192.0.2.53'] })
      .expect(200);
    expect(entries(RESOLV)).toEqual(['nameserver 192.0.2.53']);
    await daemon.request.patch('/bridges/br00').send({ dns: [] }).expect(200);
    expect(readdirSync('/etc/netns/blue')).toEqual(['hosts']);
  });

  it('is not there without a link, and that of the machine stays as it is', async () => {
    const before = existsSync('/etc/resolv.conf') ? readFileSync('/etc/resolv.conf', 'utf8') : null;
    const daemon = await startDaemon();
    await createNetwork(daemon, ['blue'], { dns: ['10.1.1.1'] });
    await daemon.request.delete('/links/v-blue').expect(204);
    expect([existsSync(RESOLV), existsSync(HOSTS)]).toEqual([false, true]);
    const after = existsSync('/etc/resolv.conf') ? readFileSync('/etc/resolv.conf', 'utf8') : null;
    expect(after).toBe(before);
  });
});

describe('a start', () => {
  it('writes what is not as it is to be, and removes what is left of namespaces that are gone', async () => {
    const stateDir = directoryToTearDown();
    const first = await startDaemon({ stateDir, cleansUp: false });
    await createNetwork(first, ['blue', 'red']);
    const text = readFileSync(HOSTS, 'utf8');
    await first.stop();
    // As if it had been killed between the store and the files.
    writeFileSync(HOSTS, `${NAMES_MARK} half\n10.1.1.2\tbl`);
    rmSync('/etc/netns/red/hosts');
    given('/etc/netns/gone/hosts', `${NAMES_MARK} of before\n`);
    given('/etc/netns/theirs/hosts', '192.0.2.1 theirs\n');
    const second = await startDaemon({ stateDir, cleansUp: false });
    expect([readFileSync(HOSTS, 'utf8'), readFileSync('/etc/netns/red/hosts', 'utf8')]).toEqual([text, text]);
    expect(readdirSync('/etc/netns').toSorted()).toEqual(['blue', 'red', 'theirs']);
    await second.stop();
  });

  it('has all right after SIGKILL, in the middle of whatever was written', async () => {
    const stateDir = directoryToTearDown();
    const names = ['n1', 'n2', 'n3', 'n4'];
    const first = await startServer([], { stateDir });
    const bridge = { name: 'br00', subnets: ['10.1.1.0/24'] };
    expect((await first.curl('/bridges', 'POST', bridge)).status).toBe(201);
    for (const name of names) await first.curl('/namespaces', 'POST', { name });
    let server = first;
    for (const [at, name] of names.entries()) {
      // Sooner or later: before it is made, while it is, or afterwards.
      const answer = server.curl('/links', 'POST', linkTo(name)).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 8 + at * 6));
      await server.end('SIGKILL');
      await answer;
      server = await startServer([], { stateDir });
      const { body } = await server.curl('/bridges/br00/leases');
      const leases = body['items'] as { address: string; namespace: string; link: string }[];
      const expected = leases
        .map(({ address, namespace, link }) => `${address}\t${namespace} ${link}`)
        .toSorted();
      for (const each of names) {
        const path = `/etc/netns/${each}/hosts`;
        const isOn = leases.some(({ namespace }) => namespace === each);
        expect([each, existsSync(path) ? entries(path).toSorted() : []]).toEqual([
          each,
          isOn ? expected : [],
        ]);
      }
    }
    await server.end();
  });

  it('with `--names-dir none` writes nothing', async () => {
    const daemon = await startDaemon({ namesDir: null });
    await createNetwork(daemon, ['blue']);
    expect(existsSync('/etc/netns') ? readdirSync('/etc/netns') : []).toEqual([]);
    expect((await daemon.request.get('/namespaces/blue')).body.status).not.toHaveProperty('names');
  });
});

it('of two hundred namespaces each finds every other one, by no process more', async () => {
  const daemon = await startDaemon();
  const names = Array.from({ length: 200 }, (_, at) => `n${at}`);
  await createNetwork(daemon, [], { subnets: ['10.4.0.0/16'] });
  await Promise.all(names.map(async (name) => daemon.request.post('/namespaces').send({ name }).expect(201)));
  await Promise.all(names.map(async (name) => daemon.request.post('/links').send(linkTo(name)).expect(201)));
  const started = daemon.app.processesStarted();
  await daemon.request
    .patch('/links/v-n7')
    .send({ peer: { mtu: 1400 } })
    .expect(200);
  const isAsMany = daemon.app.processesStarted() - started;
  await expect.poll(() => entries('/etc/netns/n199/hosts').length).toBe(200);
  const texts = new Set(names.map((name) => readFileSync(`/etc/netns/${name}/hosts`, 'utf8')));
  expect([texts.size, isAsMany]).toEqual([1, 2]);
}, 120_000);
