import { randomUUID } from 'node:crypto';
import type { Config } from '../config/config.ts';
import { Failure } from '../errors.ts';
import type { Workspace } from './client.ts';
import { deployedJob } from './deploy.ts';
import { getRunOutput } from './rest.ts';
import { followRun, startRun, stopRun, type RunEvent, type RunReport } from './runs.ts';

export type NotebookRun = Following & {
  /** Key of the job in the bundle, and the task whose answer counts. */
  job: string;
  task: string;
  parameters: Record<string, string>;
};

export type Following = {
  deadlineMs: number;
  signal?: AbortSignal;
  /** What is going on, for a person. */
  onUpdate?(text: string): void;
};

/**
 * Runs a deployed job to its end and returns what the task's notebook exited with, as JSON. A run that fails is a Failure with the
 * notebook's own error; one that is interrupted is cancelled, because nobody else waits for it.
 */
export async function runNotebook<T>(workspace: Workspace, config: Config, { job, task, parameters, ...following }: NotebookRun): Promise<T> {
  const deployed = await deployedJob(workspace, config, job);
  const runId = await startRun(workspace, deployed.job_id, parameters, randomUUID());
  return notebookResult<T>(workspace, config, { runId, task }, following);
}

/** Follows a run that was started for its answer: the same, of a run that goes on already. */
export async function notebookResult<T>(workspace: Workspace, config: Config, { runId, task }: { runId: number; task: string }, { deadlineMs, signal, onUpdate }: Following): Promise<T> {
  const report = await followRun(workspace, runId, { deadlineMs, signal, maxPauseMs: 3000, onEvent: (event) => onUpdate?.(described(event, runId)) }).catch(async (error: unknown) => {
    if (signal?.aborted) await stopRun(workspace.withSignal(AbortSignal.timeout(60_000)), runId, 60_000);
    throw error;
  });
  if (!report.outcome.ok) throw runFailure(report, config.target);
  const run = report.tasks.find((one) => one.task === task);
  const output = run === undefined ? undefined : await getRunOutput(workspace, run.runId);
  try {
    return JSON.parse(output?.notebook_output?.result ?? '') as T;
  } catch (error) {
    throw new Failure({ code: 'NOTEBOOK_RESULT_UNREADABLE', kind: 'remote', message: `task ${task} of run ${runId} left no result that can be read`, hint: `See what it said: \`streamgauge run follow ${runId} -t ${config.target}\`. Deploy again where the notebooks are older than this version.`, cause: error });
  }
}

function described(event: RunEvent, runId: number): string {
  if (event.kind === 'lost') return 'the connection was lost; trying again';
  if (event.kind === 'queued') return `run ${runId} waits in the queue`;
  if (event.kind === 'task') return `${event.task.task} ${event.task.state}`;
  return event.tasks.length === 0 ? event.state : event.tasks.map((task) => `${task.task} ${task.state} ${Math.round(task.seconds)} s`).join(', ');
}

function runFailure({ runId, outcome, tasks, page }: RunReport, target: string): Failure {
  const failed = tasks.find(({ error }) => error !== undefined);
  return new Failure({
    code: 'RUN_FAILED',
    kind: outcome.exitCode === 130 ? 'interrupted' : outcome.exitCode === 5 ? 'deadline' : 'remote',
    message: failed?.error === undefined ? `run ${runId} ${outcome.meaning}` : `task ${failed.task} of run ${runId} failed: ${failed.error.message}`,
    hint: `See its log: \`streamgauge run follow ${runId} -t ${target}\`${page === undefined ? '' : ` or ${page}`}.`,
  });
}
