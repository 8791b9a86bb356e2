import type { Config } from '../config/config.ts';
import { placeOf } from './bundle.ts';
import { connect } from './client.ts';
import { deployedJob } from './deploy.ts';
import { at, type Proof } from './proof.ts';
import { listRuns, me, type Run } from './rest.ts';
import type { Row, Sql } from './sql.ts';
import { readState } from './state.ts';

/** One window of one key; `start` in epoch microseconds. */
export type WindowName = { topic: string; key: string; start: bigint };

/** A revision of a window: the version of the table that brought it, when, and what it said. */
export type Revision = { revision: bigint; version: bigint; at: string; count: bigint; sum: string; closedBy: string };

const NAMED = 'topic = :topic AND key = :key AND window_start = timestamp_micros(:start)';

/** The published window; undefined where there is none. */
export async function windowRow(proof: Proof, window: WindowName): Promise<Row | undefined> {
  const [row] = await Array.fromAsync(proof.sql.rows(`SELECT * FROM ${at(proof, 'windows')} WHERE ${NAMED}`, window));
  return row;
}

/** Per partition and shard which records of the window `raw` has: `records`, `first`, `last`, `sealed`, `sha256`. */
export async function windowShards(proof: Proof, { topic, key, start }: WindowName): Promise<Row[]> {
  const end = start + BigInt(proof.windowMinutes) * 60_000_000n;
  return Array.fromAsync(
    proof.sql.rows(
      `SELECT r.*, s.sealed, s.sha256 FROM (
         SELECT topic, partition, offset DIV ${proof.shardSize} AS shard, count(*) AS records, min(offset) AS first, max(offset) AS last FROM ${at(proof, 'raw')}
         WHERE topic = :topic AND error IS NULL AND key = :key AND event_time >= timestamp_micros(:start) AND event_time < timestamp_micros(:end) GROUP BY ALL
       ) r LEFT JOIN ${at(proof, 'shards')} s USING (topic, partition, shard) ORDER BY partition, shard`,
      { topic, key, start, end },
    ),
  );
}

/** Records that came after their window was published. */
export async function lateRows(proof: Proof, window: WindowName): Promise<Row[]> {
  return Array.fromAsync(proof.sql.rows(`SELECT partition, offset, lateness_seconds, revision FROM ${at(proof, 'lateRecords')} WHERE ${NAMED} ORDER BY partition, offset`, window));
}

/** Every row of these shards, good or bad, in no order: what a window is derived from again. */
export function shardPayloads(proof: Proof, topic: string, shards: readonly { partition: number; shard: bigint }[]): AsyncGenerator<Row, void, void> {
  const size = BigInt(proof.shardSize);
  const ranges = shards.map(({ partition, shard }) => `(partition = ${partition} AND offset >= ${shard * size} AND offset < ${(shard + 1n) * size})`);
  return proof.sql.rows(`SELECT partition, offset, unix_millis(broker_timestamp) AS arrived, payload, error FROM ${at(proof, 'raw')} WHERE topic = :topic AND (${ranges.join(' OR ')})`, { topic });
}

/**
 * Which version of the table brought each revision, the newest first, as far back as the table's history goes. Revisions only grow, so each
 * is found by halving the history: a year of runs takes some fifteen looks a revision.
 */
export async function revisionsOf(proof: Proof, window: WindowName): Promise<Revision[]> {
  const { sql, tables, versions } = proof;
  const all = (await Array.fromAsync(sql.rows(`DESCRIBE HISTORY ${tables.windows}`))) as { version: bigint; timestamp: string }[];
  const history = all.filter(({ version }) => version <= versions.windows).toReversed();
  const found: Revision[] = [];
  let upper = history.length - 1;
  for (let row = await windowAt(sql, tables.windows, history[upper]?.version, window); row !== undefined && upper >= 0; ) {
    const first = await firstWith(proof, history, upper, { window, revision: row.revision as bigint });
    const { version, timestamp } = history[first] as { version: bigint; timestamp: string };
    found.push({ revision: row.revision as bigint, version, at: timestamp, count: row.count as bigint, sum: String(row.sum), closedBy: String(row.closed_by) });
    upper = first - 1;
    row = upper < 0 ? undefined : await windowAt(sql, tables.windows, history[upper]?.version, window);
  }
  return found;
}

async function firstWith({ sql, tables }: Proof, history: { version: bigint }[], last: number, { window, revision }: { window: WindowName; revision: bigint }): Promise<number> {
  let [low, high] = [0, last];
  while (low < high) {
    const middle = (low + high) >> 1;
    const row = await windowAt(sql, tables.windows, history[middle]?.version, window);
    if (row !== undefined && (row.revision as bigint) >= revision) high = middle;
    else low = middle + 1;
  }
  return high;
}

async function windowAt(sql: Sql, table: string, version: bigint | undefined, window: WindowName): Promise<Row | undefined> {
  if (version === undefined) return undefined;
  const [row] = await Array.fromAsync(sql.rows(`SELECT revision, count, sum, closed_by FROM ${table} VERSION AS OF ${version} WHERE ${NAMED}`, window));
  return row;
}

export type Makers = { job: { id: number; name: string }; notebooks: { path: string; sha256: string }[]; runs: Run[] };

/** Who made the windows: the job, the notebooks that are deployed (by the hash of their files) and the job's newest runs. */
export async function makersOf(config: Config, signal?: AbortSignal): Promise<Makers> {
  const workspace = await connect(config.databricks, { signal });
  const [job, user] = await Promise.all([deployedJob(workspace, config), me(workspace)]);
  const [runs, state] = await Promise.all([listRuns(workspace, job.job_id), readState(workspace, placeOf(config, user))]);
  const notebooks = Object.entries(state.files).filter(([path]) => /(^|\/)(windows|ingest|pipeline\/[a-z]+\.py)$/.test(path)).map(([path, { sha256 }]) => ({ path, sha256 }));
  return { job: { id: job.job_id, name: job.settings.name ?? '' }, notebooks, runs };
}
