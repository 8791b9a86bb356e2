import { BINDS_IN_ANALYZER } from './parameters.ts';
import type { Relation, SparkConnect, SparkSession } from './spark-connect.ts';

/** Spark's own catalog, and the names under which a workspace has it too. */
export const SESSION_CATALOG = 'spark_catalog';
export const CATALOGS = ['hive_metastore', 'main', SESSION_CATALOG];

// Databricks' configuration parameters that Spark knows under another name.
const SPARK_NAMES: Record<string, string> = {
  ANSI_MODE: 'spark.sql.ansi.enabled',
  TIMEZONE: 'spark.sql.session.timeZone',
  LEGACY_TIME_PARSER_POLICY: 'spark.sql.legacy.timeParserPolicy',
  MAX_FILE_PARTITION_BYTES: 'spark.sql.files.maxPartitionBytes',
};

export type SessionOptions = { settings?: Record<string, string>; catalog?: string; schema?: string };

/** Opens a session as Databricks would: UTC unless set otherwise, in the wanted catalog and schema; a wrong name fails here. */
export async function openSqlSession(spark: SparkConnect, options: SessionOptions = {}): Promise<SparkSession> {
  const session = spark.openSession();
  try {
    const wanted = Object.entries(options.settings ?? {}).map(([name, value]) => [SPARK_NAMES[name.toUpperCase()] ?? name, value]);
    await session.configure({ 'spark.sql.session.timeZone': 'UTC', ...Object.fromEntries(wanted), ...BINDS_IN_ANALYZER });
    if (options.catalog) await drain(session, { catalog: { set_current_catalog: { catalog_name: sparkCatalog(options.catalog) } } });
    if (options.schema) await drain(session, { catalog: { set_current_database: { db_name: quoted(options.schema) } } });
    return session;
  } catch (error) {
    void session.release().catch(() => {});
    throw error;
  }
}

/** The catalog's name in Spark. */
export function sparkCatalog(name: string): string {
  return CATALOGS.includes(name.toLowerCase()) ? SESSION_CATALOG : name;
}

/** A name as SQL quotes it. */
export function quoted(...parts: string[]): string {
  return parts.map((part) => `\`${part.replaceAll('`', '``')}\``).join('.');
}

async function drain(session: SparkSession, root: Relation): Promise<void> {
  for await (const _response of session.execute({ root }).responses);
}
