import { messageOf } from '../../../errors.ts';
import type { Log } from '../../contract.ts';
import { finalMessage, mayRetry, overallResult, readiness } from './dependencies.ts';
import type { Ending, Execute, Execution } from './executor.ts';
import { conditionOutcome, programOf, taskParameters } from './parameters.ts';
import type { Place } from './parameters.ts';
import { isOver, latestAttempts } from './state.ts';
import type { Attempt, LifeCycle, Result, Run, Store, TaskSettings } from './state.ts';

/** Time as the scheduler sees it; `after` returns how to call the callback off. */
export type Clock = { now(): number; after(milliseconds: number, callback: () => void): () => void };

export type Scheduler = {
  /** Starts, queues or skips a new run, by its job's limits. */
  submit(run: Run): void;
  /** Takes a finished run up again with new attempts of these tasks; the repair's id. */
  repair(run: Run, keys: ReadonlySet<string>): number;
  cancel(run: Run, attempt?: Attempt): void;
  /** Starts queued runs that the job's limits now allow. */
  wake(jobId: number): void;
  /** Ends every active run as INTERNAL_ERROR; resolves when no task is at work. */
  abandon(message: string): Promise<void>;
};

export type SchedulerOptions = { store: Store; clock: Clock; execute: Execute; slots: number; place: Place; log: Log };

const keptRuns = 2000;

