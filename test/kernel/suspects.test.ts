import { expect, it } from 'vitest';
import { run } from '../support/shell.ts';
import { startWatched } from '../support/watched.ts';

it('what one event is about is suspected once, though a part of it was just changed', async () => {
  const { watch, create, patch, settle, suspects, nextSuspects } = await startWatched();
  await watch.start();
  await create('nat', { name: 'a', type: 'masquerade', source: '10.1.1.0/24' });
  await create('nat', { name: 'b', type: 'masquerade', source: '10.2.1.0/24' });
  await settle();
  await expect.poll(async () => nextSuspects(1_000)).toEqual([]);
  await patch('nat', 'a', { labels: { a: 'b' } });
  // It may be one of netnsd's by another name.
  await run('iptables', '-w', '-N', 'FOREIGN');
  const found: string[] = [];
  const end = performance.now() + 2_000;
  while (performance.now() < end) found.push(...(await nextSuspects(100)));
  await run('iptables', '-w', '-X', 'FOREIGN');
  expect(found.toSorted()).toEqual(['nat/a', 'nat/b']);
  expect(suspects()).toEqual([]);
});

it('a link-local address that goes from one device is not taken for the same one of another', async () => {
  const { watch, create, settle, nextSuspects } = await startWatched();
  await watch.start();
  for (const name of ['br00', 'br01'])
    await create('bridge', { name, addresses: ['fe80::1/64'], firewall: null });
  await settle();
  await expect.poll(async () => nextSuspects(1_000)).toEqual([]);
  for (const name of ['br00', 'br01']) await run('ip', 'address', 'delete', 'fe80::1/64', 'dev', name);
  const found = new Set<string>();
  await expect
    .poll(async () => {
      for (const ref of await nextSuspects(100)) found.add(ref);
      return [...found].toSorted();
    })
    .toEqual(['bridge/br00', 'bridge/br01']);
});
