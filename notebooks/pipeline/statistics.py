"""SQL for the statistics of windows, exact where they can be.

Sums are added in two halves of 32 bits: exact, at the speed of machine integers. The median is the mean of the two middle
values, as a decimal. The deviation is taken from differences to the smallest value: exact where values past 2^53 would
cancel each other out as doubles. src/traffic/window.ts computes the same in another way, as the oracle.
"""


def by_window(rows: str) -> str:
    """A query over `rows` (SQL with topic, key, window_start, partition, offset, value): one row a window, no order."""
    return f"""
        WITH by_partition AS (
          SELECT topic, key, window_start, partition, collect_list(value) AS vals,
                 sum(shiftright(value, 32)) AS high, sum(value & 4294967295L) AS low,
                 min(value) AS least, max(value) AS most, min(offset) AS first, max(offset) AS last
          FROM ({rows}) GROUP BY ALL
        ), whole AS (
          SELECT topic, key, window_start, sort_array(flatten(collect_list(vals))) AS vals,
                 CAST(sum(CAST(high AS DECIMAL(28,0))) * 4294967296 + sum(CAST(low AS DECIMAL(28,0))) AS DECIMAL(38,0)) AS sum,
                 min(least) AS least, max(most) AS most,
                 map_from_entries(sort_array(collect_list(struct(partition, first)))) AS first_offsets,
                 map_from_entries(sort_array(collect_list(struct(partition, last)))) AS last_offsets
          FROM by_partition GROUP BY topic, key, window_start
        ), centred AS (
          SELECT *, CAST(size(vals) AS BIGINT) AS count,
                 CAST(sum - CAST(size(vals) AS DECIMAL(10,0)) * least AS DOUBLE) / size(vals) AS centre
          FROM whole
        )
        SELECT topic, key, window_start, count, sum, CAST(sum AS DOUBLE) / count AS mean, {_MEDIAN} AS median,
               CASE WHEN count > 1 THEN sqrt(aggregate(vals, 0D, (squares, x) -> squares + ({_ABOVE_LEAST} - centre) * ({_ABOVE_LEAST} - centre)) / (count - 1)) END AS stddev_samp,
               least AS min, most AS max, first_offsets, last_offsets
        FROM centred
    """


_MIDDLE = "CAST(vals[CAST({} AS INT)] AS DECIMAL(20,0))"
_MEDIAN = f"CAST(({_MIDDLE.format('(count - 1) DIV 2')} + {_MIDDLE.format('count DIV 2')}) * 0.5BD AS DECIMAL(20,1))"

# A range of more than 63 bits overflows; there a difference of doubles is as good as any.
_ABOVE_LEAST = "coalesce(CAST(try_subtract(x, least) AS DOUBLE), CAST(x AS DOUBLE) - CAST(least AS DOUBLE))"
