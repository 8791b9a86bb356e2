import type { DBSQLClient } from '@databricks/sql';
import type { Config } from '../config/config.ts';
import { Failure } from '../errors.ts';
import type { Cell, Column } from './arrow.ts';
import { connect } from './client.ts';
import { sqlFailure } from './sql-failures.ts';

export type { Cell, Column };
export type Row = Record<string, Cell>;
export type SqlParameters = Readonly<Record<string, string | number | bigint | boolean | null>>;

/** A statement's result: columns at once, rows in batches as they are asked for. Read to the end, or `return` early to let go of it. */
export type SqlResult = Readonly<{ columns: readonly Column[]; batches: AsyncGenerator<Cell[][], void, void> }>;

/** An open session at a SQL warehouse. */
export type Sql = Readonly<{
  /** Runs one statement; parameters are bound by name (`:name`), never spliced. */
  execute(statement: string, parameters?: SqlParameters): Promise<SqlResult>;
  /** The rows of one statement as objects, in its order; of columns that share a name, the last wins. */
  rows(statement: string, parameters?: SqlParameters): AsyncGenerator<Row, void, void>;
  /** Names of the columns of one table that take no null, as the catalog tells them (no statement of Delta does); undefined where it tells of no such table. */
  notNullColumns(catalog: string, schema: string, table: string): Promise<string[] | undefined>;
  close(): Promise<void>;
}>;

/** Rows in one fetch: what bounds the memory of a result, whatever its size. */
const FETCH_ROWS = 50_000;

/** JDBC's columnNoNulls, which Thrift's GetColumns has as well. */
const NO_NULLS = 0;

type Session = Awaited<ReturnType<DBSQLClient['openSession']>>;
type Operation = Awaited<ReturnType<Session['executeStatement']>>;

/** Opens a session at the configured warehouse, with the pipeline's catalog and schema as defaults where they exist; `signal` cancels what runs. */
export async function openSql(config: Config, signal?: AbortSignal): Promise<Sql> {
  const path = config.databricks.httpPath;
  if (!path) throw noWarehouse(config.target);
  const workspace = await connect(config.databricks, { signal });
  const headers = await workspace.authorization();
  const { DBSQLClient: Client } = await import('@databricks/sql');
  const client = new Client({ logger: { log: () => undefined } });
  const url = new URL(workspace.host);
  const translate = (error: unknown): Failure => {
    signal?.throwIfAborted();
    return sqlFailure(workspace.host, path, error);
  };
  let session: Session;
  try {
    await client.connect({
      host: url.hostname,
      port: Number(url.port) || 443,
      path,
      authType: 'custom',
      provider: { authenticate: async () => ({ ...headers, ...(await workspace.authorization()) }) },
      telemetryEnabled: false,
      userAgentEntry: 'streamgauge/0.1',
      retryMaxAttempts: 4,
      retriesTimeout: 60_000,
      retryDelayMax: 10_000,
    });
    session = await openSession(client, config);
  } catch (error) {
    await client.close().catch(() => undefined);
    throw translate(error);
  }
  const execute = (statement: string, parameters?: SqlParameters): Promise<SqlResult> => run(session, { statement, parameters, signal, translate });
  return {
    execute,
    async *rows(statement, parameters) {
      const { columns, batches } = await execute(statement, parameters);
      for await (const batch of batches) for (const cells of batch) yield Object.fromEntries(columns.map((column, at) => [column.name, cells[at] ?? null]));
    },
    async notNullColumns(...table) {
      try {
        return await notNullColumns(session, table);
      } catch (error) {
        throw translate(error);
      }
    },
    async close() {
      // A session that cannot be closed any more is closed by the warehouse.
      await session.close().catch(() => undefined);
      await client.close().catch(() => undefined);
    },
  };
}

/** Before the first run the schema does not exist yet: arbitrary SQL must work all the same. */
async function openSession(client: DBSQLClient, { pipeline }: Config): Promise<Session> {
  try {
    return await client.openSession({ initialCatalog: pipeline.catalog, initialSchema: pipeline.schema });
  } catch (error) {
    const isAnswer = typeof error === 'object' && error !== null && 'name' in error && error.name === 'Status Error';
    if (!isAnswer) throw error;
    return client.openSession();
  }
}

type Running = { statement: string; parameters: SqlParameters | undefined; signal: AbortSignal | undefined; translate(error: unknown): Failure };

async function run(session: Session, { statement, parameters, signal, translate }: Running): Promise<SqlResult> {
  let operation: Operation | undefined;
  const cancel = (): void => void operation?.cancel().catch(() => undefined);
  const letGo = async (): Promise<void> => {
    signal?.removeEventListener('abort', cancel);
    await operation?.close().catch(() => undefined);
  };
  try {
    signal?.throwIfAborted();
    signal?.addEventListener('abort', cancel, { once: true });
    // No CloudFetch: its links expire, and whoever reads a result slowly (an export) would lose the rest of it.
    operation = await session.executeStatement(statement, { namedParameters: { ...parameters }, maxRows: FETCH_ROWS, useCloudFetch: false });
    // An interrupt that came while the statement was being sent found nothing to cancel.
    if (signal?.aborted) cancel();
    else await operation.finished();
    signal?.throwIfAborted();
    const source = await arrowSource(operation);
    if (source === undefined) {
      await letGo();
      return { columns: [], batches: noRows() };
    }
    const { columnsOf } = await import('./arrow.ts');
    const columns = columnsOf(source.arrowSchema).map((column, at) => ({ ...column, type: declaredDecimal(source.declared[at]) ?? column.type }));
    return { columns, batches: batchesOf(source, { signal, translate, letGo }) };
  } catch (error) {
    await letGo();
    throw translate(error);
  }
}

