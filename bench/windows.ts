import { loadConfig } from '../src/config/load.ts';
import { openNotebooks } from './notebook.ts';
import { median, perSecond, type Measured, type Setting } from './setting.ts';

const RECORDS = 2_000_000;
const ROUNDS = 3;
const DAY_MS = 86_400_000;

/** The same statistics, the exact median included, by Spark's own functions, of the same rows, into a Delta table. */
const BARE = (raw: string, from: string, to: string): string => `
spark.sql("""
    CREATE OR REPLACE TABLE ${raw}_bench AS
    SELECT topic, key, window(event_time, '10 minutes').start AS window_start, count(*) AS count, sum(CAST(value AS DECIMAL(38,0))) AS sum, avg(value) AS mean,
           median(value) AS median, stddev_samp(value) AS stddev_samp, min(value) AS min, max(value) AS max
    FROM ${raw} WHERE error IS NULL AND event_time >= '${from}' AND event_time < '${to}' GROUP BY ALL""")
`;

/** The task `windows` of the job, against a bare job that aggregates the same rows of `raw`; both with their Python process and all, in turns. */
export async function run({ root, verb, log }: Setting): Promise<Measured[]> {
  const { pipeline } = loadConfig({ cwd: root, target: 'local', vars: [], needsEnvironment: true });
  const notebooks = openNotebooks(root);
  await verb(['deploy', '--yes']);
  const [ours, bare]: number[][] = [[], []];
  // The first round warms both up.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const start = Date.UTC(2024, 6, 1) + round * 2 * DAY_MS;
    const [from, to] = [new Date(start).toISOString(), new Date(start + 2 * DAY_MS).toISOString()] as const;
    await verb(['produce', '--records', String(RECORDS), '--seed', String(round), '--keys', '10', '--from', from, '--to', to]);
    const { tasks } = (await verb(['run'])) as { tasks: { task: string; seconds: number }[] };
    const windows = tasks.find(({ task }) => task === 'windows')?.seconds ?? Number.NaN;
    const { seconds } = await notebooks.run<null>('windows', BARE(`${pipeline.catalog}.${pipeline.schema}.raw`, from, to));
    log(`windows, round ${round} of ${ROUNDS}: ${windows.toFixed(1)} s; bare ${seconds.toFixed(1)} s`);
    if (round === 0) continue;
    ours?.push(windows);
    bare?.push(seconds);
  }
  const [task, job] = [median(ours ?? []), median(bare ?? [])];
  return [
    { what: 'windows: the task of the job', value: perSecond(RECORDS / task, 'records') },
    { what: 'a bare job with the same aggregation', value: perSecond(RECORDS / job, 'records'), ratio: job / task },
  ];
}
