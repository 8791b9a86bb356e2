"""Judges each record: what it counts, exactly, or why it is a bad one.

The rules and the reasons are those of src/traffic/event.ts, which is the oracle that the tests compare this with.
A record with several faults gets the first in the order of the CASE below. Nothing here can raise on bad input:
every conversion is a `try_` one, because one bad record must never stop a stream.
"""

import re

from pyspark.sql import DataFrame

# 9999-01-01T00:00:00Z in epoch microseconds: Spark and Elasticsearch both stop understanding dates soon after.
_END_OF_TIME_MICROS = 253_370_764_800_000_000


def judge(records: DataFrame, fields: dict, max_future_minutes: int) -> DataFrame:
    """Adds `event_time`, `key`, `value` and `error` (null = good) to rows that have `payload` and `broker_timestamp`.

    `fields` names the JSON fields: {"timestamp": ..., "value": ..., "key": ...}. Of a bad record only `error` is set.

    Usual records are read by `from_json` alone. It cannot tell every kind of fault (whether a text was quoted, what
    follows the value) and writes fractions with an exponent, so what is not of the usual kind is read again as VARIANT.
    """
    kept = records.columns
    usual = f"from_json('[' || _text || ']', 'ARRAY<STRUCT<`{fields['timestamp']}`: STRING, `{fields['value']}`: BIGINT, `{fields['key']}`: STRING>>', {_STRICT})"
    parsed = (
        records.selectExpr("*", "CAST(payload AS STRING) AS _text")
        # A payload that is not UTF-8 is no JSON; without this it would be read with replacement characters.
        .selectExpr("*", "is_valid_utf8(_text) AS _utf8")
        .selectExpr("*", f"CASE WHEN _utf8 THEN {usual} END AS _list")
        .selectExpr("*", "CASE WHEN size(_list) = 1 THEN _list[0] END AS _usual")
        .selectExpr(*_columns(kept), f"_usual.`{fields['timestamp']}` AS _t_text", f"_usual.`{fields['value']}` AS _value", f"_usual.`{fields['key']}` AS _key", "_text", "_utf8")
        .selectExpr("*", f"coalesce(_value IS NOT NULL AND _t_text NOT LIKE '%E%' AND _t_text NOT LIKE '%Infinity%' AND {_plain_key('_key')} AND {_closed('_text')}, false) AS _plain")
        .selectExpr("*", f"NOT _plain AND _utf8 AND {_half_character(fields['key'])} AS _half")
        .selectExpr("*", f"CASE WHEN _utf8 AND NOT _plain THEN {_whole_json('_text')} END AS _json")
        .selectExpr("*", *(f"CASE WHEN NOT _plain THEN try_variant_get(_json, \"$['{field}']\", 'variant') END AS _{name[0]}" for name, field in fields.items()))
        .selectExpr("*", *(f"CASE WHEN NOT _plain THEN schema_of_variant(_{name[0]}) END AS _{name[0]}_type" for name in fields))
        .selectExpr("*", f"CASE WHEN _plain THEN _t_text {_time_cases()} END AS _time_text")
        .selectExpr("*", f"{_micros('_time_text')} AS _micros")
        .selectExpr("*", f"{_error(max_future_minutes)} AS _error")
    )
    good = "_error IS NULL"
    return parsed.selectExpr(
        *_columns(kept),
        f"CASE WHEN {good} THEN timestamp_micros(_micros) END AS event_time",
        f"CASE WHEN {good} THEN coalesce(CASE WHEN _plain THEN _key ELSE try_variant_get(_k, '$', 'string') END, '') END AS key",
        f"CASE WHEN {good} THEN CASE WHEN _plain THEN _value ELSE try_variant_get(_v, '$', 'bigint') END END AS value",
        "_error AS error",
    )


# JSON as its standard has it, without Spark's leniencies.
_STRICT = "map('allowSingleQuotes', 'false', 'allowNonNumericNumbers', 'false')"


