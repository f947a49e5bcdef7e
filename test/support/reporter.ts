import { writeFileSync } from 'node:fs';
import type { Reporter, SerializedError, TestModule } from 'vitest/node';

/**
 * Counts tests for script/test: writes `PASSED FAILED` to the file that NETNSD_TEST_TOTALS names. What keeps tests
 * from running (a file that can't be loaded, a hook that fails, an error outside of any test) counts as one failed.
 */
export default class TotalsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): void {
    const file = process.env['NETNSD_TEST_TOTALS'];
    if (file === undefined) return;
    let passed = 0;
    let failed = unhandledErrors.length;
    for (const module of modules) {
      failed += module.errors().length;
      for (const suite of module.children.allSuites()) failed += suite.errors().length;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state === 'passed') passed += 1;
        if (state === 'failed' || state === 'pending') failed += 1;
      }
    }
    writeFileSync(file, `${passed} ${failed}\n`);
  }
}
