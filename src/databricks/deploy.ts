import type { Config } from '../config/config.ts';
import { Failure } from '../errors.ts';
import { placeOf, wantedJobs, type Place, type WantedJob } from './bundle.ts';
import type { Workspace } from './client.ts';
import { codeHash, codeTag, isCodeOf, marked, runsByItself } from './code.ts';
import { differences, type Difference } from './differences.ts';
import { bundleFiles, type BundleFile } from './files.ts';
import { getJob, listJobs, me, type Job, type Me, type SecretKey, type WorkspaceObject } from './rest.ts';
import { fingerprintKeys, reasonToPut, type WantedScope } from './scope.ts';
import { isUnchanged, readState, type DeployedState } from './state.ts';

/** Everything that a deployment consists of, as it should be. Holds secrets and contents: never printed, never a step. */
export type Wanted = Readonly<{ who: Me; place: Place; files: readonly BundleFile[]; jobs: readonly WantedJob[]; scope: WantedScope }>;

/** The same, as it was found. */
export type Found = Readonly<{
  state: DeployedState;
  tree: readonly WorkspaceObject[];
  /** Objects that somebody else wrote (the Databricks CLI, for example) exactly as a file of the bundle, by that file's hash. */
  alike: Readonly<Record<string, string>>;
  /** By key of the wanted job. */
  jobs: Readonly<Record<string, Job>>;
  /** Jobs of the last deployment that are no longer wanted. */
  staleJobs: readonly { key: string; job_id: number; name: string }[];
  /** True where the bundle's jobs are no longer among the workspace's newest. */
  jobsApart: boolean;
  /** Undefined: no such scope. */
  secrets: readonly SecretKey[] | undefined;
}>;

/** One change, as plain JSON; the order of a plan is the order of doing. */
export type WorkspaceStep =
  | { do: 'make folder'; path: string }
  | { do: 'upload'; path: string; file: string; type: BundleFile['type']; reason: string }
  | { do: 'delete'; path: string; reason: string }
  | { do: 'create secret scope'; scope: string }
  | { do: 'put secrets'; scope: string; keys: string[]; stale: string[]; reason: string }
  | { do: 'create job'; key: string; name: string }
  | { do: 'update job'; key: string; name: string; job_id: number; changes: Difference[] }
  /** Only the hash of what it executes, which somebody else took away or changed. */
  | { do: 'tag job'; key: string; name: string; job_id: number; found: string | undefined; wanted: string | undefined }
  | { do: 'delete job'; key: string; name: string; job_id: number };

/** Why a file is written that stands there, and that no remembered deployment wrote. */
export const FOREIGN = 'not written by this bundle';

/** What the configuration asks for, in this workspace, for this identity. */
export async function wantedDeployment(workspace: Workspace, config: Config, secrets: WantedScope['secrets'], known?: Me): Promise<Wanted> {
  const [who, files] = await Promise.all([known ?? me(workspace), bundleFiles(config)]);
  const place = placeOf(config, who);
  const jobs = marked({ place, files, jobs: wantedJobs(config, who, place) });
  checkNotebooks(jobs, files, place);
  return { who, place, files, jobs, scope: { name: config.pipeline.secret_scope, secrets } };
}

/** A job that names a notebook which is not deployed with it would fail only when it runs. */
function checkNotebooks(jobs: readonly WantedJob[], files: readonly BundleFile[], place: Place): void {
  for (const job of jobs) {
    const tasks = (job.settings.tasks as { task_key?: string; notebook_task?: { notebook_path?: string } }[] | undefined) ?? [];
    for (const task of tasks) {
      const path = task.notebook_task?.notebook_path;
      if (path === undefined || !path.startsWith(`${place.files}/`)) continue;
      if (files.some((file) => file.type === 'NOTEBOOK' && `${place.files}/${file.object}` === path)) continue;
      throw new Failure({
        code: 'NOTEBOOK_MISSING',
        kind: 'usage',
        message: `task ${task.task_key} of job ${job.key} names the notebook ${path.slice(place.files.length + 1)}, which no file of sync.paths is`,
        hint: 'Correct notebook_path, or add the folder to sync.paths; a notebook starts with the line `# Databricks notebook source`.',
      });
    }
  }
}

/** The job that an earlier deployment made: by the id it remembered, else by name and mark. Another's job of that name is refused or ignored, never touched. */
export async function findJob(workspace: Workspace, place: Place, wanted: WantedJob, knownId?: number, others: 'refuse' | 'ignore' = 'refuse'): Promise<Job | undefined> {
  const known = knownId === undefined ? undefined : await getJob(workspace, knownId);
  const tag = wanted.settings.tags?.streamgauge;
  if (known !== undefined && isOurs(known, place, tag)) return known;
  const named = await listJobs(workspace, wanted.settings.name);
  const ours = named.filter((job) => isOurs(job, place, tag)).sort((a, b) => a.job_id - b.job_id)[0];
  if (ours !== undefined) return getJob(workspace, ours.job_id);
  const other = named.find((job) => job.settings.name === wanted.settings.name);
  if (other === undefined || others === 'ignore') return undefined;
  throw new Failure({
    code: 'JOB_NAME_TAKEN',
    kind: 'remote',
    message: `there is a job ${JSON.stringify(wanted.settings.name)} (${other.job_id}) in this workspace that this bundle did not make`,
    hint: `Take it in: \`streamgauge import job ${other.job_id}\`; or give the job another name in the bundle.`,
  });
}

