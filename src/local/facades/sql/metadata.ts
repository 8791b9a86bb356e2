import type { Message, Relation, SparkSession } from '../../spark-connect/client.ts';
import { collect } from '../../spark-connect/rows.ts';
import { CATALOGS, quoted, SESSION_CATALOG, sparkCatalog } from './session.ts';
import { ALL_TYPES, columnsOf, decimalOf, namesOf, typeText, type Column } from './types.ts';

/** Names are JDBC patterns, which are Spark's: % any text, _ any character, \ escapes. A catalog's name is no pattern. */
export type MetadataRequest = { catalogName?: string; schemaName?: string; tableName?: string; columnName?: string; functionName?: string; tableTypes?: string[] };
type Question = {
  /** `TOperationType` of TCLIService. */
  operationType: number;
  /** Spark's catalog in JDBC's words, as a relation for Spark to give their types. */
  answer(session: SparkSession, request: MetadataRequest): Relation | Promise<Relation>;
};

const TABLES = 'TABLE_CAT string, TABLE_SCHEM string, TABLE_NAME string';
const COLUMNS = `${TABLES}, COLUMN_NAME string, DATA_TYPE int, TYPE_NAME string, COLUMN_SIZE int, BUFFER_LENGTH int, DECIMAL_DIGITS int, NUM_PREC_RADIX int, NULLABLE int,
  REMARKS string, COLUMN_DEF string, SQL_DATA_TYPE int, SQL_DATETIME_SUB int, CHAR_OCTET_LENGTH int, ORDINAL_POSITION int, IS_NULLABLE string, SCOPE_CATALOG string,
  SCOPE_SCHEMA string, SCOPE_TABLE string, SOURCE_DATA_TYPE smallint, IS_AUTO_INCREMENT string`;
const TYPES = `TYPE_NAME string, DATA_TYPE int, PRECISION int, LITERAL_PREFIX string, LITERAL_SUFFIX string, CREATE_PARAMS string, NULLABLE smallint, CASE_SENSITIVE boolean,
  SEARCHABLE smallint, UNSIGNED_ATTRIBUTE boolean, FIXED_PREC_SCALE boolean, AUTO_INCREMENT boolean, LOCAL_TYPE_NAME string, MINIMUM_SCALE smallint, MAXIMUM_SCALE smallint,
  SQL_DATA_TYPE int, SQL_DATETIME_SUB int, NUM_PREC_RADIX int`;

/** The metadata calls of TCLIService. */
export const METADATA: Record<string, Question> = {
  GetTypeInfo: { operationType: 1, answer: () => table(TYPES, ALL_TYPES.map(typeRow)) },
  GetCatalogs: { operationType: 2, answer: () => table('TABLE_CAT string', CATALOGS.map((TABLE_CAT) => ({ TABLE_CAT }))) },
  GetSchemas: { operationType: 3, answer: async (session, request) => table('TABLE_SCHEM string, TABLE_CATALOG string', await schemas(session, request)) },
  GetTables: {
    operationType: 4,
    answer: async (session, request) => {
      const wanted = request.tableTypes?.flatMap((type) => (type === 'TABLE' ? ['MANAGED', 'EXTERNAL'] : [type])) ?? [];
      const rows = (await tables(session, request)).filter(({ TABLE_TYPE }) => wanted.length === 0 || wanted.includes(TABLE_TYPE));
      return table(`${TABLES}, TABLE_TYPE string, REMARKS string, TYPE_CAT string, TYPE_SCHEM string, TYPE_NAME string, SELF_REFERENCING_COL_NAME string, REF_GENERATION string`, rows);
    },
  },
  GetTableTypes: { operationType: 5, answer: () => table('TABLE_TYPE string', ['EXTERNAL', 'MANAGED', 'VIEW'].map((TABLE_TYPE) => ({ TABLE_TYPE }))) },
  GetColumns: { operationType: 6, answer: async (session, request) => like(table(COLUMNS, await columns(session, request)), 'COLUMN_NAME', request.columnName) },
  GetFunctions: {
    operationType: 7,
    answer: async (session, request) => {
      type Found = { name: string; catalog?: string; namespace?: string[]; description?: string; className: string };
      const found = await collect<Found>(session, like({ catalog: { list_functions: {} } }, 'name', request.functionName));
      const rows = found.map(({ name, catalog, namespace, description, className }) => ({ FUNCTION_CAT: catalog, FUNCTION_SCHEM: namespace?.join('.'), FUNCTION_NAME: name, REMARKS: description, FUNCTION_TYPE: 1, SPECIFIC_NAME: className }));
      return table('FUNCTION_CAT string, FUNCTION_SCHEM string, FUNCTION_NAME string, REMARKS string, FUNCTION_TYPE int, SPECIFIC_NAME string', rows);
    },
  },
  // Delta tables have no keys in open source: the declared columns, no rows.
  GetPrimaryKeys: { operationType: 8, answer: () => table(`${TABLES}, COLUMN_NAME string, KEY_SEQ int, PK_NAME string`, []) },
};

/** The catalog's name as the client asked for it; undefined for one that does not exist here. */
function shownCatalog({ catalogName }: MetadataRequest): string | undefined {
  return isEverything(catalogName) ? SESSION_CATALOG : CATALOGS.find((name) => name === catalogName?.toLowerCase());
}

async function schemas(session: SparkSession, request: MetadataRequest) {
  const TABLE_CATALOG = shownCatalog(request);
  if (TABLE_CATALOG === undefined) return [];
  const found = await collect<{ name: string }>(session, like({ catalog: { list_databases: {} } }, 'name', request.schemaName));
  return found.map(({ name }) => ({ TABLE_SCHEM: name, TABLE_CATALOG }));
}

