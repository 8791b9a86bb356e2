import { messageOf } from '../../errors.ts';
import type { Log } from '../contract.ts';
import type { Ending, Execution, Order } from './executor.ts';
import { mayRetry, overallResult, readiness } from './dependencies.ts';
import { conditionOutcome, programOf, taskParameters, type Place } from './parameters.ts';
import type { TaskSettings } from './settings.ts';
import type { Clock } from './schedules.ts';
import { isOver, latestAttempts } from './state.ts';
import type { Attempt, LifeCycle, Result, Run, Standing, Store } from './state.ts';

export type Scheduler = {
  /** Starts, queues or skips a new run, by its job's limits. */
  submit(run: Run): void;
  /** Takes a finished run up again with new attempts of these tasks; the repair's id. */
  repair(run: Run, keys: ReadonlySet<string>): number;
  /** Cancels runs and single tasks. */
  cancel(...subjects: (Run | Attempt)[]): void;
  /** Does everything that is due: what a job's limits now allow, what time brings. */
  tick(): void;
  /** Stops every task; what was active ends as INTERNAL_ERROR. Resolves when no task is at work. */
  stop(): Promise<void>;
};

export type SchedulerOptions = { store: Store; clock: Clock; execute(order: Order): Execution; slots: number; place: Place; log: Log };

/** In one of these states, when this holds, that is done. */
type Rule<Subject> = [states: LifeCycle[], holds: (subject: Subject) => unknown, then: (subject: Subject) => void];
type Task = { run: Run; attempt: Attempt; settings: TaskSettings };

const keptRuns = 2000;

