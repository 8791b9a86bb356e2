import type { Hono } from 'hono';
import { z } from 'zod';
import type { JobEngine } from '../../jobs/engine.ts';
import { settings as shape, type Settings } from '../../jobs/settings.ts';
import type { Job } from '../../jobs/state.ts';
import { missing } from '../refusal.ts';
import { count, flag, identifier, parsed, routeTable } from '../routes.ts';
import { jobView, newestPage, page, taskPage } from './views.ts';

/** A job's grants come with its creation and go with it. */
export type Grants = { set(jobId: number, list: unknown): void; forget(jobId: number): void };

const ofJob = z.object({ job_id: identifier });
const creation = z.looseObject({ access_control_list: z.unknown().optional() });
const replacement = ofJob.extend({ new_settings: z.looseObject({}) });
const change = ofJob.extend({ new_settings: z.looseObject({}).default({}), fields_to_remove: z.array(z.string()).default([]) });
const list = z.object({ ...page, name: z.string().toLowerCase().optional(), limit: count.min(1).max(100).default(20), expand_tasks: flag });

/** Jobs 2.1 and 2.2 at `base`: definitions only, runs are elsewhere. */
export function jobRoutes(base: string, engine: JobEngine, grants: Grants): Hono {
  const { app, get, post } = routeTable(base);
  post('/create', creation, ({ access_control_list: list, ...given }) => {
    const { job_id } = engine.define(checked(given));
    if (list !== undefined) grants.set(job_id, list);
    return { job_id };
  });
  get('/get', ofJob.extend(page), ({ job_id, page_token: from }) => {
    const { settings, ...job } = jobView(jobOf(engine, job_id));
    const { tasks, ...more } = taskPage(settings.tasks ?? [], from);
    // Later pages carry the tasks alone.
    const rest = from > 0 ? { job_clusters: [], parameters: [], environments: [] } : {};
    return { ...job, settings: { ...settings, ...(settings.tasks && { tasks }), ...rest }, ...more };
  });
  get('/list', list, ({ name, expand_tasks: expand, ...query }) => {
    const named = [...engine.jobs.values()].filter(({ settings }) => name === undefined || (settings.name ?? 'Untitled').toLowerCase() === name);
    const { entries, ...more } = newestPage(named, (job) => job.job_id, query);
    return { jobs: entries.map(jobView).map(({ settings, ...job }) => ({ ...job, settings: { ...settings, tasks: expand ? settings.tasks?.slice(0, 100) : undefined } })), ...more };
  });
  post('/reset', replacement, ({ job_id, new_settings: given }) => {
    const job = jobOf(engine, job_id);
    // Measured in the cloud: a reset that does not name run_as keeps the old one.
    engine.define(checked({ ...(job.settings.run_as && { run_as: job.settings.run_as }), ...given }), job);
  });
  post('/update', change, ({ job_id, new_settings: given, fields_to_remove: removed }) => {
    const job = jobOf(engine, job_id);
    engine.define(checked(merged(job.settings, checked(given), removed)), job);
  });
  post('/delete', ofJob, ({ job_id }) => {
    engine.drop(jobOf(engine, job_id));
    grants.forget(job_id);
  });
  return app;
}

/** The job with this id; 404 as the CLI expects it. */
export function jobOf({ jobs }: JobEngine, id: number): Job {
  const job = jobs.get(id);
  if (!job) throw missing(`Job ${id} does not exist.`);
  return job;
}

/** Settings as they are kept, all as sent but for the one field that is never given back; 400 for settings that could never run. */
export function checked(given: object): Settings {
  const kept = JSON.parse(JSON.stringify(given, (name, field: unknown) => (name === 'apply_policy_default_values' ? undefined : field))) as Settings;
  parsed(shape, kept);
  return kept;
}

const keyed: Record<string, string> = { tasks: 'task_key', job_clusters: 'job_cluster_key', parameters: 'name', environments: 'environment_key' };
type Entries = Record<string, unknown>[] | null | undefined;

/** Top-level fields are replaced whole, lists with keys merged entry by entry; `removed` names a top-level field, or one entry as `tasks/my_task`. */
function merged(old: Settings, change: Settings, removed: string[]): Settings {
  const result: Settings = { ...old, ...change };
  for (const [field, key] of Object.entries(keyed)) {
    const [before, after] = [old[field], change[field]] as [Entries, Entries];
    if (before && after) result[field] = [...new Map([...before, ...after].map((entry) => [entry[key], entry])).values()];
  }
  for (const [field = '', entry] of removed.map((path) => path.split('/'))) {
    if (entry === undefined) delete result[field];
    else if (Array.isArray(result[field])) result[field] = (result[field] as object[]).filter((item) => (item as Record<string, unknown>)[keyed[field] ?? ''] !== entry);
  }
  return result;
}
