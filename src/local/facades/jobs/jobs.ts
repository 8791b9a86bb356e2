import { Hono } from 'hono';
import { identifier, invalid, jsonBody, missing } from '../refusal.ts';
import { checkSchedule } from './schedules.ts';
import type { Schedules } from './schedules.ts';
import { checkSettings, merged, stored, without } from './settings.ts';
import type { Job, Settings, Store } from './state.ts';
import { jobView, offsetOf, taskPage } from './views.ts';

export type JobsOptions = {
  store: Store;
  schedules: Schedules;
  userName: string;
  now(): number;
  /** A job's grants come with its creation and go with it. */
  grants: { set(jobId: number, list: unknown): void; forget(jobId: number): void };
  cancelRuns(jobId: number): void;
  /** Its limits may have changed: queued runs may start. */
  wake(jobId: number): void;
};

/** The job with this id; 404 as the CLI expects it. */
export function findJob(store: Store, from: Record<string, unknown>): Job {
  const id = identifier(from, 'job_id');
  const job = store.jobs.get(id);
  if (!job) throw missing(`Job ${id} does not exist.`);
  return job;
}

/** A number from a query within bounds, or its default; 400 otherwise. */
export function limitOf(value: string | undefined, standard: number, most: number): number {
  const limit = value === undefined ? standard : Number(value);
  if (!Number.isInteger(limit) || limit < 1 || limit > most) throw invalid(`limit must be between 1 and ${most}.`);
  return limit;
}

/** Jobs 2.1 and 2.2 at `base`: definitions only, runs are elsewhere. */
export function jobRoutes(base: string, options: JobsOptions): Hono {
  const { store, schedules } = options;
  const app = new Hono();

  function keep(job: Job, settings: Settings): void {
    checkSettings(settings);
    checkSchedule(settings);
    job.settings = settings;
    store.saveJob(job);
    schedules.arm(job);
    options.wake(job.job_id);
  }

  app.post(`${base}/create`, async (c) => {
    const { access_control_list: grants, ...settings } = await jsonBody(c);
    const job: Job = { job_id: store.nextId(), creator_user_name: options.userName, created_time: options.now(), settings: {} };
    keep(job, stored(settings));
    if (grants !== undefined) options.grants.set(job.job_id, grants);
    return c.json({ job_id: job.job_id });
  });
  app.get(`${base}/get`, (c) => {
    const { settings, ...job } = jobView(findJob(store, c.req.query()));
    const { tasks, ...more } = taskPage(settings.tasks ?? [], c.req.query('page_token'));
    // Later pages carry the tasks alone.
    const rest = offsetOf(c.req.query('page_token')) > 0 ? { job_clusters: [], parameters: [], environments: [] } : {};
    return c.json({ ...job, settings: { ...settings, ...(settings.tasks && { tasks }), ...rest }, ...more });
  });
  app.get(`${base}/list`, (c) => {
    const { name, limit, page_token: token, expand_tasks: expand, offset } = c.req.query();
    const most = limitOf(limit, 20, 100);
    const from = offsetOf(token);
    const found = [...store.jobs.values()]
      .filter((job) => (name === undefined || (job.settings.name ?? 'Untitled').toLowerCase() === name.toLowerCase()) && (from === 0 || job.job_id < from))
      .sort((a, b) => b.job_id - a.job_id)
      .slice(token === undefined ? offsetOf(offset) : 0);
    const page = found.slice(0, most);
    const jobs = page.map((job) => {
      const { settings: { tasks = [], ...settings }, ...view } = jobView(job);
      if (expand !== 'true') return { ...view, settings };
      const { tasks: first, has_more } = taskPage(tasks, undefined);
      return { ...view, settings: { ...settings, tasks: first }, ...(has_more && { has_more }) };
    });
    const more = found.length > page.length;
    return c.json({ jobs, has_more: more, ...(more && { next_page_token: String(page.at(-1)?.job_id) }) });
  });
  app.post(`${base}/reset`, async (c) => {
    const body = await jsonBody(c);
    const job = findJob(store, body);
    const settings = stored(body.new_settings);
    // Measured in the cloud: a reset that does not name run_as keeps the old one.
    keep(job, { ...(job.settings.run_as !== undefined && { run_as: job.settings.run_as }), ...settings });
    return c.json({});
  });
  app.post(`${base}/update`, async (c) => {
    const body = await jsonBody(c);
    const job = findJob(store, body);
    const removed = Array.isArray(body.fields_to_remove) ? body.fields_to_remove.map(String) : [];
    keep(job, without(merged(job.settings, stored(body.new_settings ?? {})), removed));
    return c.json({});
  });
  app.post(`${base}/delete`, async (c) => {
    const { job_id } = findJob(store, await jsonBody(c));
    schedules.disarm(job_id);
    store.dropJob(job_id);
    options.cancelRuns(job_id);
    options.grants.forget(job_id);
    return c.json({});
  });
  return app;
}
