import { loadConfig } from '../src/config/load.ts';
import { openNotebooks, openWorkspace } from './notebook.ts';
import { median, perSecond, type Measured, type Setting } from './setting.ts';

const RECORDS = 8_000_000;
const ROUNDS = 3;
/** Not counted: until then the JVMs are still compiling. */
const WARM_UP = 4;
const PARTITIONS = 4;
const DAYS = 2;
const SITES = 10;

/** Good rows of `raw` as ingest leaves them, in the order of their times, over two days of their own. */
const FILL = (raw: string, topic: string, round: number): string => `
spark.sql("""
    INSERT INTO ${raw} (topic, partition, offset, broker_timestamp, record_key, payload, headers, event_time, key, value, error, shard)
    SELECT '${topic}', CAST(id % ${PARTITIONS} AS INT), offset, at, NULL, NULL, NULL, at, concat('site-', pmod(xxhash64(id), ${SITES})), pmod(xxhash64(id, 1), 1000), NULL, offset DIV 100
    FROM (SELECT id, ${round * RECORDS} + id DIV ${PARTITIONS} AS offset, timestamp_millis(${Date.UTC(2024, 6, 1 + round * DAYS)} + id * ${DAYS * 86_400_000} DIV ${RECORDS}) AS at FROM range(${RECORDS}))""")
`;

/** The same statistics, the exact median included, by Spark's own functions, of the same rows, into a Delta table. */
const BARE = (raw: string, from: string, to: string): string => `
spark.sql("""
    CREATE OR REPLACE TABLE ${raw}_bench AS
    SELECT topic, key, window(event_time, '10 minutes').start AS window_start, count(*) AS count, sum(CAST(value AS DECIMAL(38,0))) AS sum, avg(value) AS mean,
           median(value) AS median, stddev_samp(value) AS stddev_samp, min(value) AS min, max(value) AS max
    FROM ${raw} WHERE error IS NULL AND event_time >= '${from}' AND event_time < '${to}' GROUP BY ALL""")
`;

type Task = { task_key: string; notebook_task: { notebook_path: string } };

/** The notebook of the task `windows`, against a bare job that aggregates the same rows of `raw`; both with their Python process and all, in turns. */
export async function run({ root, verb, log }: Setting): Promise<Measured[]> {
  // Names of its own: nobody else's rows are counted.
  const vars = ['topics=bench_windows', 'schema=bench_windows', 'index=traffic_windows_bench_windows', `checkpoint_root=file:${root}/checkpoints_windows`];
  const { pipeline } = loadConfig({ cwd: root, target: 'local', vars, needsEnvironment: true });
  const own = (...args: string[]): Promise<any> => verb([...args, ...vars.flatMap((name) => ['--var', name])]);
  const notebooks = openNotebooks(root);
  const raw = `${pipeline.catalog}.${pipeline.schema}.raw`;
  const { jobs } = await own('deploy', '--yes');
  // The first run makes the tables.
  await own('run');
  const { settings } = await openWorkspace(root)(`/api/2.2/jobs/get?job_id=${jobs.find(({ key }: { key: string }) => key === 'traffic_counter').id}`);
  const { notebook_task: task } = settings.tasks.find(({ task_key: key }: Task) => key === 'windows') as Task;
  const parameters = Object.fromEntries(settings.parameters.map(({ name, default: value }: { name: string; default: string }) => [name, value]));
  const [ours, bare]: number[][] = [[], []];
  for (let round = 1 - WARM_UP; round <= ROUNDS; round += 1) {
    const at = round + WARM_UP - 1;
    await notebooks.run('fill', FILL(raw, pipeline.topics[0] as string, at));
    const { seconds: windows } = await notebooks.runDeployed(task.notebook_path, parameters);
    const [from, to] = [at, at + 1].map((n) => new Date(Date.UTC(2024, 6, 1 + n * DAYS)).toISOString()) as [string, string];
    const { seconds } = await notebooks.run<null>('windows', BARE(raw, from, to));
    log(`windows, round ${round} of ${ROUNDS}: ${windows.toFixed(1)} s; bare ${seconds.toFixed(1)} s`);
    if (round < 1) continue;
    ours?.push(windows);
    bare?.push(seconds);
  }
  const [published, aggregated] = [median(ours ?? []), median(bare ?? [])];
  return [
    { what: 'windows: the notebook of the task', value: perSecond(RECORDS / published, 'records') },
    { what: 'a bare job with the same aggregation', value: perSecond(RECORDS / aggregated, 'records'), ratio: aggregated / published, target: 'at least 0.70' },
  ];
}
