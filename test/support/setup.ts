import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { execa } from 'execa';
import { aroundAll, aroundEach, expect } from 'vitest';
import { kernelState, leftBehind } from './kernel-state.ts';
import { runServer } from './server.ts';

if (process.getuid?.() !== 0) {
  throw new Error('The tests change the network of a sandbox, which needs root: run script/test as root.');
}
if (process.env['NETNSD_SANDBOX'] !== '1') {
  throw new Error(
    'The tests change the network: run them by script/test, or in script/sandbox, never on the machine itself.',
  );
}

// As in script/sandbox: the kernel would have no link-local address for a second or two after a device has come up, to ask
// for the neighbors of others with (RFC 4861, section 7.2.2), and finds out meanwhile whether that is its own.
const acceptDad = '/proc/sys/net/ipv6/conf/default/accept_dad';
if (existsSync(acceptDad)) writeFileSync(acceptDad, '0');

const { testPath = '' } = expect.getState();
const touchesKernel = !relative(process.cwd(), testPath).startsWith('test/unit/');

// Every test leaves the kernel as it found it, and so does every file with what it sets up for all of its tests.
// "Around" rather than "before" and "after", so as to come before and after all hooks of the tests themselves.
if (touchesKernel) {
  aroundEach(async (runTest) => leavesNothing('test', runTest));
  aroundAll(async (runFile) => leavesNothing('file, in beforeAll or afterAll,', runFile));
}

async function leavesNothing(who: string, runIt: () => Promise<void>): Promise<void> {
  const before = await kernelState();
  const names = namesOfNamespaces();
  await runIt();
  const differences = await leftBehind(before);
  if (differences.length > 0) {
    await cleanUp(names);
    throw new Error(`The ${who} left the kernel changed:\n${differences.join('\n')}`);
  }
}

/** What a test that failed has left is not to fail those after it. */
async function cleanUp(names: readonly string[]): Promise<void> {
  const stateDir = mkdtempSync(join(tmpdir(), 'netnsd-test-'));
  await runServer(['teardown', '--unrecorded', '--state-dir', stateDir]);
  rmSync(stateDir, { recursive: true, force: true });
  for (const name of namesOfNamespaces())
    if (!names.includes(name)) await execa('ip', ['netns', 'delete', name], { reject: false });
}

function namesOfNamespaces(): string[] {
  return existsSync('/run/netns') ? readdirSync('/run/netns') : [];
}
