"""`windows` computed anew from `raw`, beside the table that is published: in `windows_rebuilt`, with `late_records_rebuilt`.

The same code computes them as the task `windows`, from what the rule makes of each payload now (see judged.py). What comes out is compared with what is published, and brought up to date as often as
it takes; then the controller swaps it in (src/windows), and keeps what was there as `windows_replaced`, from which `restore` goes back.

A window that comes out as it is published keeps its revision and its sequence. Any other gets the next revision, and a sequence
above all that the published table can reach meanwhile: so readers by sequence see every change, and no two changes share one.
"""

from dataclasses import dataclass, replace

from pyspark.sql import SparkSession

from pipeline import closing, judged, late, windows
from pipeline.closing import Bound, Rules, bounds_of, latest, literal
from pipeline.tables import LENGTH, Tables, beside, create_derived, exists, properties

# Properties of the table that is built: up to which versions it has taken in what there is, and where its sequences begin.
_RAW = "streamgauge.raw_version"
_WINDOWS = "streamgauge.windows_version"
_ABOVE = "streamgauge.sequence_above"
# Of a table that was built, not brought back: its ledger is that of the published table, entry by entry.
_BUILT = "streamgauge.built"

# Nothing of `raw` was offered to the table yet.
_NOTHING = -1

# So many changes can the published table see while another one is built.
_ROOM = 1_000_000_000

_COMPUTED = "topic, key, window_start, window_end, count, sum, mean, median, stddev_samp, min, max, closed_by, first_offsets, last_offsets"
_LEDGER = "topic, partition, offset, key, window_start, event_time, broker_timestamp, value, lateness_seconds, revision"


@dataclass(frozen=True)
class Part:
    """The windows that start between two moments, epoch microseconds, the last exclusive; None is no limit."""

    first: int | None = None
    last: int | None = None

    def holds(self, window_start: str) -> str:
        """SQL for: this window is of the part."""
        limits = [*([] if self.first is None else [f"{window_start} >= {literal(self.first)}"]), *([] if self.last is None else [f"{window_start} < {literal(self.last)}"])]
        return " AND ".join(limits) or "true"


def length_of(spark: SparkSession, tables: Tables, default: int) -> int:
    """The length of the table's windows in minutes."""
    return int(properties(spark, tables.windows).get(LENGTH, default))


def build(spark: SparkSession, tables: Tables, rules: Rules, rule: judged.Rule, part: Part) -> Tables:
    """Computes every closed window of the part from `raw` under these rules; the others stay as they are published. Returns where it stands.

    Every payload is judged again by `rule`; of a part those of its windows, and the bad ones. What an earlier `late_policy` held back is taken in where the policy is `amend` now.
    """
    length = length_of(spark, tables, rules.window_minutes)
    if length != rules.window_minutes and part != Part():
        raise ValueError(f"{tables.windows} holds windows of {length} minutes: another length is computed for all of them, not for a part")
    rebuilt, base = beside(tables, "rebuilt"), _versions(spark, tables)
    rules = replace(rules, sequence_above=windows.position(spark, tables).sequence + _ROOM)
    # Before the windows of the other parts are copied.
    waiting = None if part == Part() else _not_taken_in(spark, tables)
    judged.find(spark, tables, rule, f"error IS NOT NULL OR ({part.holds(rules.start('event_time'))})", lambda moment: f"({part.holds(rules.start(moment))})")
    judged_now = judged.over(spark, tables)
    bounds = {topic: Bound(None, bound.watermark, bound.closed) for topic, bound in bounds_of(spark, judged_now, rules).items() if bound.closed is not None}
    takes_in = f"({part.holds(rules.start('event_time'))})" if rules.late_policy == "amend" else "false"
    _late(spark, tables)
    spark.sql(f"CREATE OR REPLACE TEMP VIEW still_held AS SELECT * FROM late WHERE revision IS NULL AND NOT {takes_in}")
    create_derived(spark, rebuilt, rules.window_minutes)
    # Without a record there is nothing to compute, and the tables stay empty.
    computed = windows.closed_windows(replace(judged_now, late_records="still_held"), rules, bounds, part.first, part.last) if bounds else None
    if computed is not None:
        _fill(spark, tables, rebuilt, rules, f"SELECT {_COMPUTED}, CAST(1 AS BIGINT) AS revision FROM ({computed})", part)
    revision = "CASE WHEN NOT is_other THEN revision END" if length == rules.window_minutes else "CAST(NULL AS BIGINT)"
    _fill_ledger(spark, rebuilt, rules, f"SELECT *, revision IS NULL AND NOT {takes_in} AS held, {revision} AS taken FROM late")
    if waiting is not None:
        _offer(spark, replace(rebuilt, raw=judged_now.raw), rules, waiting)
    _note(spark, rebuilt, base, rules)
    spark.sql(f"ALTER TABLE {rebuilt.windows} SET TBLPROPERTIES ('{_BUILT}' = 'true')")
    return rebuilt


