"""Up to where the windows of a topic have closed: by the watermark of its own event times, or by the clock once ingest has caught up."""

from dataclasses import dataclass

from pyspark.sql import SparkSession

from pipeline.tables import Tables


@dataclass(frozen=True)
class Rules:
    """`caught_up`: when ingest last read the broker to its end, epoch microseconds; from then on the clock closes windows, too.

    `sequence_above`: what is written gets sequences above this one, and above all that the table has.
    """

    window_minutes: int
    allowed_lateness_minutes: int
    late_policy: str
    caught_up: int | None = None
    sequence_above: int = 0

    @property
    def micros(self) -> int:
        return self.window_minutes * 60_000_000

    def start(self, event_time: str) -> str:
        """SQL for the start of the epoch-aligned window that holds this event time."""
        return f"timestamp_micros(unix_micros({event_time}) - pmod(unix_micros({event_time}), {self.micros}))"

    def end(self, start: str) -> str:
        """SQL for the (exclusive) end of the window that starts here."""
        return f"timestamp_micros(unix_micros({start}) + {self.micros})"


@dataclass(frozen=True)
class Bound:
    """How far a topic's windows are published, and how far they are to be: ends of windows, epoch microseconds.

    `rows`: good rows of `raw` past what is published, at least.
    Not datetime: Spark hands those out in the time zone of the Python process.
    """

    published: int | None
    watermark: int | None
    closed: int | None
    rows: int = 0


def published(spark: SparkSession, tables: Tables) -> dict[str, int | None]:
    """The end of each topic's newest published window, epoch microseconds; None where there is none yet."""
    found = spark.sql(
        f"SELECT topic, unix_micros(max(window_end)) AS published FROM (SELECT topic, window_end FROM {tables.windows} "
        f"UNION ALL SELECT topic, NULL FROM {tables.shards}) GROUP BY topic"
    )
    return {row.topic: row.published for row in found.collect()}


def bounds_of(spark: SparkSession, tables: Tables, rules: Rules, ends: dict[str, int | None] | None = None) -> dict[str, Bound]:
    """By topic; `ends`: what is `published`, where that was looked at already. A window past the newest published one is new, whatever it is; only event times past it move the watermark."""
    ends = published(spark, tables) if ends is None else ends
    known = [end for end in ends.values() if end is not None]
    newer = "true" if not known or len(known) < len(ends) else f"event_time >= {literal(min(known))}"
    seen = {
        row.topic: row
        for row in spark.sql(f"SELECT topic, unix_micros(max(event_time)) AS newest, count(*) AS rows FROM {tables.raw} WHERE error IS NULL AND {newer} GROUP BY topic").collect()
    }
    lateness = rules.allowed_lateness_minutes * 60_000_000
    clock = None if rules.caught_up is None else rules.caught_up - lateness
    bounds = {}
    for topic in ends.keys() | seen.keys():
        watermark = seen[topic].newest - lateness if topic in seen else None
        bounds[topic] = Bound(ends.get(topic), watermark, latest(ends.get(topic), watermark, clock), seen[topic].rows if topic in seen else 0)
    return bounds


def latest(*moments: int | None) -> int | None:
    return max((moment for moment in moments if moment is not None), default=None)


def values(bounds: dict[str, Bound]) -> str:
    """SQL for the bounds as a table: topic, published, watermark, closed."""
    rows = (f"('{topic}', {literal(bound.published)}, {literal(bound.watermark)}, {literal(bound.closed)})" for topic, bound in bounds.items())
    return f"(SELECT * FROM VALUES {', '.join(rows)} AS bounds(topic, published, watermark, closed))"


def literal(micros: int | None) -> str:
    return "CAST(NULL AS TIMESTAMP)" if micros is None else f"timestamp_micros({micros})"
