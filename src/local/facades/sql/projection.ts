import { RecordBatchReader } from 'apache-arrow/Arrow.node';
import type { DataType, Relation, SparkSession } from './spark-connect.ts';
import { anyInside, decimalOf, type Column } from './types.ts';

/** Which types a Thrift client reads from Arrow as they are; the others it wants as text. */
export type ArrowTypes = { timestampAsArrow?: boolean; decimalAsArrow?: boolean; complexTypesAsArrow?: boolean };

// Arrow types that the drivers' Arrow libraries cannot read (Duration, MonthDayNano, Time) or would show as raw bytes (variant).
const UNREADABLE = new Set(['year_month_interval', 'day_time_interval', 'calendar_interval', 'time', 'variant', 'geometry', 'geography']);
const COMPLEX = new Set(['array', 'map', 'struct']);
// Spark's defaults would cut timestamps to milliseconds and leave null fields out.
const JSON_OPTIONS =
  "map('ignoreNullFields','false','timestampFormat',\"yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX\",'timestampNTZFormat',\"yyyy-MM-dd'T'HH:mm:ss.SSSSSS\")";

const textOf = (column: string) => `cast(${column} as string)`;
const jsonOf = (column: string) => `to_json(${column}, ${JSON_OPTIONS})`;

/** The projection of a result that a Thrift client can read, or undefined where Spark's own Arrow will do. */
export function readableByDrivers(input: Relation, columns: Column[], native: ArrowTypes): Relation | undefined {
  const expressions = columns.map((column, index) => driverExpression(column.type, `c${index}`, native));
  if (expressions.every((expression) => expression === undefined)) return undefined;
  return project(input, columns.map((column, index) => ({ name: column.name, expression: expressions[index] ?? `c${index}` })));
}

function driverExpression(type: DataType, column: string, native: ArrowTypes): string | undefined {
  if (UNREADABLE.has(type.kind)) return scalarText(type, column);
  if (type.kind === 'null') return textOf(column);
  if (COMPLEX.has(type.kind)) {
    const wanted = native.complexTypesAsArrow && !anyInside(type, (inner) => UNREADABLE.has(inner.kind));
    return wanted ? undefined : jsonOf(column);
  }
  // @databricks/sql garbles negative decimals of more than 64 bits; as text, which every driver takes, they are exact in each.
  if (type.kind === 'decimal') return native.decimalAsArrow && decimalOf(type).precision <= 18 ? undefined : textOf(column);
  if (type.kind === 'timestamp' || type.kind === 'timestamp_ntz') return native.timestampAsArrow ? undefined : textOf(column);
  return undefined;
}

/**
 * One string column: each row as a JSON array of strings and nulls with a comma after it, so that the text of a whole
 * batch lies ready in Arrow's value buffer. Timestamps are ISO 8601 (the session's time zone must be UTC), binary is base64.
 */
export function asJsonRows(input: Relation, columns: Column[]): Relation {
  const cells = columns.map((column, index) => cellText(column.type, `c${index}`));
  return project(input, [{ name: 'row', expression: `concat(to_json(array(${cells.join(', ')})), ',')` }], columns.length);
}

function cellText(type: DataType, column: string): string {
  if (COMPLEX.has(type.kind)) return jsonOf(column);
  if (type.kind === 'binary') return `replace(base64(${column}), '\\r\\n', '')`;
  if (type.kind === 'timestamp') return `concat(${isoText(column)}, 'Z')`;
  if (type.kind === 'timestamp_ntz') return isoText(column);
  return scalarText(type, column);
}

function scalarText(type: DataType, column: string): string {
  if (type.kind === 'variant') return jsonOf(column);
  if (type.kind === 'year_month_interval') return intervalBody(`cast(${column} as interval year to month)`);
  // Hive's form: days, time of day and always nine digits of a fraction.
  if (type.kind === 'day_time_interval') return fraction(intervalBody(`cast(${column} as interval day to second)`), '\\\\d{9}');
  return textOf(column);
}

/** `INTERVAL '1-2' YEAR TO MONTH` without its SQL clothes. */
const intervalBody = (interval: string) => `regexp_extract(cast(${interval} as string), "'([^']*)'", 1)`;

/** At least milliseconds, microseconds where there are some. */
const isoText = (column: string) => fraction(`replace(${textOf(column)}, ' ', 'T')`, '\\\\d{3}(?:\\\\d*[1-9])?');

/** `time` with as much of its fraction, filled up with zeros, as the pattern wants. */
const fraction = (time: string, digits: string) =>
  `regexp_replace(concat(${time}, if(instr(${time}, '.') > 0, '', '.'), '000000000'), '(\\\\.${digits})0*$', '$1')`;

/** Selects expressions over an input whose columns are called c0, c1, ...: the real names, which may repeat, are never SQL text. */
function project(input: Relation, output: { name: string; expression: string }[], width = output.length): Relation {
  const column_names = Array.from({ length: width }, (_, index) => `c${index}`);
  const expressions = output.map(({ name, expression }) => ({
    alias: { expr: { expression_string: { expression } }, name: [name] },
  }));
  return { project: { input: { to_df: { input, column_names } }, expressions } };
}

/** Arrow's stream format in two: the schema message, and the batches without the end-of-stream mark. */
export function splitIpc(stream: Buffer): { schema: Buffer; batches: Buffer } {
  const schemaEnd = 8 + stream.readInt32LE(4); // continuation mark, length of the metadata, metadata
  const marked = stream.length >= schemaEnd + 8 && stream.readBigUInt64LE(stream.length - 8) === 0xffffffffn;
  return { schema: stream.subarray(0, schemaEnd), batches: stream.subarray(schemaEnd, stream.length - (marked ? 8 : 0)) };
}

/** Ends a stream of Arrow IPC messages. */
export const END_OF_STREAM = Buffer.from('ffffffff00000000', 'hex');

/** The JSON text of `asJsonRows`'s column, and where each row starts in it (one offset more than rows). */
export function jsonRows(stream: Buffer): { text: Uint8Array; offsets: Int32Array } {
  const data = firstColumn(stream)?.data[0];
  if (!data || data.length === 0) return { text: new Uint8Array(0), offsets: new Int32Array(1) };
  return { text: data.values, offsets: data.valueOffsets };
}

/** Runs a small query of SQL expressions over `input`'s own columns and returns its rows, each cell as JSON text carries it. */
export async function readRows(session: SparkSession, input: Relation, cells: string[]): Promise<unknown[][]> {
  const expression = `concat(to_json(array(${cells.map(textOf).join(', ')})), ',')`;
  const expressions = [{ alias: { expr: { expression_string: { expression } }, name: ['row'] } }];
  const rows: unknown[][] = [];
  for await (const { arrow_batch: batch } of session.execute({ root: { project: { input, expressions } } }).responses) {
    if (!batch?.row_count) continue;
    const text = Buffer.from(jsonRows(batch.data).text).toString('utf8');
    rows.push(...(JSON.parse(`[${text.slice(0, -1)}]`) as unknown[][]));
  }
  return rows;
}

/** The first cell of a result whose first column is a BIGINT, e.g. `num_affected_rows`. */
export function firstBigint(stream: Buffer): bigint | undefined {
  return firstColumn(stream)?.get(0) as bigint | undefined;
}

/** Spark puts one record batch into each stream it sends. */
function firstColumn(stream: Buffer) {
  return RecordBatchReader.from(stream).next().value?.getChildAt(0);
}
