import type { SparkConnect, SparkSession } from '../../spark-connect/client.ts';
import { run } from '../../spark-connect/rows.ts';

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

// Larger batches than Spark's 10,000 rows: what a driver pays for each is more than what it pays for their rows.
const DEFAULTS = { 'spark.sql.session.timeZone': 'UTC', 'spark.sql.execution.arrow.maxRecordsPerBatch': '50000' };
// Without it Delta's parser drops parameters: parameters.ts says how.
const BINDS_IN_ANALYZER = { 'spark.sql.legacy.parameterSubstitution.constantsOnly': 'true' };

export type SessionOptions = { settings?: Record<string, string>; catalog?: string; schema?: string };

/** Opens a session as Databricks would: UTC unless set otherwise, in the wanted catalog and schema; a wrong name fails here. */
export async function openSqlSession(spark: SparkConnect, options: SessionOptions = {}): Promise<SparkSession> {
  const session = spark.openSession();
  const wanted = Object.entries(options.settings ?? {}).map(([name, value]) => [SPARK_NAMES[name.toUpperCase()] ?? name, value]);
  try {
    await session.configure({ ...DEFAULTS, ...Object.fromEntries(wanted), ...BINDS_IN_ANALYZER });
    await useNamespace(session, options);
    return session;
  } catch (error) {
    void session.release().catch(() => {});
    throw error;
  }
}

/** What USE does, with names that are never SQL text. */
export async function useNamespace(session: SparkSession, { catalog, schema }: SessionOptions): Promise<void> {
  if (catalog) await run(session, { catalog: { set_current_catalog: { catalog_name: sparkCatalog(catalog) } } });
  if (schema) await run(session, { catalog: { set_current_database: { db_name: quoted(schema) } } });
}

/** Sessions for one statement each; one that has only been read through is as good as new for the next statement. */
export type SessionPool = {
  take(): Promise<SparkSession>;
  giveBack(session: SparkSession, isUnchanged: boolean): void;
  stop(): Promise<void>;
};

const MOST_KEPT = 4;
// After a pause like this Spark may have dropped it: it does so after an hour, and when it starts again.
const TRUSTED_MS = 5_000;

/** Keeps a few sessions for the statements to come. */
export function sessionPool(spark: SparkConnect): SessionPool {
  const kept: { session: SparkSession; usedAt: number }[] = [];
  const release = (session: SparkSession) => session.release().catch(() => {});
  return {
    take: async () => {
      for (let last = kept.pop(); last; last = kept.pop()) {
        if (Date.now() - last.usedAt < TRUSTED_MS || (await last.session.version().catch(() => undefined))) return last.session;
      }
      return openSqlSession(spark);
    },
    giveBack: (session, isUnchanged) => {
      if (isUnchanged && kept.length < MOST_KEPT) kept.push({ session, usedAt: Date.now() });
      else void release(session);
    },
    stop: async () => {
      await Promise.all(kept.splice(0).map(({ session }) => release(session)));
    },
  };
}

/** The catalog's name in Spark. */
export function sparkCatalog(name: string): string {
  return CATALOGS.includes(name.toLowerCase()) ? SESSION_CATALOG : name;
}

/** A name as SQL quotes it. */
export function quoted(...parts: string[]): string {
  return parts.map((part) => `\`${part.replaceAll('`', '``')}\``).join('.');
}
