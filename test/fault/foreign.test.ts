import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { startServer } from '../support/server.ts';
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
