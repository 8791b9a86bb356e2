"""Which windows have closed, what they hold, and how they are published.

A window is a pure function of `raw`: whatever makes it be computed, it is computed from all its rows, and MERGE changes
it only where the outcome differs. So a replayed batch changes nothing, and every good record counts exactly once.
"""

from dataclasses import dataclass, replace

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from pipeline import statistics
from pipeline.tables import LENGTH, REBUILD, Tables, properties


@dataclass(frozen=True)
class Rules:
    """`caught_up`: when ingest last read the broker to its end, epoch microseconds; from then on the clock closes windows, too.

    `sequence_above`: what is written gets sequences above this one, and above all that the table has.
    """

    window_minutes: int
    allowed_lateness_minutes: int
    late_policy: str
    caught_up: int | None = None
    sequence_above: int = 0

    @property
    def micros(self) -> int:
        return self.window_minutes * 60_000_000

    def start(self, event_time: str) -> str:
        """SQL for the start of the epoch-aligned window that holds this event time."""
        return f"timestamp_micros(unix_micros({event_time}) - pmod(unix_micros({event_time}), {self.micros}))"

    def end(self, start: str) -> str:
        """SQL for the (exclusive) end of the window that starts here."""
        return f"timestamp_micros(unix_micros({start}) + {self.micros})"


@dataclass(frozen=True)
class Bound:
    """How far a topic's windows are published, and how far they are to be: ends of windows, epoch microseconds.

    `rows`: good rows of `raw` past what is published, at least.
    Not datetime: Spark hands those out in the time zone of the Python process.
    """

    published: int | None
    watermark: int | None
    closed: int | None
    rows: int = 0


def check(spark: SparkSession, tables: Tables, rules: Rules) -> None:
    """A table holds windows of one length, and nobody publishes while it is swapped; raises before anything is mixed."""
    found = properties(spark, tables.windows)
    if REBUILD in found:
        raise ValueError(
            f"{tables.windows} is being swapped for one that was computed anew, so nothing is published now. "
            "If nobody is at it any more: `streamgauge windows rebuild` finishes it, `streamgauge windows rebuild --rollback` takes it back."
        )
    length = found.get(LENGTH, str(rules.window_minutes))
    if length != str(rules.window_minutes):
        raise ValueError(
            f"{tables.windows} holds windows of {length} minutes, the variable window_minutes says {rules.window_minutes}. Compute them anew: "
            f"`streamgauge windows rebuild --window {rules.window_minutes}m`; or set it back to {length}. Until then nothing is published, and nothing is lost."
        )


def published(spark: SparkSession, tables: Tables) -> dict[str, int | None]:
    """The end of each topic's newest published window, epoch microseconds; None where there is none yet."""
    found = spark.sql(
        f"SELECT topic, unix_micros(max(window_end)) AS published FROM (SELECT topic, window_end FROM {tables.windows} "
        f"UNION ALL SELECT topic, NULL FROM {tables.shards}) GROUP BY topic"
    )
    return {row.topic: row.published for row in found.collect()}


def late_rows(rows: DataFrame, ends: dict[str, int | None]) -> DataFrame:
    """Of these rows of `raw` those that come before `ends`, what is published now: only they can change a window.

    All others are computed when their windows are published. Of a stream the filter is part of its own plan: there Parquet
    skips what it excludes, which is nearly everything; a micro-batch that has come as far as a batch function is read whole.
    """
    newest = latest(*ends.values())
    return rows.where("false" if newest is None else f"error IS NULL AND event_time < {literal(newest)}").select(
        "topic", "partition", "offset", "broker_timestamp", "event_time", "key", "value"
    )


def amend(batch: DataFrame, tables: Tables, rules: Rules) -> None:
    """Publishes the windows that late rows change, and enters the rows in the ledger. `batch`: what `late_rows` gave."""
    late = _as_judged_now(batch, tables)
    if late is None:
        return
    bounds = bounds_of(batch.sparkSession, tables, rules)
    if _find_changed(late, tables, rules, bounds):
        publish_changed(batch.sparkSession, tables, rules, bounds)


def _as_judged_now(batch: DataFrame, tables: Tables) -> DataFrame | None:
    """The batch's records as `raw` has them; None where there are none. A stream gives them as they came: a rebuild by a corrected rule may have judged them otherwise since."""
    spark = batch.sparkSession
    batch.select("topic", "partition", "offset").createOrReplaceTempView("batch_places")
    spans = spark.sql("SELECT topic, partition, min(offset) AS first, max(offset) AS last FROM batch_places GROUP BY topic, partition").collect()
    if not spans:
        return None
    where = " OR ".join(f"(topic = '{span.topic}' AND partition = {span.partition} AND offset BETWEEN {span.first} AND {span.last})" for span in spans)
    return spark.sql(f"""SELECT topic, partition, offset, broker_timestamp, event_time, key, value FROM (SELECT * FROM {tables.raw} WHERE error IS NULL AND ({where}))
                         SEMI JOIN batch_places USING (topic, partition, offset)""")


