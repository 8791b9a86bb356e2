import { defineConfig } from 'vitest/config';

// `check`: the shape of the code. `unit`: no engine, no network. `platform`: the real engines, started once for all files.
export default defineConfig({
  test: {
    projects: [
      { test: { name: 'check', include: ['test/*.check.test.ts'] } },
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/*.check.test.ts', 'test/**/*.platform.test.ts'],
          // A small machine under load is slow, not wrong.
          testTimeout: 30_000,
        },
      },
      { test: { name: 'platform', include: ['test/**/*.platform.test.ts'], globalSetup: ['test/platform-setup.ts'], fileParallelism: false, testTimeout: 300_000, hookTimeout: 300_000 } },
    ],
  },
});
