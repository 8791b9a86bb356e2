import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { placeIn } from '../src/local/platform.ts';
import { loadConfig } from '../src/config/load.ts';
import { databricksSql, pyspark, type Client } from './clients.ts';
import { openNotebooks, openWorkspace } from './notebook.ts';
import { startReplay } from './replay.ts';
import { median, type Measured, type Setting } from './setting.ts';

const WARM_UPS = 3;
const QUERIES = 41;
const ROUNDS = 5;

/** The façades against the engines behind them, turn by turn in one run: what the façade adds. */
export async function run({ root, runtime, sparkPort, log }: Setting): Promise<Measured[]> {
  loadConfig({ cwd: root, target: 'local', vars: [], needsEnvironment: true });
  const environment = parseEnv(readFileSync(placeIn(root).environmentFile, 'utf8')) as Record<string, string>;
  const { stateDir } = placeIn(root);
  const { sparkToken = '' } = JSON.parse(readFileSync(join(stateDir, 'credentials.json'), 'utf8')) as Record<string, string>;
  const issued = (file: string) => join(stateDir, 'tls', 'issued', file);
  const memory = await startReplay(environment.DATABRICKS_HOST ?? '', { key: issued('streamgauge-https-key.pem'), cert: issued('streamgauge-https.pem') });
  const spark = pyspark(runtime.python, { SPARK_REMOTE: `sc://localhost:${sparkPort}`, SPARK_CONNECT_AUTHENTICATE_TOKEN: sparkToken });
  const driver = databricksSql(environment);
  const alone = databricksSql({ ...environment, DATABRICKS_HOST: memory.url });
  const fromMemory = (what: string) => async () => {
    if (recorded !== what) {
      memory.record();
      await alone.measure(what);
      memory.replay();
      recorded = what;
    }
    return alone.measure(what);
  };
  let recorded = '';
  const [workspace, notebooks] = [openWorkspace(root), openNotebooks(root)];
  const oneCell = async () => (await notebooks.run<null>('one_cell', 'spark.sql("select 1").collect()\n')).seconds * 1000;
  try {
    const start = await spark.measure('start');
    const one = await inTurn(QUERIES, { spark: of(spark, 'one'), thrift: of(driver, 'one'), rest: () => timed(() => statement(workspace, environment, 'SELECT 1')) });
    log(`select 1: ${JSON.stringify(one)}`);
    const arrow = await inTurn(ROUNDS, { spark: of(spark, 'million'), thrift: of(driver, 'batches'), memory: fromMemory('batches') });
    log(`a million rows as Arrow: ${JSON.stringify(arrow)}`);
    const rows = await inTurn(ROUNDS, { spark: of(spark, 'million'), thrift: of(driver, 'rows'), memory: fromMemory('rows') });
    log(`a million rows as JavaScript: ${JSON.stringify(rows)}`);
    const { job } = await inTurn(ROUNDS, { job: oneCell }, 0);
    return table(start, one, arrow, rows, job);
  } finally {
    await Promise.all([spark, driver, alone].map((client) => client.stop()));
    memory.stop();
  }
}

type Three<Name extends string> = Record<'spark' | 'thrift' | Name, number>;

function table(start: number, one: Three<'rest'>, arrow: Three<'memory'>, rows: Three<'memory'>, job: number): Measured[] {
  const line = (what: string, ms: number, more: Partial<Measured> = {}): Measured => ({ what, value: `${ms.toFixed(ms < 100 ? 1 : 0)} ms`, ...more });
  const within30 = (ms: number) => ({ ratio: one.spark / ms, target: `${(ms - one.spark).toFixed(1)} ms more; at most 30` });
  const million = (how: string, { spark, thrift, memory }: Three<'memory'>) => [
    line('1 M rows: PySpark toArrow()', spark),
    line(`1 M rows: @databricks/sql, ${how}`, thrift, { ratio: spark / thrift, target: 'at least 0.50' }),
    line('  the driver alone, its pages in memory', memory, { ratio: spark / memory }),
  ];
  return [
    line('select 1: PySpark on Spark Connect', one.spark),
    line('select 1: @databricks/sql over Thrift', one.thrift, within30(one.thrift)),
    line('select 1: statement API', one.rest, within30(one.rest)),
    ...million('Arrow batches', arrow),
    ...million('JavaScript rows', rows),
    line('Python with a Spark session, bare', start),
    line('one-cell job run, start to end', job, { ratio: start / job, target: `${((job - start) / 1000).toFixed(1)} s more; at most 2` }),
  ];
}

const of = (client: Client, what: string) => () => client.measure(what);

/** The median of each, measured one after the other in every round, so that what else the machine does meets all of them. */
async function inTurn<Name extends string>(rounds: number, work: Record<Name, () => Promise<number>>, warmUps = WARM_UPS): Promise<Record<Name, number>> {
  const names = Object.keys(work) as Name[];
  const times = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let round = -warmUps; round < rounds; round += 1) {
    for (const name of names) {
      const ms = await work[name]();
      if (round >= 0) times[name].push(ms);
    }
  }
  return Object.fromEntries(names.map((name) => [name, median(times[name])])) as Record<Name, number>;
}

async function timed(act: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await act();
  return performance.now() - startedAt;
}

async function statement(call: ReturnType<typeof openWorkspace>, environment: Record<string, string>, sql: string): Promise<void> {
  const warehouse = environment.DATABRICKS_HTTP_PATH?.split('/').at(-1);
  const { status } = await call('/api/2.0/sql/statements', { statement: sql, warehouse_id: warehouse, wait_timeout: '30s' });
  if (status.state !== 'SUCCEEDED') throw new Error(JSON.stringify(status));
}

