import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { openRecords } from '../disk.ts';

export type TaskSettings = Record<string, unknown> & {
  task_key: string;
  depends_on?: { task_key: string; outcome?: string }[];
  run_if?: string;
  max_retries?: number;
  min_retry_interval_millis?: number;
  retry_on_timeout?: boolean;
  timeout_seconds?: number;
  notebook_task?: { notebook_path: string; base_parameters?: Record<string, string> };
  spark_python_task?: { python_file: string; parameters?: string[] };
  condition_task?: { op: string; left: string; right: string };
};

/** A job's settings as they were sent; what is not named here is kept and echoed. */
export type Settings = Record<string, unknown> & {
  name?: string;
  tasks?: TaskSettings[];
  parameters?: { name: string; default: string }[];
  max_concurrent_runs?: number;
  queue?: { enabled: boolean };
  timeout_seconds?: number;
  schedule?: { quartz_cron_expression: string; timezone_id: string; pause_status?: string };
  trigger?: { pause_status?: string; periodic?: { interval: number; unit: string } };
};

export type Job = { job_id: number; creator_user_name: string; created_time: number; settings: Settings };

export type Result =
  | 'SUCCESS' | 'SUCCESS_WITH_FAILURES' | 'FAILED' | 'TIMEDOUT' | 'CANCELED' | 'EXCLUDED'
  | 'UPSTREAM_FAILED' | 'UPSTREAM_CANCELED' | 'MAXIMUM_CONCURRENT_RUNS_REACHED';

export type LifeCycle =
  | 'BLOCKED' | 'QUEUED' | 'PENDING' | 'WAITING_FOR_RETRY' | 'RUNNING' | 'TERMINATING'
  | 'TERMINATED' | 'SKIPPED' | 'INTERNAL_ERROR';

/** Where a run or an attempt stands; times are epoch milliseconds, 0 for not yet. */
export type Standing = { life: LifeCycle; result?: Result; message: string; start_time: number; end_time: number };

/** One try of one task. */
export type Attempt = Standing & {
  run_id: number;
  task_key: string;
  attempt_number: number;
  /** The same number for all attempts of the original run, and for all of one repair: retries are counted within it. */
  repair: number;
  /** Parameters as the task got them. */
  parameters?: Record<string, string>;
  exit_value?: string;
  error?: string;
  error_trace?: string;
  /** Task values that it set. */
  values: Record<string, unknown>;
};

export type Overrides = { job_parameters?: Record<string, string>; notebook_params?: Record<string, string>; python_params?: string[] };

/** A run of a job, or a one-time run; `settings` are the job's when it started. */
export type Run = Standing & {
  run_id: number;
  job_id: number;
  run_type: 'JOB_RUN' | 'SUBMIT_RUN';
  trigger: 'ONE_TIME' | 'PERIODIC';
  creator_user_name: string;
  settings: Settings;
  overrides: Overrides;
  attempts: Attempt[];
  /** Empty until the first repair; then the original run (id 0), and each repair. */
  repairs: (Standing & { id: number; task_run_ids: number[] })[];
  idempotency_token?: string;
};

export type Store = {
  jobs: Map<number, Job>;
  runs: Map<number, Run>;
  saveJob(job: Job): void;
  saveRun(run: Run): void;
  dropJob(id: number): void;
  dropRun(id: number): void;
  logFile(taskRunId: number): string;
  /** Never given out before, in this process or an earlier one. */
  nextId(): number;
};

/** Jobs and runs in memory, each written through to its own file. */
export function openStore(stateDir: string, now: () => number): Store {
  const jobRecords = openRecords<Job>(join(stateDir, 'jobs'));
  const runRecords = openRecords<Run>(join(stateDir, 'runs'));
  const jobs = new Map(jobRecords.all().map((job) => [job.job_id, job]));
  const runs = new Map(runRecords.all().sort((a, b) => a.run_id - b.run_id).map((run) => [run.run_id, run]));
  const used = [...jobs.keys(), ...[...runs.values()].flatMap((run) => [run.run_id, ...run.attempts.map((a) => a.run_id), ...run.repairs.map((r) => r.id)])];
  const logs = join(stateDir, 'task-logs');
  mkdirSync(logs, { recursive: true, mode: 0o700 });
  const logFile = (taskRunId: number) => join(logs, `${taskRunId}.log`);
  let last = used.reduce((a, b) => Math.max(a, b), 0);
  return {
    jobs,
    runs,
    saveJob(job) {
      jobRecords.save(String(job.job_id), job);
      jobs.set(job.job_id, job);
    },
    saveRun(run) {
      runRecords.save(String(run.run_id), run);
      runs.set(run.run_id, run);
    },
    dropJob(id) {
      jobRecords.drop(String(id));
      jobs.delete(id);
    },
    logFile,
    dropRun(id) {
      runRecords.drop(String(id));
      for (const attempt of runs.get(id)?.attempts ?? []) rmSync(logFile(attempt.run_id), { force: true });
      runs.delete(id);
    },
    // The clock's part keeps ids of deleted jobs from coming back after a restart.
    nextId: () => (last = Math.max(last + 1, now())),
  };
}

/** True once nothing more can happen to it. */
export function isOver({ life }: Standing): boolean {
  return life === 'TERMINATED' || life === 'SKIPPED' || life === 'INTERNAL_ERROR';
}

/** The newest attempt of each task. */
export function latestAttempts(run: Run): Map<string, Attempt> {
  return new Map(run.attempts.map((attempt) => [attempt.task_key, attempt]));
}
