import type { Workspace } from './client.ts';
import { isAlreadyThere, isNotFound } from './failures.ts';

/** The calling identity. */
export type Me = { userName: string; displayName?: string };

/** One object of the workspace tree. */
export type WorkspaceObject = { path: string; object_type: 'DIRECTORY' | 'NOTEBOOK' | 'FILE' | 'REPO' | 'LIBRARY'; object_id?: number; language?: string; modified_at?: number };

/** A secret without its value. */
export type SecretKey = { key: string; last_updated_timestamp?: number };

export type JobSettings = Readonly<Record<string, unknown>> & { name?: string; tags?: Record<string, string> };
export type Job = { job_id: number; settings: JobSettings; created_time?: number; creator_user_name?: string };

export type RunState = { life_cycle_state?: string; result_state?: string; state_message?: string; queue_reason?: string };
export type RunTask = { run_id: number; task_key: string; state: RunState; attempt_number?: number; start_time?: number; end_time?: number; execution_duration?: number; setup_duration?: number };
export type Run = { run_id: number; job_id?: number; run_name?: string; run_page_url?: string; state: RunState; start_time?: number; end_time?: number; tasks?: RunTask[]; job_parameters?: { name: string; default?: string; value?: string }[] };
export type RunOutput = { error?: string; error_trace?: string; logs?: string; logs_truncated?: boolean; notebook_output?: { result?: string; truncated?: boolean } };

/** Jobs that one look at the workspace's newest shows: each comes with its tasks, so a page of a hundred would be large. */
const NEWEST = 25;
/** The most runs that one call answers. */
const RUNS = 25;

async function orNothing<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Who is asking: a service principal by its id; anybody else is asked for, again only where that was very long ago, or something was refused since. */
export async function me(workspace: Workspace): Promise<Me> {
  const principal = await workspace.principal?.();
  if (principal !== undefined) return { userName: principal };
  const known = await workspace.identities?.known();
  if (known !== undefined) return known;
  return askWho(workspace);
}

/** The same, whatever is remembered. */
export async function askWho(workspace: Workspace): Promise<Me> {
  const who = await workspace.request<Me>({ method: 'GET', path: '/api/2.0/preview/scim/v2/Me' });
  await workspace.identities?.remember(who);
  return who;
}

/** The object at `path`, or undefined. */
export async function getStatus(workspace: Workspace, path: string): Promise<WorkspaceObject | undefined> {
  return orNothing(workspace.request<WorkspaceObject>({ method: 'GET', path: '/api/2.0/workspace/get-status', query: { path } }));
}

/** Makes the folder and its parents; no error where it exists. */
export async function mkdirs(workspace: Workspace, path: string): Promise<void> {
  await workspace.request({ method: 'POST', path: '/api/2.0/workspace/mkdirs', body: { path }, idempotent: true });
}

/** Writes a file or, where its first line says so, a notebook (its extension goes); replaces what is there. */
export async function importFile(workspace: Workspace, path: string, content: Buffer): Promise<void> {
  const body = { path, content: content.toString('base64'), format: 'AUTO', overwrite: true };
  await workspace.request({ method: 'POST', path: '/api/2.0/workspace/import', body, idempotent: true });
}

/** The bytes of a file or the source of a notebook, or undefined where there is none. */
export async function exportFile(workspace: Workspace, path: string): Promise<Buffer | undefined> {
  return orNothing(workspace.request<Buffer>({ method: 'GET', path: '/api/2.0/workspace/export', query: { path, direct_download: true }, raw: true }));
}

/** What stands in the folder itself; undefined where there is no such folder. */
export async function listFolder(workspace: Workspace, path: string): Promise<WorkspaceObject[] | undefined> {
  const answer = await orNothing(workspace.request<{ objects?: WorkspaceObject[] }>({ method: 'GET', path: '/api/2.0/workspace/list', query: { path } }));
  return answer && (answer.objects ?? []);
}

/** Names of what stands in a folder of a Volume; empty where there is no such folder. */
export async function listDirectory(workspace: Workspace, path: string): Promise<string[]> {
  const address = `/api/2.0/fs/directories${path.split('/').map(encodeURIComponent).join('/')}`;
  const names: string[] = [];
  let token: string | undefined;
  do {
    const page = await orNothing(workspace.request<{ contents?: { name: string }[]; next_page_token?: string }>({ method: 'GET', path: address, query: { page_token: token } }));
    names.push(...(page?.contents ?? []).map(({ name }) => name));
    token = page?.next_page_token || undefined;
  } while (token !== undefined);
  return names;
}

/** Deletes an object; no error where it is gone. */
export async function deleteObject(workspace: Workspace, path: string, recursive = false): Promise<void> {
  await orNothing(workspace.request({ method: 'POST', path: '/api/2.0/workspace/delete', body: { path, recursive }, idempotent: true }));
}

/** Creates a scope; no error where it exists. */
export async function createScope(workspace: Workspace, scope: string): Promise<void> {
  await workspace.request({ method: 'POST', path: '/api/2.0/secrets/scopes/create', body: { scope } }).catch((error: unknown) => {
    if (!isAlreadyThere(error)) throw error;
  });
}

