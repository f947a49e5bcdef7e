import { statSync } from 'node:fs';
import { expect, it, onTestFinished } from 'vitest';
import { startServer, temporaryDirectory } from '../support/server.ts';
import { run } from '../support/shell.ts';
import { prepareInFront } from '../support/wrapper.ts';

it('leaves a namespace alone that somebody made between a crash and the next start, under a name that was about to be bound', async () => {
  const stateDir = temporaryDirectory();
  const { arm, restore } = prepareInFront('ip', () => 'kill -KILL $PPID; exit 1');
  const killed = await startServer(['--reconcile', 'off'], { stateDir });
  arm();
  await killed.curl('/namespaces', 'POST', { name: 'web' });
  await killed.end();
  restore();
  await run('ip', 'netns', 'add', 'web');
  onTestFinished(async () => void (await run('ip', 'netns', 'delete', 'web')));
  await run('ip', '-n', 'web', 'link', 'add', 'br7', 'type', 'bridge');
  const inode = statSync('/run/netns/web').ino;

  const server = await startServer([], { stateDir });
  expect((await server.curl('/namespaces/web')).body).toMatchObject({ managed: false });
  expect(statSync('/run/netns/web').ino).toBe(inode);
  expect(await run('ip', '-n', 'web', '-br', 'link', 'show')).toContain('br7');
  expect((await server.curl('/namespaces', 'POST', { name: 'web' })).status).toBe(409);
  const { body } = await server.curl('/operations');
  expect(body['items']).toContainEqual(
    expect.objectContaining({ name: 'web', state: 'failed', undone: true }),
  );
});
