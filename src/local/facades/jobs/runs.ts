import { Hono } from 'hono';
import { identifier, invalid, jsonBody } from '../refusal.ts';
import { withDependents } from './dependencies.ts';
import { findJob, limitOf } from './jobs.ts';
import type { Scheduler } from './scheduler.ts';
import { checkSettings, checkShape, stored } from './settings.ts';
import { isOver, latestAttempts } from './state.ts';
import type { Job, Overrides, Run, Store } from './state.ts';
import { readTaskLog } from './tasklog.ts';
import { attemptOf, attemptView, attemptViews, offsetOf, repairHistory, runView, taskPage } from './views.ts';

export type RunsOptions = { store: Store; scheduler: Scheduler; userName: string; baseUrl: string };

type NewRun = Pick<Run, 'job_id' | 'run_type' | 'settings' | 'trigger' | 'overrides'> & { idempotency_token?: string };

const outputCharacters = 5 * 2 ** 20;

/** Creates a run and hands it to the scheduler, once per idempotency token. */
export function startRun({ store, scheduler, userName }: Omit<RunsOptions, 'baseUrl'>, wanted: NewRun): Run {
  const token = wanted.idempotency_token;
  const known = token && [...store.runs.values()].find((run) => run.idempotency_token === token && run.run_type === wanted.run_type);
  if (known) return known;
  const settings = structuredClone(wanted.settings);
  const run: Run = {
    ...wanted, settings, run_id: store.nextId(), creator_user_name: userName, life: 'PENDING', message: '', start_time: 0, end_time: 0, attempts: [], repairs: [],
  };
  scheduler.submit(run);
  return run;
}

/** Cancels every active run of a job, the queued ones first so that none of them starts in between. */
export function cancelRunsOf(store: Store, scheduler: Scheduler, jobId: number): void {
  const active = [...store.runs.values()].filter((run) => run.job_id === jobId && !isOver(run));
  for (const run of [...active.filter(({ life }) => life === 'QUEUED'), ...active]) scheduler.cancel(run);
}

/** Runs at `base` (`.../jobs`): starting, watching, stopping, repairing. */
export function runRoutes(base: string, options: RunsOptions): Hono {
  const { store, scheduler, baseUrl } = options;
  const app = new Hono();
  const find = (from: Record<string, unknown>) => findRun(store, identifier(from, 'run_id'));

  app.post(`${base}/run-now`, async (c) => {
    const body = await jsonBody(c);
    const job: Job = findJob(store, body);
    const run = startRun(options, { job_id: job.job_id, run_type: 'JOB_RUN', settings: job.settings, trigger: 'ONE_TIME', overrides: overridesOf(body), ...tokenOf(body) });
    return c.json({ run_id: run.run_id, number_in_job: run.run_id });
  });
  app.post(`${base}/runs/submit`, async (c) => {
    const { run_name, idempotency_token, access_control_list: _, ...rest } = await jsonBody(c);
    const settings = stored({ ...rest, name: run_name ?? 'Untitled' });
    checkSettings(settings);
    if (!settings.tasks?.length) throw invalid('tasks: a one-time run needs at least one task.');
    const run = startRun(options, { job_id: store.nextId(), run_type: 'SUBMIT_RUN', settings, trigger: 'ONE_TIME', overrides: {}, ...tokenOf({ idempotency_token }) });
    return c.json({ run_id: run.run_id });
  });
  app.get(`${base}/runs/get`, (c) => {
    const { run, id } = find(c.req.query());
    const own = run.attempts.find((attempt) => attempt.run_id === id);
    if (own) return c.json({ ...runView(run, baseUrl), ...attemptView(run, own, baseUrl) });
    const history = c.req.query('include_history') === 'true' ? { repair_history: repairHistory(run) } : {};
    return c.json({ ...runView(run, baseUrl), ...history, ...taskPage(attemptViews(run, baseUrl), c.req.query('page_token')) });
  });
  app.get(`${base}/runs/list`, (c) => c.json(listRuns(store, baseUrl, c.req.query())));
  app.get(`${base}/runs/get-output`, (c) => {
    const { run, id } = find(c.req.query());
    const attempt = attemptOf(run, id);
    const { exit_value: value, error, error_trace } = attempt;
    const notebook = attempt.parameters && run.settings.tasks?.some((task) => task.task_key === attempt.task_key && task.notebook_task);
    return c.json({
      metadata: { ...runView(run, baseUrl), ...attemptView(run, attempt, baseUrl) },
      ...(notebook && { notebook_output: { ...(value !== undefined && { result: value.slice(0, outputCharacters) }), truncated: (value?.length ?? 0) > outputCharacters } }),
      ...readTaskLog(store.logFile(attempt.run_id)),
      ...(error !== undefined && { error }),
      ...(error_trace !== undefined && { error_trace }),
    });
  });
  app.post(`${base}/runs/cancel`, async (c) => {
    const { run, id } = find(await jsonBody(c));
    scheduler.cancel(run, run.attempts.find((attempt) => attempt.run_id === id));
    return c.json({});
  });
  app.post(`${base}/runs/cancel-all`, async (c) => {
    const { job_id } = findJob(store, await jsonBody(c));
    cancelRunsOf(store, scheduler, job_id);
    return c.json({});
  });
  app.post(`${base}/runs/repair`, async (c) => {
    const body = await jsonBody(c);
    return c.json({ repair_id: repair(options, find(body).run, body) });
  });
  app.post(`${base}/runs/delete`, async (c) => {
    const { run } = find(await jsonBody(c));
    if (!isOver(run)) throw invalid(`Run ${run.run_id} is active: cancel it first.`);
    store.dropRun(run.run_id);
    return c.json({});
  });
  return app;
}

