import { existsSync } from 'node:fs';
import { expect, it } from 'vitest';
import { directoryToTearDown, startServer, type Server } from '../support/server.ts';
import { run } from '../support/shell.ts';
import { prepareInFront } from '../support/wrapper.ts';

const NAMES = ['blue', 'red'];

async function devices(): Promise<string[]> {
  const links = await run('ip', '-br', 'link', 'show', 'type', 'veth');
  return NAMES.filter((name) => links.includes(`to-${name}@`));
}

async function openOperations({ curl }: Server): Promise<string[]> {
  const items = (await curl('/operations')).body['items'] as { name: string; undone: boolean }[];
  return items.filter(({ undone }) => !undone).map(({ name }) => name);
}

it('undoes what can be undone, whatever else can’t be', async () => {
  const stateDir = directoryToTearDown();
  // What enters a namespace of that name has no success while the file of that name is there.
  let directory = '';
  const { arm, restore } = prepareInFront('ip', (own) => {
    directory = own;
    return `[ "$1" = -n ] && [ -e ${own}/no-$2 ] && { echo 'RTNETLINK answers: Input/output error' >&2; exit 2; }
      exec /usr/sbin/ip "$@"`;
  });
  const hinder = async (...names: string[]): Promise<void> => {
    for (const name of NAMES) await run('rm', '-f', `${directory}/no-${name}`);
    for (const name of names) await run('touch', `${directory}/no-${name}`);
  };
  const first = await startServer(['--reconcile', 'off'], { stateDir });
  for (const name of NAMES) expect((await first.curl('/namespaces', 'POST', { name })).status).toBe(201);
  arm();
  await hinder(...NAMES);
  for (const name of NAMES) {
    const peer = { interface: 'eth0', namespace: name };
    const link = { name: `to-${name}`, type: 'veth', peer };
    expect((await first.curl('/links', 'POST', link)).status).toBeGreaterThanOrEqual(500);
  }
  expect(await devices()).toEqual(NAMES);
  expect(await openOperations(first)).toEqual(['to-red', 'to-blue']);
  await first.end('SIGKILL');

  await hinder('blue');
  const second = await startServer(['--reconcile', 'off'], { stateDir });
  expect(await devices()).toEqual(['blue']);
  expect(await openOperations(second)).toEqual(['to-blue']);

  await hinder();
  expect((await second.curl('/reconcile?wait=true', 'POST')).status).toBe(200);
  expect(await devices()).toEqual([]);
  expect(await openOperations(second)).toEqual([]);
  expect(existsSync('/run/netns/blue')).toBe(true);
  restore();
});
