"""Records that come after their window was published: entered in the ledger `late_records`, and their windows computed again, as `late_policy` says."""

from pyspark.sql import DataFrame

from pipeline import windows
from pipeline.closing import Bound, Rules, bounds_of, latest, literal, values
from pipeline.tables import Tables


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
        windows.publish_changed(batch.sparkSession, tables, rules, bounds)


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
        SELECT DISTINCT topic, key, window_start FROM batch_rows JOIN {values(bounds)} USING (topic)
        ANTI JOIN {tables.windows} USING (topic, key, window_start)
        WHERE {rules.end('window_start')} <= published
    """)
    return not spark.table("changed_windows").isEmpty()
