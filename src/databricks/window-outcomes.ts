import { at, ours, publishedIn, within, type Period, type Proof } from './proof.ts';
import type { Row } from './sql.ts';

/** Which window: `start` in epoch microseconds, as text. */
export type WindowPlace = Readonly<{ topic: string; key: string; start: string }>;

/** Values of a window by the names of their columns; numbers past 2^53 as text. */
export type WindowValues = Readonly<Record<string, unknown>>;

/**
 * Every published window checked against the rows that it must hold. One row for each outcome: `outcome` ('same', 'waiting' = not closed
 * yet, 'missing', 'unfounded' = no such rows, or the field that differs), `windows`, `records`, `total` (their exact sum),
 * `published_records`, `published_total`, `late_waiting`, and the first such window, `example`, with what is published as JSON (`found`).
 *
 * Checked, not computed: whether a median is right can be counted, and no list of values has to be collected and sorted for that.
 */
export async function windowOutcomes(proof: Proof, period: Period): Promise<Row[]> {
  return Array.fromAsync(proof.sql.rows(outcomesSql(proof, period)));
}

function outcomesSql(proof: Proof, period: Period): string {
  const windows = publishedIn(proof, period);
  return `
    WITH published AS (SELECT topic, max(window_end) AS bound FROM ${at(proof, 'windows')} GROUP BY topic),
    seen AS (
      SELECT topic, partition, max(offset) AS offset FROM (
        SELECT topic, explode(last_offsets) AS (partition, offset) FROM ${at(proof, 'windows')} UNION ALL SELECT topic, partition, offset FROM ${at(proof, 'lateRecords')}
      ) GROUP BY ALL
    ),
    parts AS (
      SELECT topic, key, window_start, partition, is_late, count(*) AS n, sum(shiftright(value, 32)) AS high, sum(value & 4294967295L) AS low,
             min(value) AS least, max(value) AS most, min(offset) AS first, max(offset) AS last,
             count_if(value < ceiling) AS below, count_if(value > floor) AS above, max(value) FILTER (WHERE value < ceiling) AS next_below, min(value) FILTER (WHERE value > floor) AS next_above,
             sum(${FROM_MEDIAN}) AS away, sum(${FROM_MEDIAN} * ${FROM_MEDIAN}) AS squares
      FROM (${rowsSql(proof, period)}) GROUP BY ALL
    ),
    expected AS (
      SELECT topic, key, window_start, coalesce(sum(n) FILTER (WHERE is_late), 0) AS late, ${SUM} FILTER (WHERE is_late) AS DECIMAL(38,0)) AS late_sum, min(first - coalesce(seen.offset, -1)) AS beyond,
             coalesce(sum(n) FILTER (WHERE NOT is_late), 0) AS count, ${SUM} FILTER (WHERE NOT is_late) AS DECIMAL(38,0)) AS sum,
             min(least) FILTER (WHERE NOT is_late) AS min, max(most) FILTER (WHERE NOT is_late) AS max,
             sum(below) FILTER (WHERE NOT is_late) AS below, sum(above) FILTER (WHERE NOT is_late) AS above,
             max(next_below) FILTER (WHERE NOT is_late) AS next_below, min(next_above) FILTER (WHERE NOT is_late) AS next_above,
             sum(away) FILTER (WHERE NOT is_late) AS away, sum(squares) FILTER (WHERE NOT is_late) AS squares,
             map_from_entries(sort_array(collect_list(struct(partition, first)) FILTER (WHERE NOT is_late))) AS first_offsets,
             map_from_entries(sort_array(collect_list(struct(partition, last)) FILTER (WHERE NOT is_late))) AS last_offsets
      FROM parts LEFT JOIN seen USING (topic, partition) GROUP BY topic, key, window_start
    ),
    compared AS (
      SELECT topic, key, window_start, e.count, e.sum, e.late, e.late_sum, w.count AS found_count, w.sum AS found_sum, ${outcome(proof)} AS outcome,
             struct(w.count, CAST(w.sum AS STRING) AS sum, w.mean, CAST(w.median AS STRING) AS median, w.stddev_samp, CAST(w.min AS STRING) AS min, CAST(w.max AS STRING) AS max, w.first_offsets, w.last_offsets, w.window_end, w.revision) AS found
      FROM (SELECT *, CAST(sum AS DOUBLE) / count AS mean, CASE WHEN count > 1 THEN sqrt(greatest(squares - away * away / count, 0D) / (count - 1)) END AS stddev_samp FROM expected) e
      FULL JOIN ${windows} w USING (topic, key, window_start) LEFT JOIN published USING (topic)
    )
    SELECT outcome, count(*) AS windows, coalesce(sum(count), 0) AS records, CAST(coalesce(sum(sum), 0) AS STRING) AS total, coalesce(sum(found_count), 0) AS published_records,
           CAST(coalesce(sum(found_sum), 0) AS STRING) AS published_total, coalesce(sum(late), 0) AS late_waiting, CAST(coalesce(sum(late_sum), 0) AS STRING) AS late_total,
           min_by(CASE WHEN outcome NOT IN ('same', 'waiting') THEN struct(topic, key, window_start, CAST(unix_micros(window_start) AS STRING) AS start, to_json(found) AS found) END, struct(window_start, topic, key)) AS example
    FROM compared GROUP BY outcome`;
}

