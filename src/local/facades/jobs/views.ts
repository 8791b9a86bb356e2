import { jobParameters, pageUrl } from '../../jobs/parameters.ts';
import { isOver } from '../../jobs/state.ts';
import type { Attempt, Job, Result, Run, Standing } from '../../jobs/state.ts';
import { invalid } from '../refusal.ts';
import { count } from '../routes.ts';

const tasksPerPage = 100;

/** Of a query: where a page begins. */
export const page = { page_token: count.default(0) };

/** A job as `get` and `list` answer it: its settings exactly as they were sent, or the CLI's next plan shows a change. */
export function jobView({ settings, ...job }: Job) {
  const { user_name, service_principal_name } = settings.run_as ?? {};
  return { ...job, run_as_user_name: user_name ?? service_principal_name ?? job.creator_user_name, settings: { ...settings, format: 'MULTI_TASK' } };
}

/** A run without its tasks. */
export function runView(run: Run, baseUrl: string): Record<string, unknown> {
  const { job_id, run_id, run_type, trigger, creator_user_name, settings } = run;
  return {
    job_id, run_id, run_type, trigger, creator_user_name,
    run_name: settings.name ?? 'Untitled',
    run_page_url: pageUrl({ baseUrl }, run),
    format: 'MULTI_TASK',
    job_parameters: jobParameters(run),
    ...(trigger === 'PERIODIC' && { schedule: settings.schedule }),
    ...standingView(run),
  };
}

/** One attempt, as an entry of `tasks` and as the answer to `get` with its own id; a task that was retried or repaired has several. */
export function attemptView(run: Run, attempt: Attempt, baseUrl: string): Record<string, unknown> {
  const { run_id, task_key, attempt_number } = attempt;
  return {
    ...run.settings.tasks?.find((task) => task.task_key === task_key),
    run_id, task_key, attempt_number,
    job_run_id: run.run_id,
    original_attempt_run_id: run.attempts.find((other) => other.task_key === task_key)?.run_id,
    run_page_url: pageUrl({ baseUrl }, run, run_id),
    ...standingView(attempt),
  };
}

/** The original run and its repairs, oldest first. */
export function repairHistory(run: Run): Record<string, unknown>[] {
  const all = run.repairs.length > 0 ? run.repairs : [{ ...run, id: 0 }];
  return all.map(({ id, ...standing }, index) => ({
    ...(id > 0 ? { type: 'REPAIR', id } : { type: 'ORIGINAL' }),
    ...standingView(standing),
    task_run_ids: run.attempts.filter(({ repair }) => repair === index).map((attempt) => attempt.run_id),
  }));
}

/** The page of `tasks` that a token asks for, and the token of the next one. */
export function taskPage<T>(tasks: T[], from: number): { tasks: T[]; has_more?: true; next_page_token?: string } {
  const end = from + tasksPerPage;
  return { tasks: tasks.slice(from, end), ...(end < tasks.length && { has_more: true, next_page_token: String(end) }) };
}

/** The newest entries that a token and a limit ask for: a page's token is the id of its last entry. */
export function newestPage<T>(all: T[], idOf: (entry: T) => number, { limit, page_token: from }: { limit: number; page_token: number }): { entries: T[]; has_more: boolean; next_page_token?: string } {
  const found = all.filter((entry) => from === 0 || idOf(entry) < from).sort((a, b) => idOf(b) - idOf(a));
  const entries = found.slice(0, limit);
  const last = entries.at(-1);
  return { entries, has_more: found.length > limit, ...(found.length > limit && last !== undefined && { next_page_token: String(idOf(last)) }) };
}

/** The attempt whose output a run id stands for: its own, or that of a run's only task; 400 otherwise. */
export function attemptOf(run: Run, id: number): Attempt {
  const only = new Set(run.attempts.map((attempt) => attempt.task_key)).size === 1 ? run.attempts.at(-1) : undefined;
  const found = run.attempts.find((attempt) => attempt.run_id === id) ?? only;
  if (found) return found;
  throw invalid('Retrieving the output of runs with multiple tasks is not supported. Please retrieve the output of each individual task run instead.');
}

const codes: Record<Result, string> = {
  SUCCESS: 'SUCCESS',
  SUCCESS_WITH_FAILURES: 'SUCCESS_WITH_FAILURES',
  FAILED: 'RUN_EXECUTION_ERROR',
  TIMEDOUT: 'CANCELED',
  CANCELED: 'USER_CANCELED',
  EXCLUDED: 'SKIPPED',
  UPSTREAM_FAILED: 'SKIPPED',
  UPSTREAM_CANCELED: 'SKIPPED',
  MAXIMUM_CONCURRENT_RUNS_REACHED: 'MAX_CONCURRENT_RUNS_EXCEEDED',
};

/** `state`, which the waiters read, and `status`, which came after it, of a run, an attempt or a repair. */
function standingView(standing: Standing) {
  const { life, result = 'FAILED', message, start_time, end_time } = standing;
  const queued = life === 'QUEUED';
  const times = { start_time, end_time, setup_duration: 0, execution_duration: end_time > 0 ? end_time - start_time : 0, cleanup_duration: 0 };
  const state = { life_cycle_state: life, state_message: message, user_cancelled_or_timedout: result === 'CANCELED' || result === 'TIMEDOUT' };
  if (!isOver(standing)) {
    const status = { state: life === 'WAITING_FOR_RETRY' ? 'WAITING' : life, ...(queued && { queue_details: { code: 'MAX_CONCURRENT_RUNS_REACHED', message } }) };
    return { state: { ...state, ...(queued && { queue_reason: message }) }, status, ...times };
  }
  const code = life === 'INTERNAL_ERROR' ? life : codes[result];
  const type = life === 'INTERNAL_ERROR' ? life : ['SUCCESS', 'SUCCESS_WITH_FAILURES', 'EXCLUDED'].includes(result) ? 'SUCCESS' : 'CLIENT_ERROR';
  return { state: { ...state, result_state: result }, status: { state: 'TERMINATED', termination_details: { code, type, message } }, ...times };
}
