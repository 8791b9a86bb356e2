import { posix } from 'node:path';
import { Failure } from '../errors.ts';
import type { Workspace } from './client.ts';
import { codeHash, codeTag, runsByItself } from './code.ts';
import { asWorkspace, objectAt, plan, type Found, type Wanted, type WorkspaceStep } from './deploy.ts';
import { listFiles, observe } from './observe.ts';
import { createJob, createScope, deleteJob, deleteObject, deleteSecret, importFile, listSecrets, mkdirs, putSecret, resetJob, updateJob, writeFile, type WorkspaceObject } from './rest.ts';
import { MADE_KEY, fingerprintKey } from './scope.ts';
import { remembered, writeState, type DeployedState } from './state.ts';

/** What the history says of this deployment, and the runs that go on while it changes what they execute. */
export type Occasion = { at: string; what: readonly string[]; activeRuns: readonly { key: string; runId: number }[]; rollbackTo?: number };

/**
 * Does the steps in order, reads back what they touched, and remembers what was written; `said` hears of each step before it is
 * done. Failure APPLY_DID_NOT_TAKE where the workspace then is not as wanted. Returns the jobs' ids by key.
 */
export async function apply(workspace: Workspace, wanted: Wanted, found: Found, steps: readonly WorkspaceStep[], said: (step: WorkspaceStep) => void, occasion?: Occasion): Promise<Record<string, number>> {
  const alike = Object.keys(found.alike).length > 0;
  const jobs: Record<string, number> = Object.fromEntries(Object.entries(found.jobs).map(([key, job]) => [key, job.job_id]));
  for (const step of steps) {
    said(step);
    await doStep(workspace, wanted, step, jobs);
    // A job that exists but is not remembered would be found by its name only; a renamed one not at all.
    if (step.do === 'create job') await writeState(workspace, wanted.place, { ...found.state, jobsApart: undefined, jobs: { ...found.state.jobs, ...jobs } });
  }
  const tagged = steps.length > 0 || alike ? await tagCode(workspace, wanted, found, steps) : {};
  const forgotten = alike || Object.entries(jobs).some(([key, id]) => found.state.jobs[key] !== id);
  if (steps.length === 0 && !forgotten) return jobs;
  const again = await observeAgain(workspace, wanted, { ...found, jobs: { ...found.jobs, ...tagged } }, steps);
  const state = await stateAfter({ workspace, wanted, before: found.state, again, jobs, occasion: steps.length === 0 && !alike ? undefined : occasion && { ...occasion, what: [...occasion.what, ...takenIn(found)] }, activeRuns: occasion?.activeRuns ?? [] });
  await writeState(workspace, wanted.place, state);
  const left = plan(wanted, { ...again, state });
  if (left.length === 0) return jobs;
  throw new Failure({
    code: 'APPLY_DID_NOT_TAKE',
    kind: 'remote',
    message: `the workspace took every step and is still not as the bundle says: ${left.map((step) => `${step.do} ${'path' in step ? step.path : 'scope' in step ? step.scope : step.name}`).join(', ')}`,
    hint: 'See what differs: `streamgauge plan`; somebody else may be changing it.',
  });
}

/** Only what the steps touched is asked for again. */
async function observeAgain(workspace: Workspace, wanted: Wanted, found: Found, steps: readonly WorkspaceStep[]): Promise<Found> {
  const does = (...kinds: WorkspaceStep['do'][]): boolean => steps.some((step) => kinds.includes(step.do));
  if (does('create job', 'update job', 'tag job', 'delete job')) return observe(workspace, wanted, { written: true });
  const [tree, secrets] = await Promise.all([
    does('upload', 'delete', 'make folder') ? treeAgain(workspace, wanted, found, steps) : found.tree,
    does('create secret scope', 'put secrets') ? listSecrets(workspace, wanted.scope.name) : found.secrets,
  ]);
  return { ...found, tree, alike: {}, secrets };
}

/** Files that were written over or deleted changed their own folders only: these are listed. */
async function treeAgain(workspace: Workspace, wanted: Wanted, found: Found, steps: readonly WorkspaceStep[]): Promise<Found['tree']> {
  if (steps.some((step) => step.do === 'make folder')) return listFiles(workspace, wanted, found.state);
  const folderOf = (path: string): string => posix.dirname(asWorkspace(path));
  const folders = steps.flatMap((step) => (step.do === 'upload' || step.do === 'delete' ? [folderOf(step.path)] : []));
  const stays = ({ path }: WorkspaceObject): boolean => !folders.includes(asWorkspace(path)) && !folders.includes(folderOf(path));
  return [...found.tree.filter(stays), ...(await listFiles(workspace, wanted, found.state, folders))];
}

