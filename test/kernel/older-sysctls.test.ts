import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { expect, it } from 'vitest';
import { startDaemon } from '../support/daemon.ts';
import { temporaryDirectory } from '../support/server.ts';
import { run } from '../support/shell.ts';

async function timeToLive(): Promise<string> {
  const text = await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-n', 'net.ipv4.ip_default_ttl');
  return text.trim();
}

it('a sysctl of which the kernel makes something else, recorded by an older netnsd, leaves its resource failed, which says why; all else is mended, changed and undone', async () => {
  const stateDir = temporaryDirectory();
  const first = await startDaemon({ stateDir, cleansUp: false });
  const sysctls = { 'net.ipv4.ip_local_reserved_ports': '5-6', 'net.ipv4.ip_default_ttl': '33' };
  const peer = { interface: 'eth0', namespace: 'blue', addresses: ['10.1.1.1/24'] };
  await first.request.post('/namespaces').send({ name: 'blue', sysctls }).expect(201);
  await first.request.post('/links').send({ name: 'v0', type: 'veth', peer }).expect(201);
  await first.stop();
  const database = new Database(join(stateDir, 'netnsd.db'));
  database.exec(`UPDATE resource SET intent = replace(intent, '"5-6"', '"5,6"') WHERE name = 'blue'`);
  database.close();
  await run('ip', 'netns', 'delete', 'blue');

  const { request } = await startDaemon({ stateDir, reconcileMode: 'repair', reconcileIntervalMs: 100 });
  await request.post('/reconcile?wait=true').expect(200);
  expect((await request.get('/links/v0')).body.status.state).toBe('ready');
  const { body } = await request.get('/namespaces/blue');
  expect(body.status).toMatchObject({
    state: 'failed',
    message: expect.stringMatching(/ip_local_reserved_ports=5,6.*made 5-6 of 5,6/),
    differences: [{ path: '/sysctls/net.ipv4.ip_local_reserved_ports' }],
  });
  expect(await timeToLive()).toBe('33');
  // Later looks at everything try again more and more seldom.
  const repairs = async (): Promise<number> =>
    (await request.get('/operations?limit=1000')).body.items.length as number;
  const before = await repairs();
  await sleep(3000);
  expect((await repairs()) - before).toBeLessThan(4);

  await request
    .patch('/namespaces/blue')
    .send({ labels: { a: 'b' } })
    .expect(200);
  const changed = { sysctls: { 'net.ipv4.ip_default_ttl': '44', 'net.ipv4.none_such': '1' } };
  await request.patch('/namespaces/blue').send(changed).expect(422);
  const { body: operations } = await request.get('/operations');
  expect(operations.items[0]).toMatchObject({ state: 'failed', undone: true });
  expect(await timeToLive()).toBe('33');
  const right = { sysctls: { 'net.ipv4.ip_local_reserved_ports': '5-6' } };
  const mended = await request.patch('/namespaces/blue').send(right).expect(200);
  expect(mended.body.status.state).toBe('ready');
});
