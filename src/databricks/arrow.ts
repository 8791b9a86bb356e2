import type { Data, DataType, Field, TimeUnit as Unit } from 'apache-arrow' with { 'resolution-mode': 'require' };
import { IntervalUnit, RecordBatchReader, TimeUnit, Type } from 'apache-arrow/Arrow.node';

/**
 * One value of a result, exact: BIGINT is a bigint, DECIMAL its digits, DATE `2026-01-31`, TIMESTAMP `2026-01-31T12:00:00.123456Z`
 * (TIMESTAMP_NTZ without the Z), BINARY base64, ARRAY a list, STRUCT and MAP an object; NaN and infinities stay numbers.
 */
export type Cell = string | number | bigint | boolean | null | Cell[] | { [name: string]: Cell };

/** A column's name and its type as SQL spells it. */
export type Column = Readonly<{ name: string; type: string }>;

/** Columns of an Arrow IPC schema message. */
export function columnsOf(schema: Buffer): Column[] {
  const reader = RecordBatchReader.from(schema).open();
  return reader.schema.fields.map((field) => ({ name: field.name, type: typeName(field.type) }));
}

/** Rows of an Arrow IPC stream, one list of cells each, in the columns' order, at most `limit`. */
export function* rowsOf(messages: readonly Buffer[], limit: number): Generator<Cell[][]> {
  let left = limit;
  for (const batch of RecordBatchReader.from([...messages])) {
    const columns = batch.data.children.map((column) => ({ column, read: reader(column) }));
    const count = Math.min(batch.numRows, left);
    left -= count;
    const rows: Cell[][] = Array.from({ length: count });
    for (let at = 0; at < count; at += 1) rows[at] = columns.map(({ column, read }) => (column.getValid(at) ? read(at) : null));
    yield rows;
    if (left === 0) return;
  }
}

type Read = (at: number) => Cell;
/** What a type says of itself beyond its kind: each kind has some of these. */
type Facets = { bitWidth: number; precision: number; scale: number; unit: number; timezone?: string | null };
const facets = (type: DataType): Facets => type as unknown as Facets;
const utf8 = new TextDecoder();

/** How to read one valid value of this column, chosen once for all its rows. */
function reader(data: Data): Read {
  const { values } = data;
  const { bitWidth, scale, unit, timezone } = facets(data.type);
  switch (data.typeId) {
    case Type.Null:
      return () => null;
    case Type.Bool:
      return (at) => ((values[(data.offset + at) >> 3] ?? 0) & (1 << ((data.offset + at) & 7))) !== 0;
    case Type.Int:
      return bitWidth === 64 ? (at) => BigInt(values[at]) : (at) => values[at];
    case Type.Float:
      return (at) => values[at];
    case Type.Utf8:
      return (at) => utf8.decode(slice(data, at));
    case Type.Binary:
      return (at) => Buffer.from(slice(data, at)).toString('base64');
    case Type.Decimal:
      return (at) => decimalText(wide(values, at * data.stride, data.stride), scale);
    case Type.Date:
      return (at) => new Date(unit === 0 ? values[at] * 86_400_000 : Number(pair(values, at))).toISOString().split('T')[0] ?? '';
    case Type.Timestamp:
      return (at) => timestampText(pair(values, at) * (PER_MICRO[unit as Unit] ?? 1n), unit, timezone);
    case Type.Interval:
      return (at) => intervalText(data, at);
    case Type.List:
      return listReader(data);
    case Type.Struct:
      return structReader(data);
    case Type.Map:
      return mapReader(data);
    default:
      throw new TypeError(`Arrow type ${typeName(data.type)} is not one that Spark sends`);
  }
}

function slice(data: Data, at: number): Uint8Array {
  return (data.values as Uint8Array).subarray(data.valueOffsets[at], data.valueOffsets[at + 1]);
}

function listReader(data: Data): Read {
  const item = data.children[0] as Data;
  const read = reader(item);
  return (at) => range(data, at).map((index) => (item.getValid(index) ? read(index) : null));
}

function structReader(data: Data): Read {
  const fields = data.children.map((child, at) => ({ name: String((data.type.children[at] as Field).name), child, read: reader(child) }));
  return (at) => Object.fromEntries(fields.map(({ name, child, read }) => [name, child.getValid(at) ? read(at) : null]));
}