type ColumnRow = { TABLE_CAT?: string; TABLE_SCHEM?: string; TABLE_NAME?: string; COLUMN_NAME?: string; NULLABLE?: number };

async function notNullColumns(session: Session, [catalog, schema, table]: [string, string, string]): Promise<string[] | undefined> {
  const is = (found: string | undefined, wanted: string): boolean => found?.toLowerCase() === wanted.toLowerCase();
  const ask = async (named: (name: string) => string): Promise<string[] | undefined> => {
    const operation = await session.getColumns({ catalogName: catalog, schemaName: named(schema), tableName: named(table) });
    const rows = ((await operation.fetchAll()) as ColumnRow[]).filter((row) => is(row.TABLE_SCHEM, schema) && is(row.TABLE_NAME, table));
    await operation.close();
    // A catalog may be told by another of its names, or with one whose name is alike.
    const own = rows.filter((row) => is(row.TABLE_CAT, catalog));
    const columns = own.length > 0 ? own : rows;
    // IS_NULLABLE is not looked at: Spark's own Thrift server answers YES whatever it is.
    return columns.length === 0 ? undefined : columns.flatMap(({ COLUMN_NAME: name = '', NULLABLE: nullable }) => (nullable === NO_NULLS ? [name] : []));
  };
  // Names are patterns, in which `_` is any character, itself included: where it cannot be escaped, more is answered than is asked for.
  return (await ask((name) => name.replaceAll('_', '\\_'))) ?? (await ask((name) => name));
}

async function* noRows(): AsyncGenerator<Cell[][], void, void> {}

/** What the warehouse says of a column beside its Arrow schema: Thrift's own type, of which only decimals are looked at. */
type Declared = { typeDesc?: { types?: { primitiveEntry?: { type?: number; typeQualifiers?: { qualifiers?: Record<string, { i32Value?: number }> } } }[] } };
/** DECIMAL_TYPE of Thrift's TTypeId. */
const DECIMAL_TYPE = 15;

/** A decimal may travel as text to stay exact: the column is a decimal all the same. */
function declaredDecimal(column: Declared | undefined): string | undefined {
  const entry = column?.typeDesc?.types?.[0]?.primitiveEntry;
  const { precision, scale } = entry?.typeQualifiers?.qualifiers ?? {};
  return entry?.type === DECIMAL_TYPE && precision !== undefined ? `DECIMAL(${precision.i32Value ?? 10},${scale?.i32Value ?? 0})` : undefined;
}

type ArrowSource = { declared: Declared[]; arrowSchema: Buffer; hasMore(): Promise<boolean>; fetchNext(options: { limit: number }): Promise<{ batches: Buffer[]; rowCount: number }> };

/**
 * The driver's own Arrow batches, from behind its row converter. Its public rows lose microseconds, nested 64-bit integers and all but
 * one of the columns that share a name, also with `preserveBigNumericPrecision`. The way in is the driver's `getResultHandler`
 * (2.1.0, pinned); should a release change it, this throws rather than returning something less exact.
 */
async function arrowSource(operation: Operation): Promise<ArrowSource | undefined> {
  const schema = await operation.getSchema();
  if (schema === null) return undefined;
  type Handler = { source?: { source?: Partial<ArrowSource> } };
  const handler = await (operation as unknown as { getResultHandler?: () => Promise<Handler> }).getResultHandler?.();
  const source = handler?.source?.source;
  if (source?.arrowSchema !== undefined && typeof source.fetchNext === 'function' && typeof source.hasMore === 'function') {
    return Object.assign(source, { declared: schema.columns as Declared[] }) as ArrowSource;
  }
  throw new Failure({
    code: 'SQL_RESULT_NOT_ARROW',
    kind: 'remote',
    message: 'the SQL endpoint answered in a format other than Arrow, which cannot be read exactly',
    hint: 'Use a SQL warehouse or a cluster with Databricks Runtime 12 or later.',
  });
}

type Reading = { signal: AbortSignal | undefined; translate(error: unknown): Failure; letGo(): Promise<void> };

async function* batchesOf(source: ArrowSource, { signal, translate, letGo }: Reading): AsyncGenerator<Cell[][], void, void> {
  const { rowsOf } = await import('./arrow.ts');
  try {
    while (await source.hasMore()) {
      signal?.throwIfAborted();
      const { batches, rowCount } = await source.fetchNext({ limit: FETCH_ROWS });
      if (batches.length > 0) yield* rowsOf(batches, rowCount);
    }
    signal?.throwIfAborted();
  } catch (error) {
    throw translate(error);
  } finally {
    await letGo();
  }
}

function noWarehouse(target: string): Failure {
  return new Failure({
    code: 'WAREHOUSE_MISSING',
    kind: 'usage',
    message: `target ${target} names no SQL warehouse`,
    hint: 'Set the variable warehouse_id (`--var warehouse_id=...`) or DATABRICKS_HTTP_PATH=/sql/1.0/warehouses/<id>.',
  });
}
