import type { DataType, Message } from './spark-connect.ts';

/** A result column as Spark declares it. */
export type Column = { name: string; type: DataType };

type Names = {
  /** As SQL spells it. */
  sql: string;
  /** `TTypeId` of Hive's Thrift protocol. */
  thrift: number;
  /** `type_name` of the statement API. */
  rest: string;
  /** java.sql.Types, which GetColumns and GetTypeInfo answer with. */
  jdbc: number;
};

const NAMES: Record<string, Names> = {
  boolean: { sql: 'BOOLEAN', thrift: 0, rest: 'BOOLEAN', jdbc: 16 },
  byte: { sql: 'TINYINT', thrift: 1, rest: 'BYTE', jdbc: -6 },
  short: { sql: 'SMALLINT', thrift: 2, rest: 'SHORT', jdbc: 5 },
  integer: { sql: 'INT', thrift: 3, rest: 'INT', jdbc: 4 },
  long: { sql: 'BIGINT', thrift: 4, rest: 'LONG', jdbc: -5 },
  float: { sql: 'FLOAT', thrift: 5, rest: 'FLOAT', jdbc: 6 },
  double: { sql: 'DOUBLE', thrift: 6, rest: 'DOUBLE', jdbc: 8 },
  string: { sql: 'STRING', thrift: 7, rest: 'STRING', jdbc: 12 },
  timestamp: { sql: 'TIMESTAMP', thrift: 8, rest: 'TIMESTAMP', jdbc: 93 },
  timestamp_ntz: { sql: 'TIMESTAMP_NTZ', thrift: 8, rest: 'TIMESTAMP_NTZ', jdbc: 93 },
  binary: { sql: 'BINARY', thrift: 9, rest: 'BINARY', jdbc: -2 },
  array: { sql: 'ARRAY', thrift: 10, rest: 'ARRAY', jdbc: 2003 },
  map: { sql: 'MAP', thrift: 11, rest: 'MAP', jdbc: 2000 },
  struct: { sql: 'STRUCT', thrift: 12, rest: 'STRUCT', jdbc: 2002 },
  decimal: { sql: 'DECIMAL', thrift: 15, rest: 'DECIMAL', jdbc: 3 },
  null: { sql: 'VOID', thrift: 16, rest: 'NULL', jdbc: 0 },
  date: { sql: 'DATE', thrift: 17, rest: 'DATE', jdbc: 91 },
  var_char: { sql: 'VARCHAR', thrift: 7, rest: 'STRING', jdbc: 12 },
  char: { sql: 'CHAR', thrift: 7, rest: 'CHAR', jdbc: 1 },
  year_month_interval: { sql: 'INTERVAL', thrift: 20, rest: 'INTERVAL', jdbc: 1111 },
  day_time_interval: { sql: 'INTERVAL', thrift: 21, rest: 'INTERVAL', jdbc: 1111 },
  calendar_interval: { sql: 'INTERVAL', thrift: 7, rest: 'INTERVAL', jdbc: 1111 },
  variant: { sql: 'VARIANT', thrift: 7, rest: 'VARIANT', jdbc: 1111 },
};
const OTHER: Names = { sql: 'STRING', thrift: 7, rest: 'USER_DEFINED_TYPE', jdbc: 1111 };
const INTERVAL_FIELDS: Record<string, string[]> = {
  year_month_interval: ['YEAR', 'MONTH'],
  day_time_interval: ['DAY', 'HOUR', 'MINUTE', 'SECOND'],
};

/** What the protocols call a type. */
export function namesOf(type: DataType): Names {
  return NAMES[type.kind] ?? { ...OTHER, sql: type.kind.toUpperCase() };
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

/** The types GetTypeInfo lists, with JDBC's numbers. */
export function allTypes(): Names[] {
  return Object.values(NAMES);
}

/** True where `test` holds for the type or for one inside it. */
export function anyInside(type: DataType, test: (type: DataType) => boolean): boolean {
  if (test(type)) return true;
  if (type.kind === 'array') return anyInside(type.array.element_type, test);
  if (type.kind === 'map') return anyInside(type.map.key_type, test) || anyInside(type.map.value_type, test);
  return type.kind === 'struct' && columnsOf(type.struct).some((field) => anyInside(field.type, test));
}
