import { Failure } from '../errors.ts';
import type { Workspace } from './client.ts';
import type { Found, Step, Wanted } from './deploy.ts';
import { createJob, createScope, deleteJob, deleteObject, deleteSecret, importFile, listTree, mkdirs, putSecret, resetJob } from './rest.ts';
import { MADE_KEY, fingerprintKey } from './scope.ts';
import { writeState, type DeployedState } from './state.ts';

/** Does the steps in order and remembers what was written; `said` hears of each step before it is done. */
export async function apply(workspace: Workspace, wanted: Wanted, found: Found, steps: readonly Step[], said: (step: Step) => void): Promise<Record<string, number>> {
  const jobs: Record<string, number> = Object.fromEntries(Object.entries(found.jobs).map(([key, job]) => [key, job.job_id]));
  const state = async (): Promise<void> => writeState(workspace, wanted.place, await stateNow(workspace, wanted, jobs));
  for (const step of steps) {
    said(step);
    await doStep(workspace, wanted, step, jobs);
    // A job that exists but is not remembered would be found by its name only; a renamed one not at all.
    if (step.do === 'create job') await state();
  }
  const since = steps.slice(steps.findLastIndex((step) => step.do === 'create job') + 1);
  const unknown = steps.length === since.length && Object.entries(jobs).some(([key, id]) => found.state.jobs[key] !== id);
  if (unknown || since.some((step) => ['upload', 'delete', 'delete job'].includes(step.do))) await state();
  return jobs;
}

async function doStep(workspace: Workspace, wanted: Wanted, step: Step, jobs: Record<string, number>): Promise<void> {
  switch (step.do) {
    case 'make folder':
      return mkdirs(workspace, step.path);
    case 'upload':
      // Written under the file's own name: the workspace itself takes a notebook's extension off.
      return importFile(workspace, `${wanted.place.files}/${step.file}`, contentOf(wanted, step.file));
    case 'delete':
      return deleteObject(workspace, step.path);
    case 'create secret scope':
      await createScope(workspace, step.scope);
      return putSecret(workspace, step.scope, MADE_KEY, 'made by streamgauge deploy; destroy removes the scope');
    case 'put secrets':
      return putSecrets(workspace, wanted, step);
    case 'create job':
      jobs[step.key] = await createJob(workspace, settingsOf(wanted, step.key));
      return undefined;
    case 'update job':
      return resetJob(workspace, step.job_id, settingsOf(wanted, step.key));
    case 'delete job':
      return deleteJob(workspace, step.job_id);
  }
}

/** The fingerprint goes first and comes last: a crash in between leaves none, and the next deployment writes everything again. */
async function putSecrets(workspace: Workspace, { scope }: Wanted, step: Extract<Step, { do: 'put secrets' }>): Promise<void> {
  for (const key of step.stale) await deleteSecret(workspace, step.scope, key);
  for (const key of step.keys) {
    const secret = scope.secrets[key];
    if (secret === undefined) throw unknownTarget(`secret ${key}`);
    await putSecret(workspace, step.scope, key, secret.reveal());
  }
  await putSecret(workspace, step.scope, fingerprintKey(scope.secrets), 'of the secrets beside it');
}

async function stateNow(workspace: Workspace, { place, files, jobs: wantedJobs }: Wanted, jobs: Record<string, number>): Promise<DeployedState> {
  const tree = await listTree(workspace, place.files);
  const entries = files.flatMap((file) => {
    const there = tree.find((object) => object.path.replace(/^\/Workspace/, '') === `${place.files}/${file.object}`.replace(/^\/Workspace/, ''));
    return there === undefined ? [] : [[file.object, { sha256: file.sha256, object_id: there.object_id, modified_at: there.modified_at }] as const];
  });
  const kept = wantedJobs.flatMap(({ key }) => (jobs[key] === undefined ? [] : [[key, jobs[key]] as const]));
  return { version: 1, files: Object.fromEntries(entries), jobs: Object.fromEntries(kept) };
}

function contentOf(wanted: Wanted, path: string): Buffer {
  const file = wanted.files.find((candidate) => candidate.path === path);
  if (file === undefined) throw unknownTarget(`file ${path}`);
  return file.content;
}

function settingsOf(wanted: Wanted, key: string): Wanted['jobs'][number]['settings'] {
  const job = wanted.jobs.find((candidate) => candidate.key === key);
  if (job === undefined) throw unknownTarget(`job ${key}`);
  return job.settings;
}

function unknownTarget(what: string): Failure {
  return new Failure({ code: 'PLAN_OUTDATED', kind: 'usage', message: `the plan names ${what}, which the configuration does not have`, hint: 'Plan again: `streamgauge deploy`.' });
}
