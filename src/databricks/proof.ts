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

/** The tables as they stand now, in this order: what is published is in `raw` by then, and what the ledgers name as well. */
export async function currentVersions(sql: Sql, tables: Tables): Promise<Versions> {
  const windows = await currentVersion(sql, tables.windows);
  const [lateRecords, shards] = await Promise.all([currentVersion(sql, tables.lateRecords), currentVersion(sql, tables.shards)]);
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
    ? `SELECT topic, partition, least(r.first, l.first) AS first, greatest(r.next, l.next) AS next FROM (${raw}) r FULL JOIN (${ledger}) l USING (topic, partition)`
    : `SELECT topic, partition, greatest(r.first DIV ${shardSize} * ${shardSize}, l.first) AS first, least(((r.next - 1) DIV ${shardSize} + 1) * ${shardSize}, l.next) AS next
       FROM (${raw}) r JOIN (${ledger}) l USING (topic, partition)`;
  const rows = await Array.fromAsync(proof.sql.rows(`SELECT * FROM (${query}) WHERE ${ours(proof)} ORDER BY topic, partition`));
  return rows.map((row) => ({ topic: String(row.topic), partition: Number(row.partition), first: row.first as bigint, next: row.next as bigint }));
}

/**
 * One row a shard, in the order of topic, partition and shard: `first`, `last`, `records`, `distinct_records`, `good`, `payloads`, `rows` from `raw`, and
 * what the ledger says of it (`ledger_...`, null where it has no such shard). The rows themselves stay where they are.
 */
