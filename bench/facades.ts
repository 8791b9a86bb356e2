import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv, promisify } from 'node:util';
import { placeIn } from '../src/local/platform.ts';
import { loadConfig } from '../src/config/load.ts';
import { openNotebooks, type Notebooks } from './notebook.ts';
import { median, type Measured, type Setting } from './setting.ts';

const QUERIES = 40;
const ROUNDS = 5;
const MILLION = "SELECT id, CAST(id AS STRING) AS name, CAST(id AS DOUBLE) / 7 AS ratio FROM range(0, 1000000, 1, 4)";

/** What Spark Connect itself needs, from PySpark in a process of its own: milliseconds of `select 1`, of a million rows, of a start. */
const PYSPARK = `
import json, os, statistics, sys, time
t0 = time.time()
from pyspark.sql import SparkSession
spark = SparkSession.builder.remote(os.environ["SPARK_REMOTE"]).getOrCreate()
spark.sql("select 1").collect()
start = (time.time() - t0) * 1000
def measure(n, f):
    times = []
    for _ in range(n):
        t = time.perf_counter(); f(); times.append((time.perf_counter() - t) * 1000)
    return statistics.median(times)
for _ in range(10): spark.sql("select 1").collect()
one = measure(${QUERIES}, lambda: spark.sql("select 1").collect())
million = measure(${ROUNDS}, lambda: spark.sql(sys.argv[1]).toArrow())
print(json.dumps({"one": one, "million": million, "start": start}))
`;

/** The façades against the engines behind them, in one run: what the façade adds. */
export async function run({ root, runtime, sparkPort, log }: Setting): Promise<Measured[]> {
  loadConfig({ cwd: root, target: 'local', vars: [], needsEnvironment: true });
  const environment = parseEnv(readFileSync(placeIn(root).environmentFile, 'utf8')) as Record<string, string>;
  const { sparkToken } = JSON.parse(readFileSync(join(placeIn(root).stateDir, 'credentials.json'), 'utf8')) as Record<string, string>;
  const { stdout } = await promisify(execFile)(runtime.python, ['-c', PYSPARK, MILLION], {
    env: { ...process.env, SPARK_REMOTE: `sc://localhost:${sparkPort}`, SPARK_CONNECT_AUTHENTICATE_TOKEN: sparkToken },
  });
  const spark = JSON.parse(stdout) as { one: number; million: number; start: number };
  log(`PySpark: select 1 ${spark.one.toFixed(1)} ms, a million rows ${spark.million.toFixed(0)} ms`);
  const thrift = await overThrift(environment);
  const rest = await timed(QUERIES, () => statement(environment, 'SELECT 1'));
  const job = await oneCellJob(openNotebooks(root));
  const row = (what: string, ms: number, ratio?: number): Measured => ({ what, value: `${ms.toFixed(ms < 100 ? 1 : 0)} ms`, ratio });
  return [
    row('select 1: PySpark on Spark Connect', spark.one),
    row('select 1: @databricks/sql over Thrift', thrift.one, spark.one / thrift.one),
    row('select 1: statement API', rest, spark.one / rest),
    row('1 M rows: PySpark toArrow()', spark.million),
    row('1 M rows: @databricks/sql, Arrow batches', thrift.arrow, spark.million / thrift.arrow),
    row('1 M rows: @databricks/sql, JavaScript rows', thrift.rows, spark.million / thrift.rows),
    row('Python with a Spark session, bare', spark.start),
    row('one-cell job run, start to end', job, spark.start / job),
  ];
}

async function timed(rounds: number, act: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < rounds + 3; round += 1) {
    const startedAt = performance.now();
    await act();
    // The first three warm up.
    if (round >= 3) times.push(performance.now() - startedAt);
  }
  return median(times);
}

async function overThrift(environment: Record<string, string>): Promise<{ one: number; arrow: number; rows: number }> {
  const { DBSQLClient, LogLevel } = await import('@databricks/sql');
  const logger = { log: (level: string, message: string) => (level === LogLevel.error ? process.stderr.write(`${message}\n`) : undefined) };
  const connect = async (disableRowMaterialization: boolean) => {
    const client = new DBSQLClient({ logger });
    await client.connect({
      host: new URL(environment.DATABRICKS_HOST as string).hostname,
      port: Number(new URL(environment.DATABRICKS_HOST as string).port),
      path: environment.DATABRICKS_HTTP_PATH as string,
      token: environment.DATABRICKS_TOKEN as string,
    });
    const session = await client.openSession();
    const fetchAll = async (sql: string): Promise<void> => {
      const operation = await session.executeStatement(sql, { maxRows: 100_000 });
      if (disableRowMaterialization) await drainArrow(operation);
      else await operation.fetchAll();
      await operation.close();
    };
    return { fetchAll, close: async () => (await session.close(), await client.close()) };
  };
  const rows = await connect(false);
  const one = await timed(QUERIES, () => rows.fetchAll('SELECT 1'));
  const rowsMs = await timed(ROUNDS, () => rows.fetchAll(MILLION));
  await rows.close();
  const arrow = await connect(true);
  const arrowMs = await timed(ROUNDS, () => arrow.fetchAll(MILLION));
  await arrow.close();
  return { one, arrow: arrowMs, rows: rowsMs };
}

/** The driver's Arrow batches before it makes JavaScript rows of them: the way that `query` and `export` read. */
async function drainArrow(operation: unknown): Promise<void> {
  const handler = await (operation as { getResultHandler(): Promise<{ source: { source: { hasMore(): Promise<boolean>; fetchNext(o: { limit: number }): Promise<unknown> } } }> }).getResultHandler();
  const { source } = handler.source;
  while (await source.hasMore()) await source.fetchNext({ limit: 100_000 });
}

async function call(environment: Record<string, string>, path: string, body?: unknown): Promise<any> {
  const answer = await fetch(`${environment.DATABRICKS_HOST}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    headers: { authorization: `Bearer ${environment.DATABRICKS_TOKEN}`, 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function statement(environment: Record<string, string>, sql: string): Promise<void> {
  const warehouse = environment.DATABRICKS_HTTP_PATH?.split('/').at(-1);
  const { status } = await call(environment, '/api/2.0/sql/statements', { statement: sql, warehouse_id: warehouse, wait_timeout: '30s' });
  if (status.state !== 'SUCCEEDED') throw new Error(JSON.stringify(status));
}

async function oneCellJob(notebooks: Notebooks): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) times.push((await notebooks.run<null>('one_cell', 'spark.sql("select 1").collect()\n')).seconds * 1000);
  return median(times);
}
