"""From the backup back: is every object what it was, and the records of a range as a table with the columns of `raw`."""

import re
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from pipeline import backup, events, manifest, merkle, objects, shards
from pipeline.tables import Tables, raw_columns

_NAMED = 100


class RestoreRefused(Exception):
    """The backup does not hold what was asked for, whole; nothing was written."""


@dataclass(frozen=True)
class Bound:
    """One end of a range: an offset for every partition, one for some, or a moment (epoch milliseconds of the record)."""

    offset: int | None = None
    by_partition: dict | None = None
    millis: int | None = None


def bound(text: str) -> Bound | None:
    """`1200`, `0:1200,3:80` (partition:offset) or ISO 8601 with a zone; None of an empty text."""
    if text == "":
        return None
    if re.fullmatch(r"\d+", text):
        return Bound(offset=int(text))
    if re.fullmatch(r"\d+:\d+(,\d+:\d+)*", text):
        return Bound(by_partition=dict(tuple(map(int, part.split(":"))) for part in text.split(",")))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"{text!r} is neither an offset (1200), offsets by partition (0:1200,3:80) nor a time with a zone (2026-01-05T00:00:00Z)")
    return Bound(millis=round(moment.timestamp() * 1000))


def verify(spark: SparkSession, tables: Tables, uri: str) -> dict:
    """Every object against the manifest, and the manifest against the ledger; `problems` names shard and record, the first hundred."""
    uri = uri.rstrip("/")
    manifest.entries(spark, uri).createOrReplaceTempView("backed_up")
    _examined(spark, uri).createOrReplaceTempView("examined")
    check = _Check()
    for row in spark.sql("""
        SELECT topic, partition, shard, e.content_sha256 AS expected, x.content_sha256, x.path, x.problem,
               x.records, x.first_offset, x.last_offset, x.sha256, x.absent,
               e.first_offset AS listed_first, e.last_offset AS listed_last, e.gaps AS listed_gaps
        FROM backed_up e FULL JOIN examined x USING (topic, partition, shard) ORDER BY topic, partition, shard
    """).toLocalIterator():
        check.take(row)
    sealed = f"(SELECT * FROM {tables.shards} WHERE sealed)"
    for row in spark.sql(f"""
        SELECT topic, partition, shard, false AS listed FROM {sealed} ANTI JOIN backed_up USING (topic, partition, shard)
          JOIN (SELECT topic, partition, max(shard) AS newest FROM backed_up GROUP BY ALL) USING (topic, partition) WHERE shard < newest
        UNION ALL
        SELECT topic, partition, shard, true FROM {sealed} s JOIN backed_up b USING (topic, partition, shard) WHERE s.sha256 <> b.sha256 OR s.records <> b.records
        ORDER BY topic, partition, shard
    """).collect():
        check.problem(row, "the ledger has another digest for it than the manifest" if row.listed else "it is sealed, and the manifest does not list it, though it lists later ones")
    ledger = shards.roots(spark, f"SELECT * FROM {sealed} SEMI JOIN backed_up USING (topic, partition, shard)")
    waiting = spark.sql(f"SELECT count(*) AS shards FROM {sealed} ANTI JOIN backed_up USING (topic, partition, shard)").first().shards
    expected = {(row["topic"], row["partition"]): row["root"] for row in ledger}
    roots = [{**found, "ledger_root": expected.get((found["topic"], found["partition"]))} for found in check.roots()]
    return {
        "objects": check.objects, "records": check.records, "unlisted": check.unlisted, "not_backed_up": waiting,
        "problem_count": check.count, "problems": check.problems, "partitions": roots,
    }


class _Check:
    """What the objects amount to, row by row in the order of topic, partition, shard."""

    def __init__(self):
        self.objects = self.records = self.unlisted = self.count = 0
        self.problems = []
        self._leaves = {}
        self._last = None

    def take(self, row) -> None:
        if row.path is not None:
            self.objects += 1
        if row.expected is None:
            # What a run left that did not end: the next one adopts it.
            self.unlisted += 1
        elif row.path is None:
            self.problem(row, "its object is missing")
        elif row.problem is not None:
            self.problem(row, f"{row.problem} ({row.path})")
        elif row.content_sha256 != row.expected:
            lost = _lost(row)
            what = f"the records with the offsets {', '.join(map(str, lost))} are missing from it" if lost else "each of its records is whole, but it is not the object that the manifest lists"
            self.problem(row, f"{what} ({row.path})")
        elif (row.topic, row.partition, row.shard) != self._last:
            self._last = row.topic, row.partition, row.shard
            self.records += row.records
            self._leaves.setdefault((row.topic, row.partition), []).append(merkle.shard_leaf(row.shard, row.first_offset, row.last_offset, row.records, row.sha256))

    def problem(self, row, text: str) -> None:
        self.count += 1
        if len(self.problems) < _NAMED:
            self.problems.append({"topic": row.topic, "partition": row.partition, "shard": row.shard, "problem": text})

    def roots(self) -> list[dict]:
        return [{"topic": topic, "partition": partition, "shards": len(leaves), "root": merkle.root(leaves)} for (topic, partition), leaves in self._leaves.items()]


