import { expect, it, onTestFinished } from 'vitest';
import { watchTools } from '../support/points.ts';
import { directoryToTearDown, startServer } from '../support/server.ts';
import { ipJson, run } from '../support/shell.ts';

const TIMEOUT_MS = 120_000;

async function taps(): Promise<string[]> {
  return (await ipJson('link', 'show', 'type', 'tun'))
    .map(({ ifname }) => String(ifname))
    .toSorted((a, b) => a.localeCompare(b));
}

it(
  'removes the tap that it was making when it was killed, and leaves those of others',
  { timeout: TIMEOUT_MS },
  async () => {
    const stateDir = directoryToTearDown();
    const tools = watchTools();
    const first = await startServer(['--reconcile', 'off'], { stateDir });
    const body = { name: 't0', type: 'tap', owner: 1000 };
    const points = await tools.pointsOf(async () => first.curl('/links', 'POST', body));
    await first.curl('/links/t0', 'DELETE');
    // The last of them makes it last (TUNSETPERSIST); it bears no mark yet.
    const made = points.findLast(({ call }) => call === 'ioctl');
    expect(made).toBeDefined();
    if (made === undefined) return;

    tools.stopAt(made);
    let isOver = false;
    const answer = first.curl('/links', 'POST', body).finally(() => (isOver = true));
    expect(await tools.stopped(() => isOver)).not.toBeNull();
    await first.end('SIGKILL');
    await answer;
    tools.disarm();
    expect(await taps()).toEqual([expect.stringMatching(/^nt[0-9a-f]{12}$/)]);

    for (const name of ['t0', 'nt0123456789ab']) {
      await run('ip', 'tuntap', 'add', 'dev', name, 'mode', 'tap', 'user', '1000');
      onTestFinished(async () => void (await run('ip', 'link', 'delete', name)));
    }
    const second = await startServer(['--reconcile', 'off'], { stateDir });
    expect(await taps()).toEqual(['nt0123456789ab', 't0']);
    const [last] = (await second.curl('/operations?limit=1')).body['items'] as object[];
    expect(last).toMatchObject({ state: 'failed', undone: true, problem: { slug: 'interrupted' } });
    expect((await second.curl('/links', 'POST', body)).status).toBe(409);
    expect(await taps()).toEqual(['nt0123456789ab', 't0']);
  },
);