/** The job that a verb means which names none. */
const MAIN_JOB = 'traffic_counter';

/** The deployed job with this key (the only one, or the main one, where no key is given); a usage Failure where the bundle has none such or it is not deployed. */
export async function deployedJob(workspace: Workspace, config: Config, key?: string): Promise<Job> {
  const who = await me(workspace);
  const place = placeOf(config, who);
  const wanted = wantedJobs(config, who, place);
  const chosen = key === undefined && wanted.length === 1 ? wanted[0] : wanted.find((job) => job.key === (key ?? MAIN_JOB));
  if (chosen === undefined) {
    const keys = wanted.map((job) => job.key).join(', ') || 'none';
    throw new Failure({ code: 'JOB_UNKNOWN', kind: 'usage', message: key === undefined ? `the bundle has several jobs: ${keys}` : `the bundle has no job ${JSON.stringify(key)}`, hint: `Name one of its jobs with --job: ${keys}.` });
  }
  const state = await readState(workspace, place);
  const job = await findJob(workspace, place, chosen, state.jobs[chosen.key], 'ignore');
  if (job !== undefined) return job;
  throw new Failure({ code: 'JOB_NOT_DEPLOYED', kind: 'usage', message: `job ${JSON.stringify(chosen.settings.name)} is not deployed to ${workspace.host}`, hint: `Deploy it first: \`streamgauge deploy -t ${config.target}\`.` });
}

/**
 * A job's mark is the bundle's own: the metadata path, which holds target and owner, and which the Databricks CLI sets as well.
 * A job that somebody disconnected from its bundle in the workspace has lost it; its tag is left.
 */
export function isOurs(job: Job, place: Place, tag?: string): boolean {
  const path = (job.settings.deployment as { metadata_file_path?: string } | undefined)?.metadata_file_path;
  if (path === undefined || path === '') return tag !== undefined && job.settings.tags?.streamgauge === tag;
  return asWorkspace(path) === `${place.state}/metadata.json`;
}

/** What has to be done so that `found` becomes `wanted`; empty where it already is. Pure. */
export function plan(wanted: Wanted, found: Found): WorkspaceStep[] {
  const uploads = wanted.files.flatMap((file) => uploadSteps(wanted.place, file, found));
  const needsFolders = uploads.length > 0 || found.tree.length === 0;
  return [...scopeSteps(wanted.scope, found), ...(needsFolders ? folderSteps(wanted, found) : []), ...uploads, ...jobSteps(wanted, found), ...staleSteps(wanted, found)];
}

/** What the next run will not do under these settings; empty where there is nothing to say. Pure. */
export function warningsOf(wanted: Wanted, found: Found): string[] {
  return wanted.jobs.flatMap(({ key, settings }) => {
    const [now, next] = [found.jobs[key]?.settings, settings].map(windowMinutes);
    if (now === undefined || next === undefined || now === next) return [];
    return [`window_minutes ${now} -> ${next}: where the table windows holds windows of ${now} minutes, the job refuses to mix them and publishes nothing, until \`streamgauge windows rebuild --window ${next}m\` has computed them anew and swapped table and index.`];
  });
}

function windowMinutes(settings: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const parameters = Array.isArray(settings?.parameters) ? (settings.parameters as { name?: unknown; default?: unknown }[]) : [];
  const found = parameters.find(({ name }) => name === 'window_minutes');
  return found === undefined ? undefined : String(found.default);
}

/** Keys of the jobs that run on their own and whose runs, if any go on, execute something else than what will be deployed. Pure. */
export function outdatedJobs(wanted: Wanted, found: Found): string[] {
  const steps = [...wanted.files.flatMap((file) => uploadSteps(wanted.place, file, found)), ...jobSteps(wanted, found), ...staleSteps(wanted, found)];
  return wanted.jobs.filter(({ settings }) => runsByItself(settings)).map(({ key, settings }) => ({ key, tags: [found.jobs[key]?.settings, settings].map(codeTag) })).filter(({ key, tags: [there, tag] }) => {
    // A lost state makes every file look foreign; the job's tag still knows what was deployed.
    const same = there !== undefined && there === tag;
    const touches = (step: WorkspaceStep): boolean => {
      if (step.do === 'update job') return step.key === key;
      if (step.do === 'upload' && step.reason === FOREIGN && same) return false;
      return (step.do === 'upload' || step.do === 'delete') && isCodeOf(wanted, key, step.path.slice(wanted.place.files.length + 1));
    };
    // Somebody else wrote it, so there is no upload: what a run began with is what was deployed before.
    const before = found.state.code?.[key]?.hash;
    const isOther = before === undefined ? there !== undefined && there !== tag : before !== codeHash(wanted, key);
    const replaced = isOther && Object.keys(found.alike).some((object) => isCodeOf(wanted, key, object));
    return replaced || steps.some(touches) || (found.state.code?.[key]?.staleRuns ?? []).length > 0;
  }).map(({ key }) => key);
}

