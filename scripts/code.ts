import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parse } from 'yaml';
import { loadConfig } from '../src/config/load.ts';
import { overridesFile } from '../src/config/overrides.ts';
import { wantedJobs } from '../src/databricks/bundle.ts';
import { codeTag, marked } from '../src/databricks/code.ts';
import { bundleFiles } from '../src/databricks/files.ts';
import { Failure } from '../src/errors.ts';

/** Where a bundle lives decides nothing of what its jobs execute. */
const PLACE = { root: '/Workspace/bundle', files: '/Workspace/bundle/files', state: '/Workspace/bundle/state' };

/**
 * Gives the variable JOB_code of each job that has a mark its value, for each target, in the file where the Databricks CLI looks for values: so
 * that its deployment of these files marks the jobs as `deploy` does. What else the file says stays.
 */
export async function writeCode(root: string): Promise<void> {
  const { targets } = parse(readFileSync(join(root, 'databricks.yml'), 'utf8')) as { targets: Record<string, unknown> };
  for (const target of Object.keys(targets)) {
    const codes = await codesOf(root, target);
    if (codes === undefined) continue;
    const file = join(root, overridesFile(target));
    const before: unknown = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${JSON.stringify({ ...(before as object), ...codes }, undefined, 2)}\n`);
  }
}

/** Undefined where the target cannot be deployed as it is: whoever deploys it is told why. */
async function codesOf(root: string, target: string): Promise<Record<string, string> | undefined> {
  try {
    const config = loadConfig({ cwd: root, target, vars: [], needsEnvironment: false, environment: {} });
    const jobs = marked({ place: PLACE, files: await bundleFiles(config), jobs: wantedJobs(config, { userName: 'anybody' }, PLACE) });
    return Object.fromEntries(jobs.flatMap(({ key, settings }) => (codeTag(settings) === undefined ? [] : [[`${key}_code`, codeTag(settings) as string]])));
  } catch (error) {
    if (error instanceof Failure) return undefined;
    throw error;
  }
}
