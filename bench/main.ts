import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { placeIn, start } from '../src/local/platform.ts';
import { renderBlocks } from '../src/report/text.ts';
import { built } from '../test/built.ts';
import { copyBundle } from '../test/config/bundle.ts';
import type { Measured, Setting } from './setting.ts';

// Throughput, measured on one platform in one run. Absolute numbers are this machine's; ratios compare two things under the same load.
// `npm run bench -- produce job` runs only those named.
const BENCHES: Record<string, () => Promise<{ run(setting: Setting): Promise<Measured[]> }>> = {
  produce: () => import('./produce.ts'),
  export: () => import('./export.ts'),
  job: () => import('./job.ts'),
  windows: () => import('./windows.ts'),
  prove: () => import('./prove.ts'),
  facades: () => import('./facades.ts'),
  platform: () => import('./platform.ts'),
  deploy: () => import('./deploy.ts'),
};

const repository = join(dirname(fileURLToPath(import.meta.url)), '..');
const log = (line: string): void => void process.stderr.write(`${line}\n`);
const wanted = process.argv.slice(2);
for (const name of wanted) if (BENCHES[name] === undefined) throw new Error(`there is no bench ${name}; there are: ${Object.keys(BENCHES).join(', ')}`);

const root = mkdtempSync(join(tmpdir(), 'streamgauge-bench-'));
built();
copyBundle(root);
const engines: Record<string, number> = {};
const startedAt = performance.now();
const platform = await start({
  ...placeIn(root),
  cache: process.env.STREAMGAUGE_CACHE,
  ports: { offset: Number(process.env.STREAMGAUGE_PORT_OFFSET ?? 20_000) },
  progress: {
    update: () => undefined,
    note: (line) => {
      const [, name, seconds] = /^(.*) is up after ([\d.]+) s$/.exec(line) ?? [];
      if (name !== undefined) engines[name] = Number(seconds);
      log(line);
    },
  },
});
const started = { engines, platform: (performance.now() - startedAt) / 1000 };
const sparkPort = Number(new URL((platform.endpoints.find(({ url }) => url.startsWith('sc:'))?.url ?? '').replace('sc:', 'http:')).port);
try {
  const verb = (args: string[]): Promise<any> => runVerb(root, args);
  await verb(['provision']);
  const measured: Measured[] = [];
  for (const [name, load] of Object.entries(BENCHES)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    log(`bench ${name}`);
    const bench = await load();
    measured.push(...(await bench.run({ root, runtime: platform.runtime, sparkPort, started, log, verb })));
  }
  const rows = measured.map(({ what, value, ratio, target = '' }) => [what, value, ratio === undefined ? '' : ratio.toFixed(2), target]);
  console.log(renderBlocks([{ kind: 'table', columns: ['measured', 'value', 'ratio to it', 'target'], rows }]));
} finally {
  await platform.stop();
  rmSync(root, { recursive: true, force: true });
}

async function runVerb(cwd: string, args: string[]): Promise<unknown> {
  const child = spawn(process.execPath, [join(repository, 'src/cli.ts'), ...args, '-t', 'local', '--json'], { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`streamgauge ${args.join(' ')} ended with ${String(code)}: ${text}`);
  return JSON.parse(text);
}
