import type { Context } from '../command.ts';
import { decideSwap, endSwap, setWindowMinutes, swapOf, swapTables, type Swap } from '../databricks/rebuild.ts';
import { activeRuns } from '../databricks/runs.ts';
import { readCursor } from '../elasticsearch/cursor.ts';
import { pointTo, type Generation } from '../elasticsearch/generations.ts';
import { Failure } from '../errors.ts';
import { poll } from '../poll.ts';
import { carryWindows } from './carry.ts';
import type { Parties } from './rebuild.ts';

/** Each round takes in what came while the round before it ran: from the second on there is little. */
const ROUNDS = 10;

/** Swaps once what was rebuilt holds all that there is and no run of the main job is under way. */
export async function swapWhenCurrent(context: Context, parties: Parties, generation: Generation | undefined, deadlineMs: number): Promise<void> {
  const { sql, tables } = parties;
  for (let round = 1; round <= ROUNDS; round += 1) {
    if (generation !== undefined) await fill(context, parties, generation);
    await whenIdle(context, parties, deadlineMs);
    const swap = await swapOf(sql, tables, generation?.index ?? null);
    const decided = swap && (await decideSwap(sql, tables, swap, async () => (await activeRuns(parties.workspace, parties.jobId)).length === 0));
    if (decided !== undefined) return finishSwap(context, parties, decided);
    context.progress.stage('take in what came meanwhile');
    await parties.compute({ action: 'catch_up' });
  }
  throw new Failure({ code: 'REBUILD_NOT_CURRENT', kind: 'remote', message: `the job published ${ROUNDS} times while what was rebuilt took it in: nothing was swapped`, hint: 'Pause the job\'s schedule for a while, and rebuild again.' });
}

/** The swap itself, and all of it again after a crash: every step gives the same when it is repeated. */
export async function finishSwap({ config, progress }: Context, { workspace, sql, tables, elasticsearch }: Parties, swap: Swap): Promise<void> {
  progress.stage('swap: the tables');
  await swapTables(sql, tables, swap);
  progress.stage('swap: the index');
  if (swap.index !== null) await pointTo(elasticsearch, config.pipeline.index, swap.index);
  progress.stage('swap: the jobs');
  const jobs = await setWindowMinutes(workspace.withSignal(undefined), config, swap.minutes);
  if (jobs.length > 0) progress.note(`window_minutes is ${swap.minutes} now in the deployed jobs ${jobs.join(', ')}`);
  await endSwap(sql, tables, swap);
  if (config.pipeline.window_minutes !== swap.minutes) progress.warn(`window_minutes is ${config.pipeline.window_minutes} in the configuration: set it to ${swap.minutes} in databricks.yml, or the next deployment changes the jobs, which then refuse to publish`);
}

/** Carries the rebuilt windows into their own index, which nobody searches yet. */
async function fill(context: Context, { sql, elasticsearch, tables }: Parties, generation: Generation): Promise<void> {
  const { config, progress, signal } = context;
  progress.stage(`fill ${generation.index}`);
  const cursor = await readCursor(elasticsearch, config.pipeline.index, generation);
  const { rejectedCount, rejected, interrupted } = await carryWindows(context, { elasticsearch, sql, table: tables.rebuiltWindows, cursor, from: cursor.sequence });
  if (interrupted) signal.throwIfAborted();
  if (rejectedCount === 0) return;
  const [first] = rejected;
  throw new Failure({ code: 'DOCUMENTS_REJECTED', kind: 'checkFailed', message: `Elasticsearch rejected ${rejectedCount} documents, the first is ${first?.id} (${first?.type}: ${first?.reason}): nothing was swapped`, hint: 'What is searched stands as it was. Correct what is rejected, and rebuild again.' });
}

async function whenIdle({ progress, signal }: Context, { workspace, jobId }: Parties, deadlineMs: number): Promise<void> {
  const hint = `See it: \`streamgauge status\`; nothing was swapped.`;
  await poll({ what: 'the runs of the main job to end', deadlineMs, intervalMs: 500, maxIntervalMs: 10_000, signal, hint }, async () => {
    const runs = await activeRuns(workspace, jobId);
    if (runs.length > 0) progress.update(`waiting for run ${runs.map(({ runId }) => runId).join(', ')} to end`);
    return runs.length === 0 ? true : undefined;
  });
}
