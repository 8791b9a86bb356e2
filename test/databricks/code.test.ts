import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { writeCode } from '../../scripts/code.ts';
import { loadConfig } from '../../src/config/load.ts';
import { placeOf, wantedJobs, type WantedJob } from '../../src/databricks/bundle.ts';
import { codeHash, codeTag, marked } from '../../src/databricks/code.ts';
import { bundleFiles } from '../../src/databricks/files.ts';
import { copyBundle } from '../config/bundle.ts';

const who = { userName: 'ada@example.com' };
const folder = mkdtempSync(join(tmpdir(), 'streamgauge-code-'));
const overrides = join(folder, '.databricks/bundle/prod/variable-overrides.json');

/** The jobs as YAML and variables say them, which is how the Databricks CLI has them, and as `deploy` wants them. */
async function jobsOf(target: string): Promise<{ said: WantedJob[]; wanted: WantedJob[]; hash: string }> {
  const config = loadConfig({ cwd: folder, target, vars: [], needsEnvironment: false, environment: {} });
  const place = placeOf(config, who);
  const [said, files] = [wantedJobs(config, who, place), await bundleFiles(config)];
  const wanted = marked({ place, files, jobs: said });
  return { said, wanted, hash: codeHash({ place, files, jobs: wanted }, 'traffic_counter') };
}

const mark = (jobs: WantedJob[]): string | undefined => codeTag(jobs.find(({ key }) => key === 'traffic_counter')?.settings);
const change = (file: string): void => appendFileSync(join(folder, 'notebooks', file), '# changed\n');

beforeAll(() => {
  copyBundle(folder);
  writeFileSync(join(folder, 'notebooks/streamgauge.mjs'), 'export {};\n');
});

describe('the mark of what a job executes', () => {
  it.each(['local', 'dev', 'prod'])('target %s: after a build the bundle says every setting that `deploy` wants', async (target) => {
    rmSync(join(folder, '.databricks'), { recursive: true, force: true });
    const before = await jobsOf(target);
    expect([mark(before.said), mark(before.wanted)]).toEqual([undefined, expect.stringMatching(/^[0-9a-f]{32}$/)]);
    await writeCode(folder);
    const built = await jobsOf(target);
    expect(built.said).toEqual(built.wanted);
    expect(built.wanted).toEqual(before.wanted);
    // What a run executes is the same, whichever build the bundle remembers.
    expect(built.hash).toBe(before.hash);
  });

  it('follows the files that the job executes, not those that only others do; other values in that file stay', async () => {
    writeFileSync(overrides, JSON.stringify({ ...JSON.parse(readFileSync(overrides, 'utf8')), max_workers: 2 }));
    const before = mark((await jobsOf('prod')).wanted);
    change('drill.py');
    expect(mark((await jobsOf('prod')).wanted)).toBe(before);
    change('windows.py');
    const { said, wanted } = await jobsOf('prod');
    expect([mark(said), mark(wanted) === before]).toEqual([before, false]);
    await writeCode(folder);
    expect(JSON.parse(readFileSync(overrides, 'utf8'))).toEqual({ traffic_counter_code: mark(wanted), max_workers: 2 });
  });
});
