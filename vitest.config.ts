import { defineConfig } from 'vitest/config';

// `check`: the shape of the code. `unit`: no engine, no network. `platform`: the real engines, started once for all files.
// `long`: scenarios of four minutes each (kills in the middle, a rebuild), by `npm run test:long`: with them `npm test` would take 30 minutes.
const LONG = ['faults', 'rebuild'].map((name) => `test/acceptance/${name}.platform.test.ts`);
const engines = { globalSetup: ['test/platform-setup.ts'], fileParallelism: false, testTimeout: 300_000, hookTimeout: 300_000 };

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
      { test: { name: 'platform', include: ['test/**/*.platform.test.ts'], exclude: LONG, ...engines } },
      ...(process.argv.includes('long') ? [{ test: { name: 'long', include: LONG, ...engines } }] : []),
    ],
  },
});
