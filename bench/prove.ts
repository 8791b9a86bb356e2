import { loadConfig } from '../src/config/load.ts';
import { openNotebooks } from './notebook.ts';
import { median, perSecond, type Measured, type Setting } from './setting.ts';

const RECORDS = 1_000_000;
const ROUNDS = 5;
/** Not counted: until then the JVMs are still compiling. */
const WARM_UP = 8;

/** Reads every record of the topic once and throws it away: the least that Spark can do with Kafka. */
const READ = (topics: string, scope: string): string => `
import json, time
secret = lambda key: dbutils.secrets.get("${scope}", key)
options = {
    "kafka.bootstrap.servers": secret("bootstrap_servers"), "kafka.security.protocol": "SASL_SSL", "kafka.sasl.mechanism": "SCRAM-SHA-512",
    "kafka.sasl.jaas.config": f'org.apache.kafka.common.security.scram.ScramLoginModule required username="{secret("username")}" password="{secret("password")}";',
    "subscribe": "${topics}", "startingOffsets": "earliest", "endingOffsets": "latest",
}
started = time.perf_counter()
spark.read.format("kafka").options(**options).load().write.format("noop").mode("overwrite").save()
dbutils.notebook.exit(json.dumps(time.perf_counter() - started))
`;

/** `prove` over a million records, against the time that Spark takes to read them once from Kafka; in turns. */
export async function run({ root, verb, log }: Setting): Promise<Measured[]> {
  // Names of its own: the million is all there is.
  const vars = ['topics=bench_prove', 'schema=bench_prove', 'index=traffic_windows_bench_prove', `checkpoint_root=file:${root}/checkpoints`];
  const { pipeline } = loadConfig({ cwd: root, target: 'local', vars, needsEnvironment: true });
  const own = (...args: string[]): Promise<any> => verb([...args, ...vars.flatMap((name) => ['--var', name])]);
  const notebooks = openNotebooks(root);
  await own('deploy', '--yes');
  await own('produce', '--records', String(RECORDS), '--seed', '7', '--keys', '10', '--bad-ratio', '0.001', '--from', '2023-01-01T00:00:00Z', '--to', '2023-01-03T00:00:00Z');
  await own('run');
  await own('export');
  const [ours, bare]: number[][] = [[], []];
  let records = 0;
  for (let round = 1 - WARM_UP; round <= ROUNDS; round += 1) {
    const { result: read } = await notebooks.run<number>('kafka_read', READ(pipeline.topics.join(','), pipeline.secret_scope));
    const { seconds, partitions } = await own('prove');
    records = partitions.reduce((sum: number, { brokerRecords }: { brokerRecords: number }) => sum + brokerRecords, 0);
    log(`prove, round ${round} of ${ROUNDS}: ${seconds.toFixed(1)} s for ${records} records; Spark reads them in ${read.toFixed(1)} s`);
    if (round < 1) continue;
    ours?.push(seconds);
    bare?.push(read);
  }
  const [prove, read] = [median(ours ?? []), median(bare ?? [])];
  return [
    { what: `Spark: ${records.toLocaleString('en')} records from Kafka, thrown away`, value: perSecond(records / read, 'records') },
    { what: 'prove, times as long', value: perSecond(records / prove, 'records'), ratio: prove / read },
  ];
}
