"""Runs once against a fresh Spark Connect server, so that the classes a pipeline needs are in the archive it leaves behind.

What it computes does not matter: argv names a folder for it, SPARK_REMOTE and the token in the environment name the server.
"""

import sys

from pyspark.sql import SparkSession

folder = sys.argv[1]
spark = SparkSession.builder.getOrCreate()
spark.sql("CREATE SCHEMA IF NOT EXISTS training")
spark.sql("SHOW SCHEMAS").collect()
for table in ("records", "copies", "counts"):
    spark.sql(f"CREATE TABLE training.{table} (id BIGINT, at TIMESTAMP, payload BINARY, note STRING) USING DELTA CLUSTER BY (at)")
spark.sql(
    """INSERT INTO training.records
    SELECT id, timestamp_seconds(id * 60), encode(concat('{"n": ', id, '}'), 'utf-8'), CAST(NULL AS STRING) FROM range(1000)"""
)
parsed = spark.readStream.table("training.records").selectExpr(
    "id", "at", "payload", "from_json(concat('[', decode(payload, 'utf-8'), ']'), 'ARRAY<STRUCT<n: STRING>>')[0].n AS note"
)
stream = parsed.writeStream.option("checkpointLocation", f"{folder}/append").trigger(availableNow=True)
stream.toTable("training.copies").awaitTermination()


def publish(batch, batch_id):
    batch.createOrReplaceTempView("batch")
    batch.sparkSession.sql(
        """MERGE INTO training.counts t USING (
             SELECT count(*) AS id, max(at) AS at, unhex(sha2(array_join(array_sort(collect_list(hex(payload))), ''), 256)) AS payload,
               concat(median(id), stddev_samp(id), sum(CAST(id AS DECIMAL(38, 0))), min(id)) AS note
             FROM batch GROUP BY window(at, '10 minutes')
           ) s ON t.at = s.at
           WHEN MATCHED AND t.id <> s.id THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"""
    )


# Twice: the second run finds a table that has rows, and a checkpoint.
for more in (0, 500):
    if more:
        spark.sql(f"INSERT INTO training.copies SELECT id, timestamp_seconds(id * 60), X'00', 'x' FROM range({more})")
    batches = spark.readStream.table("training.copies").writeStream.foreachBatch(publish)
    batches.option("checkpointLocation", f"{folder}/merge").trigger(availableNow=True).start().awaitTermination()
spark.readStream.format("kafka").option("kafka.bootstrap.servers", "127.0.0.1:1").option("subscribe", "none").load().schema
spark.sql("SELECT note, count(*), percentile(id, 0.5) FROM training.counts GROUP BY note ORDER BY note LIMIT 20").toPandas()
spark.sql("DESCRIBE HISTORY training.counts").collect()
spark.sql("SHOW TABLES IN training").collect()
spark.stop()