/** Keys in a scope and when each was last written (epoch ms); undefined where there is no such scope. */
export async function listSecrets(workspace: Workspace, scope: string): Promise<SecretKey[] | undefined> {
  const answer = await orNothing(workspace.request<{ secrets?: SecretKey[] }>({ method: 'GET', path: '/api/2.0/secrets/list', query: { scope } }));
  return answer === undefined ? undefined : (answer.secrets ?? []);
}

/** Writes one secret; the value goes into the request's body and nowhere else. */
export async function putSecret(workspace: Workspace, scope: string, key: string, value: string): Promise<void> {
  await workspace.request({ method: 'POST', path: '/api/2.0/secrets/put', body: { scope, key, string_value: value }, idempotent: true });
}

/** Deletes one secret; no error where it is gone. */
export async function deleteSecret(workspace: Workspace, scope: string, key: string): Promise<void> {
  await orNothing(workspace.request({ method: 'POST', path: '/api/2.0/secrets/delete', body: { scope, key }, idempotent: true }));
}

/** Deletes a scope with all that is in it; no error where it is gone. */
export async function deleteScope(workspace: Workspace, scope: string): Promise<void> {
  await orNothing(workspace.request({ method: 'POST', path: '/api/2.0/secrets/scopes/delete', body: { scope }, idempotent: true }));
}

/** Jobs, page by page, all or those with exactly this name; settings without tasks. */
export async function listJobs(workspace: Workspace, name?: string): Promise<Job[]> {
  const jobs: Job[] = [];
  let token: string | undefined;
  do {
    const page: { jobs?: Job[]; next_page_token?: string } = await workspace.request({ method: 'GET', path: '/api/2.2/jobs/list', query: { limit: 100, name, page_token: token } });
    jobs.push(...(page.jobs ?? []));
    token = page.next_page_token || undefined;
  } while (token !== undefined);
  return jobs;
}

/** The workspace's newest jobs, with tasks and clusters (the first hundred of each; `has_more` where a job has more). */
export async function newestJobs(workspace: Workspace): Promise<(Job & { has_more?: boolean })[]> {
  return (await workspace.request<{ jobs?: (Job & { has_more?: boolean })[] }>({ method: 'GET', path: '/api/2.2/jobs/list', query: { limit: NEWEST, expand_tasks: true } })).jobs ?? [];
}

/** A job with all its tasks, or undefined. */
export async function getJob(workspace: Workspace, jobId: number): Promise<Job | undefined> {
  const first = await orNothing(workspace.request<Job & { next_page_token?: string }>({ method: 'GET', path: '/api/2.2/jobs/get', query: { job_id: jobId } }));
  if (first === undefined) return undefined;
  const tasks = [...((first.settings.tasks as unknown[] | undefined) ?? [])];
  for (let token = first.next_page_token; token; ) {
    const page: Job & { next_page_token?: string } = await workspace.request({ method: 'GET', path: '/api/2.2/jobs/get', query: { job_id: jobId, page_token: token } });
    tasks.push(...((page.settings.tasks as unknown[] | undefined) ?? []));
    token = page.next_page_token;
  }
  return { ...first, settings: tasks.length === 0 ? first.settings : { ...first.settings, tasks } };
}

/** Creates a job and returns its id. Not repeated after a lost answer: that could make two. */
export async function createJob(workspace: Workspace, settings: JobSettings): Promise<number> {
  return (await workspace.request<{ job_id: number }>({ method: 'POST', path: '/api/2.2/jobs/create', body: settings })).job_id;
}

/** Replaces all settings of a job. */
export async function resetJob(workspace: Workspace, jobId: number, settings: JobSettings): Promise<void> {
  await workspace.request({ method: 'POST', path: '/api/2.2/jobs/reset', body: { job_id: jobId, new_settings: settings }, idempotent: true });
}

/** Deletes a job; no error where it is gone. */
export async function deleteJob(workspace: Workspace, jobId: number): Promise<void> {
  await orNothing(workspace.request({ method: 'POST', path: '/api/2.2/jobs/delete', body: { job_id: jobId }, idempotent: true }));
}

/** Starts a job and returns the run's id; the token makes it safe to ask twice: the second call returns the first run. */
export async function runNow(workspace: Workspace, jobId: number, parameters: Record<string, string>, token: string): Promise<number> {
  const body = { job_id: jobId, idempotency_token: token, ...(Object.keys(parameters).length === 0 ? {} : { job_parameters: parameters }) };
  return (await workspace.request<{ run_id: number }>({ method: 'POST', path: '/api/2.2/jobs/run-now', body, idempotent: true })).run_id;
}

/** Starts tasks that belong to no job, once, and returns the run's id; the token makes it safe to ask twice. */
export async function submitRun(workspace: Workspace, name: string, tasks: readonly object[], token: string): Promise<number> {
  return (await workspace.request<{ run_id: number }>({ method: 'POST', path: '/api/2.2/jobs/runs/submit', body: { run_name: name, idempotency_token: token, tasks }, idempotent: true })).run_id;
}

