import type { Config } from '../config/config.ts';
import { Failure } from '../errors.ts';
import { DEFINITIONS, lostNotNull, shapeOf, type TableShape, type TableStep } from './shapes.ts';
import { openSql, type Sql } from './sql.ts';
import { tableNames } from './tables.ts';

/** The pipeline's tables that exist, by quoted name, the view first: it reads one of the others. */
export async function findTables(config: Config, signal?: AbortSignal): Promise<string[]> {
  const sql = await openSql(config, signal);
  try {
    return await listTables(sql, config);
  } finally {
    await sql.close();
  }
}

/** The same, and how those are made that the job makes, by unqualified name: a statement and a question to the catalog for each, side by side. */
export async function observeTables(config: Config, signal?: AbortSignal): Promise<{ tables: string[]; shapes: Record<string, TableShape> }> {
  const sql = await openSql(config, signal);
  try {
    const tables = await listTables(sql, config);
    return { tables, shapes: await shapesOf(sql, config, tables.filter((name) => unqualified(name) in DEFINITIONS)) };
  } finally {
    await sql.close();
  }
}

/** How these tables (quoted names) are made, by unqualified name. */
export async function shapesOf(sql: Sql, config: Pick<Config, 'pipeline'>, names: readonly string[]): Promise<Record<string, TableShape>> {
  const told = await Promise.all(names.map(async (name) => {
    const [rows, notNull] = await Promise.all([Array.fromAsync(sql.rows(`DESCRIBE TABLE EXTENDED ${name}`)), notNullOf(sql, config, unqualified(name))]);
    return { name, rows, notNull };
  }));
  // Every table has columns that take no null: a catalog that names none at all does not know.
  const knows = told.some(({ notNull = [] }) => notNull.length > 0);
  const shapes = await Promise.all(told.map(async ({ name, rows, notNull }) => [unqualified(name), await withNulls(sql, name, shapeOf(rows, knows ? notNull : undefined))] as const));
  return Object.fromEntries(shapes);
}

/** What the catalog does not answer is not known: everything else about the table is. */
async function notNullOf(sql: Sql, { pipeline }: Pick<Config, 'pipeline'>, table: string): Promise<string[] | undefined> {
  return sql.notNullColumns(pipeline.catalog, pipeline.schema, table).catch((error: unknown) => (error instanceof Failure ? undefined : Promise.reject(error)));
}

/** Only where a column takes null that should not, its rows are looked at: Delta's own statistics answer that. */
async function withNulls(sql: Sql, name: string, shape: TableShape): Promise<TableShape> {
  const lost = lostNotNull(unqualified(name), shape);
  if (lost.length === 0) return shape;
  const [counts = {}] = await Array.fromAsync(sql.rows(`SELECT ${lost.map((column) => `count_if(${column} IS NULL) AS ${column}`).join(', ')} FROM ${name}`));
  return { ...shape, nulls: Object.fromEntries(lost.map((column) => [column, Number(counts[column] ?? 0)])) };
}

async function listTables(sql: Sql, { pipeline }: Config): Promise<string[]> {
  const names = tableNames(pipeline);
  const listed = await Array.fromAsync(sql.rows(`SHOW TABLES IN \`${pipeline.catalog}\`.\`${pipeline.schema}\``)).catch((error: unknown) => {
    // Before the first run there is not even the schema.
    if (error instanceof Failure && error.code === 'SCHEMA_NOT_FOUND') return [];
    throw error;
  });
  const there = new Set(listed.map((row) => String(row.tableName)));
  const { rebuiltWindows, rebuiltLateRecords, rebuiltJudged, replacedWindows, replacedLateRecords, replacedJudged } = names;
  const all = [names.quarantine, names.replays, rebuiltWindows, rebuiltLateRecords, rebuiltJudged, replacedWindows, replacedLateRecords, replacedJudged, names.windows, names.lateRecords, names.shards, names.raw];
  return all.filter((name) => there.has(unqualified(name)));
}

/** Gives tables the columns and the NOT NULLs that they lack. */
export async function applyTableSteps(config: Config, steps: readonly TableStep[], signal?: AbortSignal): Promise<void> {
  const { catalog, schema } = config.pipeline;
  const sql = await openSql(config, signal);
  try {
    for (const step of steps) await applyTableStep(sql, `\`${catalog}\`.\`${schema}\`.\`${step.table}\``, step);
  } finally {
    await sql.close();
  }
}

/** Spark has no class for what its analysis refuses of old: this is its SQLSTATE. */
const UNCLASSIFIED = 'SQLSTATE_XX000';

/** Does one step on the table of this quoted name. */
export async function applyTableStep(sql: Sql, name: string, { do: what, columns }: TableStep): Promise<void> {
  const alter = async (change: string): Promise<void> => void (await Array.fromAsync(sql.rows(`ALTER TABLE ${name} ${change}`)));
  if (what === 'add columns') return alter(`ADD COLUMNS (${columns.map((column) => `${column.name} ${column.type}`).join(', ')})`);
  for (const { name: column } of columns) {
    await alter(`ALTER COLUMN ${column} SET NOT NULL`).catch(async (error: unknown) => {
      if (!(error instanceof Failure) || error.code !== UNCLASSIFIED) throw error;
      // Databricks looks at the rows and narrows the column. Open-source Spark narrows none before Delta is asked; a constraint keeps every writer to the same.
      await alter(`ADD CONSTRAINT ${column}_not_null CHECK (${column} IS NOT NULL)`);
    });
  }
}

/** Drops these tables with everything in them. */
export async function dropTables(config: Config, names: readonly string[], signal?: AbortSignal): Promise<void> {
  const view = tableNames(config.pipeline).quarantine;
  const sql = await openSql(config, signal);
  try {
    for (const name of names) await Array.fromAsync(sql.rows(`DROP ${name === view ? 'VIEW' : 'TABLE'} IF EXISTS ${name}`));
  } finally {
    await sql.close();
  }
}

function unqualified(name: string): string {
  return name.slice(name.lastIndexOf('.') + 1).replaceAll('`', '');
}
