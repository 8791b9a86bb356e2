import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { loadConfig } from '../src/config/load.ts';
import type { KafkaAccess } from '../src/kafka/connect.ts';
import { clientAccess } from '../src/msk/access.ts';
import { generateTraffic } from '../src/traffic/generator.ts';
import { median, perSecond, type Measured, type Setting } from './setting.ts';

const run_ = promisify(execFile);
const RECORDS = 1_000_000;
const ROUNDS = 3;
const cli = join(import.meta.dirname, '..', 'src', 'cli.ts');

/**
 * `streamgauge produce` against Kafka's own ProducerPerformance: same broker, topic, TLS and SCRAM, acks=all, idempotent, no
 * compression, batches of 256 KiB, the same records; each a process of its own, in turns. Both rates are the programs' own
 * (records by the time from the first to the last acknowledgement, connecting included).
 */
export async function run(setting: Setting): Promise<Measured[]> {
  const config = loadConfig({ cwd: setting.root, target: 'local', vars: [], needsEnvironment: true });
  const topic = config.pipeline.topics[0] as string;
  const access = await clientAccess(config, 'pipeline');
  const folder = await mkdtemp(join(tmpdir(), 'streamgauge-bench-'));
  const rates: Record<'ours' | 'java' | 'javaDefault', number[]> = { ours: [], java: [], javaDefault: [] };
  try {
    const files = await writeFiles(folder, access);
    for (let round = 1; round <= ROUNDS; round += 1) {
      rates.ours.push(await produce(setting.root));
      rates.java.push(await producerPerformance(setting, topic, files, ['batch.size=262144', 'linger.ms=5']));
      rates.javaDefault.push(await producerPerformance(setting, topic, files, []));
      setting.log(`produce, round ${round} of ${ROUNDS}: ${perSecond(rates.ours.at(-1) ?? 0, 'records')}; Java ${perSecond(rates.java.at(-1) ?? 0, 'records')}, with its defaults ${perSecond(rates.javaDefault.at(-1) ?? 0, 'records')}`);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  const [ours, java, javaDefault] = [rates.ours, rates.java, rates.javaDefault].map(median) as [number, number, number];
  return [
    { what: 'produce', value: perSecond(ours, 'records') },
    { what: 'ProducerPerformance, batches of 256 KiB', value: perSecond(java, 'records'), ratio: ours / java },
    { what: 'ProducerPerformance, its default batches', value: perSecond(javaDefault, 'records'), ratio: ours / javaDefault },
  ];
}

async function produce(root: string): Promise<number> {
  const { stdout } = await run_(process.execPath, [cli, 'produce', '--records', String(RECORDS), '--json', '-t', 'local'], { cwd: root, maxBuffer: 1e8 });
  const { records, seconds } = JSON.parse(stdout) as { records: number; seconds: number };
  if (records !== RECORDS) throw new Error(`produce acknowledged ${records} of ${RECORDS} records`);
  return records / seconds;
}

async function producerPerformance({ runtime }: Setting, topic: string, files: { properties: string; payloads: string }, settings: string[]): Promise<number> {
  const args = ['-Xmx512m', '-cp', runtime.kafkaClasspath, 'org.apache.kafka.tools.ProducerPerformance', '--topic', topic, '--num-records', String(RECORDS), '--throughput', '-1', '--payload-file', files.payloads, '--producer.config', files.properties];
  const { stdout } = await run_(runtime.java, settings.length === 0 ? args : [...args, '--producer-props', ...settings], { maxBuffer: 1e8 });
  const last = stdout.trim().split('\n').at(-1) ?? '';
  const rate = Number(/^\d+ records sent, ([\d.]+) records\/sec/.exec(last)?.[1]);
  if (!(rate > 0) || !last.startsWith(`${RECORDS} records sent`)) throw new Error(`ProducerPerformance said: ${stdout.slice(-500)}`);
  return rate;
}

/** Properties with the credentials (mode 0600), and records to choose from: the generator's own. */
async function writeFiles(folder: string, { brokers, sasl }: KafkaAccess): Promise<{ properties: string; payloads: string }> {
  if (sasl.mechanism !== 'scram-sha-512') throw new Error('the bench compares clients that log in by SCRAM');
  const files = { properties: join(folder, 'producer.properties'), payloads: join(folder, 'payloads') };
  const quoted = (text: string): string => `"${text.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
  const properties = {
    'bootstrap.servers': brokers.join(','),
    acks: 'all',
    'enable.idempotence': 'true',
    'security.protocol': 'SASL_SSL',
    'sasl.mechanism': 'SCRAM-SHA-512',
    'sasl.jaas.config': `org.apache.kafka.common.security.scram.ScramLoginModule required username=${quoted(sasl.username)} password=${quoted(sasl.password.reveal())};`,
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': process.env.NODE_EXTRA_CA_CERTS ?? '',
  };
  const lines = Object.entries(properties).map(([name, value]) => `${name}=${value.replaceAll('\\', '\\\\')}\n`);
  const day = 86_400_000;
  const traffic = generateTraffic({ records: 10_000, fromMillis: Date.now() - 2 * day, toMillis: Date.now(), seed: 1, badRatio: 0, keys: [], fields: { timestamp: 'timestamp', value: '流量', key: 'key' } });
  await writeFile(files.properties, lines.join(''), { mode: 0o600 });
  await writeFile(files.payloads, [...traffic].map((record) => record.value).join('\n'));
  return files;
}
