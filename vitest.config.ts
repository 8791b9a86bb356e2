import { defineConfig } from 'vitest/config';

const engines = { globalSetup: ['test/platform-setup.ts'], testTimeout: 300_000, hookTimeout: 300_000 };
/** Kills the engines that the others use. */
const ALONE = 'test/acceptance/faults.platform.test.ts';

// `check`: the shape of the code. `unit`: no engine, no network. `platform`: the real engines, started once for all files, of which two run at a time: each
// waits a third of its time. `platform-alone`: on the same engines, one after the other.
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
      { test: { ...engines, name: 'platform', include: ['test/**/*.platform.test.ts'], exclude: [ALONE], maxWorkers: 2, sequence: { groupOrder: 1 } } },
      { test: { ...engines, name: 'platform-alone', include: [ALONE], maxWorkers: 1, sequence: { groupOrder: 2 } } },
    ],
  },
});
