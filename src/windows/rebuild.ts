import type { Context } from '../command.ts';
import { placeOf } from '../databricks/bundle.ts';
import { connect, type Workspace } from '../databricks/client.ts';
import { findTables } from '../databricks/data.ts';
import { deployedJob } from '../databricks/deploy.ts';
import { underDeployLock } from '../databricks/lock.ts';
import { runNotebook } from '../databricks/notebook.ts';
import { abandonSwap, swapUnderWay, windowMinutesOf } from '../databricks/rebuild.ts';
import { me } from '../databricks/rest.ts';
import { openSql, type Sql } from '../databricks/sql.ts';
import { tableNames, type Tables } from '../databricks/tables.ts';
import { openElasticsearch, type Elasticsearch } from '../elasticsearch/connect.ts';
import { findGeneration, deleteOldGenerations, makeNextGeneration, type Generation } from '../elasticsearch/generations.ts';
import { Failure } from '../errors.ts';
import { finishSwap, swapWhenCurrent } from './swap.ts';

export type RebuildOptions = {
  /** Length of the windows that are computed. */
  minutes: number;
  /** Starts of windows in epoch microseconds, `to` exclusive: only these are computed, the others stay. */
  from?: bigint | undefined;
  to?: bigint | undefined;
  rollback: boolean;
  dryRun: boolean;
  forceLock: boolean;
  /** For each run of a job, and for runs of the main job to end. */
  deadlineMs: number;
  /** Throws where a swap would have to be agreed to and nobody can be asked: before hours of work, not after them. */
  canAgree(): void;
  /** Asked before the swap, with the comparison; throws where it shall not be. */
  agree(compared: Compared): Promise<void>;
};

/** Records that the rule judges in another way than `raw` does, from which reason to which (null = good). `outside` of the part and `replayed` ones stay as they are. */
type Judged = { records: number; outside: number; replayed: number; verdicts: { was: string | null; is: string | null; records: number }[] };
type Side = { windows: number; records: number; total: string; held: number };

/** What the notebook found: notebooks/pipeline/compared.py and judged.py say how. */
export type Compared = {
  minutes: { published: number; rebuilt: number; compared: number };
  published: Side;
  rebuilt: Side;
  compared: Record<'equal' | 'different' | 'new' | 'gone', number>;
  fields: Record<string, number>;
  differences: { topic: string; key: string; window_start: string; state: string; fields: string }[];
  judged: Judged;
};

export type Rebuilt = { did: 'rebuild' | 'rollback' | 'finish'; swapped: boolean; dryRun: boolean; minutes: number; compared: Compared | null; index: string | null; seconds: number };

/** Everything that a rebuild talks to. */
export type Parties = { workspace: Workspace; sql: Sql; elasticsearch: Elasticsearch; tables: Tables; /** Runs the notebook with an action, to its end. */ compute(parameters: Record<string, string>): Promise<Compared>; jobId: number };

/**
 * Computes windows anew beside those that are published, compares, fills an index of its own from them, and swaps both. Readers
 * of table and index see what was, until they see what is. Under the deployment's lock; one that died is finished by the next.
 */
export async function rebuildWindows(context: Context, options: RebuildOptions): Promise<Rebuilt> {
  const { config, progress, signal } = context;
  progress.stage('connect');
  const workspace = await connect(config.databricks, { signal });
  const who = await me(workspace);
  const { job_id: jobId } = await deployedJob(workspace, config);
  return underDeployLock(workspace, placeOf(config, who), who, { force: options.forceLock, warn: progress.warn }, async () => {
    const opened: { sql?: Sql; elasticsearch?: Elasticsearch } = {};
    try {
      const elasticsearch = (opened.elasticsearch = await openElasticsearch(config));
      // Without the signal: a swap that has begun is done to its end, it takes seconds.
      const sql = (opened.sql = await openSql(config));
      const compute = (parameters: Record<string, string>): Promise<Compared> =>
        runNotebook(workspace, config, { job: 'windows_rebuild', task: 'rebuild', parameters, deadlineMs: options.deadlineMs, signal, onUpdate: (text) => progress.update(text) });
      return await underLock(context, { workspace, sql, elasticsearch, tables: tableNames(config.pipeline), compute, jobId }, options);
    } finally {
      await opened.sql?.close();
      await opened.elasticsearch?.close();
    }
  });
}

