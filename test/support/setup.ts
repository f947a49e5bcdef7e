import { relative } from 'node:path';
import { aroundAll, aroundEach, expect } from 'vitest';
import { kernelState, leftBehind } from './kernel-state.ts';

if (process.getuid?.() !== 0) {
  throw new Error('The tests change the network of a sandbox, which needs root: run script/test as root.');
}
if (process.env['NETNSD_SANDBOX'] !== '1') {
  throw new Error(
    'The tests change the network: run them by script/test, or in script/sandbox, never on the machine itself.',
  );
}

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
  await runIt();
  const differences = await leftBehind(before);
  if (differences.length > 0) {
    throw new Error(`The ${who} left the kernel changed:\n${differences.join('\n')}`);
  }
}
