import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { hdfsJar, startHdfs, type Hdfs } from '../witness/hdfs.ts';
import { createProject, type Project } from './project.ts';

const { runtime } = inject('platform');
const jar = await hdfsJar(runtime);

// Hadoop's own file system, a NameNode and a DataNode, as the place of the second copy and of the windows.
describe.skipIf(jar === undefined)('backup and windows on HDFS', () => {
  let hdfs: Hdfs;
  let project: Project;
  let sealed: number;
  const rows = async (sql: string): Promise<any[][]> => (await project.json(['query', sql])).rows;
  /** Files below a folder, each with its size and the time it was written. */
  const files = async (folder: string): Promise<string[]> => (await hdfs.fs('-ls', '-R', folder)).split('\n').filter((line) => line.startsWith('-') && line.includes('/part-')).sort();
  const pathOf = (line: string): string => line.slice(line.indexOf(' /') + 1);
  const days = async (): Promise<string[]> => [...new Set((await files('/windows')).map((line) => /day=([\d-]+)/.exec(line)?.[1] ?? line))].sort();

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
    const columns = 'SELECT topic, key, window_start, count, CAST(sum AS STRING), median, revision, sequence';
    const written = `parquet.\`${hdfs.uri}/windows\``;
    const [[counted, ...different]] = (await rows(`SELECT (SELECT count(*) FROM shards WHERE sealed), (SELECT count(*) FROM (${columns} FROM windows EXCEPT ${columns} FROM ${written})), (SELECT count(*) FROM (${columns} FROM ${written} EXCEPT ${columns} FROM windows))`)) as [[number, number, number]];
    sealed = counted;
    expect(sealed).toBeGreaterThan(5);
    expect((await files('/backup/shards')).length).toBe(sealed);
    expect((await files('/backup/manifest')).length).toBe(1);
    expect(await days()).toEqual(['2026-01-05', '2026-01-06']);
    expect(different).toEqual([0, 0]);
  });

  it('the next run writes nothing again, and takes away a day that has no windows', async () => {
    const before = [await files('/backup'), await files('/windows')];
    const [one] = (await files('/windows')).map(pathOf) as [string];
    await hdfs.fs('-mkdir', '/windows/day=2026-01-01');
    await hdfs.fs('-cp', one, '/windows/day=2026-01-01/');
    await project.json(['run']);
    expect([await files('/backup'), await files('/windows')]).toEqual(before);
  });

  it('gives the records back as they were', async () => {
    await project.json(['restore', '--to', 'table:again']);
    const columns = 'topic, partition, offset, broker_timestamp, record_key, payload, to_json(headers), event_time, key, value, error, shard';
    const sealed = 'raw SEMI JOIN (SELECT * FROM shards WHERE sealed) USING (topic, partition, shard)';
    expect(await rows(`SELECT (SELECT count(*) FROM (SELECT ${columns} FROM again EXCEPT ALL SELECT ${columns} FROM ${sealed})), (SELECT count(*) FROM (SELECT ${columns} FROM ${sealed} EXCEPT ALL SELECT ${columns} FROM again))`)).toEqual([[0, 0]]);
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
});
