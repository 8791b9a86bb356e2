import { isOver } from './state.ts';
import type { Attempt, Result, Run } from './state.ts';
import type { TaskSettings } from './settings.ts';

const fine = (result: Result | undefined) => result === 'SUCCESS' || result === 'EXCLUDED';
const cancelled = (result: Result) => result === 'CANCELED' || result === 'UPSTREAM_CANCELED';

/** Whether a blocked task can start now, must wait, or never will (then the result says why). */
export function readiness(task: TaskSettings, latest: ReadonlyMap<string, Attempt>): 'wait' | 'run' | Result {
  const dependencies = (task.depends_on ?? []).map((on) => ({ ...on, attempt: latest.get(on.task_key) }));
  if (dependencies.length === 0) return 'run';
  if (dependencies.some(({ attempt }) => attempt === undefined || !isOver(attempt))) return 'wait';
  // The other branch of a condition counts as a task that was left out.
  const results = dependencies.map(({ outcome, attempt }) => (outcome != null && attempt?.result === 'SUCCESS' && attempt.exit_value !== outcome ? 'EXCLUDED' : (attempt?.result ?? 'FAILED')));
  const executed = results.filter((result) => result !== 'EXCLUDED');
  const bad = executed.filter((result) => result !== 'SUCCESS');
  const blamed: Result = bad.every(cancelled) ? 'UPSTREAM_CANCELED' : 'UPSTREAM_FAILED';
  if (executed.length === 0) return 'EXCLUDED';
  // Excluded tasks count as successful: that makes ALL_SUCCESS and NONE_FAILED the same question here.
  const verdicts = {
    ALL_SUCCESS: () => bad.length === 0 || blamed,
    NONE_FAILED: () => bad.length === 0 || blamed,
    ALL_DONE: () => true,
    AT_LEAST_ONE_SUCCESS: () => bad.length < executed.length || blamed,
    AT_LEAST_ONE_FAILED: () => bad.length > 0 || 'EXCLUDED',
    ALL_FAILED: () => bad.length === results.length || 'EXCLUDED',
  } satisfies Record<string, () => true | Result>;
  const verdict = verdicts[task.run_if ?? 'ALL_SUCCESS']();
  return verdict === true ? 'run' : verdict;
}

/** A finished run's result: the leaf tasks decide. */
export function overallResult(tasks: readonly TaskSettings[], latest: ReadonlyMap<string, Attempt>): Result {
  const parents = new Set(tasks.flatMap((task) => (task.depends_on ?? []).map((on) => on.task_key)));
  const failed = tasks.filter((task) => !fine(latest.get(task.task_key)?.result));
  if (failed.some((task) => !parents.has(task.task_key))) return 'FAILED';
  return failed.length > 0 ? 'SUCCESS_WITH_FAILURES' : 'SUCCESS';
}

/** Whether a task that just ended gets another try, by its own retry policy and counted within the current repair. */
export function mayRetry(run: Run, attempt: Attempt, task: TaskSettings): boolean {
  const retriable = attempt.result === 'FAILED' || (attempt.result === 'TIMEDOUT' && task.retry_on_timeout === true);
  const tries = run.attempts.filter((other) => other.task_key === attempt.task_key && other.repair === attempt.repair).length;
  return retriable && !task.condition_task && (task.max_retries === -1 || tries <= (task.max_retries ?? 0));
}

/** The keys of the tasks that did not succeed. */
export function failedTasks(tasks: readonly TaskSettings[], latest: ReadonlyMap<string, Attempt>): string[] {
  return tasks.map((task) => task.task_key).filter((key) => !fine(latest.get(key)?.result));
}

/** The tasks named and everything downstream of them. */
export function withDependents(tasks: readonly TaskSettings[], keys: Iterable<string>): Set<string> {
  const found = new Set(keys);
  for (let before = -1; before !== found.size;) {
    before = found.size;
    for (const task of tasks) if (task.depends_on?.some((on) => found.has(on.task_key))) found.add(task.task_key);
  }
  return found;
}
