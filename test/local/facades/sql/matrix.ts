/** One value of each type and, per client, what it must come back as. `node` and `python` are compared as text. */
export type Sample = { sql: string; typeText: string; rest: string | null; node: string; python: string };

/** Named samples; JavaScript values are shown by `shown`, Python's by repr(). */
export const SAMPLES: Record<string, Sample> = {
  boolean: { sql: 'true', typeText: 'BOOLEAN', rest: 'true', node: 'true', python: 'True' },
  tinyint: { sql: '-128Y', typeText: 'TINYINT', rest: '-128', node: '-128', python: '-128' },
  smallint: { sql: '32767S', typeText: 'SMALLINT', rest: '32767', node: '32767', python: '32767' },
  int: { sql: '-2147483648', typeText: 'INT', rest: '-2147483648', node: '-2147483648', python: '-2147483648' },
  bigint: { sql: '9007199254740993L', typeText: 'BIGINT', rest: '9007199254740993', node: '9007199254740993n', python: '9007199254740993' },
  bigint_min: { sql: '-9223372036854775807L - 1L', typeText: 'BIGINT', rest: '-9223372036854775808', node: '-9223372036854775808n', python: '-9223372036854775808' },
  double: { sql: '0.1D', typeText: 'DOUBLE', rest: '0.1', node: '0.1', python: '0.1' },
  double_nan: { sql: "double('NaN')", typeText: 'DOUBLE', rest: 'NaN', node: 'NaN', python: 'nan' },
  double_infinite: { sql: "double('-Infinity')", typeText: 'DOUBLE', rest: '-Infinity', node: '-Infinity', python: '-inf' },
  float: { sql: 'cast(1.5 as float)', typeText: 'FLOAT', rest: '1.5', node: '1.5', python: '1.5' },
  decimal: { sql: "cast('-12345678901234567890123456789.012345678' as decimal(38,9))", typeText: 'DECIMAL(38,9)', rest: '-12345678901234567890123456789.012345678', node: '"-12345678901234567890123456789.012345678"', python: "Decimal('-12345678901234567890123456789.012345678')" },
  decimal_small: { sql: 'cast(-1.10 as decimal(10,2))', typeText: 'DECIMAL(10,2)', rest: '-1.10', node: '"-1.10"', python: "Decimal('-1.10')" },
  string: { sql: "'a\"é\\n\\\\流量😀'", typeText: 'STRING', rest: 'a"é\n\\流量😀', node: '"a\\"é\\n\\\\流量😀"', python: "'a\"é\\n\\\\流量😀'" },
  empty_string: { sql: "''", typeText: 'STRING', rest: '', node: '""', python: "''" },
  // The driver's Date has milliseconds: the microseconds are asked for as text below.
  timestamp: { sql: "timestamp'2024-02-29 23:59:59.123456'", typeText: 'TIMESTAMP', rest: '2024-02-29T23:59:59.123456Z', node: '2024-02-29T23:59:59.123Z', python: "datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=<UTC>)" },
  timestamp_whole: { sql: "timestamp'2024-02-29 23:59:59'", typeText: 'TIMESTAMP', rest: '2024-02-29T23:59:59.000Z', node: '2024-02-29T23:59:59.000Z', python: "datetime.datetime(2024, 2, 29, 23, 59, 59, tzinfo=<UTC>)" },
  timestamp_ntz: { sql: "timestamp_ntz'2024-02-29 23:59:59.000001'", typeText: 'TIMESTAMP_NTZ', rest: '2024-02-29T23:59:59.000001', node: '2024-02-29T23:59:59.000Z', python: 'datetime.datetime(2024, 2, 29, 23, 59, 59, 1)' },
  date: { sql: "date'0001-01-01'", typeText: 'DATE', rest: '0001-01-01', node: '0001-01-01T00:00:00.000Z', python: 'datetime.date(1, 1, 1)' },
  binary: { sql: "X'00ff10'", typeText: 'BINARY', rest: 'AP8Q', node: 'hex:00ff10', python: "b'\\x00\\xff\\x10'" },
  void: { sql: 'null', typeText: 'VOID', rest: null, node: 'null', python: 'None' },
  null_bigint: { sql: 'cast(null as bigint)', typeText: 'BIGINT', rest: null, node: 'null', python: 'None' },
  null_array: { sql: 'cast(null as array<int>)', typeText: 'ARRAY<INT>', rest: null, node: 'null', python: 'None' },
  array: { sql: 'array(1, null, 3)', typeText: 'ARRAY<INT>', rest: '[1,null,3]', node: '[1,null,3]', python: '[1, None, 3]' },
  empty_array: { sql: 'cast(array() as array<string>)', typeText: 'ARRAY<STRING>', rest: '[]', node: '[]', python: '[]' },
  map: { sql: "map('k', cast(1.50 as decimal(3,2)))", typeText: 'MAP<STRING, DECIMAL(3,2)>', rest: '{"k":1.50}', node: '{"k":"1.50"}', python: "[('k', Decimal('1.50'))]" },
  struct: {
    sql: "named_struct('n', cast(null as int), 'l', 9007199254740993L, 't', timestamp'2024-02-29 23:59:59.123456', 'b', X'01')",
    typeText: 'STRUCT<n: INT, l: BIGINT, t: TIMESTAMP, b: BINARY>',
    rest: '{"n":null,"l":9007199254740993,"t":"2024-02-29T23:59:59.123456Z","b":"AQ=="}',
    node: '{"n":null,"l":9007199254740993n,"t":2024-02-29T23:59:59.123Z,"b":hex:01}',
    python: "{'n': None, 'l': 9007199254740993, 't': datetime.datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=<UTC>), 'b': b'\\x01'}",
  },
  nested: { sql: "array(map(1, named_struct('x', array('a'))))", typeText: 'ARRAY<MAP<INT, STRUCT<x: ARRAY<STRING>>>>', rest: '[{"1":{"x":["a"]}}]', node: '[{"1":{"x":["a"]}}]', python: "[[(1, {'x': ['a']})]]" },
  interval_year_month: { sql: "interval '-1-2' year to month", typeText: 'INTERVAL YEAR TO MONTH', rest: '-1-2', node: '"-1-2"', python: "'-1-2'" },
  interval_day_time: { sql: "interval '1 02:03:04.123456' day to second", typeText: 'INTERVAL DAY TO SECOND', rest: '1 02:03:04.123456000', node: '"1 02:03:04.123456000"', python: "'1 02:03:04.123456000'" },
  interval_hour: { sql: "interval '5' hour", typeText: 'INTERVAL HOUR', rest: '0 05:00:00.000000000', node: '"0 05:00:00.000000000"', python: "'0 05:00:00.000000000'" },
  variant: { sql: 'parse_json(\'{"a":[1,"b",null]}\')', typeText: 'VARIANT', rest: '{"a":[1,"b",null]}', node: '"{\\"a\\":[1,\\"b\\",null]}"', python: '\'{"a":[1,"b",null]}\'' },
};

/** One row with every sample, in order, under its name. */
export const SAMPLE_QUERY = `select ${Object.entries(SAMPLES).map(([name, { sql }]) => `${sql} as ${name}`).join(', ')}`;

/** A JavaScript value as text that keeps apart what JSON would not: bigint from number, Date, Buffer, NaN. */
export function shown(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'string') return JSON.stringify(value);
  if (value instanceof Date) return value.toISOString();
  if (Buffer.isBuffer(value)) return `hex:${value.toString('hex')}`;
  if (Array.isArray(value)) return `[${value.map(shown).join(',')}]`;
  if (typeof value === 'object' && value !== null) return `{${Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)}:${shown(inner)}`).join(',')}}`;
  return String(value);
}