async function tables(session: SparkSession, request: MetadataRequest) {
  type Found = { name: string; tableType?: string; description?: string; isTemporary: boolean };
  const rows = [];
  for (const { TABLE_SCHEM, TABLE_CATALOG } of await schemas(session, request)) {
    const found = await collect<Found>(session, like({ catalog: { list_tables: { db_name: quoted(TABLE_SCHEM) } } }, 'name', request.tableName));
    const stored = found.filter(({ isTemporary }) => !isTemporary);
    rows.push(...stored.map(({ name, tableType = 'MANAGED', description = '' }) => ({ TABLE_CAT: TABLE_CATALOG, TABLE_SCHEM, TABLE_NAME: name, TABLE_TYPE: tableType, REMARKS: description })));
  }
  return rows;
}

/** The one table that the request names without a wildcard: Spark's lists take ten times as long as its schema. Whether it is there, the schema says. */
function theTable(request: MetadataRequest) {
  const [catalog, schema, name] = [shownCatalog(request), exactly(request.schemaName), exactly(request.tableName)];
  return schema === undefined || name === undefined || catalog === undefined ? undefined : [{ TABLE_CAT: catalog, TABLE_SCHEM: schema, TABLE_NAME: name }];
}

/** The name that a pattern without a wildcard stands for, as the catalog has it; undefined for any other. */
function exactly(pattern: string | undefined): string | undefined {
  return isEverything(pattern) || !/^(?:[^%_*\\]|\\.)+$/.test(pattern!) ? undefined : pattern!.replaceAll(/\\(.)/g, '$1').toLowerCase();
}

async function columns(session: SparkSession, request: MetadataRequest): Promise<object[]> {
  const rows: object[] = [];
  for (const { TABLE_CAT, TABLE_SCHEM, TABLE_NAME } of theTable(request) ?? (await tables(session, request))) {
    const relation = { read: { named_table: { unparsed_identifier: quoted(sparkCatalog(TABLE_CAT), TABLE_SCHEM, TABLE_NAME) } } };
    // A view over a dropped table has no columns; the others must still be told.
    const struct = await session.schema(relation).catch(() => ({ fields: [] }));
    // From 0, as Spark's own Thrift server counts: the JDBC driver adds the one that JDBC wants.
    rows.push(...columnsOf(struct).map((column, at) => ({ TABLE_CAT, TABLE_SCHEM, TABLE_NAME, ...columnRow(column, struct.fields[at]!), ORDINAL_POSITION: at })));
  }
  return rows;
}

const NUMERIC = new Set(['TINYINT', 'SMALLINT', 'INT', 'BIGINT', 'FLOAT', 'DOUBLE', 'DECIMAL']);
// Bytes, or digits, a value of the type takes; JDBC's COLUMN_SIZE.
const SIZES: Record<string, number> = { boolean: 1, byte: 3, short: 5, integer: 10, long: 19, float: 7, double: 15, date: 10, timestamp: 29, timestamp_ntz: 29, string: 2_147_483_647 };

function columnRow({ name, type }: Column, field: { nullable?: boolean; metadata?: string }) {
  const { comment = '' } = JSON.parse(field.metadata || '{}') as { comment?: string };
  const isNumeric = NUMERIC.has(namesOf(type).sql);
  const decimal = type.kind === 'decimal' ? decimalOf(type) : undefined;
  return {
    COLUMN_NAME: name,
    DATA_TYPE: namesOf(type).jdbc,
    TYPE_NAME: typeText(type),
    COLUMN_SIZE: decimal?.precision ?? SIZES[type.kind],
    ...(isNumeric && { DECIMAL_DIGITS: decimal?.scale ?? 0, NUM_PREC_RADIX: 10 }),
    NULLABLE: field.nullable ? 1 : 0,
    IS_NULLABLE: field.nullable ? 'YES' : 'NO',
    REMARKS: comment,
    IS_AUTO_INCREMENT: 'NO',
  };
}

function typeRow({ sql, jdbc }: (typeof ALL_TYPES)[number]) {
  const isDecimal = sql === 'DECIMAL';
  const facts = { NULLABLE: 1, SEARCHABLE: 3, CASE_SENSITIVE: sql === 'STRING', UNSIGNED_ATTRIBUTE: false, FIXED_PREC_SCALE: false, AUTO_INCREMENT: false };
  const scale = { MINIMUM_SCALE: 0, MAXIMUM_SCALE: isDecimal ? 38 : 0, ...(isDecimal && { PRECISION: 38 }), ...(NUMERIC.has(sql) && { NUM_PREC_RADIX: 10 }) };
  return { TYPE_NAME: sql, LOCAL_TYPE_NAME: sql, DATA_TYPE: jdbc, ...facts, ...scale };
}

const isEverything = (pattern: string | undefined) => !pattern || pattern === '*' || pattern === '%';
const text = (string: string) => ({ literal: { string } });
const call = (function_name: string, ...given: Message[]) => ({ unresolved_function: { function_name, arguments: given } });

/** The rows whose name the pattern matches, in any case. */
function like(input: Relation, column: string, pattern: string | undefined): Relation {
  if (isEverything(pattern)) return input;
  return { filter: { input, condition: call('ilike', { unresolved_attribute: { unparsed_identifier: column } }, text(pattern!)) } };
}

/** Rows that are known as a relation of the declared columns; what a row lacks is null. */
function table(ddl: string, rows: object[]): Relation {
  const parsed = call('from_json', text(JSON.stringify(rows)), text(`array<struct<${ddl}>>`));
  return { project: { input: { range: { start: 0, end: 1, step: 1 } }, expressions: [call('inline', parsed)] } };
}
