import type { Hono } from 'hono';
import { z } from 'zod';
import { failedTasks, withDependents } from '../../jobs/dependencies.ts';
import type { JobEngine } from '../../jobs/engine.ts';
import { overrides } from '../../jobs/settings.ts';
import { isOver, latestAttempts } from '../../jobs/state.ts';
import type { Run } from '../../jobs/state.ts';
import { readTaskLog } from '../../jobs/tasklog.ts';
import { invalid } from '../refusal.ts';
import { count, flag, identifier, routeTable } from '../routes.ts';
import { checked, jobOf } from './jobs.ts';
import { attemptOf, attemptView, newestPage, page, repairHistory, runView, taskPage } from './views.ts';

const outputCharacters = 5 * 2 ** 20;

const ofRun = z.object({ run_id: identifier });
const token = z.string().optional().transform((given) => given || undefined);
const newRun = overrides.extend({ job_id: identifier, idempotency_token: token });
const submission = z.looseObject({ run_name: z.string().default('Untitled'), idempotency_token: token, access_control_list: z.unknown().optional(), tasks: z.array(z.unknown()).min(1) });
const list = z
  // A limit of 0 stands for the most.
  .object({ ...page, job_id: identifier.optional(), limit: count.max(25).default(20).transform((given) => given || 25), active_only: flag, completed_only: flag, expand_tasks: flag })
  .refine((query) => !query.active_only || !query.completed_only, 'active_only and completed_only cannot both be true.');
const repair = overrides
  .extend({ run_id: identifier, latest_repair_id: identifier.optional(), rerun_tasks: z.array(z.string()).default([]), rerun_all_failed_tasks: flag, rerun_dependent_tasks: flag })
  .refine((body) => body.rerun_tasks.length > 0 !== body.rerun_all_failed_tasks, 'Give either rerun_tasks or rerun_all_failed_tasks.');

/** Runs below `base` (`.../jobs`): starting, watching, stopping, repairing. */
export function runRoutes(base: string, engine: JobEngine, baseUrl: string): Hono {
  const { runs } = engine;
  const { app, get, post } = routeTable(base);
  const tasksOf = (run: Run, from = 0) => taskPage(run.attempts.map((attempt) => attemptView(run, attempt, baseUrl)), from);
  const find = (id: number): { run: Run; own: Run['attempts'][number] | undefined } => {
    const own = (run: Run) => run.attempts.find((attempt) => attempt.run_id === id);
    const run = runs.get(id) ?? [...runs.values()].find(own);
    if (!run) throw invalid(`Run ${id} does not exist.`);
    return { run, own: own(run) };
  };

  post('/run-now', newRun, ({ job_id, idempotency_token, ...given }) => {
    const job = jobOf(engine, job_id);
    return { run_id: engine.start({ job, settings: job.settings, trigger: 'ONE_TIME', overrides: given, idempotency_token }).run_id };
  });
  post('/runs/submit', submission, ({ run_name: name, idempotency_token, access_control_list: _list, ...rest }) => ({
    run_id: engine.start({ settings: checked({ ...rest, name }), trigger: 'ONE_TIME', overrides: {}, idempotency_token }).run_id,
  }));
  get('/runs/get', ofRun.extend({ ...page, include_history: flag }), ({ run_id, page_token: from, include_history: history }) => {
    const { run, own } = find(run_id);
    if (own) return { ...runView(run, baseUrl), ...attemptView(run, own, baseUrl) };
    return { ...runView(run, baseUrl), ...(history && { repair_history: repairHistory(run) }), ...tasksOf(run, from) };
  });
  get('/runs/list', list, (query) => {
    const wanted = [...runs.values()].filter((run) => (query.job_id ?? run.job_id) === run.job_id && !(isOver(run) ? query.active_only : query.completed_only));
    const { entries, ...more } = newestPage(wanted, (run) => run.run_id, query);
    return { runs: entries.map((run) => ({ ...runView(run, baseUrl), ...(query.expand_tasks && tasksOf(run)) })), ...more };
  });
  get('/runs/get-output', ofRun, ({ run_id }) => {
    const { run } = find(run_id);
    const attempt = attemptOf(run, run_id);
    const { exit_value: value, error, error_trace } = attempt;
    const metadata = { ...runView(run, baseUrl), ...attemptView(run, attempt, baseUrl) };
    const output = { result: value?.slice(0, outputCharacters), truncated: (value?.length ?? 0) > outputCharacters };
    return { metadata, ...('notebook_task' in metadata && attempt.parameters && { notebook_output: output }), ...readTaskLog(engine.logFile(attempt.run_id)), error, error_trace };
  });
  post('/runs/cancel', ofRun, ({ run_id }) => {
    const { run, own } = find(run_id);
    engine.cancel(own ?? run);
  });
  post('/runs/repair', repair, ({ run_id, latest_repair_id, rerun_tasks: named, rerun_all_failed_tasks: _all, rerun_dependent_tasks: dependents, ...given }) => {
    const { run } = find(run_id);
    if (!isOver(run)) throw invalid('Cannot repair an active run.');
    const last = run.repairs.at(-1)?.id;
    if (last && latest_repair_id !== undefined && latest_repair_id !== last) throw invalid(`latest_repair_id is ${last}.`);
    const settings = structuredClone(engine.jobs.get(run.job_id)?.settings ?? run.settings);
    const tasks = settings.tasks ?? [];
    const chosen = named.length > 0 ? named : failedTasks(tasks, latestAttempts(run));
    const unknown = chosen.find((key) => !tasks.some((task) => task.task_key === key));
    if (unknown !== undefined || chosen.length === 0) throw invalid(chosen.length === 0 ? 'There are no failed tasks to repair.' : `Task ${unknown} does not exist.`);
    Object.assign(run, { settings, overrides: { ...run.overrides, ...given } });
    return { repair_id: engine.repair(run, dependents ? withDependents(tasks, chosen) : new Set(chosen)) };
  });
  return app;
}
