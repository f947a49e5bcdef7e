import { beforeEach, expect, it } from 'vitest';
import { create } from '../support/create.ts';
import { startDaemon, type Daemon } from '../support/daemon.ts';
import { temporaryDirectory } from '../support/server.ts';
import { run } from '../support/shell.ts';

const KEY = 'net.ipv4.conf.eth0.rp_filter';

let stateDir = '';
let daemon: Daemon;

async function start(): Promise<void> {
  daemon = await startDaemon({ stateDir, reconcileMode: 'repair', reconcileIntervalMs: 60_000 });
}

const linkTo = (peer: object): object => ({ type: 'veth', peer: { namespace: 'blue', ...peer } });

const stateOf = async (path: string): Promise<string> =>
  (await daemon.request.get(path)).body.status.state as string;

/** Of blue one sysctl is of eth0, and that has another name since. */
beforeEach(async () => {
  stateDir = temporaryDirectory();
  await start();
  await create(daemon.request, '/namespaces', { name: 'blue' });
  await create(
    daemon.request,
    '/links',
    { name: 'v0', ...linkTo({ interface: 'eth0', addresses: ['10.1.1.1/24'] }) },
    { name: 'v1', ...linkTo({ interface: 'eth1', addresses: ['10.1.2.1/24'] }) },
  );
  await daemon.request
    .patch('/namespaces/blue')
    .send({ sysctls: { [KEY]: '2' } })
    .expect(200);
  await daemon.request
    .patch('/links/v0')
    .send({ peer: { interface: 'eth9' } })
    .expect(200);
});

it('a sysctl of an interface that has gone leaves its namespace failed, which says why, and holds up nothing else there', async () => {
  await run('ip', '-n', 'blue', 'address', 'delete', '10.1.2.1/24', 'dev', 'eth1');
  const { body: outcome } = await daemon.request.post('/reconcile?wait=true').expect(200);
  expect(outcome.problem.references).toEqual([{ kind: 'namespace', name: 'blue' }]);
  expect(await stateOf('/links/v1')).toBe('ready');
  expect((await daemon.request.get('/namespaces/blue')).body.status).toMatchObject({
    state: 'failed',
    message: expect.stringContaining('there is no eth0 in blue'),
    differences: [{ path: `/sysctls/${KEY}` }],
  });

  // So it does when a change is planned once more from what is there.
  await run('ip', '-n', 'blue', 'address', 'delete', '10.1.2.1/24', 'dev', 'eth1');
  const addresses = ['10.1.2.2/24'];
  await daemon.request.patch('/links/v1').send({ peer: { addresses } }).expect(200);

  await daemon.request
    .patch('/links/v0')
    .send({ peer: { interface: 'eth0' } })
    .expect(200);
  await daemon.request.post('/reconcile?wait=true').expect(200);
  expect(await stateOf('/namespaces/blue')).toBe('ready');
});

it('a sysctl of an interface that has gone is no failure of what is mended beside it', async () => {
  await run('ip', '-n', 'blue', 'address', 'delete', '10.1.2.1/24', 'dev', 'eth1');
  const repairs = async (): Promise<unknown[]> => {
    const { body } = await daemon.request.get('/operations?limit=1000').expect(200);
    const operations = body.items as { action: string; kind: string; name: string; state: string }[];
    return operations
      .filter(({ action }) => action === 'repair')
      .map(({ kind, name, state }) => [kind, name, state]);
  };
  await expect.poll(repairs).toEqual([['link', 'v1', 'succeeded']]);
});

it('all but the sysctl of an interface that has gone is there again after a restart', async () => {
  await daemon.stop();
  await run('ip', 'netns', 'delete', 'blue');
  await start();
  await daemon.request.post('/reconcile?wait=true').expect(200);
  expect([await stateOf('/links/v0'), await stateOf('/links/v1')]).toEqual(['ready', 'ready']);
  expect(await stateOf('/namespaces/blue')).toBe('failed');
});

it('a sysctl of an interface is set when that comes again, and is in the way of nothing when it goes', async () => {
  const value = async (): Promise<string> =>
    (await run('ip', 'netns', 'exec', 'blue', 'sysctl', '-n', KEY)).trim();
  const rename = { peer: { interface: 'eth0' } };
  await daemon.request.patch('/links/v0').send(rename).expect(200);
  await daemon.request.delete('/links/v0').expect(204);
  await daemon.request.patch('/links/v1').send(rename).expect(200);
  expect([await value(), await stateOf('/namespaces/blue')]).toEqual(['2', 'ready']);
  await create(daemon.request, '/namespaces', { name: 'red' });
  await daemon.request
    .patch('/links/v1')
    .send({ peer: { namespace: 'red' } })
    .expect(200);
  await create(daemon.request, '/links', { name: 'v2', ...linkTo({ interface: 'eth0' }) });
  expect([await value(), await stateOf('/namespaces/blue')]).toEqual(['2', 'ready']);
});

it('a sysctl of an interface that has gone can be taken out of its namespace', async () => {
  const changed = await daemon.request.patch('/namespaces/blue').send({ sysctls: { [KEY]: null } });
  expect([changed.status, changed.body.status?.state, changed.body.sysctls]).toEqual([200, 'ready', {}]);
});

it('a sysctl of an interface that is not there is refused when it is asked for', async () => {
  const before = (await daemon.request.get('/namespaces/blue')).body;
  const sysctls = { [KEY]: null, 'net.ipv4.conf.eth7.rp_filter': '2' };
  await daemon.request.patch('/namespaces/blue').send({ sysctls }).expect(422);
  expect((await daemon.request.get('/namespaces/blue')).body.revision).toBe(before.revision);
});