def restore(spark: SparkSession, tables: Tables) -> tuple[Tables, int]:
    """What the last swap replaced, as the table to be swapped in, to be brought up to date; returns it, and the length of its windows."""
    replaced, rebuilt = beside(tables, "replaced"), beside(tables, "rebuilt")
    if not exists(spark, replaced.windows):
        raise ValueError(f"there is no {replaced.windows}: nothing was rebuilt that could be rolled back")
    found = properties(spark, replaced.windows)
    rules = Rules(int(found[LENGTH]), 0, "", sequence_above=windows.position(spark, tables).sequence + _ROOM)
    judged.restore(spark, tables)
    create_derived(spark, rebuilt, rules.window_minutes)
    _fill(spark, tables, rebuilt, rules, f"SELECT {_COMPUTED}, revision FROM {replaced.windows}", Part())
    spark.sql(f"INSERT INTO {rebuilt.late_records} ({_LEDGER}) SELECT {_LEDGER} FROM {replaced.late_records}")
    # What came since was published in other windows, and perhaps something came before that these had not taken in: all there is is offered again.
    _note(spark, rebuilt, (_NOTHING, -1), rules)
    return rebuilt, rules.window_minutes


def catch_up(spark: SparkSession, tables: Tables, rules: Rules, checkpoint: str) -> None:
    """Brings the built table up to date, as the task `windows` would: what came into `raw` since, and what was published since."""
    rebuilt, base = beside(tables, "rebuilt"), _versions(spark, tables)
    found = properties(spark, rebuilt.windows)
    rules = replace(rules, window_minutes=int(found[LENGTH]), sequence_above=int(found[_ABOVE]))
    closed = {topic: bound.closed for topic, bound in bounds_of(spark, tables, rules).items()}
    rebuilt = replace(rebuilt, raw=judged.over(spark, tables).raw)

    def amend(batch, batch_id):
        late.amend(batch, rebuilt, rules)

    since = int(found[_RAW])
    if base[0] > since > _NOTHING:
        rows = spark.readStream.option("skipChangeCommits", "true").option("startingVersion", since + 1).table(tables.raw)
        (late.late_rows(rows, closing.published(spark, rebuilt))
         .writeStream.foreachBatch(amend).option("checkpointLocation", checkpoint).queryName("rebuild").trigger(availableNow=True).start().awaitTermination())
    _offer(spark, rebuilt, rules, "true" if since == _NOTHING else None, closed)
    if _BUILT in found:
        _take_in_ledger(spark, tables, rebuilt, rules)
    _note(spark, rebuilt, base, rules)


def _offer(spark: SparkSession, rebuilt: Tables, rules: Rules, rows: str | None, closed: dict[str, int] | None = None) -> None:
    """Publishes in the built table what closes, and what those rows of `raw` change (SQL). `closed`, by topic: up to where windows are known to be closed besides."""
    ends = closing.published(spark, rebuilt)
    if rows is not None:
        late.amend(late.late_rows(spark.sql(f"SELECT * FROM {rebuilt.raw} WHERE {rows}"), ends), rebuilt, rules)
    bounds = bounds_of(spark, rebuilt, rules, ends)
    windows.publish(spark, rebuilt, rules, {topic: replace(bound, closed=latest(bound.closed, (closed or {}).get(topic))) for topic, bound in bounds.items()})


def _not_taken_in(spark: SparkSession, tables: Tables) -> str:
    """SQL for the rows of `raw` among which are all that the job has not published or held yet: it takes each partition in the order of its offsets."""
    seen = spark.sql(f"""SELECT topic, partition, max(offset) AS last FROM (
        SELECT topic, explode(last_offsets) AS (partition, offset) FROM {tables.windows} UNION ALL SELECT topic, partition, offset FROM {tables.late_records}
    ) GROUP BY topic, partition""").collect()
    return " AND ".join(f"NOT (topic = '{row.topic}' AND partition = {row.partition} AND offset <= {row.last})" for row in seen) or "true"


