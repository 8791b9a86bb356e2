import { spawn } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median, type Measured, type Setting } from './setting.ts';

const ROUNDS = 7;
/** One of each kind: verb, flag, a flag's value missing, a positional missing, no number, out of its bounds, no such action. */
const MISTAKES = ['fly', 'deploy --no-such-flag', 'plan --out', 'query', 'produce --records many', 'produce --rate 0', 'run fly', 'plan --nope --json'];
const program = fileURLToPath(new URL('../dist/start.mjs', import.meta.url));

/** Counts what goes to the workspace, by loading this into the controller. */
const COUNTER = `import{channel}from'node:diagnostics_channel';import{appendFileSync}from'node:fs';
channel('undici:request:create').subscribe(()=>appendFileSync(process.env.REQUESTS_FILE,'x'));`;

/** A deployment as CI pays for it, with the built program: planning, doing nothing, one changed notebook; and help against bare Node. */
export async function run({ root, log }: Setting): Promise<Measured[]> {
  const folder = mkdtempSync(join(tmpdir(), 'bench-deploy-'));
  try {
    writeFileSync(join(folder, 'count.mjs'), COUNTER);
    const requests = join(folder, 'requests');
    const environment = { CI: 'true', NODE_OPTIONS: `--import ${join(folder, 'count.mjs')}`, REQUESTS_FILE: requests };
    const verb = (...args: string[]): Promise<number> => timed([program, ...args, '-t', 'local'], root, environment);
    // From here on it is known whose token this is: a first invocation asks that, too. A service principal, as whom CI deploys, is known by its id.
    await verb('deploy');
    const [plan, nothing, changed, counts]: number[][] = [[], [], [], []];
    for (let round = 0; round < ROUNDS; round += 1) {
      plan?.push(await verb('plan'));
      nothing?.push(await verb('deploy'));
      appendFileSync(join(root, 'notebooks/windows.py'), `# ${round}\n`);
      rmSync(requests, { force: true });
      changed?.push(await verb('deploy'));
      counts?.push(readFileSync(requests, 'utf8').length);
      log(`deploy, round ${round + 1} of ${ROUNDS}`);
    }
    const [bare, help]: number[][] = [[], []];
    const mistakes: number[][] = MISTAKES.map(() => []);
    for (let round = 0; round < 3 * ROUNDS; round += 1) {
      bare?.push(await timed(['-e', '0'], root));
      help?.push(await timed([program, '--help'], root));
      for (const [at, words] of MISTAKES.entries()) mistakes[at]?.push(await timed([program, ...words.split(' ')], root, {}, 2));
    }
    const seconds = (values: number[] = []): string => `${(median(values) / 1000).toFixed(2)} s`;
    const against = (values: number[] = []): Pick<Measured, 'value' | 'ratio'> => ({ value: `${median(values).toFixed(0)} ms`, ratio: median(values) / median(bare ?? []) });
    return [
      { what: 'plan, nothing to do', value: seconds(plan) },
      { what: 'deploy, nothing to do', value: seconds(nothing) },
      { what: 'deploy, one changed notebook', value: seconds(changed) },
      { what: 'its requests to the workspace', value: String(median(counts ?? [])), target: '12' },
      { what: 'bare node -e 0', value: `${median(bare ?? []).toFixed(0)} ms` },
      { what: '--help, to bare node', ...against(help) },
      { what: `usage errors, the slowest of ${MISTAKES.length} kinds, to bare node`, ...against(mistakes.toSorted((a, b) => median(b) - median(a))[0]) },
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Milliseconds that a Node process takes from its start to its end. */
async function timed(args: string[], cwd: string, environment: Record<string, string> = {}, expected = 0): Promise<number> {
  const startedAt = performance.now();
  const child = spawn(process.execPath, args, { cwd, env: { ...process.env, ...environment }, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text));
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== expected) throw new Error(`${args.join(' ')} ended with ${String(code)}: ${said}`);
  return performance.now() - startedAt;
}
