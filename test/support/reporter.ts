import { writeFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/**
 * Counts tests for script/test: writes `PASSED FAILED` to the file that NETNSD_TEST_TOTALS names, and what failed, in
 * words, to the file beside it that ends in `.failures`. What keeps tests from running (a file that can't be loaded, a
 * hook that fails, an error outside of any test) counts as one failed.
 */
export default class TotalsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const file = process.env['NETNSD_TEST_TOTALS'];
    if (file === undefined) return;
    let passed = 0;
    const failures = unhandledErrors.map((error) => inWords('outside of any test', [error]));
    for (const module of modules) {
      for (const error of module.errors()) failures.push(inWords(module.relativeModuleId, [error]));
      for (const suite of module.children.allSuites()) {
        const place = `${module.relativeModuleId} > ${suite.fullName}`;
        for (const error of suite.errors()) failures.push(inWords(place, [error]));
      }
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result();
        const place = `${module.relativeModuleId} > ${test.fullName}`;
        if (state === 'passed') passed += 1;
        if (state === 'failed') failures.push(inWords(place, errors));
        if (state === 'pending') failures.push(`${place}\n    did not end\n`);
      }
    }
    writeFileSync(`${file}.failures`, failures.join(''));
    writeFileSync(file, `${passed} ${failures.length}\n`);
  }
}

function inWords(place: string, errors: readonly SerializedError[]): string {
  const lines = errors.flatMap(({ message, diff, stack }) => [
    ...message.split('\n'),
    ...(typeof diff === 'string' ? diff.split('\n') : []),
    ...(stack ?? '').split('\n').filter((line) => /\btest\/[^ ]*:\d+:\d+/.test(line)),
  ]);
  const shown = lines.slice(0, 60).map((line) => `    ${stripVTControlCharacters(line).slice(0, 300)}\n`);
  return `${place}\n${shown.join('')}`;
}