def bounds_of(spark: SparkSession, tables: Tables, rules: Rules, ends: dict[str, int | None] | None = None) -> dict[str, Bound]:
    """By topic; `ends`: what is `published`, where that was looked at already. A window past the newest published one is new, whatever it is; only event times past it move the watermark."""
    ends = published(spark, tables) if ends is None else ends
    known = [end for end in ends.values() if end is not None]
    newer = "true" if not known or len(known) < len(ends) else f"event_time >= {literal(min(known))}"
    seen = {
        row.topic: row
        for row in spark.sql(f"SELECT topic, unix_micros(max(event_time)) AS newest, count(*) AS rows FROM {tables.raw} WHERE error IS NULL AND {newer} GROUP BY topic").collect()
    }
    lateness = rules.allowed_lateness_minutes * 60_000_000
    clock = None if rules.caught_up is None else rules.caught_up - lateness
    bounds = {}
    for topic in ends.keys() | seen.keys():
        watermark = seen[topic].newest - lateness if topic in seen else None
        bounds[topic] = Bound(ends.get(topic), watermark, latest(ends.get(topic), watermark, clock), seen[topic].rows if topic in seen else 0)
    return bounds


def latest(*moments: int | None) -> int | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _find_changed(batch: DataFrame, tables: Tables, rules: Rules, bounds: dict[str, Bound]) -> bool:
    """View `changed_windows`: windows up to the published bound that lack rows of the batch; writes the ledger of late records.

    A published window holds a row if its partition's last offset in the window is at or beyond the row's: rows come
    into `raw` in the order of their offsets. So a batch that is replayed finds nothing to change.
    """
    spark = batch.sparkSession
    batch.selectExpr("*", f"{rules.start('event_time')} AS window_start").createOrReplaceTempView("batch_rows")
    late = f"""
        SELECT r.*, w.window_end, w.revision AS published_revision FROM batch_rows r
        JOIN {tables.windows} w USING (topic, key, window_start)
        WHERE r.offset > coalesce(try_element_at(w.last_offsets, r.partition), -1)
    """
    amend = rules.late_policy == "amend"
    spark.sql(f"""
        MERGE INTO {tables.late_records} t USING (
          SELECT topic, partition, offset, key, window_start, event_time, broker_timestamp, value,
                 (unix_micros(broker_timestamp) - unix_micros(window_end)) / 1e6D AS lateness_seconds,
                 {'published_revision + 1' if amend else 'CAST(NULL AS BIGINT)'} AS revision
          FROM ({late})
        ) s
        ON t.topic = s.topic AND t.partition = s.partition AND t.offset = s.offset
        WHEN NOT MATCHED THEN INSERT *
    """)
    amended = f"SELECT DISTINCT topic, key, window_start FROM ({late}) UNION" if amend else ""
    spark.sql(f"""
        CREATE OR REPLACE TEMP VIEW changed_windows AS {amended}
        SELECT DISTINCT topic, key, window_start FROM batch_rows JOIN {_values(bounds)} USING (topic)
        ANTI JOIN {tables.windows} USING (topic, key, window_start)
        WHERE {rules.end('window_start')} <= published
    """)
    return not spark.table("changed_windows").isEmpty()


def publish_changed(spark: SparkSession, tables: Tables, rules: Rules, bounds: dict[str, Bound]) -> None:
    """Computes those in the view `changed_windows` again; one that differs becomes its next revision, with the next `sequence`."""
    spread = spark.sql(f"SELECT unix_micros(min(window_start)) AS first, unix_micros(max({rules.end('window_start')})) AS last FROM changed_windows").first()
    rows = f"{_good_rows(tables, rules, f'event_time >= {literal(spread.first)} AND event_time < {literal(spread.last)}')} SEMI JOIN changed_windows USING (topic, key, window_start)"
    spark.sql(f"""
        MERGE INTO {tables.windows} t USING (
          SELECT n.*, {_last_sequence(spark, tables, rules)} + row_number() OVER (ORDER BY n.window_start, n.topic, n.key) AS sequence
          FROM ({_computed(rules, rows, bounds)}) n LEFT JOIN {tables.windows} o USING (topic, key, window_start)
          WHERE o.revision IS NULL OR NOT ({same("o", "n")})
        ) s
        ON t.topic = s.topic AND t.key = s.key AND t.window_start = s.window_start
        WHEN MATCHED THEN UPDATE SET count = s.count, sum = s.sum, mean = s.mean, median = s.median, stddev_samp = s.stddev_samp, min = s.min,
             max = s.max, first_offsets = s.first_offsets, last_offsets = s.last_offsets, revision = t.revision + 1, sequence = s.sequence
        WHEN NOT MATCHED THEN {_INSERT}
    """)


