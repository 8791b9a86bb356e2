"""What the backup says that it holds: <uri>/manifest/run=R/part-....gz, one JSON line an object, one folder for each round of a run.

Many folders become one (`whole=R`), without a moment at which an entry is nowhere: the new folder is written first, and what it holds is removed
by a later run, once nobody can still be reading what was listed before it. Until then entries stand twice, which is no harm.
"""

import re
import time
import uuid
from collections.abc import Callable

from pyspark.sql import DataFrame, SparkSession

from pipeline.reading import if_there

ENTRY = (
    "topic STRING, partition INT, shard BIGINT, first_offset BIGINT, last_offset BIGINT, records BIGINT, sha256 STRING, "
    "gaps ARRAY<STRUCT<first_offset: BIGINT, last_offset: BIGINT>>, content_sha256 STRING, first_timestamp BIGINT, last_timestamp BIGINT"
)

# So many folders since the last one that holds all are brought together.
_MANY = 100
_STILL_READ_MILLIS = 3_600_000

_SAME = ["topic", "partition", "shard", "sha256", "content_sha256"]
_FOLDER = re.compile(r"/manifest/((run|whole)=(\d+)-[0-9a-f]+)/[^/]+$")


def entries(spark: SparkSession, uri: str) -> DataFrame:
    """One row an object. Two runs side by side may both have listed it, with the same content."""
    listed = _listed(spark, f"{uri}/manifest")
    return spark.createDataFrame([], ENTRY) if listed is None else listed.dropDuplicates(_SAME)


def add(spark: SparkSession, uri: str, lines: list | DataFrame, kind: str = "run") -> str:
    """Writes entries into a folder of their own, which appears as a whole; returns its name."""
    name = f"{kind}={time.time_ns() // 1_000_000}-{uuid.uuid4().hex[:8]}"
    rows = spark.createDataFrame(lines, ENTRY) if isinstance(lines, list) else lines
    rows.coalesce(1).write.mode("error").option("compression", "gzip").json(f"{uri}/manifest/{name}")
    return name


def compact(spark: SparkSession, uri: str, remove: Callable[[str], object]) -> list[str]:
    """Writes what many folders say into one, or removes folders all of whose entries such a one has held for an hour; returns the names of what went."""
    listed = _listed(spark, f"{uri}/manifest")
    found = {} if listed is None else {match[1]: (match[2], int(match[3])) for file in listed.inputFiles() if (match := _FOLDER.search(file))}
    settled = [name for name, (kind, millis) in found.items() if kind == "whole" and millis + _STILL_READ_MILLIS < time.time_ns() // 1_000_000]
    gone = []
    if settled and len(found) > 1:
        newest = max(settled, key=lambda name: found[name][1])
        # By what they hold, not by their names' times: a folder may be older than its name.
        lacking = listed.selectExpr("*", "_metadata.file_path AS file").join(_listed(spark, f"{uri}/manifest/{newest}"), _SAME, "anti").select("file").distinct().collect()
        kept = {newest, *(match[1] for row in lacking if (match := _FOLDER.search(row.file)))}
        gone = sorted(name for name, (_, millis) in found.items() if name not in kept and millis <= found[newest][1])
        for name in gone:
            remove(f"{uri}/manifest/{name}")
    last = max((millis for kind, millis in found.values() if kind == "whole"), default=0)
    if sum(millis > last for _, millis in found.values()) >= _MANY:
        add(spark, uri, entries(spark, uri), "whole")
    return gone


def _listed(spark: SparkSession, path: str) -> DataFrame | None:
    return if_there(lambda: spark.read.schema(ENTRY).option("mode", "FAILFAST").option("recursiveFileLookup", "true").json(path))
