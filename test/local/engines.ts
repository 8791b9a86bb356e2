import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { poll } from '../../src/poll.ts';
import { allGone } from './processes.ts';

/** What the command line of an engine's JVM says of it. */
const ENGINES = {
  spark: /SparkSubmit .*spark_server\.py/,
  elasticsearch: /org\.elasticsearch\.bootstrap\.Elasticsearch/,
  broker: /kafka\.Kafka /,
};
export type Engine = keyof typeof ENGINES;

/** The processes of an engine of the platform that keeps its state there; brokers only of one cluster, perhaps one of them. */
function processesOf(stateDir: string, engine: Engine, within: string): number[] {
  const lines = execFileSync('ps', ['-A', '-ww', '-o', 'pid=,args='], { encoding: 'utf8', maxBuffer: 2 ** 26 }).trim().split('\n');
  const ours = lines.filter((line) => line.includes(`${stateDir}/`) && ENGINES[engine].test(line) && line.includes(within));
  return ours.map((line) => Number.parseInt(line, 10));
}

/** kill -9, as nothing can be caught; returns when the processes are gone. Brokers: all of the cluster with this name, or the one with this number. */
export async function killEngine(stateDir: string, engine: Engine, cluster?: string, broker?: number): Promise<void> {
  await aimAt(stateDir, engine, cluster, broker)();
}

/** Looks for the processes now, so that no time is lost when they are to be killed. */
export function aimAt(stateDir: string, engine: Engine, cluster?: string, broker?: number): () => Promise<void> {
  const within = cluster === undefined ? '' : join(folderOf(stateDir, cluster), broker === undefined ? '' : `broker-${broker}/`);
  const pids = processesOf(stateDir, engine, within);
  if (pids.length === 0) throw new Error(`there is no ${engine} ${within}`);
  return async () => {
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // Gone meanwhile: a launcher that only started the engine.
      }
    }
    await allGone(pids);
  };
}

function folderOf(stateDir: string, cluster: string): string {
  const msk = join(stateDir, 'msk');
  const records = readdirSync(join(msk, 'clusters')).map((file) => JSON.parse(readFileSync(join(msk, 'clusters', file), 'utf8')) as { name: string; arn: string });
  const { arn = '' } = records.find(({ name }) => name === cluster) ?? {};
  return join(msk, 'kafka', arn.slice(arn.lastIndexOf('/') + 1));
}

/** Waits for a state that files show, looking often: what is waited for may last for some hundredths of a second. */
export async function reached(what: string, isThere: () => boolean, deadlineMs = 300_000): Promise<void> {
  await poll({ what, deadlineMs, intervalMs: 2, maxIntervalMs: 2 }, async () => (isThere() ? true : undefined));
}

/** A streaming query's checkpoint: which micro-batches were begun, and which are done. */
export function checkpoint(root: string, query: string): { begun: number; done: number } {
  const folder = join(root.startsWith('file:') ? fileURLToPath(root) : root, query);
  return { begun: count(join(folder, 'offsets'), /^\d+$/), done: count(join(folder, 'commits'), /^\d+$/) };
}

/** A Delta table on the platform's disk: versions in its log, and Parquet files, committed or not. */
export function deltaTable(stateDir: string, schema: string, table: string): { versions: number; files: number } {
  const folder = join(stateDir, 'spark', 'warehouse', `${schema}.db`, table);
  return { versions: count(join(folder, '_delta_log'), /^\d+\.json$/), files: count(folder, /^[^.].*\.parquet$/) };
}

function count(folder: string, name: RegExp): number {
  return existsSync(folder) ? readdirSync(folder).filter((file) => name.test(file)).length : 0;
}
