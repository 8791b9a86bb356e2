# Databricks notebook source
# MAGIC %md
# MAGIC # windows
# MAGIC Publishes every window that has closed: by the watermark, or by the clock where ingest has caught up with the broker.
# MAGIC Late records are kept in `late_records`, and amend their windows or are held, as `late_policy` says.

# COMMAND ----------

import json
from concurrent.futures import ThreadPoolExecutor

from pyspark import cloudpickle

import pipeline
from pipeline import closing, files, late, tables, windows

# Batch functions run in Spark's own Python worker, which does not see this folder: the module travels by value.
cloudpickle.register_pickle_by_value(pipeline)

for name, default in {
    "catalog": "main",
    "schema": "streamgauge",
    "checkpoint_root": "",
    "window_minutes": "10",
    "allowed_lateness_minutes": "10",
    "late_policy": "amend",
    "windows_uri": "",
}.items():
    dbutils.widgets.text(name, default)


def setting(name: str) -> str:
    return dbutils.widgets.get(name)


spark.conf.set("spark.sql.session.timeZone", "UTC")
names = tables.names(setting("catalog"), setting("schema"))
tables.create(spark, names, int(setting("window_minutes")))
caught_up = int(dbutils.jobs.taskValues.get("ingest", "caught_up_micros", default=0, debugValue=0))
rules = closing.Rules(
    int(setting("window_minutes")),
    int(setting("allowed_lateness_minutes")),
    setting("late_policy"),
    caught_up if caught_up > 0 else None,
)
windows.check(spark, names, rules)

# COMMAND ----------

def amend(batch, batch_id):
    late.amend(batch, names, rules)


beside = ThreadPoolExecutor(1)
counting = beside.submit(windows.position, spark, names)
ends = closing.published(spark, names)
before = counting.result()
# While the stream starts, which takes a second: what it amends is before these bounds, and does not move them.
looking = beside.submit(closing.bounds_of, spark, names, rules, ends)
amending = (
    late.late_rows(spark.readStream.option("skipChangeCommits", "true").table(names.raw), ends)
    .writeStream.foreachBatch(amend)
    .option("checkpointLocation", f"{setting('checkpoint_root').rstrip('/')}/windows")
    .queryName("windows")
    .trigger(availableNow=True)
    .start()
)
amending.awaitTermination()

# COMMAND ----------

after = windows.publish(spark, names, rules, looking.result())
# Each that is written takes the next sequence.
written = after.sequence - before.sequence
revised = written - (after.windows - before.windows)
print(f"windows: {written} written, of which {revised} are revisions")

# COMMAND ----------

days = None
if setting("windows_uri") != "":
    days = files.write(spark, names, setting("windows_uri"), lambda day: dbutils.fs.rm(day, True))
    print(f"windows: {days} days written to {setting('windows_uri')}")
dbutils.notebook.exit(json.dumps({"written": written, "revised": revised, "days": days}))
