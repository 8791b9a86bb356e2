import type { Config } from '../config/config.ts';
import { Failure } from '../errors.ts';
import { placeOf, wantedJobs } from './bundle.ts';
import type { Workspace } from './client.ts';
import { findJob } from './deploy.ts';
import { me, updateJob } from './rest.ts';
import type { Sql } from './sql.ts';
import { readState } from './state.ts';
import type { Tables } from './tables.ts';

/** Properties of `windows`: the length of its windows; and the swap under way, while which nobody publishes or exports. notebooks/pipeline/tables.py knows them, too. */
const LENGTH = 'streamgauge.window_minutes';
const REBUILD = 'streamgauge.rebuild';

/**
 * What is swapped in: all that whoever finishes it after a crash must know. Versions are those that the tables had before. Until it is `decided`
 * nothing is written, and a run that began before the mark may still publish: then it is taken back, not finished.
 */
export type Swap = Readonly<{ decided: boolean; minutes: number; minutesBefore: number; /** The index that takes the place of the one before; null where nothing was ever exported. */ index: string | null; raw: number; windows: number; lateRecords: number; /** Records whose verdicts in `raw` become others. */ judged?: number }>;

/** Versions of the tables that `windows_rebuilt` has taken in. */
type Base = { raw: number; windows: number };

/** A table's properties; undefined where there is no such table. */
export async function tableProperties(sql: Sql, table: string): Promise<Record<string, string>> {
  const rows = await Array.fromAsync(sql.rows(`SHOW TBLPROPERTIES ${table}`));
  return Object.fromEntries(rows.map(({ key, value }) => [String(key), String(value)]));
}

/** The length of the windows that the table holds; undefined for a table of an early release, which does not say. */
export async function windowMinutesOf(sql: Sql, table: string): Promise<number | undefined> {
  const minutes = (await tableProperties(sql, table))[LENGTH];
  return minutes === undefined ? undefined : Number(minutes);
}

/** The swap that is under way, or that somebody left half done. */
export async function swapUnderWay(sql: Sql, tables: Tables): Promise<Swap | undefined> {
  const text = (await tableProperties(sql, tables.windows))[REBUILD];
  return text === undefined ? undefined : (JSON.parse(text) as Swap);
}

/** Failure SWAP_UNDER_WAY while windows are swapped: table and index do not belong together then. */
export async function checkNotSwapping(sql: Sql, tables: Tables, target: string): Promise<void> {
  if ((await swapUnderWay(sql, tables)) !== undefined) throw underWay(tables, target);
}

/** The length of the windows that are published, in minutes, and undefined where the table does not say; Failure SWAP_UNDER_WAY where it is just becoming another one. */
export async function publishedMinutes(sql: Sql, tables: Tables, target: string): Promise<number | undefined> {
  const found = await tableProperties(sql, tables.windows);
  const [length, mark] = [found[LENGTH], found[REBUILD]];
  // Until it is decided nothing is written.
  if (mark !== undefined && (JSON.parse(mark) as Swap).decided) throw underWay(tables, target);
  return length === undefined ? undefined : Number(length);
}

function underWay(tables: Tables, target: string): Failure {
  return new Failure({
    code: 'SWAP_UNDER_WAY',
    kind: 'remote',
    message: `${tables.windows} is being swapped for one that was computed anew: until then it and the index do not belong together`,
    hint: `Try again in a minute. If nobody is at it any more: \`streamgauge windows rebuild -t ${target}\` finishes it, with --rollback it is taken back.`,
  });
}

/** The swap that would bring `windows_rebuilt` in now; undefined where that does not hold everything that `raw` and `windows` hold. */
export async function swapOf(sql: Sql, tables: Tables, index: string | null): Promise<Swap | undefined> {
  const { base, minutes } = await rebuiltFrom(sql, tables);
  const [raw, windows, lateRecords] = [await versionOf(sql, tables.raw), await versionOf(sql, tables.windows), await versionOf(sql, tables.lateRecords)];
  if (raw !== base.raw || windows !== base.windows) return undefined;
  return { decided: false, minutes, minutesBefore: (await windowMinutesOf(sql, tables.windows)) ?? minutes, index, raw, windows, lateRecords, judged: await judgedOtherwise(sql, tables) };
}

/**
 * Marks the swap as under way, and decides it where nobody wrote meanwhile and `isQuiet` says that no run is under way: one that begins later sees
 * the mark and publishes nothing. Undefined, and nothing is marked, otherwise.
 */
export async function decideSwap(sql: Sql, tables: Tables, swap: Swap, isQuiet: () => Promise<boolean>): Promise<Swap | undefined> {
  const mark = (value: Swap): Promise<void> => done(sql, `ALTER TABLE ${tables.windows} SET TBLPROPERTIES ('${REBUILD}' = '${JSON.stringify(value)}')`);
  await mark(swap);
  if ((await isQuiet()) && (await versionOf(sql, tables.windows)) === swap.windows + 1 && (await versionOf(sql, tables.raw)) === swap.raw) {
    const decided = { ...swap, decided: true };
    await mark(decided);
    return decided;
  }
  await abandonSwap(sql, tables);
  return undefined;
}

export async function abandonSwap(sql: Sql, tables: Tables): Promise<void> {
  await done(sql, `ALTER TABLE ${tables.windows} UNSET TBLPROPERTIES IF EXISTS ('${REBUILD}')`);
}

