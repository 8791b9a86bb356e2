"""Records that the rule judges in another way now than when they came.

`raw` keeps how each record was judged at its ingest. A rebuild judges every payload again, with the rule and the settings as they are deployed,
and keeps the verdicts that are others in `judged_rebuilt`. Until the swap, what is computed anew takes those in place of the ones in `raw`; the swap
(src/databricks/rebuild.ts) writes them into `raw`, and keeps what stood there as `judged_replaced`, from which a rollback goes back.
"""

from dataclasses import dataclass, replace

from pyspark.sql import SparkSession

from pipeline import events
from pipeline.tables import Tables, exists, replays

_PLACE = "topic, partition, offset"
_VERDICT = ("event_time", "key", "value", "error")


@dataclass(frozen=True)
class Rule:
    """As `events.judge` takes it."""

    fields: dict
    max_future_minutes: int


def find(spark: SparkSession, tables: Tables, rule: Rule, scope: str, within) -> None:
    """Judges the rows of `raw` in `scope` (SQL) again, from their payloads, and writes `judged_rebuilt`.

    `within(event_time)` is SQL for: this moment is in the part that is rebuilt. A record that lies on both sides of its border stays as it is,
    for the windows on the other side stay, too. A bad record that was replayed stays bad: its replay counts in its place.
    """
    was = ", ".join(f"{name} AS was_{name}" for name in _VERDICT)
    rows = spark.sql(f"SELECT {_PLACE}, broker_timestamp, payload, {was} FROM {tables.raw} WHERE {scope}")
    same = " AND ".join(f"{name} <=> was_{name}" for name in _VERDICT)
    # Spark moves a condition below the columns that it is about, and writes each of them out in it: these are nested so deep that it would take
    # gigabytes. Nothing is moved below a column that is another one each time, as long as the condition asks for it.
    verdicts = events.judge(rows, rule.fields, rule.max_future_minutes).selectExpr("*", "monotonically_increasing_id() AS nth")
    verdicts.where(f"NOT ({same}) AND nth >= 0").dropDuplicates(_PLACE.split(", ")).createOrReplaceTempView("judged_otherwise")
    _keep(spark, tables, " AND ".join(f"({moment} IS NULL OR {within(moment)})" for moment in ("event_time", "was_event_time")))


def restore(spark: SparkSession, tables: Tables) -> None:
    """What the last swap replaced in `raw`, as what the next one writes there."""
    replaced = _named(tables, "replaced")
    # There is none where the swap changed no verdict.
    kept = replaced if exists(spark, replaced) else f"(SELECT * FROM {tables.raw} WHERE false)"
    was = ", ".join(f"t.{name} AS was_{name}" for name in _VERDICT)
    now = ", ".join(f"s.{name}" for name in _VERDICT)
    spark.sql(f"""CREATE OR REPLACE TEMP VIEW judged_otherwise AS
        SELECT s.topic, s.partition, s.offset, t.broker_timestamp, {now}, {was} FROM {kept} s JOIN {tables.raw} t ON t.topic = s.topic AND t.partition = s.partition AND t.offset = s.offset""")
    _keep(spark, tables, "true")


def over(spark: SparkSession, tables: Tables) -> Tables:
    """The same tables, with a query in the place of `raw` (place, broker_timestamp, event_time, key, value, error) where verdicts are to be others than in it."""
    verdicts = corrections(spark, tables)
    if verdicts is None:
        return tables
    columns = f"{_PLACE}, broker_timestamp, {', '.join(_VERDICT)}"
    # Not a join with a choice in each column: so Delta still passes over the files that a condition on event times excludes.
    return replace(tables, raw=f"(SELECT {columns} FROM {tables.raw} ANTI JOIN {verdicts} USING ({_PLACE}) UNION ALL SELECT {columns} FROM {verdicts})")


def corrections(spark: SparkSession, tables: Tables) -> str | None:
    """SQL, in parentheses: the verdicts that take the place of those in `raw`; None where there are none."""
    query = f"(SELECT * FROM {_named(tables, 'rebuilt')} WHERE left_alone IS NULL)"
    return None if spark.sql(f"SELECT 1 FROM {query} LIMIT 1").isEmpty() else query


def found(spark: SparkSession, tables: Tables) -> dict:
    """How many records are judged in another way, and from what to what (null = good); and how many stay as they are, and why."""
    rows = spark.sql(f"SELECT left_alone, was_error AS was, error AS is, count(*) AS records FROM {_named(tables, 'rebuilt')} GROUP BY ALL ORDER BY records DESC, was, is").collect()
    sums = {state: sum(row.records for row in rows if row.left_alone == state) for state in (None, "outside", "replayed")}
    verdicts = [{"was": row["was"], "is": row["is"], "records": row.records} for row in rows if row.left_alone is None]
    return {"records": sums[None], "outside": sums["outside"], "replayed": sums["replayed"], "verdicts": verdicts}


def _keep(spark: SparkSession, tables: Tables, inside: str) -> None:
    # A replay that has no place yet may still reach the broker.
    replayed = f"EXISTS (SELECT 1 FROM {replays(tables)} r WHERE r.topic = j.topic AND r.partition = j.partition AND r.offset = j.offset)" if exists(spark, replays(tables)) else "false"
    spark.sql(f"""CREATE OR REPLACE TABLE {_named(tables, 'rebuilt')} USING DELTA AS
        SELECT {_PLACE}, broker_timestamp, {', '.join(_VERDICT)}, {', '.join(f'was_{name}' for name in _VERDICT)},
               CASE WHEN NOT ({inside}) THEN 'outside' WHEN error IS NULL AND was_error IS NOT NULL AND is_replayed THEN 'replayed' END AS left_alone
        FROM (SELECT *, {replayed} AS is_replayed FROM judged_otherwise j)""")


def _named(tables: Tables, suffix: str) -> str:
    return f"{tables.schema}.`judged_{suffix}`"
