import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { loadConfig } from '../../src/config/load.ts';
import { topicOffsets } from '../../src/kafka/offsets.ts';
import { openReader, type BrokerRecord } from '../../src/kafka/read.ts';
import { clientAccess } from '../../src/msk/access.ts';
import { hdfsJar, startHdfs, type Hdfs } from '../witness/hdfs.ts';
import { abfss } from '../witness/stores/abfss.ts';
import { settingsOf, stores } from '../witness/stores/hadoop.ts';
import { s3a } from '../witness/stores/s3a.ts';
import type { Bucket, Store } from '../witness/stores/store.ts';
import { createProject, type Project } from './project.ts';

const { runtime, hadoopDir, stateDir } = inject('platform');
const jar = await hdfsJar(runtime);
const settings = settingsOf(hadoopDir);

// Hadoop's own file system, a NameNode and a DataNode, as the place of the second copy and of the windows; and three stores of objects for the second copy.
describe.skipIf(jar === undefined)('backup and windows elsewhere than on files', () => {
  let hdfs: Hdfs;
  let project: Project;
  let sealed: number;
  const rows = async (sql: string): Promise<any[][]> => (await project.json(['query', sql])).rows;
  /** Files below a folder, each with its size and the time it was written. */
  const files = async (folder: string): Promise<string[]> => (await hdfs.fs('-ls', '-R', folder)).split('\n').filter((line) => line.startsWith('-') && line.includes('/part-')).sort();
  const pathOf = (line: string): string => line.slice(line.indexOf(' /') + 1);
  const daysOf = (paths: string[]): string[] => [...new Set(paths.map((path) => /day=([\d-]+)/.exec(path)?.[1] ?? path))].sort();
  /** How many rows the table has that these files have not, and the other way round. */
  const differingWindows = async (uri: string): Promise<unknown> => {
    const columns = 'SELECT topic, key, window_start, count, CAST(sum AS STRING), median, revision, sequence';
    const [table, written] = [`${columns} FROM windows`, `${columns} FROM parquet.\`${uri}\``];
    return (await rows(`SELECT (SELECT count(*) FROM (${table} EXCEPT ${written})), (SELECT count(*) FROM (${written} EXCEPT ${table}))`))[0];
  };

  beforeAll(async () => {
    hdfs = await startHdfs(runtime, jar as string);
    project = createProject('hdfs', { partitions: 1, shard_size: 20, allowed_lateness_minutes: 0, backup_uri: `${hdfs.uri}/backup`, windows_uri: `${hdfs.uri}/windows` });
    await project.json(['provision']);
    await project.json(['produce', '--records', '200', '--from', '2026-01-05T20:00:00Z', '--to', '2026-01-06T04:00:00Z', '--seed', '3', '--bad-ratio', '0.05']);
    await project.json(['deploy']);
    await project.json(['run']);
  });

  afterAll(() => hdfs?.stop());

  it('a run writes one object a sealed shard, the manifest, and the days of the windows', async () => {
    const [[counted]] = (await rows('SELECT count(*) FROM shards WHERE sealed')) as [[number]];
    sealed = counted;
    expect(sealed).toBeGreaterThan(5);
    expect((await files('/backup/shards')).length).toBe(sealed);
    expect((await files('/backup/manifest')).length).toBe(1);
    expect(daysOf(await files('/windows'))).toEqual(['2026-01-05', '2026-01-06']);
    expect(await differingWindows(`${hdfs.uri}/windows`)).toEqual([0, 0]);
  });

  it('the next run writes nothing again, and takes away a day that has no windows', async () => {
    const before = [await files('/backup'), await files('/windows')];
    const [one] = (await files('/windows')).map(pathOf) as [string];
    await hdfs.fs('-mkdir', '/windows/day=2026-01-01');
    await hdfs.fs('-cp', one, '/windows/day=2026-01-01/');
    await project.json(['run']);
    expect([await files('/backup'), await files('/windows')]).toEqual(before);
  });

  /** How many rows a restored table has that `raw` has not in its sealed shards, and the other way round. */
  const differing = async (table: string): Promise<unknown> => {
    const columns = 'topic, partition, offset, broker_timestamp, record_key, payload, to_json(headers), event_time, key, value, error, shard';
    const ofSealed = 'raw SEMI JOIN (SELECT * FROM shards WHERE sealed) USING (topic, partition, shard)';
    const [[over, under]] = (await rows(`SELECT (SELECT count(*) FROM (SELECT ${columns} FROM ${table} EXCEPT ALL SELECT ${columns} FROM ${ofSealed})), (SELECT count(*) FROM (SELECT ${columns} FROM ${ofSealed} EXCEPT ALL SELECT ${columns} FROM ${table}))`)) as [number[]];
    return [over, under];
  };

  it('gives the records back as they were, into a table', async () => {
    await project.json(['restore', '--to', 'table:again']);
    expect(await differing('again')).toEqual([0, 0]);
  });

  it('and into a topic', async () => {
    const restored = await project.json(['restore', '--to', 'topic:traffic_hdfs_again']);
    const access = await clientAccess(loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true }), 'admin');
    const reader = await openReader(access);
    const read = async (topic: string): Promise<BrokerRecord[]> => {
      const [offsets] = await topicOffsets(access, [topic]);
      return (await Array.fromAsync(reader.read({ topic, partition: 0, from: 0n, to: offsets?.end ?? 0n }))).flat();
    };
    const [again, before] = [await read('traffic_hdfs_again'), await read('traffic_hdfs')];
    await reader.close();
    expect(restored.records).toBe(sealed * 20);
    expect(again).toEqual(before.slice(0, sealed * 20));
  });

  it('names an object that is missing and one that is another', async () => {
    const object = async (shard: number): Promise<string> => pathOf((await files(`/backup/shards/topic=traffic_hdfs/partition=0/shard=${shard}`))[0] as string);
    await hdfs.fs('-cp', '-f', await object(1), await object(4));
    await hdfs.fs('-rm', '-skipTrash', await object(2));
    const { verified } = await project.json(['backup', 'verify'], { code: 6 });
    // Those two; every other one is good, and stands in the tree.
    expect(verified).toMatchObject({ objects: sealed - 1, unlisted: 0, not_backed_up: 0, problem_count: 2, partitions: [{ partition: 0, shards: sealed - 2 }] });
    expect(verified.problems).toEqual([
      { topic: 'traffic_hdfs', partition: 0, shard: 2, problem: 'its object is missing' },
      { topic: 'traffic_hdfs', partition: 0, shard: 4, problem: expect.stringContaining('the records with the offsets 80, 81') },
    ]);
  });

  for (const store of stores) {
    describe.skipIf(!(store.endpoint in settings))(`on ${store.scheme}`, () => {
      let bucket: Bucket;
      let there: string[];
      const on = (...args: string[]): string[] => [...args, '--var', `backup_uri=${bucket.uri}/copy`];
      /** For `it.each`: a sentence that runs on one of the stores, and is not counted as skipped on the others. */
      const only = (one: Store): Store[] => [one].filter((wanted) => wanted === store);
      const object = (shard: number): string => there.find((key) => key.includes(`/shard=${shard}/`)) as string;

      beforeAll(async () => {
        bucket = await store.start({ runtime, settings, stateDir, folder: hadoopDir as string });
      });

      afterAll(() => bucket?.stop());

      it('one object a sealed shard and one of the manifest, nothing of what lay there on the way, and nothing again', async () => {
        expect((await project.json(on('backup'))).backup).toMatchObject({ uri: `${bucket.uri}/copy`, written: sealed, adopted: 0 });
        there = (await bucket.keys()).filter((key) => !key.endsWith('/_SUCCESS'));
        expect(there.filter((key) => /^copy\/shards\/topic=traffic_hdfs\/partition=0\/shard=\d+\/part-[^/]+\.gz$/.test(key)).length).toBe(sealed);
        expect(there.filter((key) => /^copy\/manifest\/run=[^/]+\/part-[^/]+\.gz$/.test(key)).length).toBe(1);
        expect(there.length).toBe(sealed + 1);
        expect((await project.json(on('backup'))).backup).toMatchObject({ written: 0, adopted: 0 });
        expect((await bucket.keys()).filter((key) => !key.endsWith('/_SUCCESS'))).toEqual(there);
      });

      // A run takes ten seconds: on the one whose client is told to trust the platform, by Spark and where a day is removed.
      it.each(only(abfss))('a run writes the windows, and takes away a day that has none', async () => {
        const stray = join(project.folder, 'stray.parquet');
        await hdfs.fs('-copyToLocal', pathOf((await files('/windows'))[0] as string), `file://${stray}`);
        await bucket.write('windows/day=2026-01-01/part-0.parquet', readFileSync(stray));
        await project.json(['run', '--param', `backup_uri=${bucket.uri}/copy`, '--param', `windows_uri=${bucket.uri}/windows`]);
        const now = (await bucket.keys()).filter((key) => !key.endsWith('/_SUCCESS'));
        expect(now.filter((key) => key.startsWith('copy/'))).toEqual(there);
        expect(daysOf(now.filter((key) => key.startsWith('windows/')))).toEqual(['2026-01-05', '2026-01-06']);
        expect(await differingWindows(`${bucket.uri}/windows`)).toEqual([0, 0]);
      });

      const forget = async (): Promise<void> => {
        for (const key of await bucket.keys('copy/manifest/')) await bucket.remove(key);
      };

      // It reads and compares as the next one does.
      it.each(only(s3a))('overwrites no other content', async () => {
        await forget();
        const good = await bucket.read(object(3));
        const other = gzipSync(gunzipSync(good).toString().replace('"payload":"', '"payload":"AAAA'));
        await bucket.write(object(3), other);
        const refused = await project.cli(on('backup'));
        expect([refused.code, refused.stderr]).toEqual([6, expect.stringMatching(/another object in this place[^]*shard 3/)]);
        expect((await bucket.read(object(3))).equals(other)).toBe(true);
        await bucket.write(object(3), good);
      });

      it('adopts what a run left that did not end', async () => {
        await forget();
        expect((await project.json(on('backup'))).backup).toMatchObject({ written: 0, adopted: sealed });
        expect((await bucket.keys('copy/shards/')).filter((key) => key.endsWith('.gz'))).toEqual(there.filter((key) => key.startsWith('copy/shards/')));
      });

      it('gives the records back as they were', async () => {
        await project.json(on('restore', '--to', `table:from_${store.scheme}`));
        expect(await differing(`from_${store.scheme}`)).toEqual([0, 0]);
      });

      it('names an object that is missing and one that is another', async () => {
        await bucket.write(object(4), await bucket.read(object(1)));
        await bucket.remove(object(2));
        const { verified } = await project.json(on('backup', 'verify'), { code: 6 });
        expect(verified).toMatchObject({ objects: sealed - 1, problem_count: 2 });
        expect(verified.problems).toMatchObject([{ shard: 2, problem: 'its object is missing' }, { shard: 4 }]);
      });

      it('its secret stands in no log, no setting of a job and nothing that the platform keeps', () => {
        const grep = (folder: string): string => (bucket.secret === undefined ? '' : execFileSync('sh', ['-c', 'grep -rlF -e "$1" "$2" || true', 'sh', bucket.secret, folder]).toString());
        expect([grep(stateDir), grep(project.folder)]).toEqual(['', '']);
      });
    });
  }
});
