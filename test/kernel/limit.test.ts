import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { kernelDifferences, kernelState } from '../support/kernel-state.ts';
import { startServer, temporaryDirectory } from '../support/server.ts';
import { ipJson, run } from '../support/shell.ts';

const SANDBOX = new URL('../../script/sandbox', import.meta.url).pathname;

/** A sandbox within the sandbox, with a limit of its own; the machine's limit is not touched. */
function limitedTo(namespaces: number): string[] {
  const script = join(temporaryDirectory(), 'limited');
  writeFileSync(script, `#!/bin/sh\necho ${namespaces} >/proc/sys/user/max_net_namespaces\nexec "$@"\n`);
  chmodSync(script, 0o755);
  return [SANDBOX, '--own-limits', script];
}

/** The kernel takes namespaces away one after another: when one with a device is gone, all are that were deleted before. */
async function untilOthersAreGone(): Promise<void> {
  await run('ip', 'netns', 'add', 'last');
  await run('ip', ...'link add last0 type veth peer name last1 netns last'.split(' '));
  await run('ip', 'netns', 'delete', 'last');
  const left = async () => (await ipJson('link', 'show', 'type', 'veth')).map(({ ifname }) => ifname);
  await expect.poll(left, { timeout: 60_000 }).not.toContain('last0');
}

describe('at user.max_net_namespaces', () => {
  it('answers the next namespace with 507, leaves nothing of it behind, and goes on when one is deleted', async () => {
    const before = await kernelState();
    // The sandbox itself and its outside world are two.
    const { curl } = await startServer([], { through: limitedTo(4) });
    expect((await curl('/namespaces', 'POST', { name: 'one' })).status).toBe(201);
    expect((await curl('/namespaces', 'POST', { name: 'two' })).status).toBe(201);

    const refused = await curl('/namespaces', 'POST', { name: 'three' });
    expect(refused).toMatchObject({
      status: 507,
      body: { type: '/problems/limit-reached', command: 'ip netns add three' },
    });
    expect(refused.body['stderr']).toContain('No space left on device');
    const { body } = await curl('/namespaces?all=true');
    expect((body['items'] as { name: string }[]).map(({ name }) => name)).toEqual(['one', 'two', 'internet']);
    const { body: system } = await curl('/system');
    expect(system).toMatchObject({ limits: { netNamespaces: 4 } });

    await untilOthersAreGone();
    // What was just deleted still counts for up to an eighth of a second: no reason to refuse.
    expect((await curl('/namespaces/one', 'DELETE')).status).toBe(204);
    expect((await curl('/namespaces', 'POST', { name: 'three' })).status).toBe(201);
    expect(kernelDifferences(before, await kernelState())).toEqual([]);
  });
});
