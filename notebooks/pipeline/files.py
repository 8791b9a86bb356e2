"""Windows as Parquet on any filesystem that Spark can write: <uri>/day=2026-01-05/part-....parquet, days in UTC."""

from collections.abc import Callable

from pyspark.sql import SparkSession

from pipeline.reading import if_there
from pipeline.tables import Tables


def write(spark: SparkSession, tables: Tables, uri: str, remove: Callable[[str], object]) -> int:
    """Writes every day whose files do not hold what `windows` holds, and returns how many. A day is replaced whole; one that has no windows any
    more (longer ones took their place) is removed.

    What the files hold is read from the files: a run that died between the table and the files, or between two days, is made good
    by the next one, whoever runs it.
    """
    uri = uri.rstrip("/")
    held = {row.day: (row.windows, row.newest) for row in _held(spark, uri)}
    wanted = spark.sql(f"SELECT to_date(window_start) AS day, count(*) AS windows, max(sequence) AS newest FROM {tables.windows} GROUP BY ALL").collect()
    days = sorted(row.day for row in wanted if held.get(row.day) != (row.windows, row.newest))
    if days:
        last = f"timestamp_micros(unix_micros(TIMESTAMP '{days[-1]} 00:00:00Z') + 86400000000)"
        listed = ", ".join(f"DATE '{day}'" for day in days)
        (spark.sql(f"""SELECT *, to_date(window_start) AS day FROM {tables.windows}
                       WHERE window_start >= TIMESTAMP '{days[0]} 00:00:00Z' AND window_start < {last} AND to_date(window_start) IN ({listed})""")
         .repartition("day").write.mode("overwrite").option("partitionOverwriteMode", "dynamic").partitionBy("day").parquet(uri))
    gone = sorted(held.keys() - {row.day for row in wanted})
    for day in gone:
        remove(f"{uri}/day={day}")
    return len(days) + len(gone)


def _held(spark: SparkSession, uri: str) -> list:
    there = if_there(lambda: spark.read.schema("sequence BIGINT, day DATE").parquet(uri))
    return [] if there is None else there.groupBy("day").agg({"*": "count", "sequence": "max"}).toDF("day", "windows", "newest").collect()
