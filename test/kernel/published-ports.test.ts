import { once } from 'node:events';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { HOST_ADDRESS, ask, background, listen, localnet, makeNetwork, web } from '../support/published.ts';
import { directoryToTearDown, runServer, startServer } from '../support/server.ts';

describe('a port that something else has', () => {
  it('is refused, naming the process that listens there, or netnsd’s own API', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    const pid = await listen(null, 'tcp', 8080);
    const refused = await request.post('/nat').send(web);
    expect([refused.status, refused.body.detail]).toEqual([
      409,
      expect.stringContaining(`(process ${String(pid)})`),
    ]);
    expect((await request.post('/nat').send({ ...web, port: '8000-8100' })).status).toBe(409);
    expect((await request.post('/nat').send({ ...web, protocol: 'udp' })).status).toBe(201);
    const own = createServer().listen(8099, '127.0.0.1');
    await once(own, 'listening');
    onTestFinished(() => void own.close());
    const api = await request.post('/nat').send({ ...web, name: 'api', port: '8099' });
    expect([api.status, api.body.detail]).toEqual([422, expect.stringContaining("netnsd's own API")]);
    const socket = createSocket('udp4').bind(5353, HOST_ADDRESS);
    await once(socket, 'listening');
    onTestFinished(() => void socket.close());
    const dns = { ...web, name: 'dns', protocol: 'udp', port: '5353' };
    expect((await request.post('/nat').send(dns)).status).toBe(422);
  });

  it('is taken from a range, told, and kept', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    await listen('blue', 'tcp', 80);
    const { request } = daemon;
    await listen(null, 'tcp', 30_000);
    await request.post('/nat').send({ ...web, port: '30001-30002', to: { address: '10.1.1.1', port: '80' } });
    const first = await request.post('/nat').send({ ...web, name: 'first', port: 'auto' });
    expect([first.status, first.body.port, first.body.status.port]).toEqual([201, 'auto', '30003']);
    const second = await request.post('/nat').send({ ...web, name: 'second', port: 'auto' });
    expect(second.body.status.port).toBe('30004');
    await request.delete('/nat/web');
    const changed = await request.patch('/nat/first').send({ to: { port: '81' } });
    expect([changed.status, changed.body.status.port]).toEqual([200, '30003']);
    expect((await request.post('/nat').send({ ...web, port: '30003' })).status).toBe(422);
    expect(await ask('internet', HOST_ADDRESS, 30_004)).toMatch(/^blue/);
    expect(
      (await request.post('/nat').send({ ...web, port: 'auto', to: { address: '10.1.1.1' } })).status,
    ).toBe(400);
  });

  it('is refused where a socket of IPv6 listens at an IPv4 address, and to that family only', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    await listen(null, 'tcp', 8080, `::ffff:${HOST_ADDRESS}`);
    await request.post('/nat').send(web).expect(409);
    await request
      .post('/nat')
      .send({ ...web, address: HOST_ADDRESS })
      .expect(409);
    expect(await ask('internet', HOST_ADDRESS, 8080)).toMatch(/^host/);
    await request
      .post('/nat')
      .send({ ...web, name: 'six', to: { address: 'fd00:1::1', port: '80' } })
      .expect(201);
    await request
      .post('/nat')
      .send({ ...web, address: '10.1.1.3' })
      .expect(201);
  });

  it('is refused where one of several sockets of it listens, not where one only sends', async () => {
    const daemon = await startDaemon();
    await makeNetwork(daemon);
    const { request } = daemon;
    const shared = `require('node:dgram').createSocket({ type: 'udp4', reusePort: true }).bind(8080, '0.0.0.0', () => console.log('ready'))`;
    await background(null, shared);
    await background(null, shared);
    const udp = { ...web, protocol: 'udp' };
    const refused = await request.post('/nat').send(udp).expect(409);
    expect(refused.body.detail).toContain('listens at udp port 8080 of 0.0.0.0');
    await listen('internet', 'tcp', 7000);
    await background(
      null,
      `const net = require('node:net'); net.connect({ port: 7000, host: '203.0.113.10', localPort: 25000 }, () => {
        const s = require('node:dgram').createSocket('udp4'); s.bind(25001, () => s.connect(7000, '203.0.113.10', () => console.log('ready'))); setInterval(() => {}, 1000) })`,
    );
    // Where the kernel chooses no port of itself: netnsd listens at such a one.
    const range = { port: '24000-26000', to: { address: '10.1.1.1', port: '24000-26000' } };
    await request
      .post('/nat')
      .send({ ...web, ...range, name: 'tcp' })
      .expect(201);
    await request
      .post('/nat')
      .send({ ...udp, ...range, name: 'udp' })
      .expect(201);
  });

  it('is not taken by a bridge, or a target, that has it published at 127.0.0.1 from then on', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    const pid = await listen(null, 'tcp', 8080, '127.0.0.1');
    await request.post('/nat').send(web).expect(201);
    const bridge = { name: 'br00', addresses: ['10.1.1.3/24'] };
    const refused = await request.post('/bridges').send(bridge).expect(409);
    expect(refused.body).toMatchObject({
      detail: expect.stringMatching(new RegExp(`^nat/web, .*\\(process ${String(pid)}\\) listens`)),
      references: [{ kind: 'nat', name: 'web' }],
    });
    await request
      .patch('/nat/web')
      .send({ to: { address: '10.9.9.9' } })
      .expect(200);
    await request.post('/bridges').send(bridge).expect(201);
    await request
      .patch('/nat/web')
      .send({ to: { address: '10.1.1.1' } })
      .expect(409);
    expect(await ask(null, '127.0.0.1', 8080)).toMatch(/^host/);
    expect(await localnet()).toBe('0');
  });

  it('is another one where `auto` can keep its own no more', async () => {
    const daemon = await startDaemon();
    const { request } = daemon;
    for (const protocol of ['tcp', 'udp'])
      await request
        .post('/nat')
        .send({ ...web, name: protocol, protocol, port: 'auto' })
        .expect(201);
    const moved = await request.patch('/nat/tcp').send({ protocol: 'udp' }).expect(200);
    expect(moved.body.status.port).toBe('30001');
    const kept = await request.patch('/nat/tcp').send({ address: HOST_ADDRESS }).expect(200);
    expect(kept.body.status.port).toBe('30001');
  });

  it('is a different one for each of many at once, the same after SIGKILL, and 507 when none is left', async () => {
    const stateDir = directoryToTearDown();
    const server = await startServer([], { stateDir });
    const auto = (n: number): object => ({ ...web, name: `p${n}`, port: 'auto' });
    const made = await Promise.all(
      Array.from({ length: 30 }, async (_, n) => server.curl('/nat', 'POST', auto(n))),
    );
    expect(new Set(made.map(({ status }) => status))).toEqual(new Set([201]));
    const portsOf = ({ body }: { body: Record<string, unknown> }): unknown[] =>
      (body['items'] as { status: { port: string } }[]).map(({ status }) => status.port);
    const ports = portsOf(await server.curl('/nat'));
    expect(new Set(ports).size).toBe(30);
    await server.end('SIGKILL');
    const again = await startServer([], { stateDir });
    expect(portsOf(await again.curl('/nat'))).toEqual(ports);
    const rest = { ...web, name: 'rest', port: '30030-32767' };
    expect((await again.curl('/nat', 'POST', rest)).status).toBe(201);
    expect((await again.curl('/nat', 'POST', auto(30))).status).toBe(507);
    expect((await again.curl('/nat/p7', 'DELETE')).status).toBe(204);
    expect(await again.curl('/nat', 'POST', auto(30))).toMatchObject({ status: 201 });
  });

  it('is none where netnsd itself is to listen', async () => {
    const stateDir = directoryToTearDown();
    const server = await startServer([], { stateDir });
    await server.curl('/bridges', 'POST', { name: 'br00', addresses: ['10.1.1.3/24'] });
    expect((await server.curl('/nat', 'POST', web)).status).toBe(201);
    await server.end('SIGKILL');
    for (const at of ['localhost', '[::]']) {
      const { exitCode, stderr } = await runServer([
        '--state-dir',
        stateDir,
        '--log-level',
        'fatal',
        '--listen',
        `tcp:${at}:8080`,
      ]);
      expect([exitCode, stderr]).toEqual([
        1,
        expect.stringMatching(/^netnsd: tcp:.*:8080 is where nat\/web publishes.*$/),
      ]);
    }
    const other = await startServer(['--listen', 'tcp:[::1]:8080', '--listen', 'tcp:127.0.0.2:8080'], {
      stateDir,
    });
    expect((await other.curl('/healthz')).status).toBe(200);
  });
});
