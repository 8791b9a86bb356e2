import type { DataType, Relation } from '../../spark-connect/client.ts';
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

/** A result that a Thrift client can read: Spark's own Arrow, or a projection where that will not do. */
export function readableByDrivers(input: Relation, columns: Column[], native: ArrowTypes): Relation {
  const expressions = columns.map((column, index) => driverExpression(column.type, `c${index}`, native));
  if (expressions.every((expression, index) => expression === `c${index}`)) return input;
  return project(input, columns.length, columns.map((column, index) => ({ name: column.name, expression: expressions[index]! })));
}

function driverExpression(type: DataType, column: string, native: ArrowTypes): string {
  if (UNREADABLE.has(type.kind)) return scalarText(type, column);
  if (type.kind === 'null') return textOf(column);
  if (COMPLEX.has(type.kind)) {
    const isReadable = native.complexTypesAsArrow && !anyInside(type, (inner) => UNREADABLE.has(inner.kind));
    return isReadable ? column : jsonOf(column);
  }
  // @databricks/sql garbles negative decimals of more than 64 bits; as text, which every driver takes, they are exact in each.
  if (type.kind === 'decimal') return native.decimalAsArrow && decimalOf(type).precision <= 18 ? column : textOf(column);
  if (type.kind === 'timestamp' || type.kind === 'timestamp_ntz') return native.timestampAsArrow ? column : textOf(column);
  return column;
}

/**
 * One string column: each row as a JSON array of strings and nulls with a comma after it, so that the text of a whole
 * batch lies ready in Arrow's value buffer. Timestamps are ISO 8601 (the session's time zone must be UTC), binary is base64.
 */
export function asJsonRows(input: Relation, columns: Column[]): Relation {
  const cells = columns.map((column, index) => cellText(column.type, `c${index}`));
  return project(input, columns.length, [{ name: 'row', expression: `concat(to_json(array(${cells.join(', ')})), ',')` }]);
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
function project(input: Relation, width: number, output: { name: string; expression: string }[]): Relation {
  const column_names = Array.from({ length: width }, (_, index) => `c${index}`);
  const expressions = output.map(({ name, expression }) => ({ alias: { expr: { expression_string: { expression } }, name: [name] } }));
  return { project: { input: { to_df: { input, column_names } }, expressions } };
}
