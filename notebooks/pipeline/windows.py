"""What closed windows hold, and how they are published.

A window is a pure function of `raw`: whatever makes it be computed, it is computed from all its rows, and MERGE changes
it only where the outcome differs. So a replayed batch changes nothing, and every good record counts exactly once.
"""

from dataclasses import dataclass

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from pipeline import statistics
from pipeline.closing import Bound, Rules, latest, literal, values
from pipeline.tables import LENGTH, REBUILD, Tables, properties


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


@dataclass(frozen=True)
class Position:
    """The last sequence of `windows`, and how many windows it holds. What grew between two positions and is no new window is a revision."""

    sequence: int
    windows: int


def position(spark: SparkSession, tables: Tables) -> Position:
    # In this form Delta answers from its log, and reads no file.
    row = spark.sql(f"SELECT max(sequence) AS sequence, count(*) AS windows FROM {tables.windows}").first()
    return Position(row.sequence or 0, row.windows)


def publish_changed(spark: SparkSession, tables: Tables, rules: Rules, bounds: dict[str, Bound]) -> None:
    """Computes those in the view `changed_windows` again; one that differs becomes its next revision, with the next `sequence`."""
    spread = spark.sql(f"SELECT unix_micros(min(window_start)) AS first, unix_micros(max({rules.end('window_start')})) AS last FROM changed_windows").first()
    rows = f"{_good_rows(tables, rules, f'event_time >= {literal(spread.first)} AND event_time < {literal(spread.last)}')} SEMI JOIN changed_windows USING (topic, key, window_start)"
    spark.sql(f"""
        MERGE INTO {tables.windows} t USING (
          SELECT n.*, {max(rules.sequence_above, position(spark, tables).sequence)} + row_number() OVER (ORDER BY n.window_start, n.topic, n.key) AS sequence
          FROM ({_computed(rules, rows, bounds)}) n LEFT JOIN {tables.windows} o USING (topic, key, window_start)
          WHERE o.revision IS NULL OR NOT ({same("o", "n")})
        ) s
        ON t.topic = s.topic AND t.key = s.key AND t.window_start = s.window_start
        WHEN MATCHED THEN UPDATE SET count = s.count, sum = s.sum, mean = s.mean, median = s.median, stddev_samp = s.stddev_samp, min = s.min,
             max = s.max, first_offsets = s.first_offsets, last_offsets = s.last_offsets, revision = t.revision + 1, sequence = s.sequence
        WHEN NOT MATCHED THEN {_INSERT}
    """)


def publish(spark: SparkSession, tables: Tables, rules: Rules, bounds: dict[str, Bound]) -> Position:
    """Publishes the windows between the two bounds. They are new by definition: a MERGE that only inserts computes them once. Returns where the table stands then."""
    before = position(spark, tables)
    moving = {topic: bound for topic, bound in bounds.items() if bound.closed is not None and (bound.published is None or bound.closed > bound.published)}
    if not moving:
        return before
    last = max(rules.sequence_above, before.sequence)
    _collect_in_memory(spark, sum(bound.rows for bound in bounds.values()))
    inserted = spark.sql(f"""
        MERGE INTO {tables.windows} t USING (
          SELECT *, {last} + row_number() OVER (ORDER BY window_start, topic, key) AS sequence
          FROM ({closed_windows(tables, rules, moving)})
        ) s
        ON t.topic = s.topic AND t.key = s.key AND t.window_start = s.window_start
        WHEN NOT MATCHED THEN {_INSERT}
    """).first().num_inserted_rows
    # A look at the table would say the same, later.
    return Position(last + inserted, before.windows + inserted) if inserted > 0 else before


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
    rows = f"""{_good_rows(tables, rules, where)} JOIN {values(bounds)} USING (topic)
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
               FROM ({statistics.by_window(rows)}) w JOIN {values(bounds)} USING (topic)"""
