"""Slices of a partition's offsets, the unit of backup and proof: with a size of 100, offsets 0-99 are shard 0, 100-199 shard 1."""

from pyspark.sql import DataFrame, SparkSession

from pipeline.tables import Tables


def update(batch: DataFrame, tables: Tables, shard_size: int) -> None:
    """Recomputes, from `raw`, the shards that the batch touches, and seals those that can get nothing more.

    A shard is a pure function of `raw`, so a batch that is replayed changes nothing. It is sealed once an offset at or
    beyond its last one is in `raw`: offsets only grow, so a gap (a transaction's marker, compaction) will not be filled.
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
          SELECT topic, partition, shard, min(offset) AS first_offset, max(offset) AS last_offset, count(*) AS records,
                 any_value(newest) >= (shard + 1) * {shard_size} - 1 AS sealed,
                 sha2(unhex(array_join(transform(array_sort(collect_list(struct(offset, payload))),
                                                 r -> coalesce(hex(r.payload), '')), '')), 256) AS sha256
          FROM (SELECT topic, partition, shard, offset, payload FROM {tables.raw} WHERE {where})
          JOIN touched_shards USING (topic, partition, shard)
          JOIN (SELECT topic, partition, max(offset) AS newest FROM {tables.raw} WHERE {where} GROUP BY ALL) USING (topic, partition)
          GROUP BY topic, partition, shard
        ) s
        ON t.topic = s.topic AND t.partition = s.partition AND t.shard = s.shard
        WHEN MATCHED AND (t.records <> s.records OR t.sealed <> s.sealed OR t.sha256 <> s.sha256) THEN UPDATE SET *
        WHEN NOT MATCHED THEN INSERT *
    """)


def _offset_ranges(spark: SparkSession, shard_size: int) -> str | None:
    """A predicate of literals over the touched offsets and all newer ones, so that Delta reads only the files that hold them."""
    ranges = spark.sql("SELECT topic, partition, min(shard) AS first FROM touched_shards GROUP BY ALL").collect()
    if not ranges:
        return None
    return " OR ".join(
        f"(topic = '{row.topic}' AND partition = {row.partition} AND offset >= {row.first * shard_size})" for row in ranges
    )
