"""The second copy: sealed shards as objects on any filesystem that Spark can write. Delta is the first.

    <uri>/shards/topic=T/partition=P/shard=N/part-....gz    one object a shard (see objects.py)
    <uri>/manifest/run=R/part-....gz                        what each run added, one JSON line an object (see manifest.py)

A run's manifest is written after its objects. An object without a line is what a run left that did not end: it is adopted where it
holds what it should, and never overwritten where it does not. Everything goes through Spark's own readers and writers.
"""

import re
from itertools import chain, islice

from pyspark.sql import DataFrame, SparkSession

from pipeline import manifest, objects
from pipeline.reading import if_there
from pipeline.tables import Tables

# Shards in one round: bounds the driver's memory; what a round has brought stays, whatever happens later.
ROUND = 20_000
# Up to so many shards are looked for one by one; above, listing everything is faster.
_LOOKED_FOR = 500
_NAMED = 20

_KEY = "topic STRING, partition INT, shard BIGINT"
_OF_OBJECT = ("content_sha256", "first_timestamp", "last_timestamp")


class BackupConflict(Exception):
    """Something is not as it was sealed or backed up; nothing was overwritten."""


def run(spark: SparkSession, tables: Tables, uri: str) -> dict:
    """Brings every sealed shard to the backup that is not there yet, in rounds; returns counts. Running it again changes nothing."""
    uri = uri.rstrip("/")
    manifest.entries(spark, uri).createOrReplaceTempView("backed_up")
    # Read once, what disagrees first: it must stop the run before anything is written.
    left = spark.sql(f"""
        SELECT s.topic, s.partition, s.shard, s.first_offset, s.last_offset, s.records, s.sha256, s.gaps, b.sha256 AS other
        FROM {tables.shards} s LEFT JOIN backed_up b USING (topic, partition, shard)
        WHERE s.sealed AND (b.sha256 IS NULL OR b.sha256 <> s.sha256 OR b.records <> s.records)
        ORDER BY b.sha256 IS NULL, s.topic, s.partition, s.shard""").toLocalIterator()
    first = list(islice(left, _NAMED))
    _refuse("the ledger says otherwise than the backup's manifest", [row for row in first if row.other is not None])
    written = adopted = records = 0
    for group in _rounds(chain(first, left)):
        done = _bring(spark, tables, uri, group)
        written, adopted, records = written + done["written"], adopted + done["adopted"], records + sum(row.records for row in group)
        print(f"backup: {written} shards written, {adopted} were there")
    return {"written": written, "adopted": adopted, "records": records}


def stored(spark: SparkSession, uri: str, path: str = "") -> DataFrame | None:
    """The objects below `path` (a glob) as (path, content), or None where there is none."""
    reader = spark.read.format("binaryFile").option("recursiveFileLookup", "true").option("pathGlobFilter", "*.gz")
    if uri.startswith("file:"):
        # Hadoop's own checksum files would end the whole query at one broken object, which then could not be named.
        reader = reader.option("fs.file.impl", "org.apache.hadoop.fs.RawLocalFileSystem").option("fs.file.impl.disable.cache", "true")
    return if_there(lambda: reader.load(f"{uri}/shards{path}").select("path", "content"))


def stored_at(spark: SparkSession, uri: str, places: list) -> DataFrame | None:
    """The objects of these shards (rows with topic, partition, shard) as (path, content), or None where there is none."""
    if len(places) <= _LOOKED_FOR:
        return stored(spark, uri, "/{" + ",".join(f"topic={row.topic}/partition={row.partition}/shard={row.shard}" for row in places) + "}")
    found = stored(spark, uri)
    if found is None:
        return None
    wanted = spark.createDataFrame([_key(row) for row in places], _KEY)
    place = [f"CAST(regexp_extract(path, '/{name}=([^/]+)/', 1) AS {kind}) AS {name}" for name, kind in (("topic", "STRING"), ("partition", "INT"), ("shard", "BIGINT"))]
    return found.selectExpr("*", *place).join(wanted, ["topic", "partition", "shard"], "semi").select("path", "content")


