"""Judges each record: what it counts, exactly, or why it is a bad one.

The rules and the reasons are those of src/traffic/event.ts, which is the oracle that the tests compare this with.
A record with several faults gets the first in the order of the CASE below. Nothing here can raise on bad input:
every conversion is a `try_` one, because one bad record must never stop a stream.
"""

from pyspark.sql import DataFrame

# 9999-01-01T00:00:00Z in epoch microseconds: Spark and Elasticsearch both stop understanding dates soon after.
_END_OF_TIME_MICROS = 253_370_764_800_000_000


def judge(records: DataFrame, fields: dict, max_future_minutes: int) -> DataFrame:
    """Adds `event_time`, `key`, `value` and `error` (null = good) to rows that have `payload` and `broker_timestamp`.

    `fields` names the JSON fields: {"timestamp": ..., "value": ..., "key": ...}. Of a bad record only `error` is set.
    """
    kept = records.columns
    path = {name: "$['" + field + "']" for name, field in fields.items()}
    parsed = (
        records.selectExpr("*", "CAST(payload AS STRING) AS _text")
        # A payload that is not UTF-8 is no JSON; without this it would be read with replacement characters.
        .selectExpr("*", f"CASE WHEN is_valid_utf8(_text) THEN {_whole_json('_text')} END AS _json")
        .selectExpr(
            "*",
            f"try_variant_get(_json, \"{path['timestamp']}\", 'variant') AS _t",
            f"try_variant_get(_json, \"{path['value']}\", 'variant') AS _v",
            f"try_variant_get(_json, \"{path['key']}\", 'variant') AS _k",
        )
        .selectExpr("*", "schema_of_variant(_t) AS _t_type", "schema_of_variant(_v) AS _v_type", "schema_of_variant(_k) AS _k_type")
        .selectExpr("*", f"CASE WHEN {_huge('_t')} THEN '{'9' * 20}' WHEN _t_type IN ('STRING', 'BIGINT') OR _t_type LIKE 'DECIMAL%' THEN try_variant_get(_t, '$', 'string') END AS _time_text")
        .selectExpr("*", f"{_micros('_time_text')} AS _micros")
        .selectExpr("*", f"{_error(max_future_minutes)} AS _error")
    )
    good = "_error IS NULL"
    return parsed.selectExpr(
        *kept,
        f"CASE WHEN {good} THEN timestamp_micros(_micros) END AS event_time",
        f"CASE WHEN {good} THEN coalesce(try_variant_get(_k, '$', 'string'), '') END AS key",
        f"CASE WHEN {good} THEN try_variant_get(_v, '$', 'bigint') END AS value",
        "_error AS error",
    )


def _whole_json(text: str) -> str:
    """SQL for a text parsed as one JSON value, null where it is none.

    Spark's parser stops at the end of the first value and lets anything follow it. As the only element of a list nothing
    can follow; where the text could itself close that list, it must be the only field of an object, too.
    """
    listed = f"try_parse_json('[' || {text} || ']')"
    single = f"try_variant_get({listed}, '$[1]', 'variant') IS NULL"
    closed = f"({text} NOT RLIKE '[}}][ \\t\\n\\r]*[]]' OR try_parse_json('{{\"x\":' || {text} || '}}') IS NOT NULL)"
    return f"CASE WHEN {single} AND {closed} THEN try_variant_get({listed}, '$[0]', 'variant') END"


def _huge(variant: str) -> str:
    """Integers past 38 digits come as DOUBLE."""
    return f"({variant}_type = 'DOUBLE' AND abs(try_variant_get({variant}, '$', 'double')) >= 1e38)"


def _micros(text: str) -> str:
    """SQL for the epoch microseconds of a timestamp's text; null = unreadable; outside any real date = the end of time.

    Epoch seconds with an optional fraction, epoch milliseconds (exactly 13 digits), or ISO 8601 with a zone. Digits
    past the microsecond are cut, as the cast to TIMESTAMP cuts them.
    """
    number = r"'^-?[0-9]+([.][0-9]+)?$'"
    iso = r"'^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})$'"
    digits = rf"regexp_extract({text}, '^-?0*([0-9]+)', 1)"
    fraction = rf"rpad(substr(regexp_extract({text}, '[.]([0-9]+)$', 1), 1, 6), 6, '0')"
    seconds = f"try_cast({digits} AS BIGINT) * 1000000 + CASE WHEN {text} LIKE '%.%' THEN try_cast({fraction} AS BIGINT) ELSE 0 END"
    # Zones are written +hh:mm for the cast, which does not know +hhmm.
    zoned = rf"regexp_replace({text}, '([+-][0-9]{{2}})([0-9]{{2}})$', '$1:$2')"
    return f"""CASE
        WHEN {text} RLIKE '^[0-9]{{13}}$' THEN try_cast({text} AS BIGINT) * 1000
        WHEN {text} RLIKE {number} THEN
            CASE WHEN {text} LIKE '-%' THEN -1
                 WHEN length({digits}) > 12 THEN {_END_OF_TIME_MICROS}
                 ELSE {seconds} END
        WHEN {text} RLIKE {iso} THEN unix_micros(try_cast({zoned} AS TIMESTAMP))
        END"""


def _error(max_future_minutes: int) -> str:
    latest = f"unix_micros(broker_timestamp) + {max_future_minutes} * 60000000L"
    # An integer that BIGINT cannot hold; 12.0 comes as DECIMAL without a scale as well, but would fit.
    beyond = "_v_type RLIKE '^DECIMAL[(][0-9]+,0[)]$' AND try_variant_get(_v, '$', 'bigint') IS NULL"
    return f"""CASE
        WHEN payload IS NULL THEN 'tombstone'
        WHEN length(payload) = 0 THEN 'empty_payload'
        WHEN _json IS NULL THEN 'not_json'
        WHEN NOT ltrim(' \\t\\n\\r', _text) LIKE '{{%' THEN 'not_an_object'
        WHEN _t IS NULL OR is_variant_null(_t) THEN 'missing_timestamp'
        WHEN _v IS NULL OR is_variant_null(_v) THEN 'missing_value'
        WHEN _micros IS NULL THEN 'timestamp_unreadable'
        WHEN _micros < 0 OR _micros >= {_END_OF_TIME_MICROS} THEN 'timestamp_out_of_range'
        WHEN _micros > {latest} THEN 'timestamp_in_future'
        WHEN ({beyond}) OR {_huge('_v')} THEN 'value_out_of_range'
        WHEN _v_type <> 'BIGINT' THEN 'value_not_integer'
        WHEN _k_type NOT IN ('STRING', 'BIGINT', 'VOID') THEN 'key_not_text'
        END"""
