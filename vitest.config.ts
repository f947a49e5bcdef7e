import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/support/setup.ts'],
    // All test files of one run share one network: one after the other, each in a process of its own.
    pool: 'forks',
    fileParallelism: false,
    sequence: { concurrent: false },
    testTimeout: 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
    reporters: ['default', './test/support/reporter.ts'],
    // A machine that is busy takes its time; what is to come, comes.
    expect: { requireAssertions: true, poll: { timeout: 15_000 } },
    // A test that can't be run is to fail, not to be passed over.
    allowOnly: false,
    passWithNoTests: false,
    // A golden file that is missing is no new one, but for `-u`.
    update: 'none',
  },
});