def _columns(names: list[str]) -> list[str]:
    return [f"`{name}`" for name in names]


def _plain_key(key: str) -> str:
    """Read as text, these keys are the same whether they stood in quotes or not; others have to be looked at."""
    first = f"substr({key}, 1, 1)"
    return f"({key} IS NULL OR {key} NOT LIKE '%?%' AND ({key} RLIKE '^(0|[1-9][0-9]{{0,17}})$' OR NOT ({first} BETWEEN '0' AND '9' OR {first} IN ('-', '{{', '[') OR {key} IN ('true', 'false'))))"


def _half_character(field: str) -> str:
    """SQL: the key's text has a surrogate that is no pair (`\\ud800`). Both parsers make a question mark of it, and so the key of another site."""
    unpaired = r"regexp_replace(regexp_replace(_text, r'\\\\', ''), r'\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}', '')"
    half = r"\\u[dD][89a-fA-F]"
    key = rf'"{re.escape(field)}"[ \t\n\r]*:[ \t\n\r]*"[^"\\]*+(?:\\.[^"\\]*+)*{half}'
    # Java's regular expressions recurse with each repetition: a long text must not overflow their stack.
    return f"CASE WHEN length(_text) < 512 THEN {unpaired} RLIKE r'{key}' ELSE {unpaired} RLIKE r'{half}' END"


def _time_cases() -> str:
    return f"WHEN {_huge('_t')} THEN '{'9' * 20}' WHEN _t_type IN ('STRING', 'BIGINT') OR _t_type LIKE 'DECIMAL%' THEN try_variant_get(_t, '$', 'string')"


def _closed(text: str) -> str:
    """SQL: nothing in the text can close the list that is put around it."""
    return f"{text} NOT RLIKE '[}}][ \\t\\n\\r]*[]]'"


def _whole_json(text: str) -> str:
    """SQL for a text parsed as one JSON value, null where it is none.

    Spark's parser stops at the end of the first value and lets anything follow it. As the only element of a list nothing
    can follow; where the text could itself close that list, it must be the only field of an object, too.
    """
    listed = f"try_parse_json('[' || {text} || ']')"
    single = f"try_variant_get({listed}, '$[1]', 'variant') IS NULL"
    closed = f"({_closed(text)} OR try_parse_json('{{\"x\":' || {text} || '}}') IS NOT NULL)"
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
        WHEN length({text}) <= 12 AND {text} RLIKE '^[0-9]+$' THEN CAST({text} AS BIGINT) * 1000000
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
        WHEN _plain AND _micros >= 0 AND _micros < {_END_OF_TIME_MICROS} AND _micros <= {latest} THEN NULL
        WHEN payload IS NULL THEN 'tombstone'
        WHEN length(payload) = 0 THEN 'empty_payload'
        WHEN NOT _plain AND _json IS NULL THEN 'not_json'
        WHEN NOT ltrim(' \\t\\n\\r', _text) LIKE '{{%' THEN 'not_an_object'
        WHEN NOT _plain AND (_t IS NULL OR is_variant_null(_t)) THEN 'missing_timestamp'
        WHEN NOT _plain AND (_v IS NULL OR is_variant_null(_v)) THEN 'missing_value'
        WHEN _micros IS NULL THEN 'timestamp_unreadable'
        WHEN _micros < 0 OR _micros >= {_END_OF_TIME_MICROS} THEN 'timestamp_out_of_range'
        WHEN _micros > {latest} THEN 'timestamp_in_future'
        WHEN ({beyond}) OR {_huge('_v')} THEN 'value_out_of_range'
        WHEN _v_type <> 'BIGINT' THEN 'value_not_integer'
        WHEN _k_type NOT IN ('STRING', 'BIGINT', 'VOID') OR _half AND _k_type = 'STRING' AND try_variant_get(_k, '$', 'string') LIKE '%?%' THEN 'key_not_text'
        END"""