/** Keeps what is published, then writes what was rebuilt over it: `windows` in one commit, in which its readers see one or the other. Again gives the same. */
export async function swapTables(sql: Sql, tables: Tables, swap: Swap): Promise<void> {
  const kept = `TBLPROPERTIES ('${LENGTH}' = '${swap.minutesBefore}')`;
  await done(sql, `CREATE OR REPLACE TABLE ${tables.replacedWindows} USING DELTA ${kept} AS SELECT * FROM ${tables.windows} VERSION AS OF ${swap.windows}`);
  await done(sql, `CREATE OR REPLACE TABLE ${tables.replacedLateRecords} USING DELTA AS SELECT * FROM ${tables.lateRecords} VERSION AS OF ${swap.lateRecords}`);
  await swapVerdicts(sql, tables, swap);
  await done(sql, `INSERT OVERWRITE ${tables.windows} SELECT ${WINDOW_COLUMNS} FROM ${tables.rebuiltWindows}`);
  await done(sql, `INSERT OVERWRITE ${tables.lateRecords} SELECT ${LATE_COLUMNS} FROM ${tables.rebuiltLateRecords}`);
}

/** Keeps how `raw` judges the records in question, then writes how they are judged now. The payloads stay, and so do the shards and what is at the broker. */
async function swapVerdicts(sql: Sql, tables: Tables, { raw, judged = 0 }: Swap): Promise<void> {
  if (judged === 0) return done(sql, `DROP TABLE IF EXISTS ${tables.replacedJudged}`);
  const others = `(SELECT * FROM ${tables.rebuiltJudged} WHERE left_alone IS NULL)`;
  await done(sql, `CREATE OR REPLACE TABLE ${tables.replacedJudged} USING DELTA AS SELECT topic, partition, offset, event_time, key, value, error FROM ${tables.raw} VERSION AS OF ${raw} SEMI JOIN ${others} USING (topic, partition, offset)`);
  const merge = `MERGE INTO ${tables.raw} t USING ${others} s ON t.topic = s.topic AND t.partition = s.partition AND t.offset = s.offset
    WHEN MATCHED THEN UPDATE SET event_time = s.event_time, key = s.key, value = s.value, error = s.error`;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await done(sql, merge);
    } catch (error) {
      // A run that begins while the mark stands publishes nothing, but its ingest may append.
      if (attempt === MERGES || !(error instanceof Failure && error.code.startsWith('DELTA_CONCURRENT_'))) throw error;
    }
  }
}

const MERGES = 10;

/** From here on jobs publish again, in windows of the new length. */
export async function endSwap(sql: Sql, tables: Tables, swap: Swap): Promise<void> {
  await done(sql, `ALTER TABLE ${tables.windows} SET TBLPROPERTIES ('${LENGTH}' = '${swap.minutes}')`);
  await abandonSwap(sql, tables);
  await done(sql, `DROP TABLE IF EXISTS ${tables.rebuiltWindows}`);
  await done(sql, `DROP TABLE IF EXISTS ${tables.rebuiltLateRecords}`);
  await done(sql, `DROP TABLE IF EXISTS ${tables.rebuiltJudged}`);
}

/** Lets every deployed job of the bundle that has a `window_minutes` say this length. Returns the keys of those that were changed. */
export async function setWindowMinutes(workspace: Workspace, config: Config, minutes: number): Promise<string[]> {
  const who = await me(workspace);
  const place = placeOf(config, who);
  const state = await readState(workspace, place);
  const changed: string[] = [];
  for (const wanted of wantedJobs(config, who, place)) {
    const job = await findJob(workspace, place, wanted, state.jobs[wanted.key], 'ignore');
    const parameters = (job?.settings.parameters ?? []) as { name: string; default: string }[];
    if (job === undefined || parameters.every(({ name, default: value }) => name !== 'window_minutes' || value === String(minutes))) continue;
    await updateJob(workspace, job.job_id, { parameters: parameters.map((one) => (one.name === 'window_minutes' ? { ...one, default: String(minutes) } : one)) });
    changed.push(wanted.key);
  }
  return changed;
}

/** As notebooks/pipeline/tables.py defines them: INSERT goes by position. */
const WINDOW_COLUMNS = 'topic, key, window_start, window_end, count, sum, mean, median, stddev_samp, min, max, revision, closed_by, first_offsets, last_offsets, sequence';
const LATE_COLUMNS = 'topic, partition, offset, key, window_start, event_time, broker_timestamp, value, lateness_seconds, revision';

async function rebuiltFrom(sql: Sql, tables: Tables): Promise<{ base: Base; minutes: number }> {
  const found = await tableProperties(sql, tables.rebuiltWindows);
  return { base: { raw: Number(found['streamgauge.raw_version']), windows: Number(found['streamgauge.windows_version']) }, minutes: Number(found[LENGTH]) };
}

/** How many verdicts in `raw` the swap would change. */
async function judgedOtherwise(sql: Sql, { rebuiltJudged }: Tables): Promise<number> {
  const [row] = await Array.fromAsync(sql.rows(`SELECT count(*) AS records FROM ${rebuiltJudged} WHERE left_alone IS NULL`));
  return Number(row?.records);
}

async function versionOf(sql: Sql, table: string): Promise<number> {
  const [row] = await Array.fromAsync(sql.rows(`DESCRIBE HISTORY ${table} LIMIT 1`));
  return Number(row?.version);
}

async function done(sql: Sql, statement: string): Promise<void> {
  await Array.fromAsync(sql.rows(statement));
}
