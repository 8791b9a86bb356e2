import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { topicOffsets } from '../../src/kafka/offsets.ts';
import { clientAccess } from '../../src/msk/access.ts';
import { poll } from '../../src/poll.ts';
import { elasticsearch } from './elasticsearch.ts';
import { aimAt, checkpoint, deltaTable, killEngine, reached } from '../local/engines.ts';
import { createProject, type Project, type RunOptions } from './project.ts';

const CLUSTER = 'sg-faults';
const SCHEMA = 's_faults';
const INDEX = 'traffic_windows_faults';
const RECORDS = 40_000;
const DAY = ['--from', '2026-01-05T00:00:00Z', '--to', '2026-01-06T00:00:00Z'];

// kill -9 in the middle of what each engine and the controller do, and the next run has everything, once. The scenarios are one day of
// accidents: what is produced under the first is windowed under the second and exported under the third; then all of it is proved.
describe('killed in the middle', () => {
  let project: Project;
  let config: Config;
  const { stateDir } = inject('platform');

  const raw = () => ({ ...checkpoint(config.pipeline.checkpoint_root, 'raw'), ...deltaTable(stateDir, SCHEMA, 'raw') });
  const windows = () => ({ ...checkpoint(config.pipeline.checkpoint_root, 'windows'), ...deltaTable(stateDir, SCHEMA, 'windows') });
  const atBrokers = async (): Promise<number> => (await topicOffsets(await clientAccess(config, 'pipeline'), config.pipeline.topics)).reduce((sum, { start, end }) => sum + Number(end - start), 0);
  const documents = async (): Promise<number> => {
    await elasticsearch('POST', `/${INDEX}/_refresh`);
    return JSON.parse(await elasticsearch('GET', `/${INDEX}/_count`)).count;
  };

  beforeAll(async () => {
    project = createProject('faults', { cluster_name: CLUSTER, broker_count: 3, partitions: 3, replication_factor: 3, min_insync_replicas: 2 });
    // As it is, but for the pause before a task is tried again.
    const job = join(project.folder, 'jobs/traffic_counter.job.yml');
    writeFileSync(job, readFileSync(job, 'utf8').replaceAll('min_retry_interval_millis: 15000', 'min_retry_interval_millis: 5000'));
    config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
    await project.json(['deploy', '--yes']);
  });

  afterAll(async () => {
    await project.json(['destroy', '--yes', '--force']);
  });

  it('one of three brokers, then all three, while records are produced: each record is there, once', async () => {
    const kills = [
      { after: 0, kill: () => killEngine(stateDir, 'broker', CLUSTER, 2) },
      { after: RECORDS / 2, kill: () => killEngine(stateDir, 'broker', CLUSTER) },
    ];
    const killed: Promise<void>[] = [];
    const produced = await project.json(['produce', '--records', String(RECORDS), '--rate', '8000', ...DAY, '--keys', '150', '--bad-ratio', '0.01', '--seed', '4', '--events'], {
      onStderr(text) {
        const acknowledged = Number(/.*"text":"([\d,]+) records acknowledged/s.exec(text)?.[1]?.replaceAll(',', '') ?? Number.NaN);
        if (acknowledged > (kills[0]?.after ?? Infinity)) killed.push((kills.shift() as (typeof kills)[number]).kill());
      },
    });
    await Promise.all(killed);
    expect([killed.length, produced.records, await atBrokers()]).toEqual([2, RECORDS, RECORDS]);
  });

  it('Spark in an ingest, in windows and in their MERGE, and the controller that waits for it: one run, tried again by itself', async () => {
    const left = await project.cli(['run'], killedOnce(/run \d{5}/));
    expect(left.code).toBeNull();
    const followed = project.json(['run']);
    const ended = followed.then((report): never => {
      throw new Error(`the run ended: ${JSON.stringify(report.tasks)}`);
    });
    ended.catch(() => undefined);
    /** Kills Spark the moment that the files say it is there; waits for Spark itself first, which may have been killed just before. */
    const killSpark = async (what: string, isThere: () => boolean): Promise<void> => {
      const kill = await poll({ what: 'Spark', deadlineMs: 60_000, intervalMs: 100, maxIntervalMs: 200 }, async () => { try { return aimAt(stateDir, 'spark'); } catch { return undefined; } });
      await Promise.race([reached(what, isThere), ended]);
      await kill();
    };
    // The table has the micro-batch, and the stream does not know that.
    await killSpark('the commit of ingest', () => raw().versions === 2);
    expect(raw()).toMatchObject({ begun: 1, done: 0, versions: 2 });
    await killSpark('windows at work', () => windows().begun === 1);
    expect(windows()).toMatchObject({ versions: 1, files: 0 });
    // The stream of late rows is through, and had none; what closed is being published.
    await killSpark('the MERGE', () => windows().files > 0);
    expect(windows()).toMatchObject({ begun: 1, done: 1, versions: 1 });
    const report = await followed;
    expect(report).toMatchObject({ reattached: true, outcome: { ok: true } });
    expect(Object.fromEntries(report.tasks.map(({ task, attempt }: any) => [task, attempt]))).toMatchObject({ ingest: 1, windows: 2 });
    // The second attempt says what the two of them took.
    expect((await project.cli(['run', 'logs', String(report.runId)])).stdout).toContain(`ingest: ${RECORDS} records into`);
  }, 900_000);

  it('the controller, then Elasticsearch, in the middle of a bulk: the next export has every document, once', async () => {
    const [[all]] = (await project.json(['query', 'SELECT count(*) FROM windows'])).rows;
    expect((await project.cli(['export', '--events'], killedOnce(/"update"/))).code).toBeNull();
    const after = await documents();
    expect([after > 0, after < all]).toEqual([true, true]);
    let killed: Promise<void> | undefined;
    await project.cli(['export', '--events'], { onStderr: (text) => void (killed ??= text.includes('"update"') ? killEngine(stateDir, 'elasticsearch') : undefined) });
    await killed;
    await poll({ what: 'Elasticsearch', deadlineMs: 180_000, intervalMs: 300 }, () => elasticsearch('GET', '/_cluster/health').catch(() => undefined));
    await project.json(['export']);
    expect(await documents()).toBe(all);
  });

  it('and prove is green: everything that was acknowledged, nothing twice', async () => {
    const certificate = await project.json(['prove']);
    expect(certificate).toMatchObject({ proved: true, differences: [], windows: { waiting: 0, revised: 0 }, documents: { waiting: 0 } });
    const sum = (of: string): number => certificate.partitions.reduce((total: number, partition: any) => total + partition[of], 0);
    expect([sum('brokerRecords'), sum('raw'), sum('distinct')]).toEqual([RECORDS, RECORDS, RECORDS]);
    expect(certificate.documents.same).toBe(certificate.windows.windows);
  });
});

function killedOnce(said: RegExp): RunOptions {
  return { onStderr: (text, kill) => { if (said.test(text)) kill('SIGKILL'); } };
}
