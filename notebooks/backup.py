# Databricks notebook source
# MAGIC %md
# MAGIC # backup
# MAGIC Brings sealed shards to `backup_uri`, checks what is there, or restores from it into a table: parameter `action`.
# MAGIC Without `backup_uri` it does nothing.

# COMMAND ----------

import json

from pyspark import cloudpickle
from pyspark.errors import PySparkException

import pipeline
from pipeline import backup, manifest, restore, tables

# Functions of mapInPandas run in Spark's own Python worker, which does not see this folder: the module travels by value.
cloudpickle.register_pickle_by_value(pipeline)

for name, default in {
    "action": "backup",
    "report_conflict": "",
    "backup_uri": "",
    "catalog": "main",
    "schema": "streamgauge",
    "shard_size": "100",
    "window_minutes": "10",
    "timestamp_field": "timestamp",
    "value_field": "流量",
    "key_field": "key",
    "max_future_minutes": "1440",
    "topics": "traffic_counter",
    "restore_schema": "",
    "restore_table": "",
    "restore_from": "",
    "restore_to": "",
    "drill_checkpoints": "",
}.items():
    dbutils.widgets.text(name, default)


def setting(name: str) -> str:
    return dbutils.widgets.get(name)


action = setting("action")
uri = setting("backup_uri").rstrip("/")
if uri == "" and action == "backup":
    print("backup: the variable backup_uri is empty, so nothing is backed up")
    dbutils.notebook.exit(json.dumps({"skipped": True}))
if uri == "" and action != "cleanup":
    raise ValueError(f"there is no backup to {action}: the variable backup_uri is empty")

# COMMAND ----------

spark.conf.set("spark.sql.session.timeZone", "UTC")
# Objects are small, but a batch of them must fit a worker's memory even where records are large; and many go into one task.
for name, value in {"spark.sql.execution.arrow.maxRecordsPerBatch": "100", "spark.sql.files.openCostInBytes": "65536"}.items():
    try:
        spark.conf.set(name, value)
    except PySparkException as error:
        # Serverless compute chooses them itself.
        print(f"{name} stays as it is: {error.getCondition()}")
names = tables.names(setting("catalog"), setting("schema"))


def do_backup():
    tables.create(spark, names, int(setting("window_minutes")))
    try:
        done = {"skipped": False, "uri": uri, **backup.run(spark, names, uri)}
    except backup.BackupConflict as conflict:
        # The verb says it with an exit code of its own; the job's task ends red.
        if setting("report_conflict") == "true":
            return {"skipped": False, "uri": uri, "conflict": str(conflict)}
        raise
    except Exception as error:
        # Spark's message begins with its own affairs; why a disk or store refused stands at its end.
        raise RuntimeError(f"the backup to {uri} stopped: {backup.reason(error)}. What was written stays; the next run goes on from there.") from error
    try:
        manifest.compact(spark, uri, lambda path: dbutils.fs.rm(path, True))
    except Exception as error:
        # Nothing but speed depends on it, and another run may be at it.
        print(f"backup: the manifest stays in as many folders as it has: {backup.reason(error)}")
    return done


def do_verify():
    tables.create(spark, names, int(setting("window_minutes")))
    return {"uri": uri, **restore.verify(spark, names, uri)}


def do_restore():
    target = tables.table(setting("catalog"), setting("restore_schema") or setting("schema"), setting("restore_table"))
    spark.sql(f"CREATE SCHEMA IF NOT EXISTS {target.rsplit('.', 1)[0]}")
    fields = {field: setting(f"{field}_field") for field in ("timestamp", "value", "key")}
    wanted = restore.Wanted(
        setting("topics").split(","),
        restore.bound(setting("restore_from")),
        restore.bound(setting("restore_to")),
        fields,
        int(setting("max_future_minutes")),
        int(setting("shard_size")),
    )
    try:
        return {"uri": uri, "table": target, **restore.restore(spark, uri, target, wanted)}
    except restore.RestoreRefused as refusal:
        return {"uri": uri, "table": target, "refused": str(refusal)}


def do_cleanup():
    schema = setting("restore_schema")
    if "_drill_" not in schema:
        raise ValueError(f"{schema!r} is not the schema of a drill")
    spark.sql(f"DROP SCHEMA IF EXISTS {tables.table(setting('catalog'), schema, 'raw').rsplit('.', 1)[0]} CASCADE")
    checkpoints = setting("drill_checkpoints")
    if "drill_" in checkpoints.rsplit("/", 1)[-1]:
        dbutils.fs.rm(checkpoints, True)
    return {"dropped": schema}


actions = {"backup": do_backup, "verify": do_verify, "restore": do_restore, "cleanup": do_cleanup}
if action not in actions:
    raise ValueError(f"there is no action {action!r}: {', '.join(actions)}")
dbutils.notebook.exit(json.dumps(actions[action]()))
