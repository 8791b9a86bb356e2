import { invalid } from '../refusal.ts';
import { jobParameters } from './parameters.ts';
import { isOver, latestAttempts } from './state.ts';
import type { Attempt, Job, Result, Run, Standing } from './state.ts';

const tasksPerPage = 100;

/** A job as `get` and `list` answer it: its settings exactly as they were sent, or the CLI's next plan shows a change. */
export function jobView(job: Job): Record<string, unknown> & { settings: Job['settings'] } {
  const runAs = job.settings.run_as as { user_name?: string; service_principal_name?: string } | undefined;
  return {
    job_id: job.job_id,
    creator_user_name: job.creator_user_name,
    run_as_user_name: runAs?.user_name ?? runAs?.service_principal_name ?? job.creator_user_name,
    created_time: job.created_time,
    settings: { ...job.settings, format: 'MULTI_TASK' },
  };
}

/** A run without its tasks. */
export function runView(run: Run, baseUrl: string): Record<string, unknown> {
  const { job_parameters: _, ...overriding } = run.overrides;
  return {
    job_id: run.job_id,
    run_id: run.run_id,
    number_in_job: run.run_id,
    original_attempt_run_id: run.run_id,
    run_name: run.settings.name ?? 'Untitled',
    run_type: run.run_type,
    trigger: run.trigger,
    creator_user_name: run.creator_user_name,
    run_page_url: `${baseUrl}/#job/${run.job_id}/run/${run.run_id}`,
    format: 'MULTI_TASK',
    ...standingView(run),
    run_duration: run.end_time > 0 ? run.end_time - run.start_time : 0,
    job_parameters: jobParameters(run),
    ...(Object.keys(overriding).length > 0 && { overriding_parameters: overriding }),
    ...(run.trigger === 'PERIODIC' && run.settings.schedule && { schedule: run.settings.schedule }),
    ...(run.settings.job_clusters !== undefined && { job_clusters: run.settings.job_clusters }),
  };
}

/** Every attempt of every task, oldest first: a task that was retried or repaired stands there more than once. */
export function attemptViews(run: Run, baseUrl: string): Record<string, unknown>[] {
  return run.attempts.map((attempt) => attemptView(run, attempt, baseUrl));
}

/** One attempt, as an entry of `tasks` and as the answer to `get` with its own id. */
export function attemptView(run: Run, attempt: Attempt, baseUrl: string): Record<string, unknown> {
  const task = run.settings.tasks?.find((other) => other.task_key === attempt.task_key);
  const first = run.attempts.find((other) => other.task_key === attempt.task_key) ?? attempt;
  return {
    ...task,
    ...(task?.condition_task && { condition_task: { ...task.condition_task, outcome: attempt.exit_value } }),
    ...(task?.notebook_task && attempt.parameters && { resolved_values: { notebook_task: { base_parameters: attempt.parameters } } }),
    run_id: attempt.run_id,
    job_run_id: run.run_id,
    task_key: attempt.task_key,
    attempt_number: attempt.attempt_number,
    original_attempt_run_id: first.run_id,
    run_page_url: `${baseUrl}/#job/${run.job_id}/run/${attempt.run_id}`,
    ...standingView(attempt),
  };
}

/** The original run and its repairs, oldest first. */
export function repairHistory(run: Run): Record<string, unknown>[] {
  if (run.repairs.length === 0) return [{ type: 'ORIGINAL', ...standingView(run), task_run_ids: run.attempts.map((attempt) => attempt.run_id) }];
  return run.repairs.map(({ id, task_run_ids, ...standing }) => ({ ...(id > 0 ? { type: 'REPAIR', id } : { type: 'ORIGINAL' }), ...standingView(standing), task_run_ids }));
}

/** The attempt whose output a run id stands for: its own, or that of a run's only task; 400 otherwise. */
export function attemptOf(run: Run, id: number): Attempt {
  const own = run.attempts.find((attempt) => attempt.run_id === id);
  const [only, ...others] = latestAttempts(run).values();
  if (own ?? (others.length === 0 && only)) return (own ?? only) as Attempt;
  throw invalid('Retrieving the output of runs with multiple tasks is not supported. Please retrieve the output of each individual task run instead.');
}

/** The page of `tasks` that a token asks for, and the token of the next one. */
export function taskPage<T>(tasks: T[], token: string | undefined): { tasks: T[]; has_more?: true; next_page_token?: string } {
  const from = offsetOf(token);
  const rest = from + tasksPerPage < tasks.length ? { has_more: true as const, next_page_token: String(from + tasksPerPage) } : {};
  return { tasks: tasks.slice(from, from + tasksPerPage), ...rest };
}

/** A page token's number, 0 without one; 400 for a token that was not given out here. */
export function offsetOf(token: string | undefined): number {
  if (token !== undefined && !/^\d{0,16}$/.test(token)) throw invalid(`Invalid page token: ${token}`);
  return Number(token ?? 0);
}

function standingView(standing: Standing) {
  const { life, result, message, start_time, end_time } = standing;
  const stopped = result === 'CANCELED' || result === 'TIMEDOUT';
  return {
    state: {
      life_cycle_state: life,
      ...(isOver(standing) && { result_state: result }),
      state_message: message,
      user_cancelled_or_timedout: stopped,
      ...(life === 'QUEUED' && { queue_reason: message }),
    },
    status: {
      state: isOver(standing) ? 'TERMINATED' : life === 'WAITING_FOR_RETRY' ? 'WAITING' : life,
      ...(isOver(standing) && { termination_details: { ...termination(standing), message } }),
      ...(life === 'QUEUED' && { queue_details: { code: 'MAX_CONCURRENT_RUNS_REACHED', message } }),
    },
    start_time,
    end_time,
    setup_duration: 0,
    execution_duration: end_time > 0 ? end_time - start_time : 0,
    cleanup_duration: 0,
  };
}

function termination({ life, result = 'FAILED' }: Standing): { code: string; type: string } {
  if (life === 'INTERNAL_ERROR') return { code: 'INTERNAL_ERROR', type: 'INTERNAL_ERROR' };
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
  const fine = ['SUCCESS', 'SUCCESS_WITH_FAILURES', 'EXCLUDED'].includes(result);
  return { code: codes[result], type: fine ? 'SUCCESS' : 'CLIENT_ERROR' };
}
