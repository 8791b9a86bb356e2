import { EXIT } from '../errors.ts';
import type { Run, RunState } from './rest.ts';

/** How a run (or a task's run) ended. `exitCode` is what a shell should see. */
export type Outcome = Readonly<{ state: string; ok: boolean; exitCode: number; meaning: string }>;

type Ending = { ok?: true; exitCode: number; meaning: string };

/** Every end that the Jobs API knows (2.2), by `result_state` where there is one, else by `life_cycle_state`. */
const ENDINGS: Record<string, Ending> = {
  SUCCESS: { ok: true, exitCode: EXIT.ok, meaning: 'succeeded' },
  SUCCESS_WITH_FAILURES: { ok: true, exitCode: EXIT.ok, meaning: 'succeeded, though a task failed that the job does not depend on' },
  FAILED: { exitCode: EXIT.remote, meaning: 'failed' },
  TIMEDOUT: { exitCode: EXIT.deadline, meaning: 'ran into its own time limit' },
  CANCELED: { exitCode: EXIT.interrupted, meaning: 'was cancelled' },
  MAXIMUM_CONCURRENT_RUNS_REACHED: { exitCode: EXIT.remote, meaning: 'did not start: the job was already running' },
  UPSTREAM_FAILED: { exitCode: EXIT.remote, meaning: 'did not run: a task before it failed' },
  UPSTREAM_CANCELED: { exitCode: EXIT.interrupted, meaning: 'did not run: a task before it was cancelled' },
  EXCLUDED: { exitCode: EXIT.remote, meaning: 'did not run: the condition of its run_if was not met' },
  DISABLED: { exitCode: EXIT.remote, meaning: 'did not run: the task is disabled' },
  SKIPPED: { exitCode: EXIT.remote, meaning: 'did not start: the job was already running' },
  INTERNAL_ERROR: { exitCode: EXIT.remote, meaning: 'was ended by an error of the platform, not of the notebook' },
  BLOCKED: { exitCode: EXIT.remote, meaning: 'is blocked by a task before it' },
};

const TERMINAL = new Set(['TERMINATED', 'SKIPPED', 'INTERNAL_ERROR']);

/** The end of a run, or undefined while it goes on. What is not known is never taken for a success. */
export function outcomeOf(state: RunState): Outcome | undefined {
  const life = state.life_cycle_state ?? '';
  if (!TERMINAL.has(life)) return undefined;
  const name = state.result_state || (life === 'TERMINATED' ? 'UNKNOWN' : life);
  const ending = ENDINGS[name] ?? { exitCode: EXIT.remote, meaning: `ended in the state ${name}, which this version does not know` };
  return { state: name, ok: ending.ok === true, exitCode: ending.exitCode, meaning: ending.meaning };
}

/** What one attempt of a task is doing now. */
export type TaskNow = Readonly<{ task: string; runId: number; state: string; attempt: number; seconds: number; outcome: Outcome | undefined; message: string | undefined }>;

/** The tasks of a run in the order in which they started; the API lists every attempt, the last one counts. */
export function tasksOf(run: Run, nowMs: number = Date.now()): TaskNow[] {
  const attempts = attemptsOf(run, nowMs);
  return attempts.filter((task) => !attempts.some((other) => other.task === task.task && other.attempt > task.attempt));
}

/** Every attempt of every task, in the order in which they started; what waits comes last. */
export function attemptsOf(run: Run, nowMs: number = Date.now()): TaskNow[] {
  const started = (task: { start_time?: number }): number => task.start_time || Number.MAX_SAFE_INTEGER;
  return [...(run.tasks ?? [])]
    .sort((a, b) => started(a) - started(b))
    .map((task) => {
      const outcome = outcomeOf(task.state);
      return {
        task: task.task_key,
        runId: task.run_id,
        state: outcome?.state ?? task.state.life_cycle_state ?? 'UNKNOWN',
        attempt: task.attempt_number ?? 0,
        seconds: secondsBetween(task.start_time, task.end_time, nowMs),
        outcome,
        message: task.state.state_message || undefined,
      };
    });
}

/** Seconds from start to end, or to now while there is no end; 0 where it has not started. */
export function secondsBetween(start: number | undefined, end: number | undefined, nowMs: number): number {
  return start ? Math.max(0, Math.round(((end || nowMs) - start) / 100) / 10) : 0;
}
