"""Do restored records give what is published? Records one by one, windows value by value."""

from pyspark.sql import SparkSession

from pipeline import statistics
from pipeline.closing import Rules
from pipeline.tables import Tables, exists, replays

_NAMED = 100
VALUES = ("count", "sum", "mean", "median", "stddev_samp", "min", "max")


def compare(spark: SparkSession, production: Tables, scratch: Tables, restored: str, suffix: str, rules: Rules) -> dict:
    """Counts and the first differences. `restored` is the table that the backup gave; the scratch topics are named as the topics, with `suffix`.

    A published window is compared where the backup holds all its records and production has taken in all that the backup holds of it.
    What is younger than the backup, or still on its way into production, is counted and not compared. Where late records were held back, the
    window is computed from the restored records without those: to the scratch topic nothing came late.
    """
    _views(spark, production, scratch, restored, suffix, rules)
    records = spark.sql("""
        SELECT count(*) AS restored, count_if(NOT equal) AS different,
               min(CASE WHEN NOT equal THEN concat(topic, '/', partition, ' offset ', offset) END) AS first_different
        FROM (
          SELECT topic, partition, r.offset, coalesce(r.offset IS NOT NULL AND s.offset IS NOT NULL AND r.broker_timestamp <=> s.broker_timestamp
                 AND r.record_key <=> s.record_key AND r.payload <=> s.payload AND coalesce(to_json(r.headers), '[]') = coalesce(to_json(s.headers), '[]'), false) AS equal
          FROM restored_ranked r FULL JOIN scratch_ranked s USING (topic, partition, rank)
        )""").first()
    sums = {row.state: row.windows for row in spark.sql("SELECT state, count(*) AS windows FROM compared GROUP BY state").collect()}
    sums["held"] = spark.sql("SELECT count(*) AS windows FROM compared SEMI JOIN held_windows USING (topic, key, window_start)").first().windows
    differences = spark.sql(f"SELECT topic, key, CAST(window_start AS STRING) AS window_start, fields FROM compared WHERE state = 'different' ORDER BY window_start, topic, key LIMIT {_NAMED}").collect()
    lost = spark.sql(f"""
        SELECT count(*) AS records, coalesce(max(unix_micros(current_timestamp()) - unix_micros(broker_timestamp)), 0) / 1e6D AS seconds
        FROM {production.raw} r LEFT JOIN ends e USING (topic, partition) WHERE r.offset > coalesce(e.last, -1)""").first()
    return {
        "records": records.restored, "different_records": records.different, "first_different_record": records.first_different,
        "windows": {state: sums.get(state, 0) for state in ("equal", "different", "younger", "pending", "held")},
        "differences": [row.asDict() for row in differences],
        "unprotected_records": lost.records, "rpo_seconds": round(lost.seconds, 1),
    }


