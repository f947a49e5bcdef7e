import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ingressOf, policingLacks, tc } from '../support/policing.ts';
import { directoryToTearDown, startServer, type Server } from '../support/server.ts';
import { prepareInFront } from '../support/wrapper.ts';

/** Starts to have a link receive at a rate, and kills netnsd when `tc` has carried out so many of its lines. */
async function killAfter(lines: number): Promise<Server> {
  const stateDir = directoryToTearDown();
  let stopped = '';
  const { arm, restore } = prepareInFront('tc', (directory) => {
    stopped = join(directory, 'stopped');
    return `case "$*" in *-force*) exec /usr/sbin/tc "$@" ;; *-batch*) ;; *) exec /usr/sbin/tc "$@" ;; esac
head -n ${lines} >${directory}/lines
/usr/sbin/tc "$@" <${directory}/lines
touch ${stopped}
exec sleep 60`;
  });
  const first = await startServer(['--reconcile', 'off'], { stateDir });
  expect((await first.curl('/links', 'POST', { name: 't0', type: 'tap' })).status).toBe(201);
  arm();
  const answer = first.curl('/links/t0', 'PATCH', { rate: { ingressKbit: 1000 } });
  await expect.poll(() => existsSync(stopped)).toBe(true);
  await first.end('SIGKILL');
  await answer;
  restore();
  expect((await ingressOf('t0', null))[0]).toBe('ingress');
  return startServer(['--reconcile', 'off'], { stateDir });
}

it.each([1, 2])(
  'takes policing away that it was making when it was killed, after %i steps',
  async (lines) => {
    // Without the feature, there is nothing more after the first.
    const made = (await policingLacks()) === null ? lines : 1;
    const second = await killAfter(made);
    expect(await ingressOf('t0', null)).toEqual([]);
    const [last] = (await second.curl('/operations?limit=1')).body['items'] as object[];
    expect(last).toMatchObject({ state: 'failed', undone: true, problem: { slug: 'interrupted' } });
    expect((await second.curl('/links/t0')).body).toMatchObject({ rate: null, status: { state: 'ready' } });
  },
);

it('puts policing back that somebody took away while netnsd was down', async () => {
  const stateDir = directoryToTearDown();
  const first = await startServer(['--reconcile', 'off'], { stateDir });
  const { status } = await first.curl('/links', 'POST', {
    name: 't0',
    type: 'tap',
    rate: { ingressKbit: 1000 },
  });
  if ((await policingLacks()) !== null) {
    expect(status).toBe(501);
    expect((await first.curl('/links/t0')).status).toBe(404);
    return;
  }
  expect(status).toBe(201);
  await first.end('SIGKILL');
  const ours = ['ingress', '5173 matchall 1Mbit'];
  expect(await ingressOf('t0', null)).toEqual(ours);
  await tc('filter del dev t0 ingress');
  const second = await startServer([], { stateDir });
  await expect.poll(async () => ingressOf('t0', null)).toEqual(ours);
  await expect
    .poll(async () => (await second.curl('/links/t0')).body['status'])
    .toMatchObject({ state: 'ready' });
});
