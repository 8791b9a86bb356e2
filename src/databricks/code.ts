import { createHash } from 'node:crypto';
import type { Place, WantedJob } from './bundle.ts';
import type { BundleFile } from './files.ts';

/**
 * The tag that holds the hash of the files that a job executes, where the bundle gives the job that tag. It tells what stands in the workspace,
 * whoever lost the state. The bundle's own value of it is a variable: what the last build computed, for the Databricks CLI.
 */
export const CODE_TAG = 'streamgauge_code';

type Deployment = Readonly<{ place: Place; files: readonly BundleFile[]; jobs: readonly WantedJob[] }>;

/** The jobs with the mark of these files, each that has one in the bundle; the bundle's own value of it may be of earlier files. */
export function marked(deployment: Deployment): WantedJob[] {
  return deployment.jobs.map((job) => (job.settings.tags?.[CODE_TAG] === undefined ? job : { ...job, settings: { ...job.settings, tags: { ...job.settings.tags, [CODE_TAG]: hashOf(codeOf(deployment, job.key)) } } }));
}

/** A job's mark, wanted or found; undefined where it has none, or an empty one: a bundle's that was deployed without a build. */
export function codeTag(settings: Readonly<{ tags?: Readonly<Record<string, string>> }> | undefined): string | undefined {
  return settings?.tags?.[CODE_TAG] || undefined;
}

/** True for a job that runs on its own, and so may carry a stream: any other is started by somebody who waits for it, and is left to him. */
export function runsByItself(settings: Readonly<Record<string, unknown>> | undefined): boolean {
  return ['schedule', 'trigger', 'continuous'].some((kind) => settings?.[kind] !== undefined);
}

/** What a run of this job executes, as one hash: its settings without the mark, and its files. */
export function codeHash(wanted: Deployment, key: string): string {
  const settings = wanted.jobs.find((job) => job.key === key)?.settings;
  const { [CODE_TAG]: _, ...tags } = settings?.tags ?? {};
  return hashOf([settings?.tags === undefined ? settings : { ...settings, tags }, codeOf(wanted, key)]);
}

/** Every file but notebooks that only other jobs name. */
function codeOf(deployment: Deployment, key: string): [string, string][] {
  return deployment.files.filter(({ object }) => isCodeOf(deployment, key, object)).map(({ object, sha256 }) => [object, sha256]);
}

function hashOf(parts: unknown): string {
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