def _views(spark: SparkSession, production: Tables, scratch: Tables, restored: str, suffix: str, rules: Rules) -> None:
    plain = f"left(topic, length(topic) - {len(suffix)})"
    for view, rows in (("restored_ranked", restored), ("scratch_ranked", f"(SELECT * EXCEPT (topic), {plain} AS topic FROM {scratch.raw})")):
        spark.sql(f"CREATE OR REPLACE TEMP VIEW {view} AS SELECT *, row_number() OVER (PARTITION BY topic, partition ORDER BY offset) AS rank FROM {rows}")
    spark.sql(f"CREATE OR REPLACE TEMP VIEW ends AS SELECT topic, partition, max(offset) AS last FROM {restored} GROUP BY ALL")
    held = f"SELECT topic, partition, offset, key, window_start FROM {production.late_records} WHERE revision IS NULL"
    # Bad records that were replayed stay bad, though by a rule that was corrected since they would count.
    if exists(spark, replays(production)):
        held += f""" UNION ALL SELECT topic, partition, offset, r.key, {rules.start('r.event_time')} FROM {restored} r JOIN {production.raw} p USING (topic, partition, offset)
                     SEMI JOIN {replays(production)} USING (topic, partition, offset) WHERE r.error IS NULL AND p.error IS NOT NULL"""
    spark.sql(f"CREATE OR REPLACE TEMP VIEW held_windows AS SELECT DISTINCT topic, key, window_start FROM ({held})")
    spark.sql(f"""CREATE OR REPLACE TEMP VIEW counted AS
        SELECT topic, partition, offset, key, value, {rules.start('event_time')} AS window_start FROM {restored} ANTI JOIN ({held}) USING (topic, partition, offset) WHERE error IS NULL""")
    spark.sql(f"""CREATE OR REPLACE TEMP VIEW given AS
        SELECT {plain} AS topic, key, window_start, {', '.join(VALUES)} FROM {scratch.windows}
        ANTI JOIN (SELECT concat(topic, '{suffix}') AS topic, key, window_start FROM held_windows) USING (topic, key, window_start)
        UNION ALL SELECT topic, key, window_start, {', '.join(VALUES)} FROM ({statistics.by_window('SELECT * FROM counted SEMI JOIN held_windows USING (topic, key, window_start)')})""")
    # By window and partition: the last record that the backup holds, and by partition the last that production's windows have taken in.
    spark.sql("""CREATE OR REPLACE TEMP VIEW reached AS
        SELECT topic, key, window_start, map_from_entries(collect_list(struct(partition, last))) AS reached FROM (
          SELECT topic, key, window_start, partition, max(offset) AS last FROM counted GROUP BY ALL
        ) GROUP BY ALL""")
    spark.sql(f"""CREATE OR REPLACE TEMP VIEW taken_in AS
        SELECT topic, map_from_entries(collect_list(struct(partition, last))) AS taken, max(published) AS published FROM (
          SELECT topic, partition, max(last) AS last, max(published) AS published FROM (
            SELECT topic, window_end AS published, explode(last_offsets) AS (partition, last) FROM {production.windows}
          ) GROUP BY ALL
        ) GROUP BY ALL""")
    beyond = "exists(map_entries(p.last_offsets), e -> e.value > coalesce(try_element_at(ends.lasts, e.key), -1))"
    ahead = "exists(map_entries(reached), e -> e.value > coalesce(try_element_at({}, e.key), -1))"
    same = " AND ".join(f"p.{name} <=> s.{name}" for name in VALUES)
    fields = ", ".join(f"CASE WHEN NOT p.{name} <=> s.{name} THEN concat('{name}: published ', coalesce(CAST(p.{name} AS STRING), 'nothing'), ', restored ', coalesce(CAST(s.{name} AS STRING), 'nothing')) END" for name in VALUES)
    spark.sql(f"""CREATE OR REPLACE TEMP VIEW compared AS
        SELECT topic, key, window_start, concat_ws('; ', {fields}) AS fields,
               CASE WHEN p.count IS NULL AND ({rules.end('window_start')} > coalesce(t.published, TIMESTAMP '1970-01-01') OR {ahead.format('t.taken')}) THEN 'pending'
                    WHEN p.count IS NULL THEN 'different'
                    WHEN {beyond} THEN 'younger' WHEN {ahead.format('p.last_offsets')} THEN 'pending'
                    WHEN s.count IS NULL AND unix_micros(p.window_end) + {rules.allowed_lateness_minutes * 60_000_000} > unix_micros(current_timestamp()) THEN 'younger'
                    WHEN {same} THEN 'equal' ELSE 'different' END AS state
        FROM {production.windows} p
        FULL JOIN given s USING (topic, key, window_start) LEFT JOIN reached USING (topic, key, window_start)
        LEFT JOIN taken_in t USING (topic)
        LEFT JOIN (SELECT topic, map_from_entries(collect_list(struct(partition, last))) AS lasts FROM ends GROUP BY topic) ends USING (topic)""")