def publish(spark: SparkSession, tables: Tables, rules: Rules, bounds: dict[str, Bound]) -> None:
    """Publishes the windows between the two bounds. They are new by definition: a MERGE that only inserts computes them once."""
    moving = {topic: bound for topic, bound in bounds.items() if bound.closed is not None and (bound.published is None or bound.closed > bound.published)}
    if not moving:
        return
    _collect_in_memory(spark, sum(bound.rows for bound in bounds.values()))
    spark.sql(f"""
        MERGE INTO {tables.windows} t USING (
          SELECT *, {_last_sequence(spark, tables, rules)} + row_number() OVER (ORDER BY window_start, topic, key) AS sequence
          FROM ({closed_windows(tables, rules, moving)})
        ) s
        ON t.topic = s.topic AND t.key = s.key AND t.window_start = s.window_start
        WHEN NOT MATCHED THEN {_INSERT}
    """)


# Each is 24 bytes of heap while it is collected, over all executors.
_MOST_ROWS_IN_MEMORY = 10_000_000


def _collect_in_memory(spark: SparkSession, rows: int) -> None:
    """With more than 128 groups in a task Spark sorts all its rows before it collects any: half of a publication's time. Hashing needs no order, but room."""
    try:
        spark.conf.set("spark.sql.objectHashAggregate.sortBased.fallbackThreshold", "1000000" if rows <= _MOST_ROWS_IN_MEMORY else "128")
    except PySparkException:
        # Serverless compute lets few settings be set: there Spark sorts.
        pass


def closed_windows(tables: Tables, rules: Rules, bounds: dict[str, Bound], first: int | None = None, last: int | None = None) -> str:
    """SQL: every window that ends after `published` and not after `closed` of its topic, computed from `raw`: all of `windows` but revision
    and sequence. `first` and `last` (epoch microseconds, starts of windows) limit it to those that start between them, the last exclusive."""
    lowest = None if any(bound.published is None for bound in bounds.values()) else min(bound.published for bound in bounds.values())
    after, before = latest(first, lowest), min(moment for moment in (last, max(bound.closed for bound in bounds.values())) if moment is not None)
    where = f"event_time < {literal(before)}" + ("" if after is None else f" AND event_time >= {literal(after)}")
    rows = f"""{_good_rows(tables, rules, where)} JOIN {_values(bounds)} USING (topic)
               WHERE (published IS NULL OR window_start >= published) AND {rules.end('window_start')} <= closed"""
    return _computed(rules, rows, bounds)


def same(one: str, other: str) -> str:
    """SQL: do two windows (aliases) hold the same? Revision, sequence and what closed them do not count."""
    equal = " AND ".join(f"{one}.{name} = {other}.{name}" for name in ("count", "sum", "min", "max", "median"))
    return f"{equal} AND {one}.stddev_samp <=> {other}.stddev_samp AND " + " AND ".join(f"to_json({one}.{name}) = to_json({other}.{name})" for name in ("first_offsets", "last_offsets"))


_INSERT = """INSERT (topic, key, window_start, window_end, count, sum, mean, median, stddev_samp, min, max, revision, closed_by, first_offsets, last_offsets, sequence)
             VALUES (s.topic, s.key, s.window_start, s.window_end, s.count, s.sum, s.mean, s.median, s.stddev_samp, s.min, s.max, 1, s.closed_by,
             s.first_offsets, s.last_offsets, s.sequence)"""


def _good_rows(tables: Tables, rules: Rules, where: str) -> str:
    """The rows that count. `where` compares event times with literals, so that Delta skips the files it excludes."""
    held = f"(SELECT topic, partition, offset FROM {tables.late_records} WHERE revision IS NULL)"
    return f"""SELECT topic, partition, offset, key, value, window_start FROM (
                 SELECT topic, partition, offset, key, value, {rules.start('event_time')} AS window_start
                 FROM {tables.raw} WHERE error IS NULL AND {where}
               ) ANTI JOIN {held} USING (topic, partition, offset)"""


def _computed(rules: Rules, rows: str, bounds: dict[str, Bound]) -> str:
    return f"""SELECT w.*, {rules.end('window_start')} AS window_end,
                      CASE WHEN {rules.end('window_start')} <= watermark THEN 'watermark' ELSE 'clock' END AS closed_by
               FROM ({statistics.by_window(rows)}) w JOIN {_values(bounds)} USING (topic)"""


def _values(bounds: dict[str, Bound]) -> str:
    rows = (f"('{topic}', {literal(bound.published)}, {literal(bound.watermark)}, {literal(bound.closed)})" for topic, bound in bounds.items())
    return f"(SELECT * FROM VALUES {', '.join(rows)} AS bounds(topic, published, watermark, closed))"


@dataclass(frozen=True)
class Position:
    """The last sequence of `windows`, and how many windows it holds. What grew between two positions and is no new window is a revision."""

    sequence: int
    windows: int


def position(spark: SparkSession, tables: Tables) -> Position:
    # In this form Delta answers from its log, and reads no file.
    row = spark.sql(f"SELECT max(sequence) AS sequence, count(*) AS windows FROM {tables.windows}").first()
    return Position(row.sequence or 0, row.windows)


def _last_sequence(spark: SparkSession, tables: Tables, rules: Rules) -> int:
    return max(rules.sequence_above, position(spark, tables).sequence)


def literal(micros: int | None) -> str:
    return "CAST(NULL AS TIMESTAMP)" if micros is None else f"timestamp_micros({micros})"
