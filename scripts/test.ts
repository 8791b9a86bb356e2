import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// Every test there is, and one closing line that any CI can read. Arguments go on to vitest: `npm test -- --project unit`.
const folder = mkdtempSync(join(tmpdir(), 'streamgauge-test-'));
// What tests put into the system's folder for temporary files goes with the rest of it.
const TMPDIR = join(folder, 'tmp');
mkdirSync(TMPDIR);
// Ctrl-C reaches the tests as well: they end, and then their folder goes.
process.on('SIGINT', () => undefined);
const given = process.argv.slice(2);
// What needs no engine runs beside the engines' tests, which wait a third of their time; its output comes in one piece.
const [engines, beside] = given.length > 0 ? [given, undefined] : [['--project', 'platform*'], ['--project', 'check', '--project', 'unit']];
const ended = await Promise.all([vitest('first', engines, true), ...(beside === undefined ? [] : [vitest('beside', beside, false)])]);
process.exitCode = ended.find(({ code }) => code !== 0)?.code ?? 0;
const sum = (of: (counts: Counts) => number): number => ended.reduce((total, { counts }) => total + of(counts), 0);
const skipped = sum((counts) => counts.skipped);
console.log(`${sum((counts) => counts.passed)} passed, ${sum((counts) => counts.failed)} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
// An interrupted run may leave a process that still ends: its folder is not worth a failure.
try {
  rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
} catch (error) {
  console.error(`left behind: ${String(error)}`);
}

type Counts = { passed: number; failed: number; skipped: number };

async function vitest(name: string, args: string[], isShown: boolean): Promise<{ code: number; counts: Counts }> {
  const outputFile = join(folder, `${name}.json`);
  const child = spawn('vitest', ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${outputFile}`, ...args], {
    stdio: isShown ? 'inherit' : ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, TMPDIR },
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', (text: string) => (said += text));
  const code = await new Promise<number>((resolve) => child.once('close', (status) => resolve(status ?? 1)));
  process.stdout.write(said);
  try {
    const { numPassedTests = 0, numFailedTests = 0, numPendingTests = 0 } = JSON.parse(readFileSync(outputFile, 'utf8')) as Record<string, number>;
    // A run that failed outside its tests (a setup, a file that does not load) must not read as one without failures.
    return { code, counts: { passed: numPassedTests, failed: numFailedTests === 0 && code !== 0 ? 1 : numFailedTests, skipped: numPendingTests } };
  } catch (error) {
    console.error(`vitest left no results: ${String(error)}`);
    return { code: code || 1, counts: { passed: 0, failed: 1, skipped: 0 } };
  }
}