function findRun(store: Store, id: number): { run: Run; id: number } {
  const run = store.runs.get(id) ?? [...store.runs.values()].find(({ attempts }) => attempts.some((attempt) => attempt.run_id === id));
  if (!run) throw invalid(`Run ${id} does not exist.`);
  return { run, id };
}

function repair({ store, scheduler }: RunsOptions, run: Run, body: Record<string, unknown>): number {
  if (!isOver(run)) throw invalid('Cannot repair an active run.');
  const last = run.repairs.at(-1)?.id;
  if (last && body.latest_repair_id !== undefined && Number(body.latest_repair_id) !== last) throw invalid(`latest_repair_id is ${last}.`);
  run.settings = structuredClone(store.jobs.get(run.job_id)?.settings ?? run.settings);
  const tasks = run.settings.tasks ?? [];
  const latest = latestAttempts(run);
  const failed = tasks.map((task) => task.task_key).filter((key) => !['SUCCESS', 'EXCLUDED'].includes(latest.get(key)?.result ?? ''));
  const named = Array.isArray(body.rerun_tasks) ? body.rerun_tasks.map(String) : [];
  const unknown = named.find((key) => !tasks.some((task) => task.task_key === key));
  if (unknown !== undefined) throw invalid(`Task ${unknown} does not exist.`);
  if (named.length > 0 === (body.rerun_all_failed_tasks === true)) throw invalid('Give either rerun_tasks or rerun_all_failed_tasks.');
  const chosen = named.length > 0 ? named : failed;
  if (chosen.length === 0) throw invalid('There are no failed tasks to repair.');
  run.overrides = { ...run.overrides, ...overridesOf(body) };
  return scheduler.repair(run, body.rerun_dependent_tasks === true ? withDependents(tasks, chosen) : new Set(chosen));
}

function listRuns(store: Store, baseUrl: string, query: Record<string, string>): Record<string, unknown> {
  const limit = query.limit === '0' ? 25 : limitOf(query.limit, 20, 25);
  if (query.active_only === 'true' && query.completed_only === 'true') throw invalid('active_only and completed_only cannot both be true.');
  const from = offsetOf(query.page_token);
  const [since, until] = [Number(query.start_time_from ?? 0), Number(query.start_time_to ?? Infinity)];
  const found = [...store.runs.values()]
    .filter((run) => (query.job_id === undefined || run.job_id === Number(query.job_id)) && (from === 0 || run.run_id < from))
    .filter((run) => (query.active_only !== 'true' || !isOver(run)) && (query.completed_only !== 'true' || isOver(run)))
    .filter((run) => (query.run_type === undefined || run.run_type === query.run_type) && run.start_time >= since && run.start_time <= until)
    .sort((a, b) => b.run_id - a.run_id);
  const page = found.slice(0, limit);
  const expanded = (run: Run) => (query.expand_tasks === 'true' ? taskPage(attemptViews(run, baseUrl), undefined) : {});
  const runs = page.map((run) => ({ ...runView(run, baseUrl), ...expanded(run) }));
  const more = found.length > page.length;
  return { runs, has_more: more, ...(more && { next_page_token: String(page.at(-1)?.run_id) }) };
}

function overridesOf(body: Record<string, unknown>): Overrides {
  checkShape('the request', body, { job_parameters: 'object', notebook_params: 'object', python_params: 'list' });
  const { job_parameters, notebook_params, python_params } = body as Overrides;
  return { ...(job_parameters && { job_parameters }), ...(notebook_params && { notebook_params }), ...(python_params && { python_params }) };
}

function tokenOf({ idempotency_token: token }: Record<string, unknown>): { idempotency_token?: string } {
  return typeof token === 'string' && token !== '' ? { idempotency_token: token } : {};
}
