import { finishedOperation, type Operation } from './operation.ts';
import { readRows } from './projection.ts';
import { CATALOGS, quoted, SESSION_CATALOG, sparkCatalog } from './session.ts';
import type { DataType, SparkSession } from './spark-connect.ts';
import { allTypes, columnsOf, decimalOf, namesOf, typeText, type Column } from './types.ts';

/** JDBC's metadata questions, answered by Spark's catalog; names are JDBC patterns: % any text, _ any character, \ escapes. */
export type MetadataRequest = { catalogName?: string; schemaName?: string; tableName?: string; columnName?: string; functionName?: string; tableTypes?: string[] };

const TABLE_TYPES = ['EXTERNAL', 'MANAGED', 'VIEW'];
const PROCEDURE_COLUMNS = 'PKTABLE_CAT PKTABLE_SCHEM PKTABLE_NAME PKCOLUMN_NAME FKTABLE_CAT FKTABLE_SCHEM FKTABLE_NAME FKCOLUMN_NAME KEY_SEQ:short UPDATE_RULE:short DELETE_RULE:short FK_NAME PK_NAME DEFERRABILITY:short';

export function getCatalogs(): Operation {
  return table('TABLE_CAT', CATALOGS.map((name) => [name]));
}

export async function getSchemas(session: SparkSession, request: MetadataRequest): Promise<Operation> {
  const catalog = shownCatalog(request.catalogName);
  const names = catalog === undefined ? [] : await schemaNames(session, catalog, request.schemaName);
  return table('TABLE_SCHEM TABLE_CATALOG', names.map((name) => [name, catalog]));
}

export async function getTables(session: SparkSession, request: MetadataRequest): Promise<Operation> {
  const types = request.tableTypes?.length ? new Set(request.tableTypes.flatMap((type) => (type === 'TABLE' ? ['MANAGED', 'EXTERNAL'] : [type]))) : undefined;
  const found = await tablesOf(session, request);
  const rows = found.filter(({ type }) => !types || types.has(type)).map(({ catalog, schema, name, type, comment }) => [catalog, schema, name, type, comment]);
  return table('TABLE_CAT TABLE_SCHEM TABLE_NAME TABLE_TYPE REMARKS TYPE_CAT TYPE_SCHEM TYPE_NAME SELF_REFERENCING_COL_NAME REF_GENERATION', rows);
}

export async function getColumns(session: SparkSession, request: MetadataRequest): Promise<Operation> {
  const wanted = likePattern(request.columnName);
  const rows: unknown[][] = [];
  for (const { catalog, schema, name } of await tablesOf(session, request)) {
    const relation = { read: { named_table: { unparsed_identifier: quoted(sparkCatalog(catalog), schema, name) } } };
    // A view over a dropped table has no columns; the others must still be told.
    const struct = await session.schema(relation).catch(() => ({ fields: [] }));
    for (const [index, column] of columnsOf(struct).entries()) {
      if (wanted.test(column.name)) rows.push([catalog, schema, name, ...columnRow(column, struct.fields[index]!, index + 1)]);
    }
  }
  return table(
    'TABLE_CAT TABLE_SCHEM TABLE_NAME COLUMN_NAME DATA_TYPE:integer TYPE_NAME COLUMN_SIZE:integer BUFFER_LENGTH:integer DECIMAL_DIGITS:integer NUM_PREC_RADIX:integer NULLABLE:integer REMARKS COLUMN_DEF SQL_DATA_TYPE:integer SQL_DATETIME_SUB:integer CHAR_OCTET_LENGTH:integer ORDINAL_POSITION:integer IS_NULLABLE SCOPE_CATALOG SCOPE_SCHEMA SCOPE_TABLE SOURCE_DATA_TYPE:short IS_AUTO_INCREMENT',
    rows,
  );
}

export async function getFunctions(session: SparkSession, request: MetadataRequest): Promise<Operation> {
  const wanted = likePattern(request.functionName);
  const found = await readRows(session, { catalog: { list_functions: {} } }, ['catalog', 'array_join(namespace, ".")', 'name', 'description', 'className']);
  const rows = found.filter(([, , name]) => wanted.test(String(name))).map(([catalog, schema, name, remarks, className]) => [catalog, schema, name, remarks, 1, className]);
  return table('FUNCTION_CAT FUNCTION_SCHEM FUNCTION_NAME REMARKS FUNCTION_TYPE:integer SPECIFIC_NAME', rows);
}

export function getTableTypes(): Operation {
  return table('TABLE_TYPE', TABLE_TYPES.map((type) => [type]));
}