def _lost(row) -> list[int]:
    """Offsets that the manifest promises and the object does not hold, the first ten."""
    gaps = {offset for gap in row.listed_gaps or [] for offset in range(gap.first_offset, gap.last_offset + 1)}
    absent = set(row.absent)
    between = range(row.listed_first, row.listed_last + 1)
    return [offset for offset in between if offset not in gaps and (offset in absent or not row.first_offset <= offset <= row.last_offset)][:10]


@dataclass(frozen=True)
class Wanted:
    """Which records, and how they are judged again: what `raw` derives from a payload is not in the backup."""

    topics: list[str]
    first: Bound | None
    end: Bound | None
    fields: dict
    max_future_minutes: int
    shard_size: int


def restore(spark: SparkSession, uri: str, table: str, wanted: Wanted) -> dict:
    """Inserts the records of the range that `table` (quoted name; made where it is not there) lacks; raises before that where the backup is not whole."""
    uri = uri.rstrip("/")
    entries = manifest.entries(spark, uri).where(_in(wanted.topics)).where(_overlaps(wanted))
    listed = entries.collect()
    if not listed:
        raise RestoreRefused(f"the backup {uri} holds no record of {', '.join(wanted.topics)} in this range")
    found = backup.stored_at(spark, uri, listed)
    if found is None:
        raise RestoreRefused(f"none of the {len(listed)} objects that the manifest of {uri} lists is there")
    _check(listed, found)
    names = "topic, partition, offset, broker_timestamp, record_key, payload, headers, event_time, key, value, error, shard"
    records = (
        found.mapInPandas(objects.records, objects.RECORDS)
        .where(_in(wanted.topics)).where(_within(wanted))
        .dropDuplicates(["topic", "partition", "offset"])
        .selectExpr("topic", "partition", "offset", "timestamp_millis(timestamp) AS broker_timestamp", "record_key", "payload", "headers", f"offset DIV {wanted.shard_size} AS shard")
    )
    events.judge(records, wanted.fields, wanted.max_future_minutes).selectExpr(*names.split(", ")).createOrReplaceTempView("restored")
    spark.sql(f"CREATE TABLE IF NOT EXISTS {table} ({raw_columns()}) USING DELTA CLUSTER BY (topic, event_time)")
    before = spark.table(table).count()
    if before == 0:
        spark.sql(f"INSERT INTO {table} ({names}) SELECT {names} FROM restored")
    else:
        spark.sql(f"""
            MERGE INTO {table} t USING restored s ON t.topic = s.topic AND t.partition = s.partition AND t.offset = s.offset
            WHEN NOT MATCHED THEN INSERT *
        """)
    return {"shards": len(listed), "inserted": spark.table(table).count() - before, "there_before": before}


def _check(listed: list, found: DataFrame) -> None:
    """Every listed object is there and is what the manifest says; a shard that is listed twice, differently, has no truth."""
    objects_there = {}
    for row in found.mapInPandas(objects.examine, objects.EXAMINED).collect():
        objects_there.setdefault((row.topic, row.partition, row.shard), []).append(row)
    bad = []
    for entry in listed:
        there = objects_there.get((entry.topic, entry.partition, entry.shard), [])
        if not there:
            bad.append((entry, "its object is missing"))
        elif problem := next((row.problem for row in there if row.problem is not None), None):
            bad.append((entry, problem))
        elif any(row.content_sha256 != entry.content_sha256 for row in there):
            bad.append((entry, "its object is not the one that the manifest lists"))
    if bad:
        raise RestoreRefused("; ".join(f"{row.topic}/{row.partition} shard {row.shard}: {problem}" for row, problem in bad[:20]))


def _examined(spark: SparkSession, uri: str) -> DataFrame:
    found = backup.stored(spark, uri)
    return spark.createDataFrame([], objects.EXAMINED) if found is None else found.mapInPandas(objects.examine, objects.EXAMINED)


def _in(topics: list[str]) -> str:
    return f"topic IN ({', '.join(repr(topic) for topic in topics)})"


def _overlaps(wanted: Wanted) -> str:
    return f"{_after(wanted.first, 'last_offset', 'last_timestamp')} AND {_before(wanted.end, 'first_offset', 'first_timestamp')}"


def _within(wanted: Wanted) -> str:
    return f"{_after(wanted.first, 'offset', 'timestamp')} AND {_before(wanted.end, 'offset', 'timestamp')}"


def _after(first: Bound | None, offset: str, timestamp: str) -> str:
    return _compared(first, ">=", offset, timestamp)


def _before(end: Bound | None, offset: str, timestamp: str) -> str:
    return _compared(end, "<", offset, timestamp)


def _compared(limit: Bound | None, sign: str, offset: str, timestamp: str) -> str:
    if limit is None:
        return "true"
    if limit.millis is not None:
        return f"{timestamp} {sign} {limit.millis}"
    if limit.by_partition is not None:
        # A partition that is not named is not limited.
        cases = " ".join(f"WHEN {partition} THEN {offset} {sign} {value}" for partition, value in limit.by_partition.items())
        return f"CASE partition {cases} ELSE true END"
    return f"{offset} {sign} {limit.offset}"
