import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { openRecords, type Records } from '../records.ts';
import type { Overrides, Settings } from './settings.ts';
import { taskLogs } from './tasklog.ts';

export type Job = { job_id: number; creator_user_name: string; created_time: number; settings: Settings };

export type Result =
  | 'SUCCESS' | 'SUCCESS_WITH_FAILURES' | 'FAILED' | 'TIMEDOUT' | 'CANCELED' | 'EXCLUDED'
  | 'UPSTREAM_FAILED' | 'UPSTREAM_CANCELED' | 'MAXIMUM_CONCURRENT_RUNS_REACHED';

export type LifeCycle =
  | 'BLOCKED' | 'QUEUED' | 'PENDING' | 'WAITING_FOR_RETRY' | 'RUNNING' | 'TERMINATING'
  | 'TERMINATED' | 'SKIPPED' | 'INTERNAL_ERROR';

/** Where a run or an attempt stands; times are epoch milliseconds, 0 for not yet. */
export type Standing = {
  life: LifeCycle;
  result?: Result;
  message: string;
  start_time: number;
  end_time: number;
  /** When its time is up: of a retry, to begin; of what runs, to be over. */
  due?: number;
  /** Why it is to stop: this becomes its result. */
  stop?: 'CANCELED' | 'TIMEDOUT';
};

/** One try of one task. */
export type Attempt = Standing & {
  run_id: number;
  task_key: string;
  attempt_number: number;
  /** 0 for the original run, then the number of the repair: retries are counted within it. */
  repair: number;
  /** Parameters as the task got them. */
  parameters?: Record<string, string>;
  exit_value?: string;
  error?: string;
  error_trace?: string;
  /** Task values that it set. */
  values: Record<string, unknown>;
};

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
  repairs: (Standing & { id: number })[];
  idempotency_token?: string;
};

export type Store = {
  jobs: Records<number, Job>;
  runs: Records<number, Run>;
  /** Forgets a run with the logs of its tasks. */
  dropRun(run: Run): void;
  logFile(taskRunId: number): string;
  /** Never given out before, in this process or an earlier one. */
  nextId(): number;
};

/** Jobs and runs in memory, each written through to its own file. */
export function openStore(stateDir: string, now: () => number): Store {
  const jobs = openRecords(join(stateDir, 'jobs'), (job: Job) => job.job_id);
  const runs = openRecords(join(stateDir, 'runs'), (run: Run) => run.run_id);
  const used = [...jobs.keys(), ...[...runs.values()].flatMap((run) => [run.run_id, ...run.attempts.map((a) => a.run_id), ...run.repairs.map((r) => r.id)])];
  const logFile = taskLogs(stateDir);
  let last = used.reduce((a, b) => Math.max(a, b), 0);
  return {
    jobs,
    runs,
    logFile,
    dropRun(run) {
      runs.drop(run.run_id);
      for (const attempt of run.attempts) rmSync(logFile(attempt.run_id), { force: true });
    },
    // The clock's part keeps ids of deleted jobs from coming back after a restart.
    nextId: () => (last = Math.max(last + 1, now())),
  };
}

/** True once nothing more can happen to it. */
export function isOver({ life }: Standing): boolean {
  return life === 'TERMINATED' || life === 'SKIPPED' || life === 'INTERNAL_ERROR';
}

/** The newest attempt of each task; asked for often, made anew only where there are more. */
export function latestAttempts(run: Run): ReadonlyMap<string, Attempt> {
  const known = latest.get(run.attempts);
  if (known?.of === run.attempts.length) return known.attempts;
  const attempts = new Map(run.attempts.map((attempt) => [attempt.task_key, attempt]));
  latest.set(run.attempts, { of: run.attempts.length, attempts });
  return attempts;
}

const latest = new WeakMap<Attempt[], { of: number; attempts: ReadonlyMap<string, Attempt> }>();