/** The good rows that are not held; `is_late` where their window was published without them, and the two whole numbers next to its median. */
function rowsSql(proof: Proof, period: Period): string {
  return `
    SELECT r.*, w.floor, w.ceiling, w.last_offsets IS NOT NULL AND r.offset > coalesce(try_element_at(w.last_offsets, r.partition), -1) AS is_late
    FROM (SELECT topic, key, partition, offset, value, ${windowStart(proof)} AS window_start FROM ${at(proof, 'raw')} WHERE error IS NULL AND ${ours(proof)} AND ${within('event_time', period)}
          ) r ANTI JOIN (SELECT topic, partition, offset FROM ${at(proof, 'lateRecords')} WHERE revision IS NULL) USING (topic, partition, offset)
    LEFT JOIN (SELECT topic, key, window_start, last_offsets, try_cast(floor(median) AS BIGINT) AS floor, try_cast(ceil(median) AS BIGINT) AS ceiling FROM ${publishedIn(proof, period)}) w
    USING (topic, key, window_start)`;
}

/** SQL for the start of the window that holds an event time. */
function windowStart({ windowMinutes }: Proof): string {
  return `timestamp_micros(unix_micros(event_time) - pmod(unix_micros(event_time), ${BigInt(windowMinutes) * 60_000_000n}))`;
}

/** Without its last bracket, for a FILTER to stand there. */
const SUM = 'CAST(sum(CAST(high AS DECIMAL(28,0)) * 4294967296 + low)';

/** From the median the squares are as small as they can be, so that their difference to the mean's cancels nothing out; and doubles of values past 2^53 would. */
const FROM_MEDIAN = 'coalesce(CAST(try_subtract(value, floor) AS DOUBLE), CAST(value AS DOUBLE) - CAST(floor AS DOUBLE))';

/** Both middle values are the median itself; or they are the two next to it, and it is halfway between them. */
const IS_MEDIAN = `(w.median BETWEEN e.min AND e.max) AND ((e.below <= (e.count - 1) DIV 2 AND e.count DIV 2 < e.count - e.above)
  OR (e.below + e.above = e.count AND e.below = e.above AND CAST(e.next_below AS DECIMAL(20,0)) + CAST(e.next_above AS DECIMAL(20,0)) = w.median * 2))`;

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
    WHEN NOT coalesce(${IS_MEDIAN}, false) THEN 'median'
    WHEN NOT ${CLOSE('mean')} THEN 'mean'
    WHEN NOT ${CLOSE('stddev_samp')} OR (w.stddev_samp IS NULL) <> (e.stddev_samp IS NULL) THEN 'stddev_samp'
    WHEN w.window_end <> window_start + INTERVAL ${windowMinutes} MINUTES THEN 'window_end'
    WHEN to_json(w.first_offsets) <> to_json(e.first_offsets) THEN 'first_offsets'
    WHEN to_json(w.last_offsets) <> to_json(e.last_offsets) THEN 'last_offsets'
    ELSE 'same' END`;
}

/** What a window must hold by its rows, all of it computed: for the few that differ. */
export async function expectedWindow(proof: Proof, { topic, key, start }: WindowPlace): Promise<WindowValues> {
  const from = BigInt(start);
  const rows = rowsSql(proof, { from, to: from + BigInt(proof.windowMinutes) * 60_000_000n });
  const [row] = await Array.fromAsync(proof.sql.rows(`
    WITH parts AS (SELECT partition, collect_list(value) AS vals, min(offset) AS first, max(offset) AS last FROM (${rows}) WHERE topic = :topic AND key = :key AND NOT is_late GROUP BY partition),
    whole AS (
      SELECT sort_array(flatten(collect_list(vals))) AS vals, map_from_entries(sort_array(collect_list(struct(partition, first)))) AS first_offsets, map_from_entries(sort_array(collect_list(struct(partition, last)))) AS last_offsets FROM parts
    ),
    summed AS (SELECT *, CAST(size(vals) AS BIGINT) AS count, aggregate(vals, CAST(0 AS DECIMAL(38,0)), (sum, x) -> CAST(sum + x AS DECIMAL(38,0))) AS sum, vals[0] AS min, element_at(vals, -1) AS max FROM whole),
    centred AS (SELECT *, CAST(sum - CAST(count AS DECIMAL(20,0)) * min AS DOUBLE) / count AS centre FROM summed)
    SELECT to_json(struct(count, CAST(sum AS STRING) AS sum, CAST(sum AS DOUBLE) / count AS mean, CAST(${MEDIAN} AS STRING) AS median, ${DEVIATION} AS stddev_samp, CAST(min AS STRING) AS min, CAST(max AS STRING) AS max,
                          first_offsets, last_offsets)) AS expected FROM centred`, { topic, key }));
  return JSON.parse(String(row?.expected)) as WindowValues;
}

const MIDDLE = (place: string): string => `CAST(try_element_at(vals, CAST(${place} + 1 AS INT)) AS DECIMAL(20,0))`;
const MEDIAN = `CAST((${MIDDLE('(count - 1) DIV 2')} + ${MIDDLE('count DIV 2')}) * 0.5BD AS DECIMAL(20,1))`;
/** From the differences to the least value: as doubles, values past 2^53 would cancel each other out. */
const ABOVE_LEAST = 'coalesce(CAST(try_subtract(x, min) AS DOUBLE), CAST(x AS DOUBLE) - CAST(min AS DOUBLE))';
const DEVIATION = `CASE WHEN count > 1 THEN sqrt(aggregate(vals, 0D, (squares, x) -> squares + (${ABOVE_LEAST} - centre) * (${ABOVE_LEAST} - centre)) / (count - 1)) END`;
