import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/support/setup.ts'],
    // All test files of one run share one network: one after the other, each in a process of its own.
    pool: 'forks',
    fileParallelism: false,
    sequence: { concurrent: false },
    // Several times what the longest takes where nothing else runs.
    testTimeout: 90_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    reporters: ['default', './test/support/reporter.ts'],
    // What is to come, comes, but a busy machine may take long about it.
    expect: { requireAssertions: true, poll: { timeout: 15_000 } },
    // A test that can't be run is to fail, not to be passed over.
    allowOnly: false,
    passWithNoTests: false,
    // A golden file that is missing is no new one, but for `-u`.
    update: 'none',
  },
});
