import { z } from 'zod';
import { messageOf } from '../../errors.ts';
import { quartz } from './quartz.ts';

const text = z.string().nullish();
const number = z.number().nullish();
const paused = { pause_status: text };
/** Values of parameters are texts; clients send numbers, too. */
const value = z.union([z.string(), z.number(), z.boolean()]).transform(String);

const task = z.looseObject({
  task_key: z.string().regex(/^[\w-]{1,100}$/, 'letters, digits, _ and -, at most 100'),
  depends_on: z.array(z.looseObject({ task_key: z.string(), outcome: text })).nullish(),
  run_if: z.enum(['ALL_SUCCESS', 'AT_LEAST_ONE_SUCCESS', 'NONE_FAILED', 'ALL_DONE', 'AT_LEAST_ONE_FAILED', 'ALL_FAILED']).nullish(),
  max_retries: number,
  min_retry_interval_millis: number,
  retry_on_timeout: z.boolean().nullish(),
  timeout_seconds: number,
  libraries: z.array(z.looseObject({ pypi: z.looseObject({ package: text }).nullish() })).nullish(),
  notebook_task: z.looseObject({ notebook_path: z.string().min(1), base_parameters: z.record(z.string(), value).nullish() }).nullish(),
  spark_python_task: z.looseObject({ python_file: z.string().min(1), parameters: z.array(value).nullish() }).nullish(),
  condition_task: z.looseObject({ op: z.enum(['EQUAL_TO', 'NOT_EQUAL', 'GREATER_THAN', 'GREATER_THAN_OR_EQUAL', 'LESS_THAN', 'LESS_THAN_OR_EQUAL']), left: z.string(), right: z.string() }).nullish(),
});

/** A job's settings: what is read here, and whatever else was sent. What could never run, or would silently never fire, is refused. */
export const settings = z
  .looseObject({
    name: text,
    tasks: z.array(task).nullish(),
    job_clusters: z.array(z.looseObject({ job_cluster_key: text })).nullish(),
    environments: z.array(z.looseObject({ environment_key: text })).nullish(),
    parameters: z.array(z.looseObject({ name: z.string(), default: z.string() })).nullish(),
    max_concurrent_runs: number,
    timeout_seconds: number,
    queue: z.looseObject({ enabled: z.boolean().nullish() }).nullish(),
    run_as: z.looseObject({ user_name: text, service_principal_name: text }).nullish(),
    schedule: z.looseObject({ ...paused, quartz_cron_expression: z.string(), timezone_id: z.string() }).nullish(),
    trigger: z.looseObject({ ...paused, periodic: z.looseObject({ interval: z.int().min(1), unit: z.enum(['HOURS', 'DAYS', 'WEEKS']) }).nullish() }).nullish(),
    continuous: z.looseObject(paused).nullish(),
  })
  .superRefine((given, { addIssue }) => {
    for (const problem of [graphProblem(given.tasks ?? []), scheduleProblem(given)]) if (problem !== undefined) addIssue(problem);
  });

export type TaskSettings = z.infer<typeof task>;
export type Settings = z.infer<typeof settings>;

/** What a run may be given besides its job's settings. */
export const overrides = z.object({ job_parameters: z.record(z.string(), value).optional(), notebook_params: z.record(z.string(), value).optional(), python_params: z.array(value).optional() });
export type Overrides = z.infer<typeof overrides>;

function graphProblem(tasks: TaskSettings[]): string | undefined {
  const keys = new Set(tasks.map((task) => task.task_key));
  if (keys.size < tasks.length) return 'Duplicate task key.';
  const sorted = new Set<string>();
  for (let before = -1; before !== sorted.size;) {
    before = sorted.size;
    for (const { task_key, depends_on } of tasks) {
      const unknown = depends_on?.find((on) => !keys.has(on.task_key));
      if (unknown) return `Task ${task_key} depends on ${unknown.task_key}, which does not exist.`;
      if (depends_on?.every((on) => sorted.has(on.task_key)) ?? true) sorted.add(task_key);
    }
  }
  if (sorted.size < keys.size) return `The dependencies of these tasks form a cycle: ${[...keys].filter((key) => !sorted.has(key)).join(', ')}`;
}

function scheduleProblem({ schedule, trigger, continuous }: Pick<Settings, 'schedule' | 'trigger' | 'continuous'>): string | undefined {
  try {
    if (schedule) quartz(schedule.quartz_cron_expression, schedule.timezone_id);
  } catch (error) {
    return messageOf(error);
  }
  const foreign = trigger && !trigger.periodic ? trigger : continuous;
  if (foreign && foreign.pause_status !== 'PAUSED') return 'The local platform fires schedule and trigger.periodic; set pause_status: PAUSED on any other trigger, or on continuous.';
}
