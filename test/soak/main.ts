import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { pause } from '../../src/poll.ts';
import { built } from '../built.ts';
import { copyBundle } from '../config/bundle.ts';
import { randomOf } from './random.ts';
import { openPlatform, type Target } from './platform.ts';
import { openVerbs } from './verbs.ts';

// `npm run soak`: produce, run and export go on while engines and controllers are killed at random; every few minutes, and at the
// end, everything must come to rest and `prove` must be green. The seed gives the same decisions again, though not the same moments.
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    'prove-every': { type: 'string', default: '3' },
    offset: { type: 'string', default: process.env.STREAMGAUGE_PORT_OFFSET ?? '22000' },
    keep: { type: 'boolean', default: false },
  },
});
const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
const startedAt = performance.now();
const log = (line: string): void => console.log(`${((performance.now() - startedAt) / 1000).toFixed(0).padStart(5)} s  ${line}`);
const over = new AbortController();
process.once('SIGINT', () => over.abort());

const root = mkdtempSync(join(tmpdir(), 'streamgauge-soak-'));
built();
copyBundle(root);
// Three brokers, and a second copy; a task is tried again soon.
const bundle = join(root, 'databricks.yml');
const local = { broker_count: 3, replication_factor: 3, min_insync_replicas: 2, partitions: 3 };
writeFileSync(bundle, Object.entries(local).reduce((text, [name, value]) => text.replace(new RegExp(`(  local:[^]*?\\n      ${name}: )\\d+`), `$1${value}`), readFileSync(bundle, 'utf8')).replace('environment_file: required', `environment_file: required\n      backup_uri: file:${root}/copy`));
const job = join(root, 'jobs/traffic_counter.job.yml');
writeFileSync(job, readFileSync(job, 'utf8').replaceAll('min_retry_interval_millis: 15000', 'min_retry_interval_millis: 5000'));

log(`soak of ${minutes} minutes in ${root}; again with: npm run soak -- --minutes ${minutes} --seed ${seed}`);
const random = randomOf(seed);
const platform = await openPlatform(root, Number(values.offset), log);
const verbs = openVerbs(root, log);
const findings: string[] = [];
const kills: Record<string, number> = {};
let [acknowledged, perhaps, batches, proofs] = [0, 0, 0, 0];

try {
  await verbs.must(['deploy', '--yes']);
  // It makes the tables: an export before it would be refused, rightly.
  await verbs.must(['run']);
  const end = performance.now() + minutes * 60_000;
  while (performance.now() < end && !over.signal.aborted && findings.length === 0) {
    const untilMs = Math.min(performance.now() + Number(values['prove-every']) * 60_000, end);
    const isOn = (): boolean => performance.now() < untilMs && !over.signal.aborted;
    await Promise.all([producing(isOn), working(isOn), killing(isOn)]);
    await prove();
  }
} catch (error) {
  findings.push(error instanceof Error ? (error.stack ?? error.message) : String(error));
} finally {
  await platform.stop();
  log(`${batches} batches with ${acknowledged} records acknowledged, ${proofs} proofs; verbs: ${verbs.summary()}; killed: ${Object.entries(kills).map(([name, count]) => `${name} ${count}`).join(', ')}`);
  for (const finding of [...findings, ...verbs.findings]) log(`FOUND ${finding}`);
  process.exitCode = findings.length + verbs.findings.length === 0 ? 0 : 1;
  if (process.exitCode === 0 && !values.keep) rmSync(root, { recursive: true, force: true });
  else log(`its state: ${root}`);
}

/** Batch after batch: mostly the next hours, sometimes hours that are published already. */
async function producing(isOn: () => boolean): Promise<void> {
  while (isOn()) {
    const hour = random.below(5) === 0 ? random.below(batches + 1) : batches;
    const from = Date.UTC(2026, 0, 5) + hour * 3_600_000;
    const records = 500 + random.below(4000);
    const rate = 300 + random.below(2000);
    batches += 1;
    const hours = ['--from', new Date(from).toISOString(), '--to', new Date(from + 7_200_000).toISOString()];
    const { code, result } = await verbs.run(['produce', '--records', String(records), '--rate', String(rate), '--seed', String(batches), '--keys', '5', '--bad-ratio', '0.01', ...hours]);
    if (code === 0) acknowledged += result.records;
    // Killed, or given up: any part of it may be there.
    else perhaps += records;
  }
}

async function working(isOn: () => boolean): Promise<void> {
  while (isOn()) {
    await verbs.run(['run']);
    await verbs.run(['export']);
  }
}

async function killing(isOn: () => boolean): Promise<void> {
  const targets: (Target | 'controller')[] = ['spark', 'broker', 'brokers', 'elasticsearch', 'controller', 'controller', 'controller'];
  while (isOn()) {
    await pause(3000 + random.below(15_000), over.signal).catch(() => undefined);
    const target = targets[random.below(targets.length)] as Target | 'controller';
    const number = random.below(1000);
    const what = target === 'controller' ? verbs.kill(number) : await platform.kill(target, number);
    if (what === undefined || !isOn()) continue;
    kills[target] = (kills[target] ?? 0) + 1;
    log(`killed ${what}`);
  }
}

/** What was left undone is done, and then it must all be there, once. */
async function prove(): Promise<void> {
  await platform.settled();
  await verbs.must(['run']);
  await verbs.must(['run']);
  await verbs.must(['export']);
  const { code, result } = await verbs.run(['prove']);
  proofs += 1;
  if (code !== 0) return void findings.push(`prove ended with ${code}: ${JSON.stringify(result.differences ?? result.error, null, 1)} ${JSON.stringify((result.equations ?? []).filter(({ holds }: any) => !holds))}`);
  const sum = (of: string): number => result.partitions.reduce((total: number, partition: any) => total + partition[of], 0);
  const [there, raw, waiting] = [sum('brokerRecords'), sum('raw'), sum('waiting')];
  log(`proved: ${there} records at the brokers (${acknowledged} acknowledged, up to ${perhaps} more of batches that were cut off), ${raw} in raw, ${result.windows.windows} windows (${result.windows.revised} revised), ${result.documents.same} documents, ${result.backup?.objects} objects`);
  if (there < acknowledged || there > acknowledged + perhaps) findings.push(`${there} records at the brokers, ${acknowledged} were acknowledged and at most ${perhaps} more were sent`);
  if (waiting > 0) findings.push(`${waiting} records at the brokers are not in raw after a run`);
}
