import { Failure } from '../errors.ts';
import type { Row, Sql } from './sql.ts';
import type { Tables } from './tables.ts';

/** The Delta version of each table that a proof is about: whatever is written meanwhile is not part of it. */
export type Versions = Readonly<Record<'raw' | 'shards' | 'windows' | 'lateRecords', bigint>>;

/** A part of the pipeline's history: all of it, or the windows that start in it. Epoch microseconds, `to` exclusive. */
export type Period = Readonly<{ from?: bigint | undefined; to?: bigint | undefined }>;

/** One partition's part of a proof: `first` to `next` (exclusive) are the offsets that `raw` and `shards` say they have. */
export type Extent = { topic: string; partition: number; first: bigint; next: bigint };

/** Where and with what a proof's SQL runs. */
export type Proof = Readonly<{ sql: Sql; tables: Tables; versions: Versions; shardSize: number; windowMinutes: number; topics: readonly string[] }>;

/** The tables as they stand now, `raw` last: by then it has what is published, and what the ledgers name. */
export async function currentVersions(sql: Sql, tables: Tables): Promise<Versions> {
  const [windows, lateRecords, shards] = await Promise.all([currentVersion(sql, tables.windows), currentVersion(sql, tables.lateRecords), currentVersion(sql, tables.shards)]);
  return { windows, lateRecords, shards, raw: await currentVersion(sql, tables.raw) };
}

async function currentVersion(sql: Sql, table: string): Promise<bigint> {
  const [row] = await Array.fromAsync(sql.rows(`DESCRIBE HISTORY ${table} LIMIT 1`));
  if (typeof row?.version === 'bigint') return row.version;
  throw new Failure({ code: 'TABLE_WITHOUT_HISTORY', kind: 'remote', message: `${table} is not a Delta table`, hint: 'Let the job make its tables: streamgauge run' });
}

/** A table at the proof's version, as it stands in FROM. */
export function at({ tables, versions }: Proof, table: keyof Versions): string {
  return `${tables[table]} VERSION AS OF ${versions[table]}`;
}

/** The line that src/traffic/digest.ts writes for a record, from the row that `raw` has. */
const LINE = `concat(offset, '|', coalesce(CAST(unix_millis(broker_timestamp) AS STRING), ''), '|', coalesce(error, ''), '|', coalesce(CAST(unix_micros(event_time) AS STRING), ''), '|',
  coalesce(CAST(value AS STRING), ''), '|', coalesce(key, ''), '|', coalesce(hex(record_key), ''), '|',
  CASE WHEN size(headers) > 0 THEN array_join(transform(headers, h -> h.key || '=' || coalesce(hex(h.value), '')), ',') ELSE '' END, '\\n')`;

/** Per partition which offsets there are, by `raw` and by the ledger of shards; for a period, those of its records, by whole shards. */
export async function extents(proof: Proof, period: Period): Promise<Extent[]> {
  const { shardSize } = proof;
  const isWhole = period.from === undefined && period.to === undefined;
  const raw = `SELECT topic, partition, min(offset) AS first, max(offset) + 1 AS next FROM ${at(proof, 'raw')} WHERE ${isWhole ? 'true' : `error IS NULL AND ${within('event_time', period)}`} GROUP BY ALL`;
  const ledger = `SELECT topic, partition, min(first_offset) AS first, max(last_offset) + 1 AS next FROM ${at(proof, 'shards')} GROUP BY ALL`;
  const query = isWhole
    ? `SELECT topic, partition, min(first) AS first, max(next) AS next FROM (${raw} UNION ALL ${ledger}) GROUP BY topic, partition`
    : `SELECT topic, partition, greatest(r.first DIV ${shardSize} * ${shardSize}, l.first) AS first, least(((r.next - 1) DIV ${shardSize} + 1) * ${shardSize}, l.next) AS next
       FROM (${raw}) r JOIN (${ledger}) l USING (topic, partition)`;
  const rows = await Array.fromAsync(proof.sql.rows(`SELECT * FROM (${query}) WHERE ${ours(proof)}`));
  return rows.map((row) => ({ topic: String(row.topic), partition: Number(row.partition), first: row.first as bigint, next: row.next as bigint }));
}

/**
 * One row a shard, in the order of topic, partition and shard: `first`, `last`, `records`, `distinct_records`, `good`, `payloads`, `rows` from `raw`, and
 * what the ledger says of it (`ledger_...`, null where it has no such shard). The rows themselves stay where they are.
 *
 * `wanted`: these extents, or all there is of the pipeline's topics. Sorted as one partition: ORDER BY looks at the keys first to cut them into ranges, and for that computes all digests twice.
 */
