"""Slices of a partition's offsets, the unit of backup and proof: with a size of 100, offsets 0-99 are shard 0, 100-199 shard 1."""

from itertools import groupby

from pyspark.sql import DataFrame, SparkSession

from pipeline import merkle
from pipeline.tables import Tables


def update(batch: DataFrame, tables: Tables, shard_size: int) -> None:
    """Recomputes, from `raw`, the shards that the batch touches, and seals those that can get nothing more.

    A shard is a pure function of `raw`, so a batch that is replayed changes nothing. It is sealed once an offset at or
    beyond its last one is in `raw`: offsets only grow, so a gap (a transaction's marker, compaction) will not be filled.
    Then `gaps` says which of its offsets hold no record. A shard without any record has no row.
    """
    spark = batch.sparkSession
    batch.selectExpr("topic", "partition", "shard").distinct().createOrReplaceTempView("batch_shards")
    spark.sql(f"""
        CREATE OR REPLACE TEMP VIEW touched_shards AS
        SELECT topic, partition, shard FROM batch_shards
          ANTI JOIN (SELECT * FROM {tables.shards} WHERE sealed) USING (topic, partition, shard)
        UNION
        SELECT topic, partition, shard FROM {tables.shards}
          SEMI JOIN batch_shards USING (topic, partition) WHERE NOT sealed
    """)
    where = _offset_ranges(spark, shard_size)
    if where is None:
        return
    spark.sql(f"""
        MERGE INTO {tables.shards} t USING (
          SELECT topic, partition, shard, first_offset, last_offset, records, sealed,
                 sha2(unhex(array_join(transform(slice, r -> coalesce(hex(r.payload), '')), '')), 256) AS sha256,
                 CASE WHEN sealed THEN {_gaps(shard_size)} END AS gaps
          FROM (
            SELECT topic, partition, shard, min(offset) AS first_offset, max(offset) AS last_offset, count(*) AS records,
                   any_value(newest) >= (shard + 1) * {shard_size} - 1 AS sealed,
                   array_sort(collect_list(struct(offset, payload))) AS slice
            FROM (SELECT topic, partition, shard, offset, payload FROM {tables.raw} WHERE {where})
            JOIN touched_shards USING (topic, partition, shard)
            JOIN (SELECT topic, partition, max(offset) AS newest FROM {tables.raw} WHERE {where} GROUP BY ALL) USING (topic, partition)
            GROUP BY topic, partition, shard
          )
        ) s
        ON t.topic = s.topic AND t.partition = s.partition AND t.shard = s.shard
        WHEN MATCHED AND (t.records <> s.records OR t.sealed <> s.sealed OR t.sha256 <> s.sha256) THEN UPDATE SET *
        WHEN NOT MATCHED THEN INSERT *
    """)


def roots(spark: SparkSession, shards: str) -> list[dict]:
    """Per partition: how many shards, records and missing offsets, and the Merkle root over the shards in their order.

    `shards` is SQL with topic, partition, shard, first_offset, last_offset, records, sha256 and gaps, in any order.
    """
    ordered = spark.sql(f"SELECT *, {GAP_OFFSETS} AS missing FROM ({shards}) ORDER BY topic, partition, shard").toLocalIterator()
    found = []
    for (topic, partition), rows in groupby(ordered, lambda row: (row.topic, row.partition)):
        sums = {"shards": 0, "records": 0, "missing_offsets": 0}

        def leaf(row):
            for name, amount in (("shards", 1), ("records", row.records), ("missing_offsets", row.missing)):
                sums[name] += amount
            return merkle.shard_leaf(row.shard, row.first_offset, row.last_offset, row.records, row.sha256)

        root = merkle.root(map(leaf, rows))
        found.append({"topic": topic, "partition": partition, **sums, "root": root})
    return found


# Offsets of a sealed shard that hold no record.
GAP_OFFSETS = "aggregate(coalesce(gaps, array()), 0L, (sum, gap) -> sum + gap.last_offset - gap.first_offset + 1)"


def _gaps(shard_size: int) -> str:
    """SQL for the ranges of a shard's offsets that hold no record: usually there are none, and its records are not looked at."""
    before = f"coalesce(get(slice, i - 1).offset + 1, shard * {shard_size})"
    after = f"coalesce(get(slice, i).offset - 1, (shard + 1) * {shard_size} - 1)"
    ranges = f"transform(sequence(0, size(slice)), i -> struct({before} AS first_offset, {after} AS last_offset))"
    none = "CAST(array() AS ARRAY<STRUCT<first_offset: BIGINT, last_offset: BIGINT>>)"
    return f"CASE WHEN records = {shard_size} THEN {none} ELSE filter({ranges}, r -> r.first_offset <= r.last_offset) END"


def _offset_ranges(spark: SparkSession, shard_size: int) -> str | None:
    """A predicate of literals over the touched offsets and all newer ones, so that Delta reads only the files that hold them."""
    ranges = spark.sql("SELECT topic, partition, min(shard) AS first FROM touched_shards GROUP BY ALL").collect()
    if not ranges:
        return None
    return " OR ".join(
        f"(topic = '{row.topic}' AND partition = {row.partition} AND offset >= {row.first * shard_size})" for row in ranges
    )
