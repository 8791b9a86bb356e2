"""Which windows have closed, what they hold, and how they are published.

A window is a pure function of `raw`: whatever makes it be computed, it is computed from all its rows, and MERGE changes
it only where the outcome differs. So a replayed batch changes nothing, and every good record counts exactly once.
"""

from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from pipeline.tables import Tables


@dataclass(frozen=True)
class Rules:
    """`caught_up_micros`: when ingest last read the broker to its end; until then the wall clock can close windows too."""

    window_minutes: int
    allowed_lateness_minutes: int
    late_policy: str
    caught_up_micros: int | None

    @property
    def window_micros(self) -> int:
        return self.window_minutes * 60_000_000

    @property
    def lateness_micros(self) -> int:
        return self.allowed_lateness_minutes * 60_000_000

    def start(self, event_time: str) -> str:
        """SQL for the start of the epoch-aligned window that holds this event time."""
        return f"timestamp_micros(unix_micros({event_time}) - pmod(unix_micros({event_time}), {self.window_micros}))"


def check_length(spark: SparkSession, tables: Tables, rules: Rules) -> None:
    """A table holds windows of one length; raises before anything is mixed."""
    properties = {row.key: row.value for row in spark.sql(f"SHOW TBLPROPERTIES {tables.windows}").collect()}
    length = properties.get("streamgauge.window_minutes", str(rules.window_minutes))
    if length != str(rules.window_minutes):
        raise ValueError(
            f"{tables.windows} holds windows of {length} minutes, the variable window_minutes says {rules.window_minutes}. "
            f"Set it back to {length}, or give the new length a schema of its own."
        )


def publish(spark: SparkSession, tables: Tables, rules: Rules, batch: DataFrame | None = None) -> None:
    """Publishes every window that has closed since the last time, and those that the batch's late records change.

    `batch` holds rows of `raw` that were not offered before; without it only newly closed windows are published.
    """
    _find_bounds(spark, tables, rules)
    amended = batch is not None and _find_changed(batch, tables, rules)
    where = _event_time_range(spark, rules, amended)
    if where is None:
        return
    _compute(spark, tables, rules, where, amended)
    _merge(spark, tables)
    spark.catalog.dropTempView("computed_windows")


def _find_bounds(spark: SparkSession, tables: Tables, rules: Rules) -> None:
    """View `bounds`, a row a topic: up to `closed_before` windows were published, up to `closed_now` they are to be.

    Published before is what the newest published window says: a row that arrives for an older window either changes a
    published one or opens one that nobody has seen. Only event times past it can move the watermark further.
    """
    published = spark.sql(f"SELECT topic, max(window_end) AS closed_before FROM {tables.windows} GROUP BY topic").collect()
    oldest = min((row.closed_before for row in published), default=None)
    known = {row.topic for row in published}
    topics = {row.topic for row in spark.sql(f"SELECT DISTINCT topic FROM {tables.raw}").collect()}
    # A topic with nothing published yet has to be read from its first row on.
    newer = "true" if oldest is None or topics - known else f"event_time >= {_timestamp(oldest)}"
    clock = "CAST(NULL AS TIMESTAMP)" if rules.caught_up_micros is None else f"timestamp_micros({rules.caught_up_micros - rules.lateness_micros})"
    spark.sql(f"""
        CREATE OR REPLACE TEMP VIEW bounds AS
        SELECT topic, closed_before, by_watermark, greatest(closed_before, by_watermark, {clock}) AS closed_now
        FROM (SELECT topic, max(event_time) - make_dt_interval(0, 0, {rules.allowed_lateness_minutes}, 0) AS by_watermark
              FROM {tables.raw} WHERE error IS NULL AND {newer} GROUP BY topic)
        FULL JOIN (SELECT topic, max(window_end) AS closed_before FROM {tables.windows} GROUP BY topic) USING (topic)
    """)


