import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Every test there is, and one closing line that any CI can read. Arguments go on to vitest: `npm test -- --project unit`.
const folder = mkdtempSync(join(tmpdir(), 'streamgauge-test-'));
const outputFile = join(folder, 'results.json');
// What tests put into the system's folder for temporary files goes with the rest of it.
const TMPDIR = join(folder, 'tmp');
mkdirSync(TMPDIR);
const vitest = spawnSync('vitest', ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${outputFile}`, ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { ...process.env, TMPDIR },
});
process.exitCode = vitest.status ?? 1;
try {
  const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(outputFile, 'utf8')) as Record<string, number>;
  // A run that failed outside its tests (a setup, a file that does not load) must not read as one without failures.
  const failed = numFailedTests === 0 && vitest.status !== 0 ? 1 : numFailedTests;
  console.log(`${numPassedTests} passed, ${failed} failed${numPendingTests ? `, ${numPendingTests} skipped` : ''}`);
} catch (error) {
  console.error(`vitest left no results: ${String(error)}`);
  console.log('0 passed, 1 failed');
  process.exitCode = 1;
} finally {
  // An interrupted run may leave a process that still ends: its folder is not worth a failure.
  try {
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  } catch (error) {
    console.error(`left behind: ${String(error)}`);
  }
}