/** The life of runs: what starts when, what is tried again, what is given up. Every change is on disk before it is visible. */
export function createScheduler({ store, clock, execute, slots, place, log }: SchedulerOptions): Scheduler {
  const working = new Map<Attempt, Execution>();
  const waiting: { run: Run; attempt: Attempt; task: TaskSettings }[] = [];
  /** Why a task, or a whole run, is being stopped: this becomes its result. */
  const stopping = new Map<Attempt | Run, 'CANCELED' | 'TIMEDOUT'>();
  const timers = new Map<Attempt | Run, () => void>();
  let closed = false;

  const tasksOf = (run: Run) => run.settings.tasks ?? [];
  const activeRuns = (jobId: number) => [...store.runs.values()].filter((r) => r.job_id === jobId && !isOver(r));

  function submit(run: Run): void {
    const job = store.jobs.get(run.job_id);
    const busy = job ? activeRuns(run.job_id).length : 0;
    const limit = job?.settings.max_concurrent_runs ?? 1;
    if (job && busy >= limit) {
      if (job.settings.queue?.enabled === true) return move(run, run, 'QUEUED', 'Queued due to reaching maximum concurrent runs limit.');
      return close(run, run, 'MAXIMUM_CONCURRENT_RUNS_REACHED', `Run skipped: the job has ${busy} of at most ${limit} active runs.`, 'SKIPPED');
    }
    begin(run, new Set(tasksOf(run).map((task) => task.task_key)));
  }

  function repair(run: Run, keys: ReadonlySet<string>): number {
    const { life, result, message, start_time, end_time } = run;
    if (run.repairs.length === 0) run.repairs.push({ id: 0, life, result, message, start_time, end_time, task_run_ids: run.attempts.map((a) => a.run_id) });
    const id = store.nextId();
    run.repairs.push({ id, life: 'RUNNING', message: '', start_time: clock.now(), end_time: 0, task_run_ids: [] });
    begin(run, keys);
    return id;
  }

  function begin(run: Run, keys: ReadonlySet<string>): void {
    run.start_time ||= clock.now();
    run.end_time = 0;
    delete run.result;
    const tried = latestAttempts(run);
    for (const { task_key } of tasksOf(run).filter((task) => keys.has(task.task_key))) addAttempt(run, task_key, 'BLOCKED', tried.get(task_key));
    const limitSeconds = run.settings.timeout_seconds ?? 0;
    if (limitSeconds > 0) timers.set(run, clock.after(limitSeconds * 1000, () => halt(run, 'TIMEDOUT')));
    move(run, run, 'RUNNING', 'In run');
    advance(run);
  }

  function addAttempt(run: Run, task_key: string, life: LifeCycle, before: Attempt | undefined): Attempt {
    const attempt_number = before ? before.attempt_number + 1 : 0;
    const attempt: Attempt = { run_id: store.nextId(), task_key, attempt_number, repair: run.repairs.length, life, message: '', start_time: 0, end_time: 0, values: {} };
    run.attempts.push(attempt);
    run.repairs.at(-1)?.task_run_ids.push(attempt.run_id);
    return attempt;
  }

  /** Looks at every blocked task until nothing changes any more; ends the run when all are over. */
  function advance(run: Run): void {
    if (closed || isOver(run) || stopping.has(run)) return;
    for (let changed = true; changed;) {
      changed = false;
      const latest = latestAttempts(run);
      for (const task of tasksOf(run)) {
        const attempt = latest.get(task.task_key);
        if (attempt?.life !== 'BLOCKED') continue;
        const ready = readiness(task, latest);
        if (ready === 'wait') continue;
        changed = true;
        if (ready === 'run') enqueue(run, attempt, task);
        else close(run, attempt, ready, ready === 'EXCLUDED' ? 'The run condition was not met.' : 'A task upstream did not succeed.');
      }
    }
    const latest = latestAttempts(run);
    if ([...latest.values()].every(isOver)) settle(run, overallResult(tasksOf(run), latest));
    else store.saveRun(run);
  }

  function enqueue(run: Run, attempt: Attempt, task: TaskSettings): void {
    attempt.life = 'PENDING';
    waiting.push({ run, attempt, task });
    // Deferred: the caller is in the middle of its own bookkeeping.
    queueMicrotask(pump);
  }

  function pump(): void {
    if (closed) return;
    while (working.size < slots) {
      const next = waiting.shift();
      if (!next) return;
      if (next.attempt.life === 'PENDING') launch(next.run, next.attempt, next.task);
    }
  }

  function launch(run: Run, attempt: Attempt, task: TaskSettings): void {
    attempt.start_time = clock.now();
    try {
      if (task.condition_task) return ended(run, attempt, task, { result: 'SUCCESS', exit_value: conditionOutcome(run, attempt, task, place) });
      const { named, listed } = taskParameters(run, attempt, task, place);
      attempt.parameters = named;
      const execution = execute({ run, attempt, named, listed, ...programOf(task) });
      working.set(attempt, execution);
      void execution.ended.then((ending) => ended(run, attempt, task, ending));
    } catch (error) {
      return ended(run, attempt, task, { result: 'FAILED', error: messageOf(error) });
    }
    const limitSeconds = task.timeout_seconds ?? 0;
    if (limitSeconds > 0) timers.set(attempt, clock.after(limitSeconds * 1000, () => haltTask(run, attempt, 'TIMEDOUT')));
    move(run, attempt, 'RUNNING', 'In run');
  }

  function ended(run: Run, attempt: Attempt, task: TaskSettings, ending: Ending): void {
    working.delete(attempt);
    const reason = stopping.get(attempt);
    stopping.delete(attempt);
    const { result, ...output } = ending;
    const why = reason === 'TIMEDOUT' ? `Timed out after ${task.timeout_seconds || run.settings.timeout_seconds} seconds.` : 'Run cancelled.';
    // A task that was stopped has no say in how it ended.
    Object.assign(attempt, reason ? { error: why } : output);
    if (closed) return;
    close(run, attempt, reason ?? result, reason ? why : result === 'FAILED' ? (ending.error ?? 'The task failed.') : '');
    if (!stopping.has(run) && mayRetry(run, attempt, task)) retryLater(run, attempt, task);
    if (stopping.has(run)) settleStopped(run);
    else advance(run);
    queueMicrotask(pump);
  }

  function retryLater(run: Run, attempt: Attempt, task: TaskSettings): void {
    const next = addAttempt(run, task.task_key, 'WAITING_FOR_RETRY', attempt);
    timers.set(next, clock.after(task.min_retry_interval_millis ?? 0, () => {
      timers.delete(next);
      if (next.life !== 'WAITING_FOR_RETRY' || isOver(run)) return;
      enqueue(run, next, task);
      store.saveRun(run);
    }));
  }

  function cancel(run: Run, attempt?: Attempt): void {
    if (attempt) haltTask(run, attempt, 'CANCELED');
    else halt(run, 'CANCELED');
  }

  function halt(run: Run, reason: 'CANCELED' | 'TIMEDOUT'): void {
    if (isOver(run) || stopping.has(run)) return;
    stopping.set(run, reason);
    move(run, run, 'TERMINATING', reason === 'CANCELED' ? 'Run cancelled.' : `Run timed out after ${run.settings.timeout_seconds} seconds.`);
    for (const attempt of run.attempts) haltTask(run, attempt, reason);
    settleStopped(run);
  }

  function haltTask(run: Run, attempt: Attempt, reason: 'CANCELED' | 'TIMEDOUT'): void {
    if (isOver(attempt)) return;
    const execution = working.get(attempt);
    if (!execution) {
      close(run, attempt, reason, reason === 'CANCELED' ? 'Run cancelled.' : 'Run timed out.');
      return advance(run);
    }
    if (stopping.has(attempt)) return;
    stopping.set(attempt, reason);
    move(run, attempt, 'TERMINATING', '');
    execution.stop();
  }

  function settleStopped(run: Run): void {
    const reason = stopping.get(run);
    if (!reason || run.attempts.some((attempt) => working.has(attempt))) return;
    stopping.delete(run);
    settle(run, reason);
  }

  function settle(run: Run, result: Result): void {
    const message = finalMessage(run, result);
    const current = run.repairs.at(-1);
    if (current) Object.assign(current, { life: 'TERMINATED', result, message, end_time: clock.now() });
    close(run, run, result, message);
    log(`run ${run.run_id} of job ${run.job_id}: ${result}`);
    const finished = [...store.runs.values()].filter(isOver);
    for (const old of finished.slice(0, Math.max(0, finished.length - keptRuns))) store.dropRun(old.run_id);
    wake(run.job_id);
  }

  function wake(jobId: number): void {
    const active = activeRuns(jobId);
    const free = (store.jobs.get(jobId)?.settings.max_concurrent_runs ?? 1) - active.filter((run) => run.life !== 'QUEUED').length;
    for (const run of active.filter(({ life }) => life === 'QUEUED').slice(0, Math.max(0, free))) begin(run, new Set(tasksOf(run).map((task) => task.task_key)));
  }

  function move(run: Run, subject: Run | Attempt, life: LifeCycle, message: string): void {
    subject.life = life;
    subject.message = message;
    store.saveRun(run);
  }

  function close(run: Run, subject: Run | Attempt, result: Result, message: string, life: LifeCycle = 'TERMINATED'): void {
    timers.get(subject)?.();
    timers.delete(subject);
    subject.result = result;
    subject.end_time = clock.now();
    subject.start_time ||= subject.end_time;
    move(run, subject, life, message);
  }

  async function abandon(message: string): Promise<void> {
    closed = true;
    for (const stop of timers.values()) stop();
    const left = [...working.values()];
    for (const execution of left) execution.stop();
    await Promise.all(left.map((execution) => execution.ended));
    for (const run of [...store.runs.values()].filter((r) => !isOver(r))) {
      for (const standing of [run, ...run.attempts, ...run.repairs].filter((s) => !isOver(s))) {
        Object.assign(standing, { life: 'INTERNAL_ERROR', result: 'FAILED', message, end_time: clock.now() });
      }
      store.saveRun(run);
    }
  }

  return { submit, repair, cancel, wake, abandon };
}