/** The life of runs and their tasks: two tables of transitions, applied until nothing changes. Every change is on disk before it is visible. */
export function createScheduler({ store, clock, execute, slots, place, log }: SchedulerOptions): Scheduler {
  const working = new Map<Attempt, Execution>();
  const endings = new Map<Attempt, Ending>();
  let callOff = () => {};
  let closed = false;

  const isDue = ({ due = Infinity }: Standing) => due <= clock.now();
  const tasksOf = (run: Run) => run.settings.tasks ?? [];
  const active = (jobId?: number) => [...store.runs.values()].filter((run) => !isOver(run) && (jobId === undefined || run.job_id === jobId));
  const after = (seconds: number | null | undefined) => (seconds && seconds > 0 ? clock.now() + seconds * 1000 : undefined);
  const readinessOf = ({ run, settings }: Task) => readiness(settings, latestAttempts(run));

  const runRules: Rule<Run>[] = [
    [['QUEUED'], (run) => run.stop, stopped],
    [['QUEUED'], hasRoom, begin],
    [['RUNNING'], (run) => run.stop, (run) => {
      for (const attempt of run.attempts) attempt.stop ??= run.stop;
      move(run, 'TERMINATING', run.stop === 'CANCELED' ? 'Run cancelled.' : `Run timed out after ${run.settings.timeout_seconds} seconds.`);
    }],
    [['RUNNING', 'TERMINATING'], (run) => run.attempts.every(isOver), finish],
    [['RUNNING'], isDue, (run) => void (run.stop = 'TIMEDOUT')],
  ];
  const taskRules: Rule<Task>[] = [
    [['BLOCKED', 'WAITING_FOR_RETRY', 'PENDING'], ({ attempt }) => attempt.stop, ({ attempt }) => stopped(attempt)],
    [['BLOCKED'], (task) => readinessOf(task) === 'run', ({ attempt }) => move(attempt, 'PENDING')],
    [['BLOCKED'], (task) => readinessOf(task) !== 'wait', (task) => leaveOut(task.attempt, readinessOf(task) as Result)],
    [['WAITING_FOR_RETRY'], ({ attempt }) => isDue(attempt), ({ attempt }) => move(attempt, 'PENDING')],
    [['PENDING'], () => working.size < slots, launch],
    [['RUNNING', 'TERMINATING'], ({ attempt }) => endings.has(attempt), end],
    [['RUNNING'], ({ attempt }) => attempt.stop, ({ attempt }) => {
      move(attempt, 'TERMINATING');
      working.get(attempt)?.stop();
    }],
    [['RUNNING'], ({ attempt }) => isDue(attempt), ({ attempt }) => void (attempt.stop = 'TIMEDOUT')],
  ];

  /** Lets a run, and each of its tasks, take one step; true if any did. */
  function step(run: Run): boolean {
    const ofRun = runRules.find(([states, holds]) => states.includes(run.life) && holds(run));
    ofRun?.[2](run);
    let moved = ofRun !== undefined;
    const settingsOf = new Map(tasksOf(run).map((task) => [task.task_key, task]));
    for (const attempt of run.attempts.filter((one) => !isOver(one))) {
      const task = { run, attempt, settings: settingsOf.get(attempt.task_key) ?? { task_key: attempt.task_key } };
      const rule = taskRules.find(([states, holds]) => states.includes(attempt.life) && holds(task));
      rule?.[2](task);
      moved ||= rule !== undefined;
    }
    return moved;
  }

  function tick(): void {
    if (closed) return;
    callOff();
    const changed = new Set<Run>();
    for (let stepped = true; stepped;) {
      const moved = active().filter(step);
      for (const run of moved) changed.add(run);
      stepped = moved.length > 0;
    }
    for (const run of changed) store.runs.save(run);
    const next = active().flatMap((run) => [run, ...run.attempts]).reduce((earliest, { due = Infinity }) => Math.min(earliest, due), Infinity);
    callOff = Number.isFinite(next) ? clock.after(Math.max(0, next - clock.now()), tick) : () => {};
  }

  function move(subject: Standing, life: LifeCycle, message = '', due?: number): void {
    Object.assign(subject, { life, message, due });
  }

  function close(subject: Standing, result: Result, message = ''): void {
    move(subject, 'TERMINATED', message);
    const end_time = clock.now();
    Object.assign(subject, { result, end_time, start_time: subject.start_time || end_time });
  }

  function stopped(subject: Standing): void {
    close(subject, subject.stop ?? 'CANCELED', subject.stop === 'TIMEDOUT' ? 'Run timed out.' : 'Run cancelled.');
  }

  function leaveOut(attempt: Attempt, result: Result): void {
    close(attempt, result, result === 'EXCLUDED' ? 'The run condition was not met.' : 'A task upstream did not succeed.');
  }

  function hasRoom(run: Run): boolean {
    const limit = store.jobs.get(run.job_id)?.settings.max_concurrent_runs ?? 1;
    return !store.jobs.has(run.job_id) || active(run.job_id).filter(({ life }) => life !== 'QUEUED').length < limit;
  }

  function begin(run: Run, keys: ReadonlySet<string> = new Set(tasksOf(run).map((task) => task.task_key))): void {
    Object.assign(run, { start_time: run.start_time || clock.now(), end_time: 0, result: undefined, stop: undefined });
    for (const { task_key } of tasksOf(run).filter((task) => keys.has(task.task_key))) addAttempt(run, task_key, 'BLOCKED');
    move(run, 'RUNNING', 'In run', after(run.settings.timeout_seconds));
  }

  function addAttempt(run: Run, task_key: string, life: LifeCycle, due?: number): void {
    const attempt_number = (latestAttempts(run).get(task_key)?.attempt_number ?? -1) + 1;
    run.attempts.push({ run_id: store.nextId(), task_key, attempt_number, repair: Math.max(0, run.repairs.length - 1), life, due, message: '', start_time: 0, end_time: 0, values: {} });
  }

  function launch({ run, attempt, settings }: Task): void {
    attempt.start_time = clock.now();
    try {
      if (settings.condition_task) endings.set(attempt, { result: 'SUCCESS', exit_value: conditionOutcome(run, attempt, settings, place) });
      else {
        const { named, listed } = taskParameters(run, attempt, settings, place);
        attempt.parameters = named;
        working.set(attempt, execute({ run, attempt, named, listed, ...programOf(settings) }));
        void attend(attempt);
      }
    } catch (error) {
      endings.set(attempt, { result: 'FAILED', error: messageOf(error) });
    }
    move(attempt, 'RUNNING', 'In run', after(settings.timeout_seconds));
  }

  async function attend(attempt: Attempt): Promise<void> {
    const ending = await working.get(attempt)?.ended;
    working.delete(attempt);
    if (ending) endings.set(attempt, ending);
    tick();
  }

  function end({ run, attempt, settings }: Task): void {
    const { result, ...output } = endings.get(attempt) as Ending;
    endings.delete(attempt);
    const why = attempt.stop === 'TIMEDOUT' ? `Timed out after ${settings.timeout_seconds || run.settings.timeout_seconds} seconds.` : 'Run cancelled.';
    // A task that was stopped has no say in how it ended.
    Object.assign(attempt, attempt.stop ? { error: why } : output);
    close(attempt, attempt.stop ?? result, attempt.stop ? why : result === 'FAILED' ? (output.error ?? 'The task failed.') : '');
    if (!run.stop && mayRetry(run, attempt, settings)) addAttempt(run, attempt.task_key, 'WAITING_FOR_RETRY', clock.now() + (settings.min_retry_interval_millis ?? 0));
  }

  function finish(run: Run): void {
    const result = run.stop ?? overallResult(tasksOf(run), latestAttempts(run));
    const culprit = run.attempts.findLast((attempt) => attempt.result === 'FAILED' || attempt.result === 'TIMEDOUT');
    close(run, result, run.stop ? run.message : result === 'FAILED' && culprit ? `Task ${culprit.task_key} failed with message: ${culprit.message}` : '');
    const { life, message, end_time } = run;
    Object.assign(run.repairs.at(-1) ?? {}, { life, result, message, end_time });
    log(`run ${run.run_id} of job ${run.job_id}: ${result}`);
    const finished = [...store.runs.values()].filter(isOver);
    for (const old of finished.slice(0, Math.max(0, finished.length - keptRuns))) store.dropRun(old);
  }

  return {
    tick,
    submit(run) {
      const settings = store.jobs.get(run.job_id)?.settings;
      move(run, 'QUEUED', 'Queued due to reaching maximum concurrent runs limit.');
      if (!hasRoom(run) && settings?.queue?.enabled !== true) {
        close(run, 'MAXIMUM_CONCURRENT_RUNS_REACHED', `Run skipped: the job has at most ${settings?.max_concurrent_runs ?? 1} active runs.`);
        run.life = 'SKIPPED';
      }
      store.runs.save(run);
      tick();
    },
    repair(run, keys) {
      const { life, result, message, start_time, end_time } = run;
      if (run.repairs.length === 0) run.repairs.push({ id: 0, life, result, message, start_time, end_time });
      const id = store.nextId();
      run.repairs.push({ id, life: 'RUNNING', message: '', start_time: clock.now(), end_time: 0 });
      begin(run, keys);
      store.runs.save(run);
      tick();
      return id;
    },
    cancel(...subjects) {
      for (const subject of subjects.filter((one) => !isOver(one))) subject.stop ??= 'CANCELED';
      tick();
    },
    async stop() {
      closed = true;
      callOff();
      const left = [...working.values()];
      for (const execution of left) execution.stop();
      await Promise.all(left.map((execution) => execution.ended));
      abandonRuns(store, clock.now(), 'The local platform was stopped while this run was active.');
    },
  };
}

/** Ends every active run, with its tasks, as INTERNAL_ERROR. */
export function abandonRuns(store: Store, end_time: number, message: string): void {
  for (const run of [...store.runs.values()].filter((one) => !isOver(one))) {
    for (const standing of [run, ...run.attempts, ...run.repairs].filter((one) => !isOver(one))) Object.assign(standing, { life: 'INTERNAL_ERROR', result: 'FAILED', message, end_time });
    store.runs.save(run);
  }
}
