# Databricks notebook source
# MAGIC %md
# MAGIC # ingest
# MAGIC Takes what is new in the Kafka topics into `raw`, exactly once, good records and bad ones, and keeps the ledger of shards.
# MAGIC It reads to where the broker's end was when it started, and ends.

# COMMAND ----------

import json
import time

from pyspark import cloudpickle
from pyspark.errors import StreamingQueryException

import pipeline
from pipeline import events, kafka, shards, tables

# Batch functions run in Spark's own Python worker, which does not see this folder: the module travels by value.
cloudpickle.register_pickle_by_value(pipeline)

for name, default in {
    "topics": "traffic_counter",
    "catalog": "main",
    "schema": "streamgauge",
    "checkpoint_root": "",
    "secret_scope": "streamgauge",
    "kafka_auth": "scram",
    "timestamp_field": "timestamp",
    "value_field": "流量",
    "key_field": "key",
    "max_future_minutes": "1440",
    "max_offsets_per_trigger": "2000000",
    "shard_size": "100",
    "window_minutes": "10",
}.items():
    dbutils.widgets.text(name, default)


def setting(name: str) -> str:
    return dbutils.widgets.get(name)


spark.conf.set("spark.sql.session.timeZone", "UTC")
names = tables.names(setting("catalog"), setting("schema"))
tables.create(spark, names, int(setting("window_minutes")))
shard_size = int(setting("shard_size"))
checkpoints = setting("checkpoint_root").rstrip("/")

# COMMAND ----------

# Everything that the broker acknowledged before this moment will be in `raw` when the stream below has ended.
caught_up_micros = time.time_ns() // 1000

records = (
    spark.readStream.format("kafka")
    .options(**kafka.connection(setting("kafka_auth"), lambda key: dbutils.secrets.get(setting("secret_scope"), key)))
    .option("subscribe", setting("topics"))
    .option("startingOffsets", "earliest")
    .option("includeHeaders", "true")
    .option("maxOffsetsPerTrigger", setting("max_offsets_per_trigger"))
    .load()
    .selectExpr("topic", "partition", "offset", "timestamp AS broker_timestamp", "key AS record_key", "value AS payload", "headers",
                f"offset DIV {shard_size} AS shard")
)
fields = {field: setting(f"{field}_field") for field in ("timestamp", "value", "key")}
judged = events.judge(records, fields, int(setting("max_future_minutes")))
columns = ["topic", "partition", "offset", "broker_timestamp", "record_key", "payload", "headers", "event_time", "key", "value", "error", "shard"]


def start():
    return judged.select(*columns).writeStream.option("checkpointLocation", f"{checkpoints}/raw").queryName("ingest").trigger(availableNow=True).toTable(names.raw)


recovered = 0
ingest = start()
try:
    ingest.awaitTermination()
except StreamingQueryException as error:
    # Spark 4.1 finishes and commits the micro-batch that a killed run had begun, and then fails when it reports on it (SPARK-55271).
    # Started again it goes on behind that batch, and does not count it; the table's history does.
    if '"scala.Option.get()" is null' not in str(error):
        raise
    batch = spark.sql(f"DESCRIBE HISTORY {names.raw}").where("operation = 'STREAMING UPDATE'").orderBy("version", ascending=False).first()
    recovered = int(batch.operationMetrics["numOutputRows"])
    ingest = start()
    ingest.awaitTermination()
ingested = recovered + sum(progress.numInputRows for progress in ingest.recentProgress)
print(f"ingest: {ingested} records into {names.raw}" + (f", {recovered} of them begun by a run that was killed" if recovered else ""))

# COMMAND ----------

def update_shards(batch, batch_id):
    shards.update(batch, names, shard_size)


sealing = (
    spark.readStream.option("skipChangeCommits", "true")
    .table(names.raw)
    .select("topic", "partition", "shard")
    .writeStream.foreachBatch(update_shards)
    .option("checkpointLocation", f"{checkpoints}/shards")
    .queryName("shards")
    .trigger(availableNow=True)
    .start()
)
sealing.awaitTermination()

# COMMAND ----------

dbutils.jobs.taskValues.set("caught_up_micros", caught_up_micros)
dbutils.notebook.exit(json.dumps({"ingested": ingested}))
