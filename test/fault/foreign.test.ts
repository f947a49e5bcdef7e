import { connect } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { runServer, startServer, temporaryDirectory, type Server } from '../support/server.ts';
import { run } from '../support/shell.ts';
import { putInFront } from '../support/wrapper.ts';

describe('what is not ours', () => {
  it('is left alone if it takes the name of a namespace at the last moment', async () => {
    const { request } = await startDaemon();
    putInFront('ip', () => '/usr/sbin/ip netns add raced 2>/dev/null; exec /usr/sbin/ip "$@"');
    const refused = await request.post('/namespaces').send({ name: 'raced' });
    expect([refused.status, refused.body.type]).toEqual([409, '/problems/foreign-object']);
    expect(await run('ls', '/run/netns')).toContain('raced');
    await run('/usr/sbin/ip', 'netns', 'delete', 'raced');
  });

  it('can’t blind netnsd by an alias that other readers of text take for a line end', async () => {
    const { request } = await startDaemon();
    await request.post('/bridges').send({ name: 'br00' });
    await run('ip', 'link', 'set', 'dev', 'br00', 'alias', 'a\u2028b\u2029c');
    expect((await request.get('/bridges/br00')).body.status.state).toBe('ready');
    const { body } = await request.get('/namespaces/host/interfaces');
    expect(body.items.map(({ name }: { name: string }) => name)).toContain('br00');
    expect((await request.patch('/bridges/br00').send({ mtu: 1400 })).body.status).toMatchObject({
      state: 'ready',
      mtu: 1400,
    });
    expect((await request.delete('/bridges/br00')).status).toBe(204);
    expect(await run('ip', '-o', 'link')).not.toContain('br00');
  });
});

describe('an interface of ours that somebody gave a name that is no word', () => {
  const ODD = ['veth+0', 'a#b', '"x', '-x', 'x;y'];

  it.each(ODD)('stops neither what else is to be mended nor a start: %s', async (odd) => {
    const stateDir = temporaryDirectory();
    const options = ['--reconcile-interval', '1'];
    const first = await startServer(options, { stateDir });
    for (const name of ['odd', 'other'])
      expect((await first.curl('/bridges', 'POST', { name })).status).toBe(201);
    const index = await run('cat', '/sys/class/net/odd/ifindex');
    await rename('odd', odd);
    await run('ip', 'link', 'set', 'dev', 'other', 'mtu', '1300');
    await expect.poll(async () => run('cat', '/sys/class/net/other/mtu')).toBe('1500');
    const message = expect.stringContaining(`refused to hand ${JSON.stringify(odd)} to a tool`);
    const status = async (server: Server) => (await server.curl('/bridges/odd')).body['status'];
    await expect.poll(async () => status(first)).toMatchObject({ state: 'failed', message });
    const patched = await first.curl('/bridges/odd', 'PATCH', { mtu: 1400 });
    expect([patched.status, patched.body['detail']]).toEqual([422, message]);
    // A try takes its moment, and ends.
    await expect
      .poll(async () => {
        const { items } = (await first.curl('/operations')).body as { items: { state: string }[] };
        return items.filter(({ state }) => state === 'running');
      })
      .toEqual([]);
    await first.end('SIGKILL');

    const second = await startServer(options, { stateDir });
    expect((await second.curl('/bridges/other')).body).toMatchObject({ status: { state: 'ready' } });
    expect(await run('cat', `/sys/class/net/${odd}/ifindex`)).toBe(index);
    await rename(odd, 'odd');
    await second.curl('/reconcile?wait=true', 'POST');
    expect(await status(second)).toMatchObject({ state: 'ready', mtu: 1500 });
    for (const name of ['odd', 'other'])
      expect((await second.curl(`/bridges/${name}`, 'DELETE')).status).toBe(204);
  });

  it('is told of by teardown, which removes the rest', async () => {
    onTestFinished(async () => {
      await rename('veth+0', 'odd');
      await run('ip', 'link', 'delete', 'odd');
    });
    await run('ip', 'link', 'add', 'odd', 'group', '20851', 'type', 'bridge');
    await run('ip', 'link', 'add', 'left', 'group', '20851', 'type', 'bridge');
    await rename('odd', 'veth+0');
    const torn = await runServer(['teardown', '--state-dir', temporaryDirectory(), '--unrecorded']);
    const { exitCode, stdout, stderr } = torn;
    expect(exitCode).toBe(1);
    expect(`${stdout}${stderr}`).toContain('the interface "veth+0"');
    expect(await run('ls', '/sys/class/net')).not.toContain('left');
  });
});

/** By hand; `ip` itself takes the one for an option that begins with a hyphen. */
async function rename(from: string, to: string): Promise<void> {
  const index = await run('cat', `/sys/class/net/${from}/ifindex`);
  await run('ip', 'link', 'set', 'dev', `if${index.trim()}`, 'down', 'name', to);
}

describe('a change in a namespace that somebody had deleted', () => {
  it('leaves it deleted if it fails', async () => {
    const { request } = await startDaemon();
    await request.post('/namespaces').send({ name: 'red' });
    await run('ip', 'netns', 'delete', 'red');
    const before = await kernelState();
    const peer = { interface: 'eth0', namespace: 'red', routes: [{ to: 'default', via: '10.66.0.1' }] };
    expect((await request.post('/links').send({ name: 'v0', type: 'veth', peer })).status).toBe(422);
    expect(kernelDifferences(before, await kernelState())).toEqual([]);
  });
});

describe('a client that holds on', () => {
  it('does not hold up the end of netnsd', async () => {
    const { socketPath, end } = await startServer();
    const [silent, halfway] = [connect(socketPath), connect(socketPath)];
    for (const socket of [silent, halfway]) socket.on('error', () => undefined);
    halfway.write('POST /namespaces HTTP/1.1\r\nhost: localhost\r\n');
    await expect.poll(() => halfway.bytesWritten).toBeGreaterThan(0);
    const { exitCode } = await end();
    expect(exitCode).toBe(0);
    for (const socket of [silent, halfway]) socket.destroy();
  });
});
