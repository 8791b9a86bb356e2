import { join } from 'node:path';
import { Hono } from 'hono';
import { except } from 'hono/combine';
import type { Secret } from '../../../errors.ts';
import type { Facade, Log, SparkDoor } from '../../contract.ts';
import { openJobEngine } from '../../jobs/engine.ts';
import { createExecutor } from '../../jobs/executor.ts';
import { systemClock, type Clock } from '../../jobs/schedules.ts';
import { taskLogs } from '../../jobs/tasklog.ts';
import { createAuth } from '../auth.ts';
import { jobRoutes } from '../jobs/jobs.ts';
import { runRoutes } from '../jobs/runs.ts';
import { answerErrors, limit, notPartOfThePlatform } from '../refusal.ts';
import { secretRoutes } from '../secrets/secrets.ts';
import { accountRoutes } from './account.ts';
import { openFiles } from './files.ts';
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
  /** Where tasks' PyPI libraries are installed; `libraries` in `stateDir` unless given. */
  librariesDir?: string;
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
  const auth = createAuth({ ...options, workspaceId });
  const files = await openFiles(stateDir, userName);
  const volumes = await volumeRoutes(volumesDir);
  const account = accountRoutes({ ...options, workspaceId });
  const { execute, onSecretRead, loseSpark } = createExecutor({
    ...options, volumesDir, librariesDir: options.librariesDir ?? join(stateDir, 'libraries'), fileOf: files.fileOf, workspaceRoot: join(stateDir, 'workspace'), logFile: taskLogs(stateDir), mint: auth.mint,
  });
  const engine = openJobEngine({ ...options, clock, execute, slots: options.slots ?? 4, place: { workspaceId, baseUrl } });
  const grants = { set: (id: number, list: unknown) => account.setGrants('jobs', String(id), list), forget: (id: number) => account.forget('jobs', String(id)) };

  const app = new Hono();
  answerErrors(app, log);
  app.route('/', auth.app);
  for (const path of ['/api/*', '/telemetry-ext']) app.use(path, auth.guard);
  // Uploads may have what the host lets through.
  app.use('/api/*', except(['/api/2.0/workspace/*', '/api/2.0/workspace-files/*', '/api/2.0/fs/*'], limit(10 * 2 ** 20)));
  for (const part of [files.app, volumes, account.app, secretRoutes(stateDir, onSecretRead, clock.now)]) app.route('/', part as Hono);
  for (const base of ['/api/2.1/jobs', '/api/2.2/jobs']) app.route('/', jobRoutes(base, engine, grants)).route('/', runRoutes(base, engine, baseUrl));
  app.all('*', notPartOfThePlatform);
  return { app, loseSpark, stop: engine.stop };
}
