import type { Config } from '../config/config.ts';
import { Failure } from '../errors.ts';
import { DEFINITIONS, shapeOf, type TableShape, type TableStep } from './shapes.ts';
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

/** The same, and how those are made that the job makes, by unqualified name: one statement for each, side by side. */
export async function observeTables(config: Config, signal?: AbortSignal): Promise<{ tables: string[]; shapes: Record<string, TableShape> }> {
  const sql = await openSql(config, signal);
  try {
    const tables = await listTables(sql, config);
    const described = tables.filter((name) => unqualified(name) in DEFINITIONS);
    const shapes = await Promise.all(described.map(async (name) => [unqualified(name), shapeOf(await Array.fromAsync(sql.rows(`DESCRIBE TABLE EXTENDED ${name}`)))] as const));
    return { tables, shapes: Object.fromEntries(shapes) };
  } finally {
    await sql.close();
  }
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

/** Gives tables the columns that they lack. */
export async function applyTableSteps(config: Config, steps: readonly TableStep[], signal?: AbortSignal): Promise<void> {
  const { catalog, schema } = config.pipeline;
  const sql = await openSql(config, signal);
  try {
    for (const { table, columns } of steps) await Array.fromAsync(sql.rows(`ALTER TABLE \`${catalog}\`.\`${schema}\`.\`${table}\` ADD COLUMNS (${columns.map(({ name, type }) => `${name} ${type}`).join(', ')})`));
  } finally {
    await sql.close();
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
