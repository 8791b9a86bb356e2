import type { Log } from '../contract.ts';
import type { Execution, Order } from './executor.ts';
import type { Place } from './parameters.ts';
import { abandonRuns, createScheduler, type Scheduler } from './scheduler.ts';
import { createSchedules, type Clock } from './schedules.ts';
import type { Settings } from './settings.ts';
import { openStore } from './state.ts';
import type { Job, Run, Store } from './state.ts';

export type EngineOptions = {
  /** Jobs, runs and the logs of tasks live here and survive a restart. */
  stateDir: string;
  /** Who owns the jobs and starts the runs. */
  userName: string;
  place: Place;
  clock: Clock;
  execute(order: Order): Execution;
  /** Tasks at work at the same time; the others wait. */
  slots: number;
  log: Log;
};

/** A run that is asked for: of a job, or of settings of its own. */
export type NewRun = Pick<Run, 'settings' | 'trigger' | 'overrides' | 'idempotency_token'> & { job?: Job };

/** Jobs and their runs: what is defined, what is due, what is at work. */
export type JobEngine = Pick<Store, 'logFile'> & Pick<Scheduler, 'cancel' | 'repair' | 'stop'> & {
  jobs: ReadonlyMap<number, Job>;
  runs: ReadonlyMap<number, Run>;
  /** Keeps a job, new (without `job`) or changed; its schedule and its limits count from now on. */
  define(settings: Settings, job?: Job): Job;
  /** Forgets a job; its active runs are cancelled. */
  drop(job: Job): void;
  /** Starts a run, once per idempotency token. */
  start(wanted: NewRun): Run;
};

/** Opens the jobs of a folder; runs that an earlier process left active died with it and end as INTERNAL_ERROR. */
export function openJobEngine(options: EngineOptions): JobEngine {
  const { clock, userName: creator_user_name } = options;
  const store = openStore(options.stateDir, clock.now);
  const { jobs, runs } = store;
  abandonRuns(store, clock.now(), 'The local platform ended while this run was active.');
  const scheduler = createScheduler({ ...options, store });
  const schedules = createSchedules(clock, (job) => void start({ job, settings: job.settings, trigger: 'PERIODIC', overrides: {} }));
  for (const job of jobs.values()) schedules.arm(job);

  function start({ job, ...wanted }: NewRun): Run {
    const run_type = job ? 'JOB_RUN' : 'SUBMIT_RUN';
    const known = wanted.idempotency_token && [...runs.values()].find((run) => run.idempotency_token === wanted.idempotency_token && run.run_type === run_type);
    if (known) return known;
    const identity = { run_id: store.nextId(), job_id: job?.job_id ?? store.nextId(), run_type, creator_user_name } as const;
    const run: Run = { ...structuredClone(wanted), ...identity, life: 'QUEUED', message: '', start_time: 0, end_time: 0, attempts: [], repairs: [] };
    scheduler.submit(run);
    return run;
  }

  return {
    ...store,
    ...scheduler,
    start,
    define(settings, job = { job_id: store.nextId(), creator_user_name, created_time: clock.now(), settings }) {
      const kept = jobs.save({ ...job, settings });
      schedules.arm(kept);
      scheduler.tick();
      return kept;
    },
    drop({ job_id }) {
      schedules.disarm(job_id);
      jobs.drop(job_id);
      // All at once: none of those that wait may start in the place of another.
      scheduler.cancel(...[...runs.values()].filter((run) => run.job_id === job_id));
    },
    async stop() {
      schedules.stop();
      await scheduler.stop();
    },
  };
}
