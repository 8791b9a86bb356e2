import { posix } from 'node:path';
import type { BundleJob, Config } from '../config/config.ts';
import { Failure } from '../errors.ts';
import type { JobSettings, Me } from './rest.ts';

/** Where a bundle lives in the workspace; absolute workspace paths. */
export type Place = Readonly<{ root: string; files: string; state: string }>;

/** A job as it should stand in the workspace. */
export type WantedJob = Readonly<{ key: string; settings: JobSettings & { name: string } }>;

/** The bundle's folders for this identity: `root_path` with `~` and `${workspace.current_user...}` filled in. */
export function placeOf(config: Config, me: Me): Place {
  const filled = fill(config.databricks.rootPath, me, {}).replace(/^~(?=\/)/, `/Workspace/Users/${me.userName}`);
  const absolute = /^\/(Users|Shared|Repos)\//.test(filled) ? `/Workspace${filled}` : filled;
  const root = posix.normalize(absolute).replace(/\/$/, '');
  if (!/^\/Workspace\/[^/]+\/./.test(root) || /\$\{/.test(root)) {
    throw new Failure({
      code: 'ROOT_PATH_INVALID',
      kind: 'usage',
      message: `workspace.root_path ${JSON.stringify(config.databricks.rootPath)} of target ${config.target} means ${JSON.stringify(root)}, which is no folder of a bundle`,
      hint: 'Set workspace.root_path to a folder under /Workspace/Users/<you>/ or /Workspace/Shared/ in databricks.yml.',
    });
  }
  return { root, files: `${root}/files`, state: `${root}/state` };
}

/** The settings of every job, as the Databricks CLI would send them for the same databricks.yml. */
export function wantedJobs(config: Config, me: Me, place: Place): WantedJob[] {
  return config.jobs.map((job) => {
    const references = { 'workspace.root_path': place.root, 'workspace.file_path': place.files, 'workspace.state_path': place.state };
    // `lifecycle` is the bundle's own (prevent_destroy), not the Jobs API's.
    const { lifecycle: _, ...own } = job.settings;
    const filled = fillAll(own, me, references) as Record<string, unknown>;
    const preset = config.mode === 'development' ? development(filled, me) : filled;
    const settings = withDefaults(withPaths(preset, job, place), place);
    return { key: job.key, settings };
  });
}

/** What `mode: development` means for a job: a name and a tag that say whose it is, and triggers that wait. */
function development(settings: Record<string, unknown>, me: Me): Record<string, unknown> {
  const user = shortName(me);
  const paused = Object.fromEntries(
    ['schedule', 'trigger', 'continuous'].flatMap((kind) => (isRecord(settings[kind]) ? [[kind, { pause_status: 'PAUSED', ...settings[kind] }]] : [])),
  );
  return {
    max_concurrent_runs: 4,
    ...settings,
    ...paused,
    name: `[dev ${user}] ${textOf(settings.name)}`,
    tags: { dev: tagValue(user), ...(isRecord(settings.tags) ? settings.tags : {}) },
  };
}

/** What the CLI adds to every job: its defaults, and the marks of a bundle's deployment. */
function withDefaults(settings: Record<string, unknown>, place: Place): WantedJob['settings'] {
  const awake = Object.fromEntries(
    ['schedule', 'trigger', 'continuous'].flatMap((kind) => (isRecord(settings[kind]) ? [[kind, { pause_status: 'UNPAUSED', ...settings[kind] }]] : [])),
  );
  return {
    max_concurrent_runs: 1,
    queue: { enabled: true },
    ...settings,
    ...awake,
    name: textOf(settings.name) || 'Untitled',
    deployment: { kind: 'BUNDLE', metadata_file_path: `${place.state}/metadata.json` },
    edit_mode: 'UI_LOCKED',
    format: 'MULTI_TASK',
  };
}

/** Fields of a task that hold a path of the bundle, and whether it names a notebook (which loses its extension). */
const PATHS: [task: string, field: string, notebook: boolean][] = [
  ['notebook_task', 'notebook_path', true],
  ['spark_python_task', 'python_file', false],
];

function withPaths(settings: Record<string, unknown>, job: BundleJob, place: Place): Record<string, unknown> {
  const tasks = Array.isArray(settings.tasks) ? settings.tasks : [];
  if (tasks.length === 0) return settings;
  const moved = tasks.map((task) => {
    if (!isRecord(task)) return task;
    const changed = PATHS.flatMap(([kind, field, notebook]) => {
      const part = task[kind];
      if (!isRecord(part) || part.source === 'GIT' || typeof part[field] !== 'string') return [];
      return [[kind, { ...part, [field]: workspacePath(part[field], job, place, notebook) }]];
    });
    return { ...task, ...Object.fromEntries(changed) };
  });
  return { ...settings, tasks: moved };
}

/** A path relative to the YAML file that names it, as a path of the workspace; anything absolute stays. */
function workspacePath(path: string, job: BundleJob, place: Place, notebook: boolean): string {
  if (path.startsWith('/') || /^[a-z]+:\//i.test(path)) return path;
  const inBundle = posix.normalize(posix.join(posix.dirname(job.file), path));
  if (inBundle.startsWith('..')) {
    throw new Failure({
      code: 'PATH_OUTSIDE_BUNDLE',
      kind: 'usage',
      message: `${job.file}: ${JSON.stringify(path)} of job ${job.key} lies outside the bundle`,
      hint: 'Name a file below the folder of databricks.yml.',
    });
  }
  return `${place.files}/${notebook ? inBundle.replace(/\.(py|sql|scala|r|ipynb)$/i, '') : inBundle}`;
}

function fillAll(value: unknown, me: Me, references: Record<string, string>): unknown {
  if (typeof value === 'string') return fill(value, me, references);
  if (Array.isArray(value)) return value.map((item) => fillAll(item, me, references));
  return isRecord(value) ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fillAll(item, me, references)])) : value;
}

function fill(text: string, me: Me, references: Record<string, string>): string {
  const known: Record<string, string> = {
    ...references,
    'workspace.current_user.userName': me.userName,
    'workspace.current_user.short_name': shortName(me),
  };
  return text.replaceAll(/\$\{(workspace\.[\w.]+)\}/g, (whole, name: string) => known[name] ?? whole);
}

/** The user's name as the CLI shortens it: before the `@`, letters and digits of any script, the rest as single underscores. */
export function shortName(me: Me): string {
  const servicePrincipal = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(me.userName);
  const name = servicePrincipal && me.displayName ? me.displayName : me.userName;
  return (name.split('@')[0] ?? '').toLowerCase().replaceAll(/[^\p{L}\p{N}]+/gu, '_').replaceAll(/^_+|_+$/g, '');
}

/** What clouds accept as a tag's value. */
function tagValue(text: string): string {
  return text.normalize('NFD').replaceAll(/\p{M}/gu, '').replaceAll(/[^\w +\-=.:/@]/g, '_');
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