async function underLock(context: Context, parties: Parties, options: RebuildOptions): Promise<Rebuilt> {
  const { config, progress, signal } = context;
  const { sql, tables, elasticsearch } = parties;
  const startedAt = performance.now();
  const result = (did: Rebuilt['did'], minutes: number, more: Partial<Rebuilt> = {}): Rebuilt => ({ did, swapped: false, dryRun: options.dryRun, minutes, compared: null, index: null, seconds: (performance.now() - startedAt) / 1000, ...more });
  if (!(await findTables(config, signal)).includes(tables.windows)) throw noWindows(config.target);
  const left = await swapUnderWay(sql, tables);
  if (left?.decided === false) await abandonSwap(sql, tables);
  if (left?.decided === true) {
    if (options.dryRun) throw new Failure({ code: 'SWAP_UNDER_WAY', kind: 'checkFailed', message: 'a rebuild was interrupted while it swapped', hint: `Finish it first: streamgauge windows rebuild -t ${config.target}` });
    progress.note(`finishing the rebuild to windows of ${left.minutes} minutes that was interrupted while it swapped`);
    await finishSwap(context, parties, left);
    if (!options.rollback) return result('finish', left.minutes, { swapped: true, index: left.index });
  }
  if (!options.dryRun) options.canAgree();
  const did = options.rollback ? 'rollback' : 'rebuild';
  const compared = await computed(context, parties, options);
  const { minutes } = compared;
  const isSame = minutes.published === minutes.rebuilt && compared.compared.different + compared.compared.new + compared.compared.gone + compared.judged.records === 0;
  if (options.dryRun || isSame) return result(did, minutes.rebuilt, { compared });
  await options.agree(compared);
  progress.stage('index');
  const current = await findGeneration(elasticsearch, config.pipeline.index);
  const next: Generation | undefined = current && (await nextGeneration(elasticsearch, config.pipeline.index, current));
  await swapWhenCurrent(context, parties, next, options.deadlineMs);
  return result(did, minutes.rebuilt, { swapped: true, compared, index: next?.index ?? null });
}

async function computed({ config, progress }: Context, { sql, tables, compute }: Parties, { minutes, from, to, rollback }: RebuildOptions): Promise<Compared> {
  if (rollback) {
    if (!(await findTables(config)).includes(tables.replacedWindows)) throw new Failure({ code: 'NOTHING_TO_ROLL_BACK', kind: 'usage', message: 'there is nothing to go back to: no rebuild has replaced any windows', hint: `See what a rebuild would change: streamgauge windows rebuild --dry-run -t ${config.target}` });
    progress.stage('bring back the windows that were replaced');
    return compute({ action: 'restore', window_minutes: String(await windowMinutesOf(sql, tables.replacedWindows)) });
  }
  const length = await windowMinutesOf(sql, tables.windows);
  if ((from !== undefined || to !== undefined) && length !== undefined && length !== minutes) {
    throw new Failure({ code: 'USAGE', kind: 'usage', message: `the table holds windows of ${length} minutes: another length is computed for all of them, not for a part`, hint: `Leave --from and --to out, or compute the part with --window ${length}m.` });
  }
  progress.stage(`compute windows of ${minutes} minutes`);
  return compute({ action: 'build', window_minutes: String(minutes), first_micros: String(from ?? ''), last_micros: String(to ?? '') });
}

/** The generation that was kept for whoever was still reading it goes now: nobody is. */
async function nextGeneration(elasticsearch: Elasticsearch, name: string, current: Generation): Promise<Generation> {
  await deleteOldGenerations(elasticsearch, name);
  return makeNextGeneration(elasticsearch, name, current);
}

function noWindows(target: string): Failure {
  return new Failure({ code: 'NO_WINDOWS', kind: 'usage', message: `target ${target} has no table of windows yet`, hint: `Let the job make it: streamgauge run -t ${target}` });
}
