import { createHash } from 'node:crypto';
import { Failure } from '../errors.ts';
import { poll } from '../poll.ts';
import type { Workspace } from './client.ts';
import { attemptsOf, outcomeOf, secondsBetween, tasksOf, type Outcome, type TaskNow } from './outcome.ts';
import { cancelRun, getRun, getRunOutput, listRuns, runNow, type Run } from './rest.ts';

/** What happens while a run is followed. */
export type RunEvent =
  | { kind: 'task'; task: TaskNow }
  | { kind: 'tick'; tasks: TaskNow[]; state: string }
  | { kind: 'queued'; reason: string | undefined; behind: ActiveRun[] }
  | { kind: 'lost'; cause: Failure };

export type ActiveRun = { runId: number; startedAt: string | null };

/** A run's end, as plain JSON. */
export type RunReport = Readonly<{
  runId: number;
  page: string | undefined;
  outcome: Outcome;
  seconds: number;
  tasks: readonly (Omit<TaskNow, 'outcome' | 'message'> & { meaning: string | undefined; error: TaskError | undefined })[];
  /** Filled where the run did not start because others of the same job were active. */
  activeRuns: readonly ActiveRun[];
}>;

export type TaskError = Readonly<{ message: string; trace: string | undefined; logTail: string | undefined }>;

export type FollowOptions = { deadlineMs: number; signal?: AbortSignal; firstPauseMs?: number; maxPauseMs?: number; onEvent?: (event: RunEvent) => void };

/** A name for one submission, at most 64 characters: the same name never starts a second run of the job. */
export function idempotencyToken(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** Starts the job and returns the run's id; with a token used before, the run it started then. */
export async function startRun(workspace: Workspace, jobId: number, parameters: Record<string, string>, token: string): Promise<number> {
  return runNow(workspace, jobId, parameters, token);
}

/**
 * Watches a run to its end and returns what became of it. A lost connection is waited out, for as long as the deadline allows;
 * a refused one (401, 403) and an unknown run end it at once. The deadline's Failure says how to follow the run again.
 */
export async function followRun(workspace: Workspace, runId: number, options: FollowOptions): Promise<RunReport> {
  const { deadlineMs, signal, firstPauseMs = 500, maxPauseMs = 10_000, onEvent = () => undefined } = options;
  const seen = new Map<string, string>();
  let queued = false;
  const hint = `The run goes on. Follow it: \`streamgauge run follow ${runId}\`; cancel it: \`streamgauge run cancel ${runId}\`.`;
  const ended = await poll({ what: `run ${runId}`, deadlineMs, intervalMs: firstPauseMs, maxIntervalMs: maxPauseMs, signal, hint }, async () => {
    const run = await getRun(workspace, runId).catch((error: unknown) => lostOrThrow(error, onEvent));
    if (run === undefined) return undefined;
    const tasks = tasksOf(run);
    for (const task of attemptsOf(run)) {
      const attempt = `${task.task} ${task.attempt}`;
      if (seen.get(attempt) !== task.state) onEvent({ kind: 'task', task });
      seen.set(attempt, task.state);
    }
    onEvent({ kind: 'tick', tasks, state: run.state.life_cycle_state ?? 'UNKNOWN' });
    if (run.state.life_cycle_state === 'QUEUED' && !queued) {
      queued = true;
      onEvent({ kind: 'queued', reason: run.state.queue_reason ?? run.state.state_message, behind: await othersActive(workspace, run) });
    }
    return outcomeOf(run.state) === undefined ? undefined : run;
  });
  return reportOf(workspace, ended);
}

function lostOrThrow(error: unknown, onEvent: (event: RunEvent) => void): undefined {
  if (!(error instanceof Failure) || !error.retriable) throw error;
  onEvent({ kind: 'lost', cause: error });
  return undefined;
}

/** What became of a run that has ended: per task its time and, where it failed, its error. */
export async function reportOf(workspace: Workspace, run: Run): Promise<RunReport> {
  const outcome = outcomeOf(run.state);
  if (outcome === undefined) throw new Failure({ code: 'RUN_NOT_ENDED', kind: 'remote', message: `run ${run.run_id} has not ended`, hint: `Follow it: \`streamgauge run follow ${run.run_id}\`.` });
  const tasks = await Promise.all(
    tasksOf(run).map(async ({ outcome: end, message, ...task }) => ({ ...task, meaning: end?.meaning, error: end !== undefined && failedItself(end) ? await taskError(workspace, task.runId, message) : undefined })),
  );
  const didNotStart = ['SKIPPED', 'MAXIMUM_CONCURRENT_RUNS_REACHED'].includes(outcome.state);
  return {
    runId: run.run_id,
    page: run.run_page_url,
    outcome,
    seconds: secondsBetween(run.start_time, run.end_time, Date.now()),
    tasks,
    activeRuns: didNotStart ? await othersActive(workspace, run) : [],
  };
}

/** Only such a task has an error of its own to show. */
function failedItself(outcome: Outcome): boolean {
  return ['FAILED', 'TIMEDOUT', 'INTERNAL_ERROR'].includes(outcome.state);
}

/** A failed task's error, its trace and the end of its log; what cannot be read is left out, the run's outcome stands without it. */
async function taskError(workspace: Workspace, taskRunId: number, stateMessage: string | undefined): Promise<TaskError> {
  try {
    const output = await getRunOutput(workspace, taskRunId);
    const trace = withoutColours(output.error_trace);
    const logTail = tail(withoutColours(output.logs));
    // The log often ends with the same trace: once is enough.
    const repeated = trace !== undefined && logTail?.endsWith(trace.split('\n').at(-1) ?? '');
    return { message: output.error ?? stateMessage ?? 'no error message', trace, logTail: repeated ? undefined : logTail };
  } catch (error) {
    if (error instanceof Failure && error.kind === 'access') throw error;
    return { message: stateMessage ?? 'no error message (its output could not be read)', trace: undefined, logTail: undefined };
  }
}

/** Notebook traces are coloured for a browser. */
function withoutColours(text: string | undefined): string | undefined {
  // eslint-disable-next-line no-control-regex
  return text?.replaceAll(/\u001b\[[0-9;]*m/g, '').trimEnd() || undefined;
}

function tail(text: string | undefined, lines = 20): string | undefined {
  return text?.split('\n').slice(-lines).join('\n');
}

async function othersActive(workspace: Workspace, run: Run): Promise<ActiveRun[]> {
  if (run.job_id === undefined) return [];
  const active = await activeRuns(workspace, run.job_id).catch((error: unknown) => (error instanceof Failure && error.retriable ? [] : Promise.reject(error)));
  return active.filter((other) => other.runId !== run.run_id);
}

/** Runs of a job that have not ended, the oldest first. */
export async function activeRuns(workspace: Workspace, jobId: number): Promise<ActiveRun[]> {
  const runs = await listRuns(workspace, jobId, { activeOnly: true });
  return runs
    .map((run) => ({ runId: run.run_id, startedAt: run.start_time ? new Date(run.start_time).toISOString() : null }))
    .sort((a, b) => a.runId - b.runId);
}

/** Cancels a run and waits until it has really ended; one that has ended already stays as it is. */
export async function stopRun(workspace: Workspace, runId: number, deadlineMs = 120_000): Promise<RunReport> {
  const before = await getRun(workspace, runId);
  if (outcomeOf(before.state) === undefined) await cancelRun(workspace, runId);
  return followRun(workspace, runId, { deadlineMs, firstPauseMs: 200, maxPauseMs: 3000 });
}
