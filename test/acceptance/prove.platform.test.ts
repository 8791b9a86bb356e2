import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { openSql, type Sql } from '../../src/databricks/sql.ts';
import { withAdmin } from '../../src/kafka/connect.ts';
import { clientAccess } from '../../src/msk/access.ts';
import { elasticsearch } from './elasticsearch.ts';
import { explain } from '../../src/commands/explain.ts';
import { prove } from '../../src/commands/prove.ts';
import { createProject, inProcess, type Project } from './project.ts';

const NAME = 'prove';
const INDEX = `traffic_windows_${NAME}`;

// What prove says of a right state, and that it names whatever is made wrong in it, at its place.
describe('prove', () => {
  let project: Project;
  let config: Config;
  let session: Sql;
  let versions: Record<string, number>;
  let documents: string[];

  /** In a session of the test's own: a process for each statement would take most of the time. */
  const sql = async (statement: string): Promise<any[][]> => {
    const { batches } = await session.execute(statement);
    return (await Array.fromAsync(batches)).flat().map((row) => row.map((cell) => (typeof cell === 'bigint' ? Number(cell) : cell)));
  };
  const proven = (code = 0, options: { from?: string; to?: string } = {}): Promise<any> => inProcess(project, prove, options, { code });
  const stages = (certificate: any): Record<string, any> => Object.fromEntries(certificate.differences.map((difference: any) => [difference.stage, difference]));

  beforeAll(async () => {
    project = createProject(NAME, { partitions: 2 });
    await project.json(['provision']);
    await project.json(['produce', '--records', '4000', '--from', '2026-01-05T00:00:00Z', '--to', '2026-01-05T06:00:00Z', '--keys', '2', '--bad-ratio', '0.02', '--seed', '3']);
    await project.json(['deploy']);
    await project.json(['run']);
    await project.json(['export']);
    config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
    session = await openSql(config);
    // What was written a moment ago is found by no search yet.
    await elasticsearch('POST', `/${INDEX}/_refresh`);
    const { hits } = JSON.parse(await elasticsearch('GET', `/${INDEX}/_search?size=2&sort=sequence:asc`));
    documents = hits.hits.map((hit: any) => hit._id);
  }, 600_000);
  afterAll(async () => await session?.close());

  describe('after a run', () => {
    it('is green, counts everything, and is the same when it is done again', async () => {
      const file = join(project.folder, 'certificate.json');
      const first = await project.json(['prove', '--out', file]);
      versions = first.tables;
      expect(first).toMatchObject({ proved: true, differences: [] });
      const [[raw, good, windows, shards]] = (await sql('SELECT (SELECT count(*) FROM raw), (SELECT count(*) FROM raw WHERE error IS NULL), (SELECT count(*) FROM windows), (SELECT count(*) FROM shards WHERE sealed)')) as [number[]];
      const sum = (of: string): number => first.partitions.reduce((total: number, partition: any) => total + partition[of], 0);
      expect([sum('brokerRecords'), sum('raw'), sum('distinct')]).toEqual([4000, raw, raw]);
      expect([sum('good'), sum('quarantined')]).toEqual([good, 4000 - (good ?? 0)]);
      expect(first.windows).toMatchObject({ counted: good, held: 0, waiting: 0, windows, publishedRecords: good });
      expect(first.documents).toMatchObject({ documents: windows, same: windows, waiting: 0 });
      expect(first.partitions.reduce((total: number, partition: any) => total + partition.shards.sealed, 0)).toBe(shards);
      expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(first);
      const again = await proven();
      expect([again.sha256, again.partitions]).toEqual([first.sha256, first.partitions]);
    });

    it('proves a part: two hours of windows, and the offsets of their records', async () => {
      const part = await proven(0, { from: '2026-01-05T02:00:00Z', to: '2026-01-05T04:00:00Z' });
      const [[windows, records]] = (await sql("SELECT count(*), CAST(sum(count) AS BIGINT) FROM windows WHERE window_start >= '2026-01-05T02:00:00Z' AND window_start < '2026-01-05T04:00:00Z'")) as [number[]];
      expect(part).toMatchObject({ proved: true, windows: { windows, counted: records }, documents: { documents: windows, same: windows } });
      expect(windows).toBe(24);
    });
  });

  it('explain: where a window comes from, and all its statistics once more', async () => {
    const explained = await project.json(['explain', '2026-01-05T01:25:00Z', '--key', 'site-1', '--recompute']);
    const [[count, sum, first, last]] = (await sql("SELECT count(*), sum(value), min(offset), max(offset) FROM raw WHERE key = 'site-1' AND event_time >= '2026-01-05T01:20:00Z' AND event_time < '2026-01-05T01:30:00Z'")) as [number[]];
    expect(explained).toMatchObject({ id: `traffic_${NAME}/site-1/2026-01-05T01:20:00Z`, window: { count, sum: String(sum), revision: 1 }, tables: versions, document: { version: 1 }, late: [] });
    expect([Math.min(...explained.shards.map((shard: any) => shard.first)), Math.max(...explained.shards.map((shard: any) => shard.last))]).toEqual([first, last]);
    expect(explained.shards.reduce((total: number, shard: any) => total + shard.records, 0)).toBe(count);
    const run = (await project.json(['status'])).job.lastRun;
    expect(explained.revisions).toMatchObject([{ revision: 1, version: versions.windows, count, run: { id: run.id } }]);
    const windows = explained.notebooks.find(({ path }: { path: string }) => path.endsWith('/windows'));
    expect(windows.sha256).toBe(createHash('sha256').update(readFileSync(join(project.folder, 'notebooks/windows.py'))).digest('hex'));
    expect(explained.recomputed.map(({ field, same }: any) => [field, same])).toEqual(['count', 'sum', 'mean', 'median', 'stddev_samp', 'min', 'max'].map((field) => [field, true]));
    expect(explained.recomputed[1].typescript).toBe(String(sum));
  });

  it('explain: a window that is not there is named, with exit code 6', async () => {
    await expect(inProcess(project, explain, { window: '2027-01-05T01:25:00Z' })).rejects.toMatchObject({ code: 'WINDOW_NOT_FOUND', exitCode: 6 });
  });

  describe('names what was made wrong', () => {
    afterEach(async () => {
      const tables = { raw: 'raw', shards: 'shards', windows: 'windows' };
      for (const [name, table] of Object.entries(tables)) await sql(`RESTORE TABLE ${table} TO VERSION AS OF ${versions[name]}`);
    });

    const place = (id: string): string => `/${INDEX}/_doc/${encodeURIComponent(id)}?version=1&version_type=external_gte`;

    it('a deleted row of raw, by its offset; an altered document, by its field', async () => {
      const [[partition, offset]] = (await sql('SELECT partition, offset FROM raw WHERE partition = 1 AND error IS NULL AND offset > 300 ORDER BY offset LIMIT 1')) as [number[]];
      await sql(`DELETE FROM raw WHERE partition = ${partition} AND offset = ${offset}`);
      const [id = ''] = documents;
      const before = await elasticsearch('GET', `/${INDEX}/_source/${encodeURIComponent(id)}`);
      const { max } = JSON.parse(before);
      await elasticsearch('PUT', place(id), before.replace(`"max":${max}`, `"max":${max + 1}`));
      // As a user does it, with its exit code.
      const { records, shards, windows, documents: altered } = stages(await project.json(['prove'], { code: 6 }));
      expect(records).toMatchObject({ partition, offset, more: 0 });
      expect(records.message).toContain(`offset ${offset} is at the broker and not in raw`);
      expect(shards).toMatchObject({ partition, shard: Math.floor((offset ?? 0) / 100) });
      expect(windows).toMatchObject({ field: 'count' });
      expect(altered).toMatchObject({ document: id, field: 'max', expected: max, found: max + 1, more: 0 });
      await elasticsearch('PUT', place(id), before);
    });

    it('an altered value, by its offset and its window; a shard with another hash; a deleted document', async () => {
      const [[offset, start, key, value]] = (await sql("SELECT offset, date_trunc('HOUR', event_time), key, value FROM raw WHERE partition = 0 AND error IS NULL AND offset > 150 ORDER BY offset LIMIT 1")) as [any[]];
      await sql(`UPDATE raw SET value = value + 1 WHERE partition = 0 AND offset = ${offset}`);
      await sql("UPDATE shards SET sha256 = sha2('x', 256) WHERE partition = 1 AND shard = 2");
      const [, id = ''] = documents;
      const before = await elasticsearch('GET', `/${INDEX}/_source/${encodeURIComponent(id)}`);
      await elasticsearch('DELETE', place(id));
      const { records, windows, shards, documents: deleted } = stages(await proven(6));
      expect(records).toMatchObject({ partition: 0, offset, field: 'value', expected: String(value), found: String(value + 1) });
      expect(windows).toMatchObject({ field: 'sum', key });
      expect(windows.windowStart.slice(0, 13)).toBe(String(start).slice(0, 13));
      expect(shards).toMatchObject({ partition: 1, shard: 2, more: 0 });
      expect(deleted).toMatchObject({ document: id, more: 0 });
      expect(deleted.message).toContain('is not in the index');
      await elasticsearch('PUT', place(id), before);
    });

    it('an altered payload, by its offset; a deleted window', async () => {
      const [[offset]] = (await sql('SELECT min(offset) FROM raw WHERE partition = 0 AND offset > 240 AND error IS NULL')) as [number[]];
      await sql(`UPDATE raw SET payload = encode(replace(decode(payload, 'UTF-8'), ':', ': '), 'UTF-8') WHERE partition = 0 AND offset = ${offset}`);
      await sql("DELETE FROM windows WHERE window_start = '2026-01-05T01:20:00Z' AND key = 'site-1'");
      const { records, shards, windows, documents: left } = stages(await proven(6));
      expect(records).toMatchObject({ partition: 0, offset, field: 'payload' });
      expect(shards).toMatchObject({ partition: 0, shard: Math.floor((offset ?? 0) / 100) });
      expect(windows).toMatchObject({ windowStart: '2026-01-05T01:20:00Z', key: 'site-1', more: 0 });
      expect(windows.message).toContain('is not published');
      expect(left.message).toContain('there is no such window');
    });

    it('a record that stands twice in raw; an altered median', async () => {
      const [[offset]] = (await sql('SELECT min(offset) FROM raw WHERE partition = 0 AND offset > 76 AND error IS NULL')) as [number[]];
      await sql(`INSERT INTO raw SELECT * FROM raw WHERE partition = 0 AND offset = ${offset}`);
      await sql("UPDATE windows SET median = median + 0.5 WHERE window_start = '2026-01-05T03:00:00Z' AND key = 'site-2'");
      const { records, windows, documents: altered } = stages(await proven(6));
      expect(records).toMatchObject({ partition: 0, offset });
      expect(windows.more).toBe(1);
      expect(altered).toMatchObject({ field: 'median', more: 0 });
    });

    it('what retention removed from the broker is proved from the shards, and what is lost there, too', async () => {
      const topics = [{ name: `traffic_${NAME}`, partitions: [{ partition: 0, offset: 250n }] }];
      await withAdmin(await clientAccess(config, 'admin'), 'deleting records', (admin) => admin.deleteRecords({ topics }));
      const { partitions, differences } = await proven();
      expect(differences).toEqual([]);
      expect(partitions[0]).toMatchObject({ partition: 0, fromShardsOnly: 250, broker: { start: 250 } });
      expect(partitions[0].raw).toBe(partitions[0].brokerRecords + 250);
      await sql('DELETE FROM raw WHERE partition = 0 AND offset = 123');
      const { shards, records } = stages(await proven(6));
      expect(records).toBeUndefined();
      expect(shards).toMatchObject({ partition: 0, shard: 1, offset: 123 });
    });
  });
});