/** A run with all its tasks. */
export async function getRun(workspace: Workspace, runId: number): Promise<Run> {
  const run = await workspace.request<Run & { next_page_token?: string }>({ method: 'GET', path: '/api/2.2/jobs/runs/get', query: { run_id: runId } });
  const tasks = [...(run.tasks ?? [])];
  for (let token = run.next_page_token; token; ) {
    const page: Run & { next_page_token?: string } = await workspace.request({ method: 'GET', path: '/api/2.2/jobs/runs/get', query: { run_id: runId, page_token: token } });
    tasks.push(...(page.tasks ?? []));
    token = page.next_page_token;
  }
  return { ...run, tasks };
}

/** What one task's run left behind: its error, or its output. */
export async function getRunOutput(workspace: Workspace, taskRunId: number): Promise<RunOutput> {
  return workspace.request<RunOutput>({ method: 'GET', path: '/api/2.2/jobs/runs/get-output', query: { run_id: taskRunId } });
}

/** Runs the tasks of an ended run that did not succeed, and what depends on them, once more with the same parameters. */
export async function repairRun(workspace: Workspace, runId: number, latestRepairId: number | undefined): Promise<number> {
  const body = { run_id: runId, rerun_all_failed_tasks: true, ...(latestRepairId === undefined ? {} : { latest_repair_id: latestRepairId }) };
  return (await workspace.request<{ repair_id: number }>({ method: 'POST', path: '/api/2.2/jobs/runs/repair', body })).repair_id;
}

/** The id of a run's last repair, or undefined where it was never repaired. */
export async function lastRepair(workspace: Workspace, runId: number): Promise<number | undefined> {
  const query = { run_id: runId, include_history: true };
  const run = await workspace.request<{ repair_history?: { id?: number }[] }>({ method: 'GET', path: '/api/2.2/jobs/runs/get', query });
  return run.repair_history?.findLast((repair) => repair.id !== undefined)?.id;
}

/** Changes some settings of a job and leaves the others. */
export async function updateJob(workspace: Workspace, jobId: number, settings: JobSettings): Promise<void> {
  await workspace.request({ method: 'POST', path: '/api/2.2/jobs/update', body: { job_id: jobId, new_settings: settings }, idempotent: true });
}

/** Writes a file that must not be there yet; false where it is, 'no folder' where its folder is missing. */
export async function createFile(workspace: Workspace, path: string, content: Buffer): Promise<boolean | 'no folder'> {
  const address = `/api/2.0/workspace-files/import-file/${encodeURIComponent(path.replace(/^\//, ''))}`;
  try {
    await workspace.request({ method: 'POST', path: address, query: { overwrite: false }, bytes: content });
    return true;
  } catch (error) {
    if (isNotFound(error)) return 'no folder';
    if (isAlreadyThere(error)) return false;
    throw error;
  }
}

/** Writes a file of any size as it is; replaces what is there. */
export async function writeFile(workspace: Workspace, path: string, content: Buffer): Promise<void> {
  const address = `/api/2.0/workspace-files/import-file/${encodeURIComponent(path.replace(/^\//, ''))}`;
  await workspace.request({ method: 'POST', path: address, query: { overwrite: true }, bytes: content, idempotent: true });
}

/** Asks a run to stop; it ends a little later. */
export async function cancelRun(workspace: Workspace, runId: number): Promise<void> {
  await workspace.request({ method: 'POST', path: '/api/2.2/jobs/runs/cancel', body: { run_id: runId }, idempotent: true });
}

/** The newest runs of a job first, at most `limit` (up to 25). */
export async function listRuns(workspace: Workspace, jobId: number, options: { activeOnly?: boolean; limit?: number } = {}): Promise<Run[]> {
  const query = { job_id: jobId, limit: options.limit ?? RUNS, active_only: options.activeOnly };
  return (await workspace.request<{ runs?: Run[] }>({ method: 'GET', path: '/api/2.2/jobs/runs/list', query })).runs ?? [];
}

/** Runs of these jobs that go on: those of several jobs from one look at all that go on in the workspace, or, where that is too much for one answer, job by job. */
export async function runsGoingOn(workspace: Workspace, jobIds: readonly number[]): Promise<(Run & { job_id: number })[]> {
  if (jobIds.length > 1) {
    const { runs = [], next_page_token: more } = await workspace.request<{ runs?: Run[]; next_page_token?: string }>({ method: 'GET', path: '/api/2.2/jobs/runs/list', query: { limit: RUNS, active_only: true } });
    if (!more) return runs.flatMap((run) => (run.job_id !== undefined && jobIds.includes(run.job_id) ? [{ ...run, job_id: run.job_id }] : []));
  }
  return (await Promise.all(jobIds.map(async (id) => (await listRuns(workspace, id, { activeOnly: true })).map((run) => ({ ...run, job_id: id }))))).flat();
}