export function getTypeInfo(): Operation {
  const rows = [...new Map(allTypes().map(({ sql, jdbc }) => [sql, jdbc]))].map(([sql, jdbc]) => [sql, jdbc, sql === 'DECIMAL' ? 38 : null, null, null, null, 1, sql === 'STRING', 3, false, false, false, sql, 0, sql === 'DECIMAL' ? 38 : 0, null, null, NUMERIC.has(sql) ? 10 : null]);
  return table(
    'TYPE_NAME DATA_TYPE:integer PRECISION:integer LITERAL_PREFIX LITERAL_SUFFIX CREATE_PARAMS NULLABLE:short CASE_SENSITIVE:boolean SEARCHABLE:short UNSIGNED_ATTRIBUTE:boolean FIXED_PREC_SCALE:boolean AUTO_INCREMENT:boolean LOCAL_TYPE_NAME MINIMUM_SCALE:short MAXIMUM_SCALE:short SQL_DATA_TYPE:integer SQL_DATETIME_SUB:integer NUM_PREC_RADIX:integer',
    rows,
  );
}

/** Delta tables have no keys in open source: the declared columns, no rows. */
export function getPrimaryKeys(): Operation {
  return table('TABLE_CAT TABLE_SCHEM TABLE_NAME COLUMN_NAME KEY_SEQ:integer PK_NAME', []);
}

export function getCrossReference(): Operation {
  return table(PROCEDURE_COLUMNS, []);
}

/** A JDBC pattern as an expression; nothing, empty, `%` and `*` match everything. */
export function likePattern(pattern: string | undefined | null): RegExp {
  if (!pattern || pattern === '*') return /^/;
  const source = pattern.replace(/\\([%_\\])|[%_]|[^%_\\]+|\\/g, (part, escaped?: string) => {
    if (escaped !== undefined) return literally(escaped);
    return part === '%' ? '.*' : part === '_' ? '.' : literally(part);
  });
  return new RegExp(`^${source}$`, 'is');
}

const literally = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** The catalog's name as the client asked for it; undefined for one that does not exist here. */
function shownCatalog(asked: string | undefined): string | undefined {
  const wanted = likePattern(asked);
  return wanted.test(SESSION_CATALOG) ? SESSION_CATALOG : CATALOGS.find((name) => wanted.test(name));
}

async function schemaNames(session: SparkSession, catalog: string, pattern: string | undefined): Promise<string[]> {
  const wanted = likePattern(pattern);
  if (sparkCatalog(catalog) !== SESSION_CATALOG) return [];
  const rows = await readRows(session, { catalog: { list_databases: {} } }, ['name']);
  return rows.map(([name]) => String(name)).filter((name) => wanted.test(name));
}

type Table = { catalog: string; schema: string; name: string; type: string; comment: unknown };

async function tablesOf(session: SparkSession, request: MetadataRequest): Promise<Table[]> {
  const catalog = shownCatalog(request.catalogName);
  if (catalog === undefined) return [];
  const wanted = likePattern(request.tableName);
  const tables: Table[] = [];
  for (const schema of await schemaNames(session, catalog, request.schemaName)) {
    const rows = await readRows(session, { catalog: { list_tables: { db_name: quoted(schema) } } }, ['name', 'tableType', 'description', 'isTemporary']);
    for (const [name, type, comment, temporary] of rows) {
      if (temporary === 'false' && wanted.test(String(name))) tables.push({ catalog, schema, name: String(name), type: String(type ?? 'MANAGED'), comment: comment ?? '' });
    }
  }
  return tables;
}

const NUMERIC = new Set(['TINYINT', 'SMALLINT', 'INT', 'BIGINT', 'FLOAT', 'DOUBLE', 'DECIMAL']);
// Bytes, or digits, a value of the type takes; JDBC's COLUMN_SIZE.
const SIZES: Record<string, number> = { boolean: 1, byte: 3, short: 5, integer: 10, long: 19, float: 7, double: 15, date: 10, timestamp: 29, timestamp_ntz: 29, string: 2_147_483_647 };

function columnRow({ name, type }: Column, field: { nullable?: boolean; metadata?: string }, position: number): unknown[] {
  const { comment } = JSON.parse(field.metadata || '{}') as { comment?: string };
  const size = type.kind === 'decimal' ? decimalOf(type).precision : (SIZES[type.kind] ?? null);
  const digits = type.kind === 'decimal' ? decimalOf(type).scale : NUMERIC.has(namesOf(type).sql) ? 0 : null;
  const radix = NUMERIC.has(namesOf(type).sql) ? 10 : null;
  const nullable = field.nullable ? 1 : 0;
  return [name, namesOf(type).jdbc, typeText(type), size, null, digits, radix, nullable, comment ?? '', null, null, null, null, position, nullable ? 'YES' : 'NO', null, null, null, null, 'NO'];
}

/** An answer whose columns are `NAME` for text or `NAME:kind`. */
function table(columns: string, rows: unknown[][]): Operation {
  const declared = columns.split(' ').map((column) => {
    const [name = '', kind = 'string'] = column.split(':');
    return { name, type: { kind, [kind]: {} } as DataType };
  });
  return finishedOperation(declared, rows);
}