def _take_in_ledger(spark: SparkSession, tables: Tables, rebuilt: Tables, rules: Rules) -> None:
    """What the job wrote into its ledger meanwhile of records that were in `raw` before: the build has counted them. Held ones it must not."""
    _late(spark, tables)
    spark.sql(f"CREATE OR REPLACE TEMP VIEW entered AS SELECT * FROM late ANTI JOIN {rebuilt.late_records} USING (topic, partition, offset)")
    any_held = not spark.sql("SELECT 1 FROM entered WHERE revision IS NULL LIMIT 1").isEmpty()
    _fill_ledger(spark, rebuilt, rules, "SELECT *, revision IS NULL AS held, CAST(NULL AS BIGINT) AS taken FROM entered")
    if any_held:
        # Those that held none but what they hold out come out as they are, and are not written again.
        spark.sql(f"CREATE OR REPLACE TEMP VIEW changed_windows AS SELECT DISTINCT topic, key, window_start FROM {rebuilt.late_records} WHERE revision IS NULL")
        windows.publish_changed(spark, rebuilt, rules, bounds_of(spark, rebuilt, rules))


def _fill(spark: SparkSession, tables: Tables, rebuilt: Tables, rules: Rules, candidates: str, part: Part) -> None:
    """`candidates`, SQL, as the part's windows; the published ones give what is not of it, and what has not changed."""
    unchanged = f"coalesce(p.window_end = c.window_end AND {windows.same('p', 'c')}, false)"
    others = "" if part == Part() else f"UNION ALL SELECT {_COMPUTED}, revision, sequence FROM {tables.windows} WHERE NOT ({part.holds('window_start')})"
    computed = ", ".join("CASE WHEN unchanged THEN was_closed_by ELSE closed_by END" if name == "closed_by" else name for name in _COMPUTED.split(", "))
    spark.sql(f"""
        INSERT INTO {rebuilt.windows} ({_COMPUTED}, revision, sequence)
        SELECT {computed}, CASE WHEN unchanged THEN was_revision ELSE greatest(coalesce(was_revision, 0) + 1, revision) END,
               CASE WHEN unchanged THEN was_sequence ELSE {rules.sequence_above} + row_number() OVER (ORDER BY unchanged, window_start, topic, key) END
        FROM (
          SELECT c.*, p.closed_by AS was_closed_by, p.revision AS was_revision, p.sequence AS was_sequence, {unchanged} AS unchanged
          FROM ({candidates}) c LEFT JOIN {tables.windows} p ON p.topic = c.topic AND p.key = c.key AND p.window_start = c.window_start
        ) {others}
    """)


def _late(spark: SparkSession, tables: Tables) -> None:
    """View `late`: the ledger of late records as they are judged now (`is_other` where that is not as they were), without those that are bad ones now."""
    verdicts = judged.corrections(spark, tables)
    if verdicts is None:
        spark.sql(f"CREATE OR REPLACE TEMP VIEW late AS SELECT *, false AS is_other FROM {tables.late_records}")
        return
    of_now = ", ".join(f"CASE WHEN c.topic IS NULL THEN l.{name} ELSE c.{name} END AS {name}" for name in ("key", "event_time", "value"))
    spark.sql(f"""CREATE OR REPLACE TEMP VIEW late AS
        SELECT l.topic, l.partition, l.offset, {of_now}, l.broker_timestamp, l.revision, c.topic IS NOT NULL AS is_other
        FROM {tables.late_records} l LEFT JOIN {verdicts} c ON c.topic = l.topic AND c.partition = l.partition AND c.offset = l.offset WHERE c.error IS NULL""")


def _fill_ledger(spark: SparkSession, rebuilt: Tables, rules: Rules, records: str) -> None:
    """The ledger of late records, each under the window that holds it now. `records` says of each whether it is `held`, and the revision that has `taken` it in."""
    spark.sql(f"""
        INSERT INTO {rebuilt.late_records} ({_LEDGER})
        SELECT l.topic, l.partition, l.offset, l.key, l.start, l.event_time, l.broker_timestamp, l.value,
               (unix_micros(l.broker_timestamp) - unix_micros({rules.end('l.start')})) / 1e6D,
               CASE WHEN NOT l.held THEN coalesce(l.taken, w.revision, 1) END
        FROM (SELECT *, {rules.start('event_time')} AS start FROM ({records})) l
        LEFT JOIN {rebuilt.windows} w ON w.topic = l.topic AND w.key = l.key AND w.window_start = l.start
    """)


def _versions(spark: SparkSession, tables: Tables) -> tuple[int, int]:
    """Of `raw` and `windows`: what they hold at these versions is in whatever is computed from now on."""
    raw, published = (spark.sql(f"DESCRIBE HISTORY {table} LIMIT 1").first().version for table in (tables.raw, tables.windows))
    return raw, published


def _note(spark: SparkSession, rebuilt: Tables, base: tuple[int, int], rules: Rules) -> None:
    spark.sql(f"ALTER TABLE {rebuilt.windows} SET TBLPROPERTIES ('{_RAW}' = '{base[0]}', '{_WINDOWS}' = '{base[1]}', '{_ABOVE}' = '{rules.sequence_above}')")
