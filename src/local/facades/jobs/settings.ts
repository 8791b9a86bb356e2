import { invalid } from '../refusal.ts';
import type { Settings, TaskSettings } from './state.ts';

type Kind = 'string' | 'number' | 'boolean' | 'object' | 'list';

const conditions = ['ALL_SUCCESS', 'AT_LEAST_ONE_SUCCESS', 'NONE_FAILED', 'ALL_DONE', 'AT_LEAST_ONE_FAILED', 'ALL_FAILED'];
const keyed: Record<string, string> = { tasks: 'task_key', job_clusters: 'job_cluster_key', parameters: 'name', environments: 'environment_key' };

/** What is read here; every other field is only kept and echoed. */
const shapes = {
  settings: {
    name: 'string', tasks: 'list', job_clusters: 'list', environments: 'list', parameters: 'list', max_concurrent_runs: 'number', timeout_seconds: 'number',
    queue: 'object', schedule: 'object', trigger: 'object', continuous: 'object', run_as: 'object',
  },
  parameter: { name: 'string', default: 'string' },
  task: {
    task_key: 'string', depends_on: 'list', run_if: 'string', max_retries: 'number', min_retry_interval_millis: 'number', timeout_seconds: 'number',
    retry_on_timeout: 'boolean', notebook_task: 'object', spark_python_task: 'object', condition_task: 'object',
  },
  dependency: { task_key: 'string', outcome: 'string' },
  notebook_task: { notebook_path: 'string', base_parameters: 'object' },
  spark_python_task: { python_file: 'string', parameters: 'list' },
  condition_task: { op: 'string', left: 'string', right: 'string' },
} satisfies Record<string, Record<string, Kind>>;

/** 400 for settings that could never run: a field of the wrong kind, a task key used twice, an unknown dependency, a cycle. */
export function checkSettings(settings: Settings): void {
  checkShape('the settings', settings, shapes.settings);
  for (const parameter of settings.parameters ?? []) checkShape('parameters', parameter, shapes.parameter);
  const tasks = settings.tasks ?? [];
  for (const task of tasks) checkTask(task);
  checkGraph(tasks);
}

/** 400 unless `value` is an object whose fields, where present, are of these kinds. */
export function checkShape(what: string, value: unknown, fields: Record<string, Kind>): void {
  if (kindOf(value) !== 'object') throw invalid(`${what}: an object is expected.`);
  for (const [field, kind] of Object.entries(fields)) {
    const found = (value as Record<string, unknown>)[field];
    if (found != null && kindOf(found) !== kind) throw invalid(`${what}: ${field} is a ${kind}, not a ${kindOf(found)}.`);
  }
}

function checkTask(task: TaskSettings): void {
  checkShape('tasks', task, shapes.task);
  const what = `task ${task.task_key}`;
  for (const dependency of task.depends_on ?? []) checkShape(`${what}: depends_on`, dependency, shapes.dependency);
  for (const type of ['notebook_task', 'spark_python_task', 'condition_task'] as const) if (task[type] != null) checkShape(what, task[type], shapes[type]);
  if (task.notebook_task && !task.notebook_task.notebook_path) throw invalid(`${what}: notebook_path is missing.`);
  if (task.spark_python_task && !task.spark_python_task.python_file) throw invalid(`${what}: python_file is missing.`);
  if (task.run_if != null && !conditions.includes(task.run_if)) throw invalid(`${what}: run_if ${task.run_if} is unknown.`);
}

function kindOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value;
}

function checkGraph(tasks: TaskSettings[]): void {
  const keys = new Set<string>();
  for (const task of tasks) {
    if (typeof task?.task_key !== 'string' || !/^[\w-]{1,100}$/.test(task.task_key)) throw invalid(`Task key '${task?.task_key}' is not valid: letters, digits, _ and -, at most 100.`);
    if (keys.has(task.task_key)) throw invalid(`Duplicate task key: ${task.task_key}`);
    keys.add(task.task_key);
  }
  for (const task of tasks) {
    const unknown = task.depends_on?.find((on) => !keys.has(on.task_key));
    if (unknown) throw invalid(`Task ${task.task_key} depends on ${unknown.task_key}, which does not exist.`);
  }
  const sorted = new Set<string>();
  for (let before = -1; before !== sorted.size;) {
    before = sorted.size;
    for (const task of tasks) if ((task.depends_on ?? []).every((on) => sorted.has(on.task_key))) sorted.add(task.task_key);
  }
  if (sorted.size < keys.size) throw invalid(`The dependencies of these tasks form a cycle: ${[...keys].filter((key) => !sorted.has(key)).join(', ')}`);
}

/** Settings as they are kept: all as sent, but for the one field that is accepted and never given back. */
export function stored(settings: unknown): Settings {
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings)) throw invalid('new_settings is an object.');
  return JSON.parse(JSON.stringify(settings, (name, value: unknown) => (name === 'apply_policy_default_values' ? undefined : value))) as Settings;
}

/** Top-level fields are replaced whole; lists with keys are merged entry by entry. */
export function merged(old: Settings, change: Settings): Settings {
  checkShape('new_settings', change, shapes.settings);
  const result: Settings = { ...old, ...change };
  for (const [field, key] of Object.entries(keyed)) {
    const [before, after] = [old[field], change[field]] as ((Record<string, unknown> | null)[] | undefined)[];
    if (!before || !after) continue;
    const replaced = before.map((entry) => after.find((other) => other?.[key] === entry?.[key]) ?? entry);
    result[field] = [...replaced, ...after.filter((entry) => !before.some((other) => other?.[key] === entry?.[key]))];
  }
  return result;
}

/** `fields_to_remove`: a top-level field, or one entry as `tasks/my_task`. */
export function without(settings: Settings, paths: string[]): Settings {
  const result: Settings = { ...settings };
  for (const path of paths) {
    const [field = '', entry] = path.split('/');
    const list = result[field];
    if (entry === undefined) delete result[field];
    else if (Array.isArray(list)) result[field] = list.filter((item: Record<string, unknown> | null) => item?.[keyed[field] ?? ''] !== entry);
  }
  return result;
}
