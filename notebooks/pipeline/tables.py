"""Names and definitions of the Delta tables. One row of `raw` is one Kafka record; everything else is derived from it."""

import re
from dataclasses import dataclass, replace

from pyspark.sql import SparkSession

# Properties of `windows`: the length of its windows in minutes; and what is swapped in, while that lasts (src/databricks/rebuild.ts sets it).
LENGTH = "streamgauge.window_minutes"
REBUILD = "streamgauge.rebuild"

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


@dataclass(frozen=True)
class Tables:
    """Quoted, fully qualified names."""

    schema: str
    raw: str
    shards: str
    windows: str
    late_records: str
    quarantine: str


def names(catalog: str, schema: str) -> Tables:
    """The tables of one pipeline; refuses names that would need quoting, so that no name can carry SQL."""
    for name in (catalog, schema):
        if not _IDENTIFIER.fullmatch(name):
            raise ValueError(f"not a plain SQL identifier: {name!r}. Use letters, digits and '_' in the variables catalog and schema.")
    base = f"`{catalog}`.`{schema}`"
    return Tables(base, *(f"{base}.`{table}`" for table in ("raw", "shards", "windows", "late_records", "quarantine")))


def table(catalog: str, schema: str, name: str) -> str:
    """One table's quoted name; refuses what would need quoting, as `names` does."""
    if not _IDENTIFIER.fullmatch(name):
        raise ValueError(f"not a plain SQL identifier: {name!r}")
    return f"{names(catalog, schema).schema}.`{name}`"


def beside(tables: Tables, suffix: str) -> Tables:
    """The same pipeline with `windows` and `late_records` of another name, e.g. `windows_rebuilt`."""
    return replace(tables, **{table: f"{tables.schema}.`{table}_{suffix}`" for table in ("windows", "late_records")})


def exists(spark: SparkSession, name: str) -> bool:
    """Is there a table of this (quoted) name?"""
    return spark.catalog.tableExists(name.replace("`", ""))


def replays(tables: Tables) -> str:
    """The table of bad records that were sent again, which the controller makes with the first one."""
    return f"{tables.schema}.`replays`"


def properties(spark: SparkSession, name: str) -> dict[str, str]:
    """The properties of a table (quoted name)."""
    return {row.key: row.value for row in spark.sql(f"SHOW TBLPROPERTIES {name}").collect()}


def create(spark: SparkSession, tables: Tables, window_minutes: int) -> None:
    """Creates what is missing; changes nothing that exists. One look where all is there: each statement costs a catalog a moment."""
    spark.sql(f"CREATE SCHEMA IF NOT EXISTS {tables.schema}")
    there = {row.tableName for row in spark.sql(f"SHOW TABLES IN {tables.schema}").collect() if not row.isTemporary}
    missing = {name: definition for name, definition in _definitions(tables, window_minutes).items() if name.split("`")[-2] not in there}
    for definition in missing.values():
        spark.sql(definition)
    if tables.shards not in missing and "gaps" not in spark.table(tables.shards).columns:
        # A table of an earlier release; what was sealed then keeps null: not known.
        spark.sql(f"ALTER TABLE {tables.shards} ADD COLUMNS (gaps ARRAY<STRUCT<first_offset: BIGINT, last_offset: BIGINT>>)")


def _definitions(tables: Tables, window_minutes: int) -> dict[str, str]:
    return {
        tables.raw: f"CREATE TABLE IF NOT EXISTS {tables.raw} ({_RAW}) USING DELTA CLUSTER BY (topic, event_time)",
        tables.shards: f"CREATE TABLE IF NOT EXISTS {tables.shards} ({_SHARDS}) USING DELTA",
        tables.windows: f"CREATE TABLE IF NOT EXISTS {tables.windows} ({_WINDOWS}) USING DELTA CLUSTER BY (topic, window_start) "
        f"TBLPROPERTIES ('{LENGTH}' = '{window_minutes}')",
        tables.late_records: f"CREATE TABLE IF NOT EXISTS {tables.late_records} ({_LATE_RECORDS}) USING DELTA",
        tables.quarantine: f"CREATE VIEW IF NOT EXISTS {tables.quarantine} AS SELECT topic, partition, offset, error AS reason, broker_timestamp, "
        f"record_key, payload, decode(payload, 'UTF-8') AS payload_text FROM {tables.raw} WHERE error IS NOT NULL",
    }