def reason(error: Exception) -> str:
    """The innermost cause that Spark's message names, else its first line."""
    causes = re.findall(r"^(?:Caused by: )?[\w.$]*(?:IOException|FSError|AccessDeniedException|AccessControlException|FileNotFoundException|FileSystemException)[\w.$]*: (.+)$", str(error), re.MULTILINE)
    text = causes[-1] if causes else next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text.strip()[:500]


def _rounds(rows):
    group = []
    for row in rows:
        group.append(row)
        if len(group) == ROUND:
            yield group
            group = []
    if group:
        yield group


def _bring(spark: SparkSession, tables: Tables, uri: str, group: list) -> dict:
    """One round: look, compare, write what is not there, then the manifest."""
    spark.createDataFrame([_key(row) for row in group], _KEY).createOrReplaceTempView("round_shards")
    rows = f"""SELECT r.topic, r.partition, r.shard, r.offset, r.broker_timestamp, r.record_key, r.headers, r.payload
               FROM (SELECT * FROM {tables.raw} WHERE {_ranges(group)}) r SEMI JOIN round_shards USING (topic, partition, shard)"""
    made = spark.sql(objects.contents(rows))
    digests = made.drop("content").collect()
    found = {_key(row): row for row in digests}
    altered = [row for row in group if (now := found.get(_key(row))) is None or now.sha256 != row.sha256 or now.records != row.records]
    _refuse(f"{tables.raw} does not hold what was sealed", altered[:_NAMED])
    there = {_key(row): row for row in _there(spark, uri, group)}
    _refuse("the backup holds another object in this place, which is not overwritten",
            [row for key, row in there.items() if row.problem is not None or row.content_sha256 != found[key].content_sha256][:_NAMED])
    new = [_key(row) for row in group if _key(row) not in there]
    if new:
        spark.createDataFrame(new, _KEY).createOrReplaceTempView("new_shards")
        # Dynamic: each run has a staging folder of its own and replaces whole shards alone, so that two runs at once do each other no harm.
        (spark.sql(f"SELECT topic, partition, shard, content FROM ({objects.contents(rows)}) SEMI JOIN new_shards USING (topic, partition, shard)")
         .write.mode("overwrite").option("partitionOverwriteMode", "dynamic").option("compression", "gzip")
         .partitionBy("topic", "partition", "shard").text(f"{uri}/shards"))
    lines = [(*_key(row), row.first_offset, row.last_offset, row.records, row.sha256, row.gaps, *(found[_key(row)][name] for name in _OF_OBJECT)) for row in group]
    manifest.add(spark, uri, lines)
    return {"written": len(new), "adopted": len(group) - len(new)}


def _there(spark: SparkSession, uri: str, group: list) -> list:
    """Objects that stand already where this round will write, examined."""
    found = stored_at(spark, uri, group)
    return [] if found is None else found.mapInPandas(objects.examine, objects.EXAMINED).collect()


def _ranges(group: list) -> str:
    """A predicate of literals, so that Delta reads only the files that hold these offsets."""
    spans = {}
    for row in group:
        first, last = spans.get((row.topic, row.partition), (row.first_offset, row.last_offset))
        spans[row.topic, row.partition] = min(first, row.first_offset), max(last, row.last_offset)
    return " OR ".join(f"(topic = '{topic}' AND partition = {partition} AND offset BETWEEN {first} AND {last})" for (topic, partition), (first, last) in spans.items())


def _key(row) -> tuple:
    return row.topic, row.partition, row.shard


def _refuse(what: str, rows: list) -> None:
    if rows:
        raise BackupConflict(f"{what}: {', '.join(f'{row.topic}/{row.partition} shard {row.shard}' for row in rows)}")

