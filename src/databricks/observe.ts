import { posix } from 'node:path';
import { Failure } from '../errors.ts';
import type { Workspace } from './client.ts';
import { asWorkspace, findJob, isOurs, objectAt, type Found, type Wanted } from './deploy.ts';
import { differences } from './differences.ts';
import { exportFile, getJob, listFolder, listSecrets, newestJobs, type Job, type WorkspaceObject } from './rest.ts';
import { readState, type DeployedState } from './state.ts';

/** Reads everything that the deployment touches; `written`: it was just written, so that nobody has to look who else wrote the same. */
export async function observe(workspace: Workspace, wanted: Wanted, { written = false } = {}): Promise<Found> {
  const state = readState(workspace, wanted.place);
  const files = state.then((known) => listFiles(workspace, wanted, known));
  const unchanged = state.then((known) => unchangedJobs(workspace, wanted, known));
  const [tree, alike, secrets, jobs, known] = await Promise.all([
    files,
    written ? {} : files.then(async (there) => filesAlike(workspace, wanted, await state, there)),
    listSecrets(workspace, wanted.scope.name),
    Promise.all(wanted.jobs.map(async (job) => [job.key, (await unchanged).jobs[job.key] ?? (await findJob(workspace, wanted.place, job, (await state).jobs[job.key]))] as const)),
    state,
  ]);
  const gone = Object.entries(known.jobs).filter(([key]) => !wanted.jobs.some((job) => job.key === key));
  const stale = await Promise.all(gone.map(async ([key, id]) => ({ key, job: await getJob(workspace, id) })));
  return {
    state: known,
    tree,
    alike,
    jobs: Object.fromEntries(jobs.filter((entry): entry is [string, Job] => entry[1] !== undefined)),
    staleJobs: stale.flatMap(({ key, job }) => (job !== undefined && isOurs(job, wanted.place) ? [{ key, job_id: job.job_id, name: job.settings.name ?? '' }] : [])),
    jobsApart: (await unchanged).apart,
    secrets,
  };
}

/**
 * Jobs of the last deployment, by key, that one look at the workspace's newest jobs shows exactly as they are wanted: a request in place of one a job.
 * Any other is asked for by itself, because a list may leave out what it likes; and so are all of them (`apart`) where newer jobs have pushed them off that page.
 */
async function unchangedJobs(workspace: Workspace, wanted: Wanted, state: DeployedState): Promise<{ jobs: Record<string, Job>; apart: boolean }> {
  const known = wanted.jobs.flatMap((job) => (state.jobs[job.key] === undefined ? [] : [{ ...job, id: state.jobs[job.key] }]));
  if (known.length < 2 || state.jobsApart === true) return { jobs: {}, apart: state.jobsApart === true };
  const newest = await newestJobs(workspace);
  const there = known.flatMap(({ key, id, settings }) => newest.filter((job) => job.job_id === id).map((job) => ({ key, settings, job })));
  const same = there.filter(({ settings, job }) => job.has_more !== true && differences(settings, job.settings).length === 0);
  return { jobs: Object.fromEntries(same.map(({ key, job }) => [key, job])), apart: there.length < known.length };
}

/** Objects that are no longer those that were written, and hold the same: what stands there decides, whoever wrote it. */
async function filesAlike(workspace: Workspace, { place, files }: Wanted, state: DeployedState, tree: readonly WorkspaceObject[]): Promise<Found['alike']> {
  const others = files.filter(({ object, type }) => {
    const [there, known] = [objectAt(place, object, tree), state.files[object]];
    return there?.object_type === type && !(known !== undefined && known.object_id === there.object_id && known.modified_at === there.modified_at);
  });
  const alike = await Promise.all(
    others.map(async ({ object, type, content, sha256 }) => {
      // What the workspace does not give out (it is too large, for example) is written anew.
      const there = await exportFile(workspace, `${place.files}/${object}`).catch((error: unknown) => (error instanceof Failure && error.kind === 'remote' && !error.retriable ? undefined : Promise.reject(error)));
      return there !== undefined && (type === 'FILE' ? there.equals(content) : sourceOf(there) === sourceOf(content)) ? [[object, sha256] as const] : [];
    }),
  );
  return Object.fromEntries(alike.flat());
}

/** A notebook's source without what the workspace does to it: ends of lines, and blank ones at its end. */
function sourceOf(content: Buffer): string {
  return content.toString('utf8').replaceAll('\r\n', '\n').trimEnd();
}

/**
 * What stands in the folders that files of the bundle lie in, or lay in when it was deployed last; each listing is a request, so what nothing of
 * ours is in is not looked at. Folders come first, and only those that are there; `only` names those that are looked at, absolute.
 */
export async function listFiles(workspace: Workspace, { place, files }: Pick<Wanted, 'place' | 'files'>, state: DeployedState, only?: readonly string[]): Promise<WorkspaceObject[]> {
  const objects = [...files.map((file) => file.object), ...Object.keys(state.files)];
  const folders = only ?? objects.map((object) => posix.dirname(`${place.files}/${object}`));
  const listed = await Promise.all([...new Set(folders)].sort().map(async (path) => ({ path, objects: await listFolder(workspace, path) })));
  const there = listed.filter(({ objects }) => objects !== undefined).map(({ path }): WorkspaceObject => ({ path, object_type: 'DIRECTORY' }));
  // A folder that is listed itself need not be told by the one above it.
  return [...there, ...listed.flatMap(({ objects = [] }) => objects).filter(({ path, object_type: type }) => type !== 'DIRECTORY' || !folders.includes(asWorkspace(path)))];
}
