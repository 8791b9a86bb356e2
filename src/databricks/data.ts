import type { Config } from '../config/config.ts';
import { windowMinutesOf } from './rebuild.ts';
import { openSql } from './sql.ts';
import { tableNames } from './tables.ts';

/** The pipeline's tables that exist, by quoted name, the view first: it reads one of the others. */
export async function findTables(config: Config, signal?: AbortSignal): Promise<string[]> {
  return (await observeTables(config, signal)).tables;
}

/** The same, and the length of the windows that are published; undefined where there are none. */
export async function observeTables(config: Config, signal?: AbortSignal): Promise<{ tables: string[]; windowMinutes: number | undefined }> {
  const names = tableNames(config.pipeline);
  const sql = await openSql(config, signal);
  try {
    const there = new Set<string>();
    const schemas = await Array.fromAsync(sql.rows(`SHOW SCHEMAS IN \`${config.pipeline.catalog}\``));
    if (!schemas.some((row) => Object.values(row).includes(config.pipeline.schema))) return { tables: [], windowMinutes: undefined };
    const listed = sql.rows(`SHOW TABLES IN \`${config.pipeline.catalog}\`.\`${config.pipeline.schema}\``);
    for await (const row of listed) there.add(String(row.tableName));
    const { rebuiltWindows, rebuiltLateRecords, rebuiltJudged, replacedWindows, replacedLateRecords, replacedJudged } = names;
    const all = [names.quarantine, names.replays, rebuiltWindows, rebuiltLateRecords, rebuiltJudged, replacedWindows, replacedLateRecords, replacedJudged, names.windows, names.lateRecords, names.shards, names.raw];
    const tables = all.filter((name) => there.has(unqualified(name)));
    return { tables, windowMinutes: tables.includes(names.windows) ? await windowMinutesOf(sql, names.windows) : undefined };
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
