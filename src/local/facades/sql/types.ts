import type { DataType, Message } from '../../spark-connect/client.ts';

/** A result column as Spark declares it. */
export type Column = { name: string; type: DataType };

type Names = {
  /** As SQL spells it. */
  sql: string;
  /** `TTypeId` of Hive's Thrift protocol. */
  thrift: number;
  /** java.sql.Types, which GetColumns and GetTypeInfo answer with. */
  jdbc: number;
  /** `type_name` of the statement API. */
  rest: string;
};

const names = (sql: string, thrift: number, jdbc: number, rest = sql): Names => ({ sql, thrift, jdbc, rest });

const NAMES: Record<string, Names> = {
  boolean: names('BOOLEAN', 0, 16),
  byte: names('TINYINT', 1, -6, 'BYTE'),
  short: names('SMALLINT', 2, 5, 'SHORT'),
  integer: names('INT', 3, 4),
  long: names('BIGINT', 4, -5, 'LONG'),
  float: names('FLOAT', 5, 6),
  double: names('DOUBLE', 6, 8),
  string: names('STRING', 7, 12),
  timestamp: names('TIMESTAMP', 8, 93),
  timestamp_ntz: names('TIMESTAMP_NTZ', 8, 93),
  binary: names('BINARY', 9, -2),
  array: names('ARRAY', 10, 2003),
  map: names('MAP', 11, 2000),
  struct: names('STRUCT', 12, 2002),
  decimal: names('DECIMAL', 15, 3),
  null: names('VOID', 16, 0, 'NULL'),
  date: names('DATE', 17, 91),
  var_char: names('VARCHAR', 7, 12, 'STRING'),
  char: names('CHAR', 7, 1),
  year_month_interval: names('INTERVAL', 20, 1111),
  day_time_interval: names('INTERVAL', 21, 1111),
  calendar_interval: names('INTERVAL', 7, 1111),
  variant: names('VARIANT', 7, 1111),
};
const INTERVAL_FIELDS: Record<string, string[]> = {
  year_month_interval: ['YEAR', 'MONTH'],
  day_time_interval: ['DAY', 'HOUR', 'MINUTE', 'SECOND'],
};

/** Types that GetTypeInfo lists. */
export const ALL_TYPES = [...new Map(Object.values(NAMES).map((type) => [type.sql, type])).values()];

/** What the protocols call a type. */
export function namesOf(type: DataType): Names {
  return NAMES[type.kind] ?? names(type.kind.toUpperCase(), 7, 1111, 'USER_DEFINED_TYPE');
}

/** The columns of a struct type as Spark Connect sends it (empty lists are left out on the wire). */
export function columnsOf(struct: { fields?: Message[] } | undefined): Column[] {
  return (struct?.fields ?? []).map((field) => ({ name: field.name ?? '', type: field.data_type }));
}

/** The fields of an interval type, e.g. `DAY TO SECOND`; empty for other types. */
export function intervalText(type: DataType): string {
  const fields = INTERVAL_FIELDS[type.kind];
  if (!fields) return '';
  const from = type[type.kind]?.start_field ?? 0;
  const to = type[type.kind]?.end_field ?? fields.length - 1;
  return from === to ? `${fields[from]}` : `${fields[from]} TO ${fields[to]}`;
}

/** Precision and scale of a decimal. */
export function decimalOf(type: DataType): { precision: number; scale: number } {
  return { precision: type.decimal.precision ?? 10, scale: type.decimal.scale ?? 0 };
}

/** A type as SQL writes it, e.g. `ARRAY<DECIMAL(10,2)>`. */
export function typeText(type: DataType): string {
  const { sql } = namesOf(type);
  switch (type.kind) {
    case 'decimal':
      return `DECIMAL(${decimalOf(type).precision},${decimalOf(type).scale})`;
    case 'char':
    case 'var_char':
      return `${sql}(${type[type.kind].length})`;
    case 'array':
      return `ARRAY<${typeText(type.array.element_type)}>`;
    case 'map':
      return `MAP<${typeText(type.map.key_type)}, ${typeText(type.map.value_type)}>`;
    case 'struct':
      return `STRUCT<${columnsOf(type.struct).map((field) => `${field.name}: ${typeText(field.type)}`).join(', ')}>`;
    default:
      return `${sql} ${intervalText(type)}`.trim();
  }
}

/** True where `test` holds for the type or for one inside it. */
export function anyInside(type: DataType, test: (type: DataType) => boolean): boolean {
  const { element_type, key_type, value_type } = (type[type.kind] ?? {}) as Record<string, DataType | undefined>;
  const inner = [element_type, key_type, value_type, ...columnsOf(type.struct).map((field) => field.type)];
  return test(type) || inner.some((part) => part && anyInside(part, test));
}
