import { describe, expect, onTestFinished, test } from 'vitest';
import { ipJson, run } from '../support/shell.ts';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { sharedDaemon } from '../support/daemon.ts';

const daemon = sharedDaemon();

async function devicesIn(namespace: string | null): Promise<string[]> {
  const devices = await ipJson(...(namespace === null ? [] : ['-n', namespace]), 'link', 'show');
  return devices.map(({ ifname }) => String(ifname));
}

describe('a namespace whose name is a number', () => {
  // 1 is a process of the sandbox, which is in the namespace of the daemon; 14866 most likely is none.
  test.each(['1', '14866', String(process.pid)])('is never taken for a process: %s', async (name) => {
    const { request } = daemon();
    await request
      .post('/namespaces')
      .send({ name, sysctls: { 'net.ipv4.ip_forward': '1' } })
      .expect(201);
    const link = {
      name: 'v',
      type: 'veth',
      interface: 'outside',
      peer: { interface: 'inside', namespace: name, addresses: ['10.1.1.1/24'] },
    };
    const { body } = await request.post('/links').send(link).expect(201);
    expect(body.status.state).toBe('ready');
    expect(await devicesIn(name)).toEqual(['lo', 'inside']);
    expect(await devicesIn(null)).not.toContain('inside');
    expect((await run('sysctl', '-n', 'net.ipv4.ip_forward')).trim()).toBe('0');
  });

  test('is where an interface is moved to, too', async () => {
    const { request } = daemon();
    for (const name of ['1', '2']) await request.post('/namespaces').send({ name }).expect(201);
    await request
      .post('/links')
      .send({
        name: 'v',
        type: 'veth',
        interface: 'a',
        namespace: '2',
        peer: { interface: 'b', namespace: '1' },
      })
      .expect(201);
    const { body } = await request
      .patch('/links/v')
      .send({ namespace: '1', peer: { namespace: '2' } })
      .expect(200);
    expect(body.status.state).toBe('ready');
    expect([await devicesIn('1'), await devicesIn('2')]).toEqual([
      ['lo', 'a'],
      ['lo', 'b'],
    ]);
  });

  test('can have rules and be read', async () => {
    const { request } = daemon();
    await request.post('/namespaces').send({ name: '1' }).expect(201);
    await request
      .post('/nat')
      .send({ name: 'out', type: 'masquerade', source: '10.1.1.0/24', namespace: '1' })
      .expect(201);
    const { body } = await request.get('/namespaces/1/interfaces').expect(200);
    expect(body.items.map(({ name }: { name: string }) => name)).toEqual(['lo']);
    expect(await run('ip', 'netns', 'exec', '1', 'iptables-save')).toContain('MASQUERADE');
  });
});

describe('a device of somebody else', () => {
  /** A bridge that is not ours and answers to another name as well. */
  async function makeForeign(altname: string): Promise<void> {
    await run('ip', 'link', 'add', 'foreign0', 'type', 'bridge');
    onTestFinished(async () => {
      await run('ip', 'link', 'delete', 'foreign0');
    });
    await run('ip', 'link', 'property', 'add', 'dev', 'foreign0', 'altname', altname);
  }

  test('keeps us from making one of its alternative name', async () => {
    await makeForeign('br00');
    const { body } = await daemon().request.post('/bridges').send({ name: 'br00' }).expect(409);
    expect(body.type).toBe('/problems/foreign-object');
  });

  test.each([
    ['PATCH', 'patch', { mtu: 1400, addresses: ['10.1.1.3/24'], up: false }],
    ['PUT', 'put', { stp: true }],
    ['DELETE', 'delete', undefined],
  ] as const)(
    'whose alternative name is that of ours, which has gone, is not touched by %s',
    async (_name, method, sent) => {
      await daemon().request.post('/bridges').send({ name: 'br00' }).expect(201);
      await run('ip', 'link', 'delete', 'br00');
      await makeForeign('br00');
      const before = await kernelState();
      const { status } = await daemon().request[method]('/bridges/br00').send(sent);
      expect(status).toBe(method === 'delete' ? 204 : 409);
      expect(kernelDifferences(before, await kernelState())).toEqual([]);
    },
  );

  test('is not taken for ours in a status', async () => {
    await daemon().request.post('/bridges').send({ name: 'br00' }).expect(201);
    await run('ip', 'link', 'delete', 'br00');
    await makeForeign('br00');
    const { body } = await daemon().request.get('/bridges/br00').expect(200);
    expect(body.status).toMatchObject({ state: 'drifted', index: null, mac: null });
  });

  test('is not touched where it has the very name of ours, which has gone', async () => {
    await daemon().request.post('/bridges').send({ name: 'foreign0' }).expect(201);
    await run('ip', 'link', 'delete', 'foreign0');
    await run('ip', 'link', 'add', 'foreign0', 'type', 'bridge');
    onTestFinished(async () => {
      await run('ip', 'link', 'delete', 'foreign0');
    });
    const before = await kernelState();
    await daemon().request.patch('/bridges/foreign0').send({ mtu: 1400 }).expect(409);
    await daemon().request.delete('/bridges/foreign0').expect(204);
    expect(kernelDifferences(before, await kernelState())).toEqual([]);
  });
});

describe('a namespace of somebody else', () => {
  test('can be read, pinged from, and not changed', async () => {
    const { request } = daemon();
    const { body } = await request.get('/namespaces/internet/interfaces').expect(200);
    expect(body.items.map(({ name }: { name: string }) => name)).toEqual(['lo', 'eth0']);
    const { body: ping } = await request
      .post('/namespaces/internet/ping')
      .send({ to: '198.51.100.2', count: 1 })
      .expect(200);
    expect(ping).toMatchObject({ transmitted: 1, received: 1 });
    await request
      .patch('/namespaces/internet')
      .send({ labels: { a: 'b' } })
      .expect(404);
    await request.delete('/namespaces/internet').expect(404);
    await request.put('/namespaces/internet').send({}).expect(409);
    await request.post('/bridges').send({ name: 'br00', namespace: 'internet' }).expect(422);
  });

  test('is shown as one that netnsd has not made', async () => {
    const { body } = await daemon().request.get('/namespaces/internet').expect(200);
    expect(body).toMatchObject({ name: 'internet', managed: false, status: { path: '/run/netns/internet' } });
  });
});
