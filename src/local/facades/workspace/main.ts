import { join } from 'node:path';
import { Hono } from 'hono';
import type { Secret } from '../../../errors.ts';
import type { Facade, Log, SparkDoor } from '../../contract.ts';
import { createAuth } from '../auth.ts';
import { createExecutor } from '../jobs/executor.ts';
import { jobRoutes } from '../jobs/jobs.ts';
import { cancelRunsOf, runRoutes, startRun } from '../jobs/runs.ts';
import { createScheduler } from '../jobs/scheduler.ts';
import type { Clock } from '../jobs/scheduler.ts';
import { createSchedules } from '../jobs/schedules.ts';
import { openStore } from '../jobs/state.ts';
import { answerErrors, notPartOfThePlatform } from '../refusal.ts';
import { secretRoutes } from '../secrets/secrets.ts';
import { accountRoutes } from './account.ts';
import { fileRoutes, limit } from './files.ts';
import { openTree } from './tree.ts';
import { volumeRoutes } from './volumes.ts';

export type WorkspaceOptions = {
  /** Files, jobs, runs and secrets live here and survive a restart. */
  stateDir: string;
  /** `https://localhost:8443`, without a slash at the end. */
  baseUrl: string;
  token: Secret;
  userName: string;
  /** The service principal for OAuth M2M. */
  client?: { id: string; secret: Secret };
  spark: SparkDoor;
  /** Ends a Spark session whose process could not; `connectSpark(...).openSession(id).release()`. */
  releaseSession(sessionId: string): Promise<void>;
  /** Python with pyspark[connect]: runs tasks. */
  python: string;
  /** What tasks find in their environment, besides PATH, HOME and the locale. */
  environment: Record<string, string>;
  warehouse: { id: string; httpPath: string };
  log: Log;
  /** Stands for /Volumes; `volumes` in `stateDir` unless given. */
  volumesDir?: string;
  /** Tasks at work at the same time; the others wait. */
  slots?: number;
  clock?: Clock;
};

/** Id of the local workspace, as `X-Databricks-Org-Id` and discovery give it. */
export const workspaceId = '1000000000000000';

/** The Databricks REST façade: files, secrets, jobs and runs, account; everything else answers 501. */
export async function createWorkspace(options: WorkspaceOptions): Promise<Facade & { loseSpark(): void }> {
  const { stateDir, baseUrl, userName, log, clock = systemClock } = options;
  const volumesDir = options.volumesDir ?? join(stateDir, 'volumes');
  const auth = createAuth({ ...options, workspaceId, now: clock.now });
  const tree = await openTree(stateDir, userName);
  const volumes = await volumeRoutes(volumesDir);
  const account = accountRoutes({ ...options, workspaceId });
  const store = openStore(stateDir, clock.now);
  const executor = createExecutor({
    ...options, volumesDir, librariesDir: join(stateDir, 'libraries'), fileOf: tree.fileOf, workspaceRoot: join(stateDir, 'workspace'), logFile: store.logFile, mint: auth.mint,
  });
  const wiring = { store, clock, slots: options.slots ?? 4, place: { workspaceId, baseUrl }, log };
  // What an earlier process left running died with it.
  await createScheduler({ ...wiring, execute: executor.execute }).abandon('The local platform ended while this run was active.');
  const scheduler = createScheduler({ ...wiring, execute: executor.execute });
  const runs = { store, scheduler, userName, baseUrl };
  const schedules = createSchedules(clock, (job) => {
    startRun(runs, { job_id: job.job_id, run_type: 'JOB_RUN', settings: job.settings, trigger: 'PERIODIC', overrides: {} });
  });
  for (const job of store.jobs.values()) schedules.arm(job);
  const grants = { set: (id: number, list: unknown) => account.setGrants('jobs', String(id), list), forget: (id: number) => account.forget('jobs', String(id)) };
  const jobs = { store, schedules, userName, now: clock.now, grants, wake: scheduler.wake, cancelRuns: (id: number) => cancelRunsOf(store, scheduler, id) };

  const inside = new Hono();
  for (const part of [fileRoutes(tree), volumes, account.app, secretRoutes(stateDir, executor.onSecretRead, clock.now)]) inside.route('/', part as Hono);
  for (const base of ['/api/2.1/jobs', '/api/2.2/jobs']) inside.route('/', jobRoutes(base, jobs)).route('/', runRoutes(base, runs));
  const app = new Hono();
  answerErrors(app, log);
  app.route('/', auth.app);
  for (const path of ['/api/*', '/telemetry-ext']) app.use(path, auth.guard);
  // Uploads have limits of their own.
  const small = limit(10 * 2 ** 20);
  app.use('/api/*', (c, next) => (/^\/api\/2\.0\/(workspace|workspace-files|fs)\//.test(c.req.path) ? next() : small(c, next)));
  app.route('/', inside);
  app.all('*', notPartOfThePlatform);
  return {
    app,
    loseSpark: executor.loseSpark,
    stop: async () => {
      schedules.stop();
      await scheduler.abandon('The local platform was stopped while this run was active.');
    },
  };
}

const longestTimerMs = 2 ** 31 - 1;

const systemClock: Clock = {
  now: Date.now,
  after(milliseconds, callback) {
    let timer: NodeJS.Timeout;
    const wait = (left: number) => {
      timer = setTimeout(() => (left > longestTimerMs ? wait(left - longestTimerMs) : callback()), Math.min(left, longestTimerMs));
      // A timer alone must not keep the platform from ending.
      timer.unref();
    };
    wait(milliseconds);
    return () => clearTimeout(timer);
  },
};