export async function* shardRows(proof: Proof, wanted: readonly Extent[]): AsyncGenerator<Row, void, void> {
  const { sql, shardSize } = proof;
  if (wanted.length === 0) return;
  const anyOf = (condition: (extent: Extent) => string): string => wanted.map((extent) => `(topic = '${extent.topic}' AND partition = ${extent.partition} AND ${condition(extent)})`).join(' OR ');
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
    SELECT topic, partition, shard, d.* EXCEPT (topic, partition, shard), l.* EXCEPT (topic, partition, shard)
    FROM digests d FULL JOIN (
      SELECT topic, partition, shard, first_offset AS ledger_first, last_offset AS ledger_last, records AS ledger_records, sealed AS ledger_sealed, sha256 AS ledger_sha256
      FROM ${at(proof, 'shards')} WHERE ${anyOf(({ first, next }) => `last_offset >= ${first} AND first_offset < ${next}`)}
    ) l USING (topic, partition, shard)
    ORDER BY topic, partition, shard`);
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
function ours({ topics }: Proof): string {
  return `topic IN (${topics.map((topic) => `'${topic}'`).join(', ')})`;
}

function within(column: string, { from, to }: Period): string {
  const bounds = [from === undefined ? '' : `${column} >= timestamp_micros(${from})`, to === undefined ? '' : `${column} < timestamp_micros(${to})`];
  return bounds.filter((bound) => bound !== '').join(' AND ') || 'true';
}

/** SQL for the start of the window that holds an event time. */
function windowStart({ windowMinutes }: Proof): string {
  return `timestamp_micros(unix_micros(event_time) - pmod(unix_micros(event_time), ${BigInt(windowMinutes) * 60_000_000n}))`;
}

/**
 * Every window computed again from the rows that it must hold, compared with the one that is published. One row for each
 * outcome: `outcome` ('same', 'waiting' = not closed yet, 'missing', 'unfounded' = no such rows, or the field that differs),
 * `windows`, `records`, `total` (their exact sum), `published_records`, `published_total`, `late_waiting`, and the first such
 * window with what is published (`found`) and what `raw` gives (`expected`).
 */
export async function windowOutcomes(proof: Proof, period: Period): Promise<Row[]> {
  return Array.fromAsync(proof.sql.rows(windowsSql(proof, period)));
}

function windowsSql(proof: Proof, period: Period): string {
  const windows = `(SELECT * FROM ${at(proof, 'windows')} WHERE ${ours(proof)} AND ${within('window_start', period)})`;
  return `
    WITH published AS (SELECT topic, max(window_end) AS bound FROM ${at(proof, 'windows')} GROUP BY topic),
    seen AS (
      SELECT topic, partition, max(offset) AS offset FROM (
        SELECT topic, explode(last_offsets) AS (partition, offset) FROM ${at(proof, 'windows')} UNION ALL SELECT topic, partition, offset FROM ${at(proof, 'lateRecords')}
      ) GROUP BY ALL
    ),
    rows AS (
      SELECT r.topic, r.key, r.window_start, r.partition, r.offset, r.value, w.last_offsets IS NOT NULL AND r.offset > coalesce(try_element_at(w.last_offsets, r.partition), -1) AS is_late
      FROM (SELECT topic, key, partition, offset, value, ${windowStart(proof)} AS window_start FROM ${at(proof, 'raw')} WHERE error IS NULL AND ${ours(proof)} AND ${within('event_time', period)}
            ) r ANTI JOIN (SELECT topic, partition, offset FROM ${at(proof, 'lateRecords')} WHERE revision IS NULL) USING (topic, partition, offset)
      LEFT JOIN (SELECT topic, key, window_start, last_offsets FROM ${windows}) w USING (topic, key, window_start)
    ),
    parts AS (
      SELECT topic, key, window_start, partition, is_late, collect_list(value) AS vals, count(*) AS n, sum(shiftright(value, 32)) AS high, sum(value & 4294967295L) AS low,
             min(value) AS least, max(value) AS most, min(offset) AS first, max(offset) AS last
      FROM rows GROUP BY ALL
    ),
    computed AS (
      SELECT topic, key, window_start, sort_array(flatten(collect_list(vals) FILTER (WHERE NOT is_late))) AS vals,
             CAST(sum(CAST(high AS DECIMAL(28,0)) * 4294967296 + low) FILTER (WHERE NOT is_late) AS DECIMAL(38,0)) AS sum, coalesce(sum(n) FILTER (WHERE NOT is_late), 0) AS count, coalesce(sum(n) FILTER (WHERE is_late), 0) AS late,
             CAST(sum(CAST(high AS DECIMAL(28,0)) * 4294967296 + low) FILTER (WHERE is_late) AS DECIMAL(38,0)) AS late_sum,
             min(least) FILTER (WHERE NOT is_late) AS min, max(most) FILTER (WHERE NOT is_late) AS max,
             min(first - coalesce(seen.offset, -1)) AS beyond,
             map_from_entries(sort_array(collect_list(struct(partition, first)) FILTER (WHERE NOT is_late))) AS first_offsets,
             map_from_entries(sort_array(collect_list(struct(partition, last)) FILTER (WHERE NOT is_late))) AS last_offsets
      FROM parts LEFT JOIN seen USING (topic, partition) GROUP BY topic, key, window_start
    ),
    centred AS (SELECT *, CAST(sum - CAST(count AS DECIMAL(20,0)) * min AS DOUBLE) / count AS centre FROM computed),
    expected AS (
      SELECT *, CAST(sum AS DOUBLE) / count AS mean, ${MEDIAN} AS median, ${DEVIATION} AS stddev_samp FROM centred
    ),
    compared AS (
      SELECT topic, key, window_start, e.count, e.sum, e.late, e.late_sum, w.count AS found_count, w.sum AS found_sum, ${outcome(proof)} AS outcome,
             struct(w.count, CAST(w.sum AS STRING) AS sum, w.mean, CAST(w.median AS STRING) AS median, w.stddev_samp, CAST(w.min AS STRING) AS min, CAST(w.max AS STRING) AS max, w.first_offsets, w.last_offsets, w.window_end, w.revision) AS found,
             struct(e.count, CAST(e.sum AS STRING) AS sum, e.mean, CAST(e.median AS STRING) AS median, e.stddev_samp, CAST(e.min AS STRING) AS min, CAST(e.max AS STRING) AS max, e.first_offsets, e.last_offsets) AS expected
      FROM expected e FULL JOIN ${windows} w USING (topic, key, window_start) LEFT JOIN published USING (topic)
    )
    SELECT outcome, count(*) AS windows, coalesce(sum(count), 0) AS records, CAST(coalesce(sum(sum), 0) AS STRING) AS total, coalesce(sum(found_count), 0) AS published_records,
           CAST(coalesce(sum(found_sum), 0) AS STRING) AS published_total, coalesce(sum(late), 0) AS late_waiting, CAST(coalesce(sum(late_sum), 0) AS STRING) AS late_total,
           min_by(CASE WHEN outcome NOT IN ('same', 'waiting') THEN struct(topic, key, window_start, to_json(found) AS found, to_json(expected) AS expected) END, struct(window_start, topic, key)) AS example
    FROM compared GROUP BY outcome`;
}

const MIDDLE = (at: string): string => `CAST(try_element_at(vals, CAST(${at} + 1 AS INT)) AS DECIMAL(20,0))`;
const MEDIAN = `CAST((${MIDDLE('(count - 1) DIV 2')} + ${MIDDLE('count DIV 2')}) * 0.5BD AS DECIMAL(20,1))`;
/** From the differences to the least value: as doubles, values past 2^53 would cancel each other out. */
const ABOVE_LEAST = 'coalesce(CAST(try_subtract(x, min) AS DOUBLE), CAST(x AS DOUBLE) - CAST(min AS DOUBLE))';
const DEVIATION = `CASE WHEN count > 1 THEN sqrt(aggregate(vals, 0D, (squares, x) -> squares + (${ABOVE_LEAST} - centre) * (${ABOVE_LEAST} - centre)) / (count - 1)) END`;

const CLOSE = (field: string): string => `(w.${field} <=> e.${field} OR abs(w.${field} - e.${field}) <= 1e-9 * greatest(abs(e.${field}), 1e-9))`;

function outcome({ windowMinutes }: Proof): string {
  return `CASE
    WHEN w.count IS NULL AND (bound IS NULL OR window_start + INTERVAL ${windowMinutes} MINUTES > bound OR e.beyond > 0) THEN 'waiting'
    WHEN w.count IS NULL THEN 'missing'
    WHEN e.count IS NULL OR e.count = 0 THEN 'unfounded'
    WHEN w.count <> e.count THEN 'count'
    WHEN w.sum <> e.sum THEN 'sum'
    WHEN w.min <> e.min THEN 'min'
    WHEN w.max <> e.max THEN 'max'
    WHEN w.median <> e.median THEN 'median'
    WHEN NOT ${CLOSE('mean')} THEN 'mean'
    WHEN NOT ${CLOSE('stddev_samp')} OR (w.stddev_samp IS NULL) <> (e.stddev_samp IS NULL) THEN 'stddev_samp'
    WHEN w.window_end <> window_start + INTERVAL ${windowMinutes} MINUTES THEN 'window_end'
    WHEN to_json(w.first_offsets) <> to_json(e.first_offsets) THEN 'first_offsets'
    WHEN to_json(w.last_offsets) <> to_json(e.last_offsets) THEN 'last_offsets'
    ELSE 'same' END`;
}

/** Problems of the published windows that no comparison with `raw` shows (at most one of each kind), and how many records are held. */
export async function windowLedger(proof: Proof, period: Period): Promise<{ held: bigint; revised: bigint; problems: Row[] }> {
  const windows = `(SELECT * FROM ${at(proof, 'windows')} WHERE ${ours(proof)} AND ${within('window_start', period)})`;
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
  return proof.sql.execute(`SELECT * FROM ${at(proof, 'windows')} WHERE ${ours(proof)} AND ${within('window_start', period)} ORDER BY sequence, topic, key, window_start`);
}
