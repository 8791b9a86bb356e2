# Databricks notebook source
# MAGIC %md
# MAGIC # drill
# MAGIC Compares what restored records gave, in a schema of their own, with what is published.

# COMMAND ----------

import json

from pipeline import closing, drill, tables

for name, default in {
    "catalog": "main",
    "schema": "",
    "production_schema": "streamgauge",
    "drill_suffix": "",
    "window_minutes": "10",
    "allowed_lateness_minutes": "10",
    "late_policy": "amend",
}.items():
    dbutils.widgets.text(name, default)


def setting(name: str) -> str:
    return dbutils.widgets.get(name)


spark.conf.set("spark.sql.session.timeZone", "UTC")
rules = closing.Rules(int(setting("window_minutes")), int(setting("allowed_lateness_minutes")), setting("late_policy"), None)
found = drill.compare(
    spark,
    tables.names(setting("catalog"), setting("production_schema")),
    tables.names(setting("catalog"), setting("schema")),
    tables.table(setting("catalog"), setting("schema"), "restored"),
    setting("drill_suffix"),
    rules,
)
dbutils.notebook.exit(json.dumps(found))