def create_derived(spark: SparkSession, tables: Tables, window_minutes: int) -> None:
    """Creates `windows` and `late_records` empty, in place of any that are there."""
    spark.sql(f"CREATE OR REPLACE TABLE {tables.windows} ({_WINDOWS}) USING DELTA CLUSTER BY (topic, window_start) TBLPROPERTIES ('{LENGTH}' = '{window_minutes}')")
    spark.sql(f"CREATE OR REPLACE TABLE {tables.late_records} ({_LATE_RECORDS}) USING DELTA")


def raw_columns() -> str:
    """The columns of `raw` as CREATE TABLE has them."""
    return _RAW


_RAW = """
    topic STRING NOT NULL,
    partition INT NOT NULL,
    offset BIGINT NOT NULL,
    broker_timestamp TIMESTAMP COMMENT 'when the broker took the record',
    record_key BINARY COMMENT 'the Kafka key as it came',
    payload BINARY COMMENT 'the Kafka value as it came; null is a tombstone',
    headers ARRAY<STRUCT<key: STRING, value: BINARY>>,
    event_time TIMESTAMP COMMENT 'null for a bad record',
    key STRING COMMENT 'the JSON key, empty where there is none; null for a bad record',
    value BIGINT COMMENT 'null for a bad record',
    error STRING COMMENT 'why the record is a bad one; null = good',
    shard BIGINT NOT NULL COMMENT 'offset div shard size'
"""

_SHARDS = """
    topic STRING NOT NULL,
    partition INT NOT NULL,
    shard BIGINT NOT NULL,
    first_offset BIGINT NOT NULL,
    last_offset BIGINT NOT NULL,
    records BIGINT NOT NULL COMMENT 'fewer than the shard size where the broker left gaps, or while it fills',
    sealed BOOLEAN NOT NULL COMMENT 'nothing can be added any more',
    sha256 STRING NOT NULL COMMENT 'of the payloads, one behind the other in offset order',
    gaps ARRAY<STRUCT<first_offset: BIGINT, last_offset: BIGINT>> COMMENT 'of a sealed shard: offsets that hold no record (transaction markers, compaction)'
"""

_WINDOWS = """
    topic STRING NOT NULL,
    key STRING NOT NULL,
    window_start TIMESTAMP NOT NULL,
    window_end TIMESTAMP NOT NULL COMMENT 'exclusive',
    count BIGINT NOT NULL,
    sum DECIMAL(38,0) NOT NULL COMMENT 'exact',
    mean DOUBLE NOT NULL,
    median DECIMAL(20,1) NOT NULL COMMENT 'exact',
    stddev_samp DOUBLE COMMENT 'null for one record',
    min BIGINT NOT NULL,
    max BIGINT NOT NULL,
    revision BIGINT NOT NULL COMMENT '1 when published, 1 more with each change',
    closed_by STRING NOT NULL COMMENT 'watermark or clock',
    first_offsets MAP<INT, BIGINT> NOT NULL COMMENT 'by partition',
    last_offsets MAP<INT, BIGINT> NOT NULL COMMENT 'by partition',
    sequence BIGINT NOT NULL COMMENT 'grows with every change of this table: the cursor of the export'
"""

_LATE_RECORDS = """
    topic STRING NOT NULL,
    partition INT NOT NULL,
    offset BIGINT NOT NULL,
    key STRING NOT NULL,
    window_start TIMESTAMP NOT NULL,
    event_time TIMESTAMP NOT NULL,
    broker_timestamp TIMESTAMP,
    value BIGINT NOT NULL,
    lateness_seconds DOUBLE NOT NULL COMMENT 'arrival after the end of the window',
    revision BIGINT COMMENT 'of the window that took the record in; null = held'
"""
