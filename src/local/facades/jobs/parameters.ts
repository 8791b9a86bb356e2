import { latestAttempts } from './state.ts';
import type { Attempt, Run, TaskSettings } from './state.ts';

export type Place = { workspaceId: string; baseUrl: string };

type References = Record<string, (rest: string[]) => string | undefined>;

/** The run's job parameters: name, default, and the value if one was given. */
export function jobParameters(run: Run): { name: string; default: string; value?: string }[] {
  const given = run.overrides.job_parameters ?? {};
  const defined = run.settings.parameters ?? [];
  const extra = Object.keys(given).filter((name) => !defined.some((p) => p.name === name));
  return [
    ...defined.map((p) => ({ name: p.name, default: p.default, ...(p.name in given ? { value: String(given[p.name]) } : {}) })),
    ...extra.map((name) => ({ name, default: '', value: String(given[name]) })),
  ];
}

/** What one attempt of a task gets: named parameters of a notebook, arguments of a Python file; dynamic values filled in. */
export function taskParameters(run: Run, attempt: Attempt, task: TaskSettings, place: Place): { named: Record<string, string>; listed: string[] } {
  const fill = filler(run, attempt, task, place);
  const fillAll = (values: Record<string, string>) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, fill(String(value))]));
  const ofJob = Object.fromEntries(jobParameters(run).map((p) => [p.name, p.value ?? p.default]));
  // Job parameters are pushed down to every notebook and win over the task's own of the same name.
  const named = fillAll({ ...task.notebook_task?.base_parameters, ...run.overrides.notebook_params, ...ofJob });
  const listed = (run.overrides.python_params ?? task.spark_python_task?.parameters ?? []).map((value) => fill(String(value)));
  return { named: task.notebook_task ? named : {}, listed };
}

/** Evaluates a condition task: `true` or `false`. */
export function conditionOutcome(run: Run, attempt: Attempt, task: TaskSettings, place: Place): 'true' | 'false' {
  const { op = '', left = '', right = '' } = task.condition_task ?? {};
  const fill = filler(run, attempt, task, place);
  const [a, b] = [fill(left), fill(right)];
  const compare: Record<string, () => boolean> = {
    EQUAL_TO: () => a === b,
    NOT_EQUAL: () => a !== b,
    GREATER_THAN: () => Number(a) > Number(b),
    GREATER_THAN_OR_EQUAL: () => Number(a) >= Number(b),
    LESS_THAN: () => Number(a) < Number(b),
    LESS_THAN_OR_EQUAL: () => Number(a) <= Number(b),
  };
  const holds = compare[op];
  if (!holds) throw new RangeError(`condition_task: op ${op} is unknown`);
  return holds() ? 'true' : 'false';
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
  const parameters = Object.fromEntries(jobParameters(run).map((p) => [p.name, p.value ?? p.default]));
  const fill = (text: string, known: References): string =>
    text.replace(/\{\{\s*([^{}]+?)\s*\}\}/g, (literal, reference: string) => {
      const [namespace = '', ...rest] = reference.split('.');
      const find = Object.hasOwn(known, namespace) ? known[namespace] : undefined;
      if (!find) return literal;
      const value = find(rest);
      if (value === undefined) throw new RangeError(`${literal} cannot be resolved: the reference is unknown or its value was never set`);
      return value;
    });
  const outer = references(run, attempt, task, place);
  const known: References = {
    ...outer,
    job: ([name, ...rest]) => {
      if (name !== 'parameters') return outer.job?.([name ?? '', ...rest]);
      const value = parameters[rest.join('.')];
      return value === undefined ? undefined : fill(value, outer);
    },
  };
  return (text) => fill(text, known);
}

function references(run: Run, attempt: Attempt, task: TaskSettings, place: Place): References {
  const facts = (of: Attempt | undefined, name: string): string | undefined =>
    of && ({ run_id: String(of.run_id), execution_count: String(of.attempt_number + 1), result_state: resultWord(of) } as Record<string, string>)[name];
  const runFacts: Record<string, string> = { id: String(run.run_id), start_time: String(run.start_time), page_url: `${place.baseUrl}/#job/${run.job_id}/run/${run.run_id}` };
  return {
    job: ([name = '', ...rest]) => {
      const simple: Record<string, string> = { id: String(run.job_id), run_id: String(run.run_id), name: run.settings.name ?? 'Untitled', repair_count: String(Math.max(0, run.repairs.length - 1)) };
      if (name === 'start_time') return moment(run.start_time, rest[0]);
      if (name === 'trigger') return rest[0] === 'type' ? run.trigger.toLowerCase() : rest[0] === 'time' ? moment(run.start_time, rest[1]) : undefined;
      return simple[name];
    },
    run: ([name = '']) => runFacts[name],
    task: ([name = '']) => (name === 'name' ? task.task_key : name === 'notebook_path' ? task.notebook_task?.notebook_path : facts(attempt, name)),
    tasks: ([key = '', name = '', ...rest]) => {
      const other = latestAttempts(run).get(key);
      if (name !== 'values') return facts(other, name);
      const value = other?.values[rest.join('.')];
      return value === undefined || typeof value === 'string' ? value : JSON.stringify(value);
    },
    workspace: ([name]) => (name === 'id' ? place.workspaceId : name === 'url' ? place.baseUrl : undefined),
    // The references of the first Jobs API, still in use.
    job_id: () => String(run.job_id),
    run_id: () => String(attempt.run_id),
    parent_run_id: () => String(run.run_id),
    task_key: () => task.task_key,
    task_retry_count: () => String(attempt.attempt_number),
    start_date: () => moment(attempt.start_time, 'iso_date'),
    start_time: () => String(attempt.start_time),
  };
}

function resultWord(attempt: Attempt): string {
  return attempt.result?.toLowerCase() ?? 'running';
}

/** One part of a moment, in UTC. */
function moment(ms: number, part: string | undefined): string | undefined {
  const date = new Date(ms);
  const weekday = date.getUTCDay() || 7;
  const parts: Record<string, string | number | boolean> = {
    iso_date: date.toISOString().slice(0, 10),
    iso_datetime: date.toISOString().replace(/\.\d+Z$/, ''),
    iso_weekday: weekday,
    is_weekday: weekday < 6,
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    second: date.getUTCSeconds(),
    timestamp_ms: ms,
  };
  return part !== undefined && Object.hasOwn(parts, part) ? String(parts[part]) : undefined;
}