def _find_changed(batch: DataFrame, tables: Tables, rules: Rules) -> bool:
    """View `changed_windows`: windows at or before the bound that lack rows of the batch; writes the ledger of late records.

    A published window holds a row if its partition's last offset in the window is at or beyond the row's: rows come
    into `raw` in the order of their offsets. So a batch that is replayed finds nothing to change.
    """
    spark = batch.sparkSession
    batch.where("error IS NULL").selectExpr("*", f"{rules.start('event_time')} AS window_start").createOrReplaceTempView("batch_rows")
    late = f"""
        SELECT r.*, w.window_end, w.revision AS published_revision FROM batch_rows r
        JOIN {tables.windows} w USING (topic, key, window_start)
        WHERE r.offset > coalesce(try_element_at(w.last_offsets, r.partition), -1)
    """
    revision = "published_revision + 1" if rules.late_policy == "amend" else "CAST(NULL AS BIGINT)"
    spark.sql(f"""
        MERGE INTO {tables.late_records} t USING (
          SELECT topic, partition, offset, key, window_start, event_time, broker_timestamp, value,
                 (unix_micros(broker_timestamp) - unix_micros(window_end)) / 1e6D AS lateness_seconds, {revision} AS revision
          FROM ({late})
        ) s
        ON t.topic = s.topic AND t.partition = s.partition AND t.offset = s.offset
        WHEN NOT MATCHED THEN INSERT *
    """)
    amended = f"SELECT DISTINCT topic, key, window_start FROM ({late})" if rules.late_policy == "amend" else None
    unseen = f"""
        SELECT DISTINCT topic, key, window_start FROM batch_rows JOIN bounds USING (topic)
        ANTI JOIN {tables.windows} USING (topic, key, window_start)
        WHERE unix_micros(window_start) + {rules.window_micros} <= unix_micros(closed_before)
    """
    spark.sql(f"CREATE OR REPLACE TEMP VIEW changed_windows AS {unseen if amended is None else f'{amended} UNION {unseen}'}")
    return not spark.table("changed_windows").isEmpty()


def _event_time_range(spark: SparkSession, rules: Rules, amended: bool) -> str | None:
    """A predicate of literals over the event times that must be read, so that Delta skips the other files; None = nothing to do."""
    ranges = [
        (row.first, row.last)
        for row in spark.sql("SELECT min(closed_before) AS first, max(closed_now) AS last, count_if(closed_before IS NULL) AS fresh FROM bounds "
                             "WHERE closed_now > closed_before OR closed_before IS NULL").collect()
        if row.last is not None
        for row in [row if row.fresh == 0 else type(row)(first=None, last=row.last, fresh=row.fresh)]
    ]
    if amended:
        ranges += [
            (row.first, row.last)
            for row in spark.sql(f"SELECT min(window_start) AS first, max(timestamp_micros(unix_micros(window_start) + {rules.window_micros})) AS last "
                                 "FROM changed_windows").collect()
        ]
    if not ranges:
        return None
    return " OR ".join(
        f"(event_time < {_timestamp(last)}" + ("" if first is None else f" AND event_time >= {_timestamp(first)}") + ")" for first, last in ranges
    )


