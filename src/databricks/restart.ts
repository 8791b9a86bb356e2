import type { Workspace } from './client.ts';
import { outcomeOf } from './outcome.ts';
import { getRun, runNow, type Run } from './rest.ts';
import { idempotencyToken, stopRun } from './runs.ts';

/** Stops a run and starts its job again with the same parameters; undefined where it has ended by itself. Twice is once. */
export async function restartRun(workspace: Workspace, runId: number): Promise<number | undefined> {
  const run = await getRun(workspace, runId);
  if (outcomeOf(run.state) !== undefined || run.job_id === undefined) return undefined;
  await stopRun(workspace, runId);
  return runNow(workspace, run.job_id, parametersOf(run), idempotencyToken('restart', String(runId)));
}

/** The parameters that were given to this run, without those left at the job's default: these may have changed. */
export function parametersOf(run: Pick<Run, 'job_parameters'>): Record<string, string> {
  return Object.fromEntries((run.job_parameters ?? []).flatMap(({ name, value }) => (value === undefined ? [] : [[name, value]])));
}
