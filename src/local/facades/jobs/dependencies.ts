import { isOver } from './state.ts';
import type { Attempt, Result, Run, TaskSettings } from './state.ts';

/** Whether a blocked task can start now, must wait, or never will (then the result says why). */
export function readiness(task: TaskSettings, latest: ReadonlyMap<string, Attempt>): 'wait' | 'run' | Result {
  const dependencies = (task.depends_on ?? []).map((on) => ({ on, attempt: latest.get(on.task_key) }));
  if (dependencies.length === 0) return 'run';
  if (dependencies.some(({ attempt }) => attempt === undefined || !isOver(attempt))) return 'wait';
  // The other branch of a condition counts as a task that was left out.
  const results = dependencies.map(({ on, attempt }) =>
    on.outcome !== undefined && attempt?.result === 'SUCCESS' && attempt.exit_value !== on.outcome ? 'EXCLUDED' : (attempt?.result ?? 'FAILED'));
  const executed = results.filter((result) => result !== 'EXCLUDED');
  if (executed.length === 0) return 'EXCLUDED';
  const bad = executed.filter((result) => result !== 'SUCCESS');
  const canceled = bad.length > 0 && bad.every((result) => result === 'CANCELED' || result === 'UPSTREAM_CANCELED');
  const blamed: Result = canceled ? 'UPSTREAM_CANCELED' : 'UPSTREAM_FAILED';
  switch (task.run_if ?? 'ALL_SUCCESS') {
    case 'ALL_DONE':
      return 'run';
    case 'AT_LEAST_ONE_SUCCESS':
      return bad.length < executed.length ? 'run' : blamed;
    case 'AT_LEAST_ONE_FAILED':
      return bad.length > 0 ? 'run' : 'EXCLUDED';
    case 'ALL_FAILED':
      return bad.length === results.length ? 'run' : 'EXCLUDED';
    default:
      // Excluded tasks count as successful: that makes ALL_SUCCESS and NONE_FAILED the same question here.
      return bad.length === 0 ? 'run' : blamed;
  }
}

/** A finished run's result: the leaf tasks decide. */
export function overallResult(tasks: readonly TaskSettings[], latest: ReadonlyMap<string, Attempt>): Result {
  const parents = new Set(tasks.flatMap((task) => (task.depends_on ?? []).map((on) => on.task_key)));
  const failed = (task: TaskSettings) => !['SUCCESS', 'EXCLUDED'].includes(latest.get(task.task_key)?.result ?? 'FAILED');
  if (tasks.some((task) => !parents.has(task.task_key) && failed(task))) return 'FAILED';
  return tasks.some(failed) ? 'SUCCESS_WITH_FAILURES' : 'SUCCESS';
}

/** Whether a task that just ended gets another try, by its own retry policy and counted within the current repair. */
export function mayRetry(run: Run, attempt: Attempt, task: TaskSettings): boolean {
  const retriable = attempt.result === 'FAILED' || (attempt.result === 'TIMEDOUT' && task.retry_on_timeout === true);
  const tries = run.attempts.filter((other) => other.task_key === attempt.task_key && other.repair === attempt.repair).length;
  const most = task.max_retries ?? 0;
  return retriable && !task.condition_task && (most === -1 || tries <= most);
}

/** What a finished run says of itself: the task to blame, or why it was stopped. */
export function finalMessage(run: Run, result: Result): string {
  if (result === 'CANCELED' || result === 'TIMEDOUT') return run.message;
  const culprit = run.attempts.findLast((attempt) => attempt.result === 'FAILED' || attempt.result === 'TIMEDOUT');
  return result === 'FAILED' && culprit ? `Task ${culprit.task_key} failed with message: ${culprit.message}` : '';
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