export async function* shardRows(proof: Proof, wanted?: readonly Extent[]): AsyncGenerator<Row, void, void> {
  const { sql, shardSize } = proof;
  if (wanted?.length === 0) return;
  const anyOf = (condition: (extent: Extent) => string): string => wanted === undefined ? ours(proof) : wanted.map((extent) => `(topic = '${extent.topic}' AND partition = ${extent.partition} AND ${condition(extent)})`).join(' OR ');
  yield* sql.rows(`
    WITH slices AS (
      SELECT topic, partition, slice AS shard, count_if(error IS NULL) AS good,
             sort_array(collect_list(struct(offset, coalesce(hex(payload), '') AS payload, ${LINE} AS line))) AS list
      FROM (SELECT *, offset DIV ${shardSize} AS slice FROM ${at(proof, 'raw')} WHERE ${anyOf(({ first, next }) => `offset >= ${first} AND offset < ${next}`)})
      GROUP BY topic, partition, slice
    ), digests AS (
      SELECT topic, partition, shard, list[0].offset AS first, list[size(list) - 1].offset AS last, CAST(size(list) AS BIGINT) AS records,
             CAST(size(array_distinct(list.offset)) AS BIGINT) AS distinct_records, good, sha2(unhex(array_join(list.payload, '')), 256) AS payloads, sha2(array_join(list.line, ''), 256) AS rows
      FROM slices
    )
    SELECT /*+ REPARTITION(1) */ topic, partition, shard, d.* EXCEPT (topic, partition, shard), l.* EXCEPT (topic, partition, shard)
    FROM digests d FULL JOIN (
      SELECT topic, partition, shard, first_offset AS ledger_first, last_offset AS ledger_last, records AS ledger_records, sealed AS ledger_sealed, sha256 AS ledger_sha256
      FROM ${at(proof, 'shards')} WHERE ${anyOf(({ first, next }) => `last_offset >= ${first} AND first_offset < ${next}`)}
    ) l USING (topic, partition, shard)
    SORT BY topic, partition, shard`);
}

/** The rows of `raw` in a range of offsets, in order: `offset`, `line`, `payload` (base64), and the columns that a difference is named by. */
export function rawRows(proof: Proof, { topic, partition, first, next }: Extent): AsyncGenerator<Row, void, void> {
  return proof.sql.rows(
    `SELECT offset, ${LINE} AS line, payload, record_key, unix_millis(broker_timestamp) AS arrived, unix_micros(event_time) AS event_micros, key, value, error
     FROM ${at(proof, 'raw')} WHERE topic = :topic AND partition = :partition AND offset >= :first AND offset < :next ORDER BY offset`,
    { topic, partition, first, next },
  );
}

/** SQL: only the topics of this pipeline; their names are Kafka's, so that none needs quoting. */
export function ours({ topics }: Proof): string {
  return `topic IN (${topics.map((topic) => `'${topic}'`).join(', ')})`;
}

/** SQL: is the column, a timestamp, in the period? */
export function within(column: string, { from, to }: Period): string {
  const bounds = [from === undefined ? '' : `${column} >= timestamp_micros(${from})`, to === undefined ? '' : `${column} < timestamp_micros(${to})`];
  return bounds.filter((bound) => bound !== '').join(' AND ') || 'true';
}

/** SQL, in parentheses: the published windows that start in the period. */
export function publishedIn(proof: Proof, period: Period): string {
  return `(SELECT * FROM ${at(proof, 'windows')} WHERE ${ours(proof)} AND ${within('window_start', period)})`;
}

/** Problems of the published windows that no comparison with `raw` shows (at most one of each kind), and how many records are held. */
export async function windowLedger(proof: Proof, period: Period): Promise<{ held: bigint; revised: bigint; problems: Row[] }> {
  const windows = publishedIn(proof, period);
  const late = `(SELECT * FROM ${at(proof, 'lateRecords')} WHERE ${ours(proof)} AND ${within('window_start', period)})`;
  const [counts] = await Array.fromAsync(proof.sql.rows(`
    SELECT (SELECT count(*) FROM ${late}) AS late, (SELECT count(*) FROM ${late} WHERE revision IS NULL) AS held, count_if(revision > 1) AS revised, count(*) > count(DISTINCT topic, key, window_start) AS repeats
    FROM ${windows}`));
  // Of the three only what there is reason to ask: where no record came late, `raw` need not be read for it.
  const asked = [...(counts?.repeats === true ? [repeatedWindows(windows)] : []), ...(counts?.late === 0n ? [] : lateProblems(proof, late, windows))];
  const problems = asked.length === 0 ? [] : await Array.fromAsync(proof.sql.rows(asked.join(' UNION ALL ')));
  return { held: counts?.held as bigint, revised: counts?.revised as bigint, problems };
}

function repeatedWindows(windows: string): string {
  return `SELECT 'a window stands more than once' AS problem, topic, concat_ws(' ', min(window_start), min(key)) AS detail FROM (SELECT topic, key, window_start FROM ${windows} GROUP BY ALL HAVING count(*) > 1) GROUP BY topic`;
}

function lateProblems(proof: Proof, late: string, windows: string): string[] {
  return [
    `SELECT 'late_records names a record that raw does not have as a good one' AS problem, topic, concat(min(partition), ' offset ', min(offset)) AS detail FROM ${late} l
       ANTI JOIN (SELECT topic, partition, offset FROM ${at(proof, 'raw')} WHERE error IS NULL AND ${ours(proof)}) USING (topic, partition, offset) GROUP BY topic`,
    `SELECT 'late_records names a revision that its window has not reached' AS problem, topic, concat(min(l.partition), ' offset ', min(l.offset)) AS detail FROM ${late} l
       JOIN (SELECT topic, key, window_start, revision AS reached FROM ${windows}) USING (topic, key, window_start) WHERE l.revision > reached GROUP BY topic`,
  ];
}

/** Published windows in the order of `sequence`. */
export function windowsInOrder(proof: Proof, period: Period): ReturnType<Sql['execute']> {
  return proof.sql.execute(`SELECT * FROM ${publishedIn(proof, period)} ORDER BY sequence, topic, key, window_start`);
}
