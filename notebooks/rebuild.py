# Databricks notebook source
# MAGIC %md
# MAGIC # rebuild
# MAGIC Judges every payload in `raw` again, computes `windows` anew into `windows_rebuilt`, brings it up to date, and compares: parameter `action`.
# MAGIC It changes nothing that is published; `streamgauge windows rebuild` swaps.

# COMMAND ----------

import json
import uuid

from pyspark import cloudpickle

import pipeline
from pipeline import closing, compared, judged, rebuild, tables

# Batch functions run in Spark's own Python worker, which does not see this folder: the module travels by value.
cloudpickle.register_pickle_by_value(pipeline)

for name, default in {
    "action": "build",
    "catalog": "main",
    "schema": "streamgauge",
    "checkpoint_root": "",
    "window_minutes": "10",
    "allowed_lateness_minutes": "10",
    "late_policy": "amend",
    "timestamp_field": "timestamp",
    "value_field": "流量",
    "key_field": "key",
    "max_future_minutes": "1440",
    "first_micros": "",
    "last_micros": "",
}.items():
    dbutils.widgets.text(name, default)


def setting(name: str) -> str:
    return dbutils.widgets.get(name)


def micros(name: str) -> int | None:
    return int(setting(name)) if setting(name) != "" else None


spark.conf.set("spark.sql.session.timeZone", "UTC")
names = tables.names(setting("catalog"), setting("schema"))
part = rebuild.Part(micros("first_micros"), micros("last_micros"))
rules = closing.Rules(int(setting("window_minutes")), int(setting("allowed_lateness_minutes")), setting("late_policy"))
rule = judged.Rule({field: setting(f"{field}_field") for field in ("timestamp", "value", "key")}, int(setting("max_future_minutes")))

# COMMAND ----------

def brought_up_to_date() -> None:
    checkpoint = f"{setting('checkpoint_root').rstrip('/')}/rebuild_{uuid.uuid4().hex[:8]}"
    try:
        rebuild.catch_up(spark, names, rules, checkpoint)
    finally:
        dbutils.fs.rm(checkpoint, True)


action = setting("action")
if action == "build":
    rebuild.build(spark, names, rules, rule, part)
elif action == "restore":
    rebuild.restore(spark, names)
    brought_up_to_date()
elif action == "catch_up":
    brought_up_to_date()
else:
    raise ValueError(f"there is no action {action!r}: build, restore, catch_up")
dbutils.notebook.exit(json.dumps({**compared.compare(spark, names, tables.beside(names, "rebuilt"), part), "judged": judged.found(spark, names)}))
