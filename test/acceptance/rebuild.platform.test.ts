import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { openElasticsearch, type Elasticsearch } from '../../src/elasticsearch/connect.ts';
import { documentById, documentCount } from '../../src/elasticsearch/read.ts';
import { judge } from '../../src/traffic/event.ts';
import { statistics, windowStart } from '../../src/traffic/window.ts';
import { repository } from '../config/bundle.ts';
import { createProject, type Finished, type Project } from './project.ts';

const TOPIC = 'traffic_rebuild';
const INDEX = 'traffic_windows_rebuild';
const NOON = Date.UTC(2026, 0, 5, 12);
const MINUTE = 60_000;
const FIVE = ['--var', 'window_minutes=5'];

const at = (time: number, value: number): string => `{"timestamp":${time / 1000},"流量":${value},"key":"a"}\n`;
const iso = (time: number): string => new Date(time).toISOString().replace('.000', '');

// Windows of another length in place of those that are published, with a controller that is killed twice on the way; and back.
describe('windows rebuild', () => {
  let project: Project;
  let config: Config;
  let elasticsearch: Elasticsearch;
  const found: number[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'streamgauge-rebuild-'));
  const manifest = (): string[] => readdirSync(join(folder, 'copy', 'manifest')).filter((name) => !name.startsWith('_') && !name.startsWith('.'));

  const rows = async (sql: string): Promise<any[][]> => (await project.json(['query', sql])).rows;
  const produce = (...lines: string[]): Promise<any> => project.json(['produce', '--file', '-'], { input: lines.join('') });
  const killed = (before: string): Promise<Finished> =>
    project.cli(['windows', 'rebuild', '--window', '5m', '--yes', '--force-lock'], { env: { KILL_BEFORE: before, NODE_OPTIONS: `--import ${join(repository, 'test/acceptance/kill-before.mjs')}` } });

  /** The rest of a swap, searched by the index's name all the while. */
  async function swapping(args: string[]): Promise<any> {
    let searching: ReturnType<typeof search> | undefined;
    const result = await project.json(['windows', 'rebuild', ...args], { onStderr: (text) => void (text.includes('swap: the tables') && (searching ??= search(elasticsearch))) });
    found.push(...((await searching?.stop()) ?? []));
    return result;
  }

  beforeAll(async () => {
    project = createProject('rebuild', { partitions: 2, allowed_lateness_minutes: 0, shard_size: 20, backup_uri: `file:${folder}/copy`, windows_uri: 'viewfs://tests/windows' });
    // Another file system of Hadoop's than the local one: mounted onto the local one, reached by its own scheme.
    for (const name of ['backup', 'windows']) {
      const notebook = join(project.folder, 'notebooks', `${name}.py`);
      const mounted = ['other', 'windows'].map((place) => `spark.conf.set("fs.viewfs.mounttable.tests.link./${place}", "file://${folder}/${place}")\n`).join('') + 'spark.conf.set("spark.sql.session.timeZone"';
      writeFileSync(notebook, readFileSync(notebook, 'utf8').replace('spark.conf.set("spark.sql.session.timeZone"', mounted));
    }
    config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
    elasticsearch = await openElasticsearch(config);
    await project.json(['provision']);
    await project.json(['produce', '--records', '800', '--from', '2026-01-05T00:00:00Z', '--to', '2026-01-05T12:00:00Z', '--seed', '5', '--keys', '2', '--bad-ratio', '0.01']);
    await produce(at(NOON, 1), at(NOON + 6 * MINUTE, 2));
    await project.json(['deploy', '--var', 'late_policy=hold']);
    await project.json(['run']);
    await produce(at(NOON + MINUTE, 100));
    // As if there had been a hundred runs.
    const [first] = manifest() as [string];
    for (let n = 1; n < 100; n += 1) cpSync(join(folder, 'copy', 'manifest', first), join(folder, 'copy', 'manifest', `run=1000000000${String(n).padStart(3, '0')}-abcdef01`), { recursive: true });
    await project.json(['run']);
    await project.json(['export']);
    // The corrected rule: what came late counts.
    await project.json(['deploy']);
  }, 900_000);

  afterAll(async () => {
    await elasticsearch?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The published windows, each equal to what the oracle makes of `raw`. */
  async function expectOracle(minutes: number): Promise<number> {
    const byWindow = new Map<string, bigint[]>();
    for (const [payload, arrived] of await rows('SELECT base64(payload), unix_millis(broker_timestamp) FROM raw')) {
      const verdict = judge(payload === null ? null : Buffer.from(payload, 'base64'), { fields: { timestamp: 'timestamp', value: '流量', key: 'key' }, arrivedAtMillis: Number(arrived), maxFutureMinutes: 1440 });
      if ('error' in verdict) continue;
      const id = `${verdict.key} ${windowStart(verdict.eventTimeMicros, minutes)}`;
      byWindow.set(id, [...(byWindow.get(id) ?? []), verdict.value]);
    }
    const found = await rows('SELECT key, unix_micros(window_start), unix_micros(window_end) - unix_micros(window_start), count, CAST(sum AS STRING), mean, CAST(median AS STRING), stddev_samp, min, max FROM windows');
    const expected = [...byWindow].map(([id, values]) => [id, statistics(values)] as const);
    const exact = new Map(expected.map(([id, { count, sum, median, min, max }]) => [id, [minutes * 60_000_000, count, String(sum), median, Number(min), Number(max)]]));
    expect(new Map(found.map(([key, start, length, count, sum, _mean, median, _deviation, min, max]) => [`${key} ${start}`, [length, count, sum, median, min, max]]))).toEqual(exact);
    const close = (a: number | null, b: number | null): boolean => (a === null ? b === null : Math.abs(a - (b ?? Number.NaN)) <= 1e-9 * Math.max(Math.abs(a), 1e-9));
    const doubles = new Map(found.map(([key, start, , , , mean, , deviation]) => [`${key} ${start}`, [mean, deviation]]));
    for (const [id, { mean, stddevSamp }] of expected) expect([id, close(mean, doubles.get(id)?.[0]), close(stddevSamp, doubles.get(id)?.[1])]).toEqual([id, true, true]);
    return found.length;
  }

  it('says what a corrected rule changes, field by field, and changes nothing', async () => {
    const { compared } = await project.json(['windows', 'rebuild', '--dry-run', '--from', '2026-01-05T11:00:00Z', '--to', '2026-01-05T13:00:00Z'], { code: 6 });
    expect(compared).toMatchObject({ minutes: { published: 10, rebuilt: 10 }, published: { held: 1 }, rebuilt: { held: 0 }, compared: { different: 1, new: 0, gone: 0 }, fields: { count: 1, sum: 1, mean: 1, median: 1, stddev_samp: 1, max: 1 } });
    expect(compared.differences).toEqual([{ topic: TOPIC, key: 'a', window_start: expect.stringContaining('12:00:00'), state: 'different', fields: expect.stringContaining('count: 2 -> 3; sum: 3 -> 103') }]);
    expect(compared.compared.equal).toBeGreaterThan(10);
    expect(await rows('SELECT count(*) FROM windows WHERE revision > 1')).toEqual([[0]]);
    expect((await project.json(['windows', 'rebuild', '--window', '5m', '--from', '2026-01-05', '--yes'], { code: 2 })).error.message).toContain('not for a part');
    expect((await project.json(['windows', 'rebuild', '--rollback', '--yes'], { code: 2 })).error.code).toBe('NOTHING_TO_ROLL_BACK');
    expect((await project.json(['windows', 'rebuild', '--window', '5m'], { code: 2 })).error.code).toBe('NOT_CONFIRMED');
  }, 900_000);

  it('a controller that dies before the swap has changed nothing that is read', async () => {
    const before = [await rows('SELECT count(*), max(sequence) FROM windows'), await documentCount(elasticsearch, INDEX)];
    expect((await killed(`POST /${INDEX}-000002/_bulk`)).code).toBeNull();
    expect([await rows('SELECT count(*), max(sequence) FROM windows'), await documentCount(elasticsearch, INDEX)]).toEqual(before);
    expect((await project.json(['export'])).read).toBe(0);
    expect((await project.json(['windows', 'rebuild', '--window', '5m'], { code: 4 })).error.code).toBe('DEPLOY_LOCKED');
  }, 900_000);

  it('a controller that dies between table and index leaves a mark: nobody exports, and the next one finishes', async () => {
    expect((await killed('POST /_aliases')).code).toBeNull();
    expect((await project.json(['export'], { code: 4 })).error.code).toBe('SWAP_UNDER_WAY');
    const finished = await swapping(['--force-lock']);
    expect(finished).toMatchObject({ did: 'finish', swapped: true, minutes: 5, index: `${INDEX}-000002` });
    const published = await expectOracle(5);
    expect(await documentCount(elasticsearch, INDEX)).toBe(BigInt(published));
    expect(await project.json(['export', ...FIVE])).toMatchObject({ read: 0, written: 0 });
    expect(await project.json(['prove', ...FIVE])).toMatchObject({ proved: true, windows: { windows: published, held: 0 }, documents: { documents: published, same: published } });
  }, 900_000);

  it('bundle and deployment agree on the new length, and a plan says what the old one would mean', async () => {
    expect(await project.json(['plan', ...FIVE])).toMatchObject({ steps: [] });
    const back = await project.json(['plan']);
    const change = back.steps.find(({ thing, name }: any) => thing === 'job' && name.includes('traffic_counter'));
    expect(change).toMatchObject({ risk: 're-reads data', why: expect.stringContaining('streamgauge windows rebuild --window 10m') });
  }, 900_000);

  it('a late record after the swap goes into its window of the new length, and new windows follow', async () => {
    // The newest window of 5 minutes ends where one of 10 minutes ends: so that one is known to be closed as well.
    await produce(at(NOON + 2 * MINUTE, -7), ...Array.from({ length: 20 }, (_, n) => at(NOON + 26 * MINUTE + n, n)));
    // The folder that holds all entries is old enough by now.
    expect(manifest().length).toBeGreaterThan(100);
    const [whole] = manifest().filter((name) => name.startsWith('whole=')) as [string];
    renameSync(join(folder, 'copy', 'manifest', whole), join(folder, 'copy', 'manifest', `whole=${Date.now() - 2 * 3_600_000}-abcdef02`));
    await project.json(['run', ...FIVE]);
    expect(manifest().length).toBeLessThan(6);
    expect(await project.json(['export', ...FIVE])).toMatchObject({ read: 2, written: 2 });
    await expectOracle(5);
    const [[revision, sum]] = (await rows(`SELECT revision, CAST(sum AS STRING) FROM windows WHERE key = 'a' AND window_start = '${iso(NOON)}'`)) as [[number, string]];
    expect([revision > 1, sum]).toEqual([true, '94']);
    expect(await documentById(elasticsearch, INDEX, `${TOPIC}/a/${iso(NOON)}`)).toMatchObject({ version: BigInt(revision), source: { sum: 94n, window_end: iso(NOON + 5 * MINUTE) } });
    expect(await rows('SELECT value, window_start, revision IS NULL FROM late_records ORDER BY value')).toEqual([[-7, expect.stringContaining('12:00:00'), false], [100, expect.stringContaining('12:00:00'), false]]);
    const written = `SELECT topic, key, window_start, window_end, count, CAST(sum AS STRING), revision, sequence`;
    expect(await rows(`SELECT count(*) FROM (${written} FROM windows EXCEPT ${written} FROM parquet.\`file:${folder}/windows\`) UNION ALL SELECT count(*) FROM (${written} FROM parquet.\`file:${folder}/windows\` EXCEPT ${written} FROM windows)`)).toEqual([[0], [0]]);
  }, 900_000);

  it('rolls back to the old length, with everything that came since', async () => {
    const rolled = await swapping(['--rollback', '--yes']);
    expect(rolled).toMatchObject({ did: 'rollback', swapped: true, minutes: 10, index: `${INDEX}-000003`, compared: { minutes: { published: 5, rebuilt: 10, compared: 10 } } });
    expect(await rows(`SELECT count, CAST(sum AS STRING) FROM windows WHERE key = 'a' AND window_start = '${iso(NOON)}'`)).toEqual([[3, '-4']]);
    expect(await rows('SELECT value, revision IS NULL FROM late_records ORDER BY value')).toEqual([[-7, false], [100, true]]);
    expect(await project.json(['prove'])).toMatchObject({ proved: true, windows: { held: 1 } });
    expect(await project.json(['plan'])).toMatchObject({ steps: [] });
  }, 900_000);

  it('a drill through another file system compares the windows with held records, too', async () => {
    const other = ['--var', 'backup_uri=viewfs://tests/other'];
    const { backup } = await project.json(['backup', ...other]);
    expect(backup.written).toBeGreaterThan(20);
    const { drilled } = await project.json(['backup', 'drill', ...other]);
    expect(drilled).toMatchObject({ ok: true, compared: { different_records: 0, windows: { different: 0, held: 1 } } });
    expect(drilled.compared.windows.equal).toBeGreaterThan(100);
  }, 900_000);

  it('many folders of a manifest became one, and no entry is lost', async () => {
    expect(manifest().filter((name) => name.startsWith('whole=')).length).toBe(1);
    expect((await project.json(['backup', 'verify'])).verified).toMatchObject({ problem_count: 0, unlisted: 0, not_backed_up: 0 });
  }, 900_000);

  it('takes in what was held, where the rule says so now', async () => {
    const { compared } = await swapping(['--yes']);
    expect(compared).toMatchObject({ compared: { different: 1, new: 0, gone: 0 } });
    await expectOracle(10);
  }, 900_000);

  it('no search found nothing while table and index were swapped', () => {
    expect(found.length).toBeGreaterThan(10);
    expect(found.filter((count) => count === 0)).toEqual([]);
  });
});

/** Searches by the name, one search after the other, until it is stopped: how many windows each found; rejects where one fails. */
function search(elasticsearch: Elasticsearch): { stop(): Promise<number[]> } {
  const over = new AbortController();
  const counts: number[] = [];
  const found = (async () => {
    while (!over.signal.aborted) {
      const { text } = await elasticsearch.request('searching', { method: 'POST', path: `/${INDEX}/_search`, query: { allow_partial_search_results: 'false' }, body: { size: 1, track_total_hits: true, query: { term: { topic: TOPIC } } } });
      counts.push((JSON.parse(text) as { hits: { total: { value: number } } }).hits.total.value);
    }
    return counts;
  })();
  found.catch(() => undefined);
  return {
    stop: () => {
      over.abort();
      return found;
    },
  };
}
