"""What is published beside what was computed anew."""

from math import lcm

from pyspark.sql import SparkSession

from pipeline import windows
from pipeline.closing import Rules, literal
from pipeline.rebuild import Part, length_of
from pipeline.tables import Tables

_NAMED = 20
_FIELDS = ("count", "sum", "mean", "median", "stddev_samp", "min", "max")
_TOTALS = ("count", "sum", "min", "max")


def compare(spark: SparkSession, tables: Tables, rebuilt: Tables, part: Part) -> dict:
    """Counts, and the first differences. Windows of one length are compared field by field.

    Those of two lengths are compared by what they hold together in each stretch of time that both divide (their least common multiple), as
    far as both are published: another length must neither lose a record nor count one twice.
    """
    before, after = length_of(spark, tables, 0), length_of(spark, rebuilt, 0)
    minutes = lcm(before, after)
    alike = before == after
    fields = _FIELDS if alike else _TOTALS
    for name, table in (("published_parts", tables.windows), ("rebuilt_parts", rebuilt.windows)):
        rows = f"SELECT * FROM {table} WHERE {part.holds('window_start')}"
        spark.sql(f"CREATE OR REPLACE TEMP VIEW {name} AS " + (rows if alike else _stretches(spark, rows, minutes, tables, rebuilt)))
    equal = f"{windows.same('p', 'r')} AND p.mean = r.mean AND p.window_end = r.window_end" if alike else " AND ".join(f"p.{field} = r.{field}" for field in fields)
    spark.sql(f"""
        CREATE OR REPLACE TEMP VIEW compared AS
        SELECT topic, key, window_start, {', '.join(f'p.{field} AS was_{field}, r.{field} AS is_{field}' for field in fields)},
               CASE WHEN p.count IS NULL THEN 'new' WHEN r.count IS NULL THEN 'gone' WHEN {equal} THEN 'equal' ELSE 'different' END AS state
        FROM published_parts p FULL JOIN rebuilt_parts r USING (topic, key, window_start)""")
    differing = ", ".join(f"count_if(state = 'different' AND NOT was_{field} <=> is_{field}) AS {field}" for field in fields)
    states = {row.state: row.windows for row in spark.sql("SELECT state, count(*) AS windows FROM compared GROUP BY state").collect()}
    changed = spark.sql(f"SELECT {differing} FROM compared").first().asDict()
    texts = ", ".join(f"CASE WHEN NOT was_{field} <=> is_{field} THEN concat('{field}: ', coalesce(CAST(was_{field} AS STRING), 'nothing'), ' -> ', coalesce(CAST(is_{field} AS STRING), 'nothing')) END" for field in fields)
    named = spark.sql(f"""SELECT topic, key, CAST(window_start AS STRING) AS window_start, state, CASE WHEN state = 'different' THEN concat_ws('; ', {texts}) ELSE concat('count ', coalesce(was_count, is_count)) END AS fields
                          FROM compared WHERE state <> 'equal' ORDER BY window_start, topic, key LIMIT {_NAMED}""").collect()
    return {
        "minutes": {"published": before, "rebuilt": after, "compared": minutes},
        "published": _whole(spark, tables, part),
        "rebuilt": _whole(spark, rebuilt, part),
        "compared": {state: states.get(state, 0) for state in ("equal", "different", "new", "gone")},
        "fields": {field: count for field, count in changed.items() if count > 0},
        "differences": [row.asDict() for row in named],
    }


def _stretches(spark: SparkSession, rows: str, minutes: int, tables: Tables, rebuilt: Tables) -> str:
    """The windows together, by stretches of so many minutes, of those that both tables have published to their end."""
    stretch = Rules(minutes, 0, "")
    ends = {}
    for table in (tables.windows, rebuilt.windows):
        for row in spark.sql(f"SELECT topic, unix_micros(max(window_end)) AS published FROM {table} GROUP BY topic").collect():
            ends.setdefault(row.topic, []).append(row.published)
    whole = " OR ".join(f"(topic = '{topic}' AND {stretch.end('window_start')} <= {literal(min(found))})" for topic, found in ends.items() if len(found) == 2) or "false"
    return f"""SELECT * FROM (
                 SELECT topic, key, {stretch.start('began')} AS window_start, sum(count) AS count, CAST(sum(sum) AS DECIMAL(38,0)) AS sum, min(min) AS min, max(max) AS max
                 FROM (SELECT *, window_start AS began FROM ({rows})) GROUP BY topic, key, {stretch.start('began')}
               ) WHERE {whole}"""


def _whole(spark: SparkSession, tables: Tables, part: Part) -> dict:
    found = spark.sql(f"SELECT count(*) AS windows, coalesce(sum(count), 0) AS records, CAST(coalesce(sum(sum), 0) AS STRING) AS total FROM {tables.windows} WHERE {part.holds('window_start')}").first()
    held = spark.sql(f"SELECT count(*) AS records FROM {tables.late_records} WHERE revision IS NULL AND {part.holds('window_start')}").first()
    return {**found.asDict(), "held": held.records}