def _compute(spark: SparkSession, tables: Tables, rules: Rules, where: str, amended: bool) -> None:
    """View `computed_windows`: the closed and the changed windows, each from all its rows in `raw`.

    Sums are added in two halves of 32 bits, so that they are exact at the speed of machine integers. The deviation is
    taken from differences to the smallest value: exact where values past 2^53 would cancel out as doubles.
    """
    changed = "OR EXISTS (SELECT 1 FROM changed_windows c WHERE c.topic = r.topic AND c.key = r.key AND c.window_start = r.window_start)" if amended else ""
    spark.sql(f"""
        CREATE OR REPLACE TEMP VIEW computed_windows AS
        WITH good AS (
          SELECT topic, partition, offset, key, value, {rules.start('event_time')} AS window_start
          FROM {tables.raw} WHERE error IS NULL AND ({where})
        ), counted AS (
          SELECT r.*, timestamp_micros(unix_micros(window_start) + {rules.window_micros}) AS window_end, b.by_watermark
          FROM good r JOIN bounds b USING (topic)
          WHERE ((b.closed_before IS NULL OR unix_micros(window_start) >= unix_micros(b.closed_before))
                 AND unix_micros(window_start) + {rules.window_micros} <= unix_micros(b.closed_now)) {changed}
        ), by_partition AS (
          SELECT topic, key, window_start, window_end, by_watermark, partition, collect_list(value) AS vals,
                 sum(shiftright(value, 32)) AS high, sum(value & 4294967295L) AS low,
                 min(value) AS min, max(value) AS max, min(offset) AS first, max(offset) AS last
          FROM counted c ANTI JOIN (SELECT topic, partition, offset FROM {tables.late_records} WHERE revision IS NULL) USING (topic, partition, offset)
          GROUP BY ALL
        ), whole AS (
          SELECT topic, key, window_start, window_end, by_watermark, sort_array(flatten(collect_list(vals))) AS vals,
                 CAST(sum(CAST(high AS DECIMAL(28,0))) * 4294967296 + sum(CAST(low AS DECIMAL(28,0))) AS DECIMAL(38,0)) AS sum,
                 min(min) AS min, max(max) AS max,
                 map_from_entries(sort_array(collect_list(struct(partition, first)))) AS first_offsets,
                 map_from_entries(sort_array(collect_list(struct(partition, last)))) AS last_offsets
          FROM by_partition GROUP BY topic, key, window_start, window_end, by_watermark
        ), centred AS (
          SELECT *, CAST(size(vals) AS BIGINT) AS count, CAST(sum - CAST(size(vals) AS DECIMAL(10,0)) * min AS DOUBLE) / size(vals) AS centre FROM whole
        )
        SELECT topic, key, window_start, window_end, count, sum, CAST(sum AS DOUBLE) / count AS mean,
               CAST((CAST(vals[CAST((count - 1) DIV 2 AS INT)] AS DECIMAL(20,0)) + CAST(vals[CAST(count DIV 2 AS INT)] AS DECIMAL(20,0))) * 0.5BD AS DECIMAL(20,1)) AS median,
               CASE WHEN count > 1 THEN sqrt(aggregate(vals, 0D, (squares, x) -> squares + power({_above_min} - centre, 2)) / (count - 1)) END AS stddev_samp,
               min, max, CASE WHEN window_end <= by_watermark THEN 'watermark' ELSE 'clock' END AS closed_by, first_offsets, last_offsets
        FROM centred
    """)


# A range of more than 63 bits overflows; there a difference of doubles is as good as any.
_above_min = "coalesce(CAST(try_subtract(x, min) AS DOUBLE), CAST(x AS DOUBLE) - CAST(min AS DOUBLE))"


def _merge(spark: SparkSession, tables: Tables) -> None:
    """Writes what differs: new windows as revision 1, changed ones as the next; each write gets the next `sequence`."""
    sequence = spark.sql(f"SELECT coalesce(max(sequence), 0) AS last FROM {tables.windows}").first().last
    spark.sql(f"""
        MERGE INTO {tables.windows} t USING (
          SELECT n.*, {sequence} + row_number() OVER (ORDER BY n.window_start, n.topic, n.key) AS sequence
          FROM computed_windows n LEFT JOIN {tables.windows} o USING (topic, key, window_start)
          WHERE o.revision IS NULL OR NOT (o.count = n.count AND o.sum = n.sum AND o.min = n.min AND o.max = n.max
                AND o.median = n.median AND o.stddev_samp <=> n.stddev_samp
                AND to_json(o.last_offsets) = to_json(n.last_offsets) AND to_json(o.first_offsets) = to_json(n.first_offsets))
        ) s
        ON t.topic = s.topic AND t.key = s.key AND t.window_start = s.window_start
        WHEN MATCHED THEN UPDATE SET count = s.count, sum = s.sum, mean = s.mean, median = s.median, stddev_samp = s.stddev_samp, min = s.min, max = s.max,
             first_offsets = s.first_offsets, last_offsets = s.last_offsets, revision = t.revision + 1, sequence = s.sequence
        WHEN NOT MATCHED THEN INSERT (topic, key, window_start, window_end, count, sum, mean, median, stddev_samp, min, max, revision, closed_by,
             first_offsets, last_offsets, sequence)
             VALUES (s.topic, s.key, s.window_start, s.window_end, s.count, s.sum, s.mean, s.median, s.stddev_samp, s.min, s.max, 1, s.closed_by,
             s.first_offsets, s.last_offsets, s.sequence)
    """)


def _timestamp(value: datetime) -> str:
    return f"TIMESTAMP '{value:%Y-%m-%d %H:%M:%S.%f}'"
