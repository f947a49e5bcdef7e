import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/**
 * Has a tool found behind a shell script, until the function that it gives is called, or the test is over. The
 * script is given a directory of its own for what it has to remember; the real tools are in /usr/sbin.
 */
export function putInFront(tool: string, script: (directory: string) => string): () => void {
  const directory = mkdtempSync(join(tmpdir(), 'netnsd-wrapper-'));
  writeFileSync(join(directory, tool), `#!/bin/sh\n${script(directory)}\n`, { mode: 0o755 });
  const path = process.env['PATH'];
  process.env['PATH'] = `${directory}:${path ?? ''}`;
  const restore = (): void => {
    process.env['PATH'] = path;
  };
  onTestFinished(() => {
    restore();
    rmSync(directory, { recursive: true, force: true });
  });
  return restore;
}

/**
 * The same for a netnsd that is started later, in a process of its own: what it does at its start is done by the real
 * tool, until `arm` is called.
 */
export function prepareInFront(
  tool: string,
  script: (directory: string) => string,
): { arm: () => void; restore: () => void } {
  let armed = '';
  const restore = putInFront(tool, (directory) => {
    armed = join(directory, 'armed');
    return `[ -e ${armed} ] || exec /usr/sbin/${tool} "$@"\n${script(directory)}`;
  });
  return { arm: () => writeFileSync(armed, ''), restore };
}
