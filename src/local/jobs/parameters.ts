import type { TaskSettings } from './settings.ts';
import { latestAttempts } from './state.ts';
import type { Attempt, Run } from './state.ts';

export type Place = { workspaceId: string; baseUrl: string };

/** The run's job parameters: name, default, and the value if one was given. */
export function jobParameters(run: Run): { name: string; default: string; value?: string }[] {
  const given = run.overrides.job_parameters ?? {};
  const defined = run.settings.parameters ?? [];
  const extra = Object.keys(given).filter((name) => !defined.some((p) => p.name === name));
  return [...defined, ...extra.map((name) => ({ name, default: '' }))].map((p) => ({ name: p.name, default: p.default, ...(p.name in given && { value: given[p.name] }) }));
}

/** Where a run or a task is shown. */
export function pageUrl({ baseUrl }: Pick<Place, 'baseUrl'>, run: Run, id = run.run_id): string {
  return `${baseUrl}/#job/${run.job_id}/run/${id}`;
}

/** What one attempt of a task gets: named parameters of a notebook, arguments of a Python file; dynamic values filled in. */
export function taskParameters(run: Run, attempt: Attempt, task: TaskSettings, place: Place): { named: Record<string, string>; listed: string[] } {
  const fill = filler(run, attempt, task, place);
  // Job parameters are pushed down to every notebook and win over the task's own of the same name.
  const named = task.notebook_task ? { ...task.notebook_task.base_parameters, ...run.overrides.notebook_params, ...parametersOf(run) } : {};
  const listed = run.overrides.python_params ?? task.spark_python_task?.parameters ?? [];
  return { named: Object.fromEntries(Object.entries(named).map(([name, value]) => [name, fill(value)])), listed: listed.map(fill) };
}

/** Evaluates a condition task: `true` or `false`. */
export function conditionOutcome(run: Run, attempt: Attempt, task: TaskSettings, place: Place): 'true' | 'false' {
  const { op, left, right } = task.condition_task as NonNullable<TaskSettings['condition_task']>;
  const [a = '', b = ''] = [left, right].map(filler(run, attempt, task, place));
  const compare = {
    EQUAL_TO: a === b,
    NOT_EQUAL: a !== b,
    GREATER_THAN: Number(a) > Number(b),
    GREATER_THAN_OR_EQUAL: Number(a) >= Number(b),
    LESS_THAN: Number(a) < Number(b),
    LESS_THAN_OR_EQUAL: Number(a) <= Number(b),
  };
  return compare[op] ? 'true' : 'false';
}

/** What a task runs; a RangeError for task types that are stored but cannot be executed here. */
export function programOf(task: TaskSettings): { kind: 'notebook' | 'python'; path: string } {
  if (task.notebook_task) return { kind: 'notebook', path: task.notebook_task.notebook_path };
  if (task.spark_python_task) return { kind: 'python', path: task.spark_python_task.python_file };
  const type = Object.keys(task).find((name) => name.endsWith('_task')) ?? 'a task without a type';
  throw new RangeError(`${type} is not part of the local platform: it runs notebook_task, spark_python_task and condition_task`);
}

/** Fills `{{...}}`: unknown namespaces stay as they are, a wrong name in a known one throws a RangeError, as on Databricks. */
function filler(run: Run, attempt: Attempt, task: TaskSettings, place: Place): (text: string) => string {
  const known = references(run, attempt, task, place);
  const fill = (text: unknown, parameters: Record<string, string>): string =>
    String(text).replace(/\{\{\s*([^{}]+?)\s*\}\}/g, (literal, reference: string) => {
      const path = reference.split('.');
      if (!Object.hasOwn(known, path[0] ?? '')) return literal;
      // A job parameter's value may hold references of its own, but none to other parameters.
      const parameter = find({ job: { parameters } }, path);
      const value = parameter === undefined ? find(known, path) : fill(parameter, {});
      if (value === undefined || typeof value === 'object') throw new RangeError(`${literal} cannot be resolved: the reference is unknown or its value was never set`);
      return String(value);
    });
  return (text) => fill(text, parametersOf(run));
}

function parametersOf(run: Run): Record<string, string> {
  return Object.fromEntries(jobParameters(run).map((p) => [p.name, p.value ?? p.default]));
}

/** What stands at the end of a path, whose last names may hold dots themselves; undefined if nothing does. */
function find(node: unknown, path: string[]): unknown {
  if (path.length === 0 || typeof node !== 'object' || node === null) return path.length === 0 ? node : undefined;
  for (let length = path.length; length > 0; length -= 1) {
    const name = path.slice(0, length).join('.');
    if (Object.hasOwn(node, name)) return find((node as Record<string, unknown>)[name], path.slice(length));
  }
  return undefined;
}

function references(run: Run, attempt: Attempt, task: TaskSettings, place: Place): Record<string, unknown> {
  const facts = (of: Attempt) => ({ run_id: of.run_id, execution_count: of.attempt_number + 1, result_state: of.result?.toLowerCase() ?? 'running' });
  const values = (of: Attempt) => Object.fromEntries(Object.entries(of.values).map(([key, value]) => [key, typeof value === 'string' ? value : JSON.stringify(value)]));
  const begun = moment(run.start_time);
  return {
    job: { id: run.job_id, run_id: run.run_id, name: run.settings.name ?? 'Untitled', repair_count: Math.max(0, run.repairs.length - 1), start_time: begun, trigger: { type: run.trigger.toLowerCase(), time: begun } },
    run: { id: run.run_id, start_time: run.start_time, page_url: pageUrl(place, run) },
    task: { ...facts(attempt), name: task.task_key, notebook_path: task.notebook_task?.notebook_path },
    tasks: Object.fromEntries([...latestAttempts(run)].map(([key, other]) => [key, { ...facts(other), values: values(other) }])),
    workspace: { id: place.workspaceId, url: place.baseUrl },
    // The references of the first Jobs API, still in use.
    job_id: run.job_id,
    run_id: attempt.run_id,
    parent_run_id: run.run_id,
    task_key: task.task_key,
    task_retry_count: attempt.attempt_number,
    start_date: moment(attempt.start_time).iso_date,
    start_time: attempt.start_time,
  };
}

/** The parts of a moment, in UTC. */
function moment(ms: number) {
  const date = new Date(ms);
  const [year, month, day, hour, minute, second] = date.toISOString().split(/\D/).map(Number);
  const weekday = date.getUTCDay() || 7;
  const iso = { iso_date: date.toISOString().slice(0, 10), iso_datetime: date.toISOString().slice(0, 19), iso_weekday: weekday, is_weekday: weekday < 6 };
  return { ...iso, year, month, day, hour, minute, second, timestamp_ms: ms };
}