function scopeSteps(wanted: WantedScope, found: Found): WorkspaceStep[] {
  const reason = reasonToPut(wanted, found.secrets ?? []);
  // An empty scope is what a deployment left that was killed between making the scope and marking it.
  const create: WorkspaceStep[] = (found.secrets ?? []).length === 0 ? [{ do: 'create secret scope', scope: wanted.name }] : [];
  if (reason === undefined) return create;
  return [...create, { do: 'put secrets', scope: wanted.name, keys: [...new Set([...Object.keys(wanted.secrets), ...(wanted.pending ?? [])])].sort(), stale: fingerprintKeys(found.secrets ?? []), reason }];
}

function folderSteps({ place, files }: Wanted, found: Found): WorkspaceStep[] {
  const folders = [place.files, place.state, ...files.map((file) => `${place.files}/${file.path}`.replace(/\/[^/]*$/, ''))];
  const known = new Set(found.tree.filter((object) => object.object_type === 'DIRECTORY').map((object) => asWorkspace(object.path)));
  const isKnown = (path: string): boolean => known.has(path) || (path === place.files && found.tree.length > 0) || (path === place.state && found.state.version === 1 && Object.keys(found.state.files).length > 0);
  return [...new Set(folders)].sort().filter((path) => !isKnown(path)).map((path) => ({ do: 'make folder', path }));
}

function uploadSteps(place: Place, file: BundleFile, found: Found): WorkspaceStep[] {
  const path = `${place.files}/${file.object}`;
  const there = objectAt(place, file.object, found.tree);
  const upload = (reason: string): WorkspaceStep => ({ do: 'upload', path, file: file.path, type: file.type, reason });
  if (there === undefined) return [upload('new')];
  if (there.object_type !== file.type) return [{ do: 'delete', path, reason: `is a ${there.object_type.toLowerCase()}` }, upload('other type')];
  if (found.alike[file.object] === file.sha256 || isUnchanged(found.state, file.object, file.sha256, there)) return [];
  const known = found.state.files[file.object];
  return [upload(known === undefined ? FOREIGN : known.sha256 === file.sha256 ? 'edited in the workspace' : 'changed')];
}

function jobSteps(wanted: Wanted, found: Found): WorkspaceStep[] {
  return wanted.jobs.flatMap(({ key, settings }): WorkspaceStep[] => {
    const job = found.jobs[key];
    if (job === undefined) return [{ do: 'create job', key, name: settings.name }];
    const changes = differences(settings, job.settings);
    if (changes.length > 0) return [{ do: 'update job', key, name: settings.name, job_id: job.job_id, changes }];
    const [there, tag] = [codeTag(job.settings), codeTag(settings)];
    // What the last deployment wrote changes with the code, and without a step of its own; an earlier release wrote the hash as the tag.
    const known = found.state.code?.[key];
    const isOwn = there !== undefined && tag !== undefined && there === (known?.tag ?? known?.hash);
    return there === tag || isOwn ? [] : [{ do: 'tag job', key, name: settings.name, job_id: job.job_id, found: there, wanted: tag }];
  });
}

/** Last, so that nothing that still runs loses its notebook before the job stops naming it. */
function staleSteps({ place, files }: Wanted, found: Found): WorkspaceStep[] {
  const jobs: WorkspaceStep[] = found.staleJobs.map((job) => ({ do: 'delete job', ...job }));
  const wanted = new Set(files.map((file) => file.object));
  const gone = Object.keys(found.state.files).filter((object) => !wanted.has(object) && found.tree.some((there) => asWorkspace(there.path) === `${place.files}/${object}`));
  return [...jobs, ...gone.sort().map((object): WorkspaceStep => ({ do: 'delete', path: `${place.files}/${object}`, reason: 'no longer in the bundle' }))];
}

/** A file's object, as it was found. */
export function objectAt(place: Place, object: string, tree: readonly WorkspaceObject[]): WorkspaceObject | undefined {
  return tree.find((there) => asWorkspace(there.path) === `${place.files}/${object}`);
}

/** The workspace spells one object with and without `/Workspace`. */
export function asWorkspace(path: string): string {
  return path.startsWith('/Workspace/') ? path : `/Workspace${path}`;
}