async function doStep(workspace: Workspace, wanted: Wanted, step: WorkspaceStep, jobs: Record<string, number>): Promise<void> {
  switch (step.do) {
    case 'make folder':
      return mkdirs(workspace, step.path);
    case 'upload': {
      // Written under the file's own name: the workspace itself takes a notebook's extension off. JSON bodies end at 10 MB.
      const write = step.type === 'NOTEBOOK' ? importFile : writeFile;
      return write(workspace, `${wanted.place.files}/${step.file}`, contentOf(wanted, step.file));
    }
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
    case 'tag job':
      return updateJob(workspace, step.job_id, { tags: settingsOf(wanted, step.key).tags });
    case 'delete job':
      return deleteJob(workspace, step.job_id);
  }
}

/** The fingerprint goes first and comes last: a crash in between leaves none, and the next deployment writes everything again. */
async function putSecrets(workspace: Workspace, { scope }: Wanted, step: Extract<WorkspaceStep, { do: 'put secrets' }>): Promise<void> {
  for (const key of step.stale) await deleteSecret(workspace, step.scope, key);
  for (const key of step.keys) {
    const secret = scope.secrets[key];
    if (secret === undefined) throw unknownTarget(`secret ${key}`);
    await putSecret(workspace, step.scope, key, secret.reveal());
  }
  await putSecret(workspace, step.scope, fingerprintKey(scope.secrets), 'of the secrets beside it');
}

/** What the history says of a deployment that somebody else did, or that was killed before it could remember. */
function takenIn({ alike }: Found): string[] {
  const count = Object.keys(alike).length;
  return count === 0 ? [] : [`take in ${count} file${count === 1 ? '' : 's'} that stood there as they should`];
}

type After = { workspace: Workspace; wanted: Wanted; before: DeployedState; again: Found; jobs: Record<string, number>; occasion: Occasion | undefined; activeRuns: Occasion['activeRuns'] };

async function stateAfter({ workspace, wanted, before, again, jobs, occasion, activeRuns }: After): Promise<DeployedState> {
  const { place, files, jobs: wantedJobs } = wanted;
  const entries = files.flatMap((file) => {
    const there = objectAt(place, file.object, again.tree);
    return there === undefined ? [] : [[file.object, { sha256: file.sha256, object_id: there.object_id, modified_at: there.modified_at }] as const];
  });
  const kept = wantedJobs.flatMap(({ key }) => (jobs[key] === undefined ? [] : [[key, jobs[key]] as const]));
  const codeOf = ({ key, settings }: Wanted['jobs'][number]) => {
    const hash = codeHash(wanted, key);
    const known = before.code?.[key];
    return { hash, tag: codeTag(settings), staleRuns: known?.hash === hash ? known.staleRuns : activeRuns.filter((run) => run.key === key).map(({ runId }) => runId) };
  };
  const code = Object.fromEntries(wantedJobs.filter(({ settings }) => runsByItself(settings) || codeTag(settings) !== undefined).map((job) => [job.key, codeOf(job)]));
  const next = occasion && {
    at: occasion.at,
    by: wanted.who.userName,
    what: occasion.what,
    files: Object.fromEntries(files.map((file) => [file.path, file.sha256])),
    jobs: Object.fromEntries(wantedJobs.map(({ key, settings }) => [key, settings])),
    ...(occasion.rollbackTo === undefined ? {} : { rollbackTo: occasion.rollbackTo }),
  };
  const history = next === undefined ? { history: before.history, contents: before.contents } : await remembered(workspace, place, before, next, files.map((file) => file.content));
  return { version: 1, files: Object.fromEntries(entries), jobs: Object.fromEntries(kept), ...(again.jobsApart ? { jobsApart: true } : {}), code, ...history };
}

/** The tag of each job whose settings stay while what it executes has changed; the jobs as they are then. The next plan reads whether it took. */
async function tagCode(workspace: Workspace, wanted: Wanted, found: Found, steps: readonly WorkspaceStep[]): Promise<Found['jobs']> {
  const written = new Set(steps.flatMap((step) => (step.do === 'create job' || step.do === 'update job' || step.do === 'tag job' ? [step.key] : [])));
  const outdated = wanted.jobs.flatMap(({ key }) => {
    const job = found.jobs[key];
    return job === undefined || written.has(key) || codeTag(job.settings) === codeTag(settingsOf(wanted, key)) ? [] : [[key, { ...job, settings: { ...job.settings, tags: settingsOf(wanted, key).tags } }] as const];
  });
  await Promise.all(outdated.map(([, { job_id: id, settings: { tags } }]) => updateJob(workspace, id, { tags })));
  return Object.fromEntries(outdated);
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
