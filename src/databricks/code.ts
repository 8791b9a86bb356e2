import { createHash } from 'node:crypto';
import type { Place, WantedJob } from './bundle.ts';
import type { BundleFile } from './files.ts';

/**
 * The tag that holds the hash of what a job executes that runs on its own. It is ours alone and no part of the bundle: a deployment by the
 * Databricks CLI takes it away, and the next of ours puts it back. It tells what stands in the workspace, whoever lost the state.
 */
export const CODE_TAG = 'streamgauge_code';

type Deployment = Readonly<{ place: Place; files: readonly BundleFile[]; jobs: readonly WantedJob[] }>;

/** True for a job that runs on its own, and so may carry a stream: any other is started by somebody who waits for it, and is left to him. */
export function runsByItself(settings: Readonly<Record<string, unknown>> | undefined): boolean {
  return ['schedule', 'trigger', 'continuous'].some((kind) => settings?.[kind] !== undefined);
}

/** The tag's value for this job; undefined where it has none. */
export function codeTag(wanted: Deployment, key: string): string | undefined {
  return runsByItself(wanted.jobs.find((job) => job.key === key)?.settings) ? codeHash(wanted, key) : undefined;
}

/** What a run of this job executes, as one hash: its settings, and every file but notebooks that only other jobs name. */
export function codeHash(wanted: Deployment, key: string): string {
  const settings = wanted.jobs.find((job) => job.key === key)?.settings;
  const parts = [settings, wanted.files.filter(({ object }) => isCodeOf(wanted, key, object)).map(({ object, sha256 }) => [object, sha256])];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}

/** False for a notebook that other jobs run and this one does not; a module, or a notebook that nobody names, may be anybody's. */
export function isCodeOf({ place, jobs }: Pick<Deployment, 'place' | 'jobs'>, key: string, object: string): boolean {
  const users = jobs.filter(({ settings }) => notebooksOf(settings).includes(`${place.files}/${object}`)).map((job) => job.key);
  return users.length === 0 || users.includes(key);
}

function notebooksOf(settings: Readonly<Record<string, unknown>>): (string | undefined)[] {
  const tasks = (settings.tasks as { notebook_task?: { notebook_path?: string } }[] | undefined) ?? [];
  return tasks.map((task) => task.notebook_task?.notebook_path);
}