function mapReader(data: Data): Read {
  const [keys, items] = (data.children[0] as Data).children as [Data, Data];
  const [readKey, readItem] = [reader(keys), reader(items)];
  const keyText = (key: Cell): string => (typeof key === 'object' ? JSON.stringify(key, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)) : String(key));
  return (at) => Object.fromEntries(range(data, at).map((index) => [keyText(readKey(index)), items.getValid(index) ? readItem(index) : null]));
}

function range(data: Data, at: number): number[] {
  const [from, to] = [data.valueOffsets[at] ?? 0, data.valueOffsets[at + 1] ?? 0];
  return Array.from({ length: to - from }, (_, index) => from + index);
}

/** The little-endian words of a value as one signed integer. */
function wide(words: Uint32Array | Int32Array, from: number, count: number): bigint {
  let value = 0n;
  for (let at = count - 1; at >= 0; at -= 1) value = (value << 32n) | BigInt((words[from + at] ?? 0) >>> 0);
  return BigInt.asIntN(32 * count, value);
}

/** 64-bit values that this Arrow release hands out as pairs of 32-bit words. */
function pair(values: Int32Array | BigInt64Array, at: number): bigint {
  return values instanceof BigInt64Array ? (values[at] ?? 0n) : wide(values, at * 2, 2);
}

/** An unscaled integer and its scale as decimal digits: `-12`, 3 -> `-0.012`. */
export function decimalText(unscaled: bigint, scale: number): string {
  if (scale <= 0) return (unscaled * 10n ** BigInt(-scale)).toString();
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0');
  return `${unscaled < 0n ? '-' : ''}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

const PER_MICRO: Partial<Record<Unit, bigint>> = { [TimeUnit.SECOND]: 1_000_000n, [TimeUnit.MILLISECOND]: 1000n };

/** Microseconds (or nanoseconds) since the epoch as ISO 8601; the fraction only where there is one. */
function timestampText(count: bigint, unit: Unit, zone: string | null | undefined): string {
  const micros = unit === TimeUnit.NANOSECOND ? count / 1000n : count;
  const fraction = ((micros % 1_000_000n) + 1_000_000n) % 1_000_000n;
  const seconds = new Date(Number((micros - fraction) / 1000n)).toISOString().slice(0, -5);
  const digits = fraction === 0n ? '' : `.${fraction.toString().padStart(6, '0').replace(/0+$/, '')}`;
  return `${seconds}${digits}${zone ? 'Z' : ''}`;
}

function intervalText(data: Data, at: number): string {
  if (facets(data.type).unit !== IntervalUnit.YEAR_MONTH) throw new TypeError('an INTERVAL of days and time cannot be read: CAST it to STRING in the query');
  const months = Number(data.values[at]);
  const size = Math.abs(months);
  return `${months < 0 ? '-' : ''}${Math.floor(size / 12)}-${size % 12}`;
}

/** An Arrow type as SQL spells it. */
export function typeName(type: DataType): string {
  const { bitWidth, precision, scale, timezone } = facets(type);
  const child = (at: number): string => typeName((type.children[at] as Field).type);
  switch (type.typeId) {
    case Type.Null:
      return 'VOID';
    case Type.Bool:
      return 'BOOLEAN';
    case Type.Int:
      return { 8: 'TINYINT', 16: 'SMALLINT', 32: 'INT', 64: 'BIGINT' }[bitWidth] ?? 'INT';
    case Type.Float:
      return precision === 1 ? 'FLOAT' : 'DOUBLE';
    case Type.Utf8:
      return 'STRING';
    case Type.Binary:
      return 'BINARY';
    case Type.Decimal:
      return `DECIMAL(${precision},${scale})`;
    case Type.Date:
      return 'DATE';
    case Type.Timestamp:
      return timezone ? 'TIMESTAMP' : 'TIMESTAMP_NTZ';
    case Type.List:
      return `ARRAY<${child(0)}>`;
    case Type.Struct:
      return `STRUCT<${(type.children as Field[]).map((field) => `${field.name}: ${typeName(field.type)}`).join(', ')}>`;
    case Type.Map: {
      const [key, value] = ((type.children[0] as Field).type as DataType).children as [Field, Field];
      return `MAP<${typeName(key.type)}, ${typeName(value.type)}>`;
    }
    default:
      return type.toString().toUpperCase();
  }
}
