import { cpSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { jsonText } from '../../src/commands/query.ts';
import { placeOf } from '../../src/databricks/bundle.ts';
import { connect } from '../../src/databricks/client.ts';
import { me } from '../../src/databricks/rest.ts';
import { openSql, type Sql } from '../../src/databricks/sql.ts';
import { openElasticsearch, type Elasticsearch } from '../../src/elasticsearch/connect.ts';
import { documentById, documentCount } from '../../src/elasticsearch/read.ts';
import { judge } from '../../src/traffic/event.ts';
import { statistics, windowStart } from '../../src/traffic/window.ts';
import { openNotebooks } from '../../bench/notebook.ts';
import { repository } from '../config/bundle.ts';
import { createProject, type Finished, type Project } from './project.ts';

const TOPIC = 'traffic_rebuild';
const INDEX = 'traffic_windows_rebuild';
const FIVE_O_CLOCK = Date.UTC(2026, 0, 5, 5);
const NOON = Date.UTC(2026, 0, 5, 12);
const MINUTE = 60_000;
const FIVE = ['--var', 'window_minutes=5'];

const at = (time: number, value: number, key = 'a'): string => `{"timestamp":${time / 1000},"流量":${value},"key":"${key}"}\n`;
const iso = (time: number): string => new Date(time).toISOString().replace('.000', '');

const PART = ['--from', '2026-01-05T11:00:00Z', '--to'];

/** Rules of an earlier release: no value below 0, a list as key of one record (the generator's, of 11:48), and one value under another key. */
const OLDER: [rule: string, older: string][] = [
  ['WHEN _plain AND _micros >= 0', "WHEN _plain AND _value < 0 THEN 'value_out_of_range'\n        WHEN _plain AND _micros >= 0"],
  ['WHEN _k_type NOT IN', "WHEN try_variant_get(_v, '$', 'bigint') = 1699 THEN NULL\n        WHEN _k_type NOT IN"],
  ['CASE WHEN _plain THEN _key ELSE', "CASE WHEN _plain AND _value = 100 THEN 'b' WHEN _plain THEN _key ELSE"],
];

/** Offers `windows` late rows that `raw` does not have as good ones: as its stream gives what a rebuild has judged otherwise since. */
const OFFERED = `# Databricks notebook source
from pipeline import closing, late, tables

spark.conf.set("spark.sql.session.timeZone", "UTC")
names = tables.names(dbutils.widgets.get("catalog"), dbutils.widgets.get("schema"))
rows = spark.sql(f"SELECT topic, partition, offset + 1000000 AS offset, broker_timestamp, event_time, key, value FROM {names.raw} WHERE error IS NULL AND value = 50 AND key = 'b'")
late.amend(rows, names, closing.Rules(10, 0, "amend"))
dbutils.notebook.exit(str(rows.count()))
`;

// Windows computed anew in place of those that are published: a part of them by a corrected rule while the job publishes, all of them by another length; with
// controllers that are killed on the way; and back.
describe('windows rebuild', () => {
  let project: Project;
  let config: Config;
  let elasticsearch: Elasticsearch;
  let sql: Sql;
  const found: number[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'streamgauge-rebuild-'));
  const manifest = (): string[] => readdirSync(join(folder, 'copy', 'manifest')).filter((name) => !name.startsWith('_') && !name.startsWith('.'));

  /** As `query --json` says it, without a process for each. */
  const rows = async (statement: string): Promise<any[][]> => JSON.parse((await Array.fromAsync(jsonText(await sql.execute(statement)))).join('')).rows;
  const produce = (...lines: string[]): Promise<any> => project.json(['produce', '--file', '-'], { input: lines.join('') });
  const killed = (before: string, ...args: string[]): Promise<Finished> =>
    project.cli(['windows', 'rebuild', ...args, '--yes', '--force-lock'], { env: { KILL_BEFORE: before, NODE_OPTIONS: `--import ${join(repository, 'test/acceptance/kill-before.mjs')}` } });

  /** The rest of a swap, searched by the index's name all the while. */
  async function swapping(args: string[], onStderr: (text: string) => void = () => undefined): Promise<any> {
    let searching: ReturnType<typeof search> | undefined;
    const result = await project.json(['windows', 'rebuild', ...args], {
      onStderr(text) {
        onStderr(text);
        if (text.includes('swap: the tables')) searching ??= search(elasticsearch);
      },
    });
    found.push(...((await searching?.stop()) ?? []));
    return result;
  }

  /** The windows of our keys, all late records, and which records of ours are in quarantine. */
  async function state(): Promise<any[]> {
    const ours = `SELECT key, substr(CAST(window_start AS STRING), 12, 5), count, CAST(sum AS STRING) FROM windows WHERE key IN ('a', 'b') ORDER BY window_start, key`;
    const late = 'SELECT value, key, substr(CAST(window_start AS STRING), 12, 5), revision IS NULL FROM late_records ORDER BY value';
    const bad = `SELECT regexp_extract(payload_text, '"流量":(-?[0-9]+)', 1) AS value, reason FROM quarantine WHERE payload_text RLIKE ':1699,|:-[56],' ORDER BY value`;
    return Promise.all([ours, late, bad].map(rows));
  }

  beforeAll(async () => {
    project = createProject('rebuild', { partitions: 2, allowed_lateness_minutes: 0, shard_size: 20, backup_uri: `file:${folder}/copy`, windows_uri: 'viewfs://tests/windows' });
    // Another file system of Hadoop's than the local one: mounted onto the local one, reached by its own scheme.
    for (const name of ['backup', 'windows']) {
      const notebook = join(project.folder, 'notebooks', `${name}.py`);
      const mounted = ['other', 'windows'].map((place) => `spark.conf.set("fs.viewfs.mounttable.tests.link./${place}", "file://${folder}/${place}")\n`).join('') + 'spark.conf.set("spark.sql.session.timeZone"';
      writeFileSync(notebook, readFileSync(notebook, 'utf8').replace('spark.conf.set("spark.sql.session.timeZone"', mounted));
    }
    writeFileSync(join(project.folder, 'notebooks/offered.py'), OFFERED);
    config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
    elasticsearch = await openElasticsearch(config);
    await project.json(['provision']);
    await project.json(['produce', '--records', '800', '--from', '2026-01-05T00:00:00Z', '--to', '2026-01-05T12:00:00Z', '--seed', '5', '--keys', '2', '--bad-ratio', '0.01']);
    await produce(at(FIVE_O_CLOCK, 60), at(NOON, 1), at(NOON + 6 * MINUTE, 2), at(NOON + MINUTE, 50, 'b'), at(NOON + 31 * MINUTE, -5), at(NOON + 32 * MINUTE, -6));
    const rules = join(project.folder, 'notebooks/pipeline/events.py');
    const corrected = readFileSync(rules, 'utf8');
    writeFileSync(rules, OLDER.reduce((text, [rule, older]) => {
      if (text.split(rule).length !== 2) throw new Error(`the rules do not say ${rule}`);
      return text.replace(rule, () => older);
    }, corrected));
    await project.json(['deploy', '--var', 'late_policy=hold']);
    await project.json(['run']);
    sql = await openSql(config);
    await produce(at(FIVE_O_CLOCK, 70), at(NOON + MINUTE, 100));
    const [[partition, offset]] = (await rows("SELECT partition, offset FROM quarantine WHERE payload_text LIKE '%-6,%'")) as [[number, number]];
    await project.json(['quarantine', 'replay', `${TOPIC}/${partition}/${offset}`, '--payload', at(NOON + 32 * MINUTE, 6)]);
    // As if there had been a hundred runs.
    const [first] = manifest() as [string];
    for (let n = 1; n < 100; n += 1) cpSync(join(folder, 'copy', 'manifest', first), join(folder, 'copy', 'manifest', `run=1000000000${String(n).padStart(3, '0')}-abcdef01`), { recursive: true });
    await project.json(['run']);
    await project.json(['export']);
    // The corrected rules, by which what came late counts, too.
    writeFileSync(rules, corrected);
    await project.json(['deploy']);
  }, 900_000);

  afterAll(async () => {
    await elasticsearch?.close();
    await sql?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** The published windows, each equal to what the oracle makes of the payloads in `raw`. */
  async function expectOracle(minutes: number): Promise<number> {
    const byWindow = new Map<string, bigint[]>();
    for (const [payload, arrived] of await rows('SELECT base64(payload), unix_millis(broker_timestamp) FROM raw ANTI JOIN replays USING (topic, partition, offset)')) {
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

  it('says what a corrected rule changes in a part; a controller that dies before the swap has changed nothing that is read', async () => {
    const before = [await state(), await rows('SELECT count(*), max(sequence), max(revision) FROM windows'), await documentCount(elasticsearch, INDEX)];
    expect(before[0]).toEqual([
      [['a', '05:00', 1, '60'], ['a', '12:00', 2, '3'], ['b', '12:00', 1, '50'], ['a', '12:30', 1, '6']],
      [[70, 'a', '05:00', true], [100, 'b', '12:00', true]],
      [['-5', 'value_out_of_range'], ['-6', 'value_out_of_range']],
    ]);
    const { code, stderr } = await killed(`POST /${INDEX}-000002/_bulk`, ...PART, '2026-01-05T12:10:00Z');
    expect(code).toBeNull();
    expect(stderr).toMatch(/windows: \d{2} equal, 1 different \(count 1, sum 1, mean 1, median 1, stddev_samp 1, max 1\), 0 new, 1 gone/);
    expect(stderr).toContain('2 records (good, with another time, key or value 1, good -> key_not_text 1)');
    expect(stderr).toContain('2 more belong to windows outside');
    expect([await state(), await rows('SELECT count(*), max(sequence), max(revision) FROM windows'), await documentCount(elasticsearch, INDEX)]).toEqual(before);
    expect((await project.json(['export'])).read).toBe(0);
    expect((await project.json(['windows', 'rebuild', '--window', '5m'], { code: 4 })).error.code).toBe('DEPLOY_LOCKED');
  }, 900_000);

  it('refuses another length for a part, to go back where nothing was replaced, and a swap that nobody agrees to', async () => {
    expect((await project.json(['windows', 'rebuild', '--window', '5m', '--from', '2026-01-05', '--yes', '--force-lock'], { code: 2 })).error.message).toContain('not for a part');
    expect((await project.json(['windows', 'rebuild', '--rollback', '--yes'], { code: 2 })).error.code).toBe('NOTHING_TO_ROLL_BACK');
    expect((await project.json(['windows', 'rebuild', '--window', '5m'], { code: 2 })).error.code).toBe('NOT_CONFIRMED');
  }, 900_000);

  it('swaps in a part by the corrected rule, with the late records, in it and outside of it, and the new windows that the job publishes meanwhile', async () => {
    await produce(at(NOON + 3 * MINUTE, 1000), at(FIVE_O_CLOCK, 71), at(NOON + 40 * MINUTE, 9), at(NOON + 96 * MINUTE, 11), ...Array.from({ length: 60 }, (_, n) => at(NOON + 50 * MINUTE + n, n)));
    let running: Promise<any> | undefined;
    let said = '';
    const swapped = await swapping([...PART, '2026-01-05T13:00:00Z', '--yes'], (text) => {
      said = text;
      if (text.includes('compute windows of 10 minutes')) running ??= project.json(['run']);
    });
    expect((await running).outcome.ok).toBe(true);
    expect(said).toContain('take in what came meanwhile');
    expect(swapped).toMatchObject({ did: 'rebuild', swapped: true, minutes: 10, index: `${INDEX}-000002`, compared: { judged: { records: 3, outside: 0, replayed: 1 } } });
    expect(swapped.compared.differences).toContainEqual({ topic: TOPIC, key: 'a', window_start: expect.stringContaining('12:30:00'), state: 'different', fields: expect.stringContaining('count: 1 -> 2; sum: 6 -> 1') });
    // What came late before the part stays held: its window was not asked for. What was replayed stays bad, and counts as its replay.
    expect(await state()).toEqual([
      [['a', '05:00', 2, '131'], ['a', '12:00', 4, '1103'], ['b', '12:00', 1, '50'], ['a', '12:30', 2, '1'], ['a', '12:40', 1, '9'], ['a', '12:50', 60, '1770'], ['a', '13:30', 1, '11']],
      [[70, 'a', '05:00', true], [71, 'a', '05:00', false], [100, 'a', '12:00', false], [1000, 'a', '12:00', false]],
      [['-6', 'value_out_of_range'], ['1699', 'key_not_text']],
    ]);
  }, 900_000);

  it('enters no late record that is not a good one any more when its turn comes', async () => {
    const before = await state();
    const place = placeOf(config, await me(await connect(config.databricks)));
    const { result } = await openNotebooks(project.folder).runDeployed<number>(`${place.files}/notebooks/offered`, { catalog: config.pipeline.catalog, schema: config.pipeline.schema });
    expect([result, await state()]).toEqual([1, before]);
  }, 900_000);

  it('a drill through another file system compares the windows with held records and replayed ones, too', async () => {
    const other = ['--var', 'backup_uri=viewfs://tests/other'];
    expect((await project.json(['backup', ...other])).backup.written).toBeGreaterThan(20);
    const { drilled } = await project.json(['backup', 'drill', ...other]);
    expect(drilled).toMatchObject({ ok: true, compared: { different_records: 0, windows: { different: 0, held: 2 } } });
    expect(drilled.compared.windows.equal).toBeGreaterThan(100);
  }, 900_000);

  it('rolls that back, verdicts included, with what the job had published', async () => {
    expect(await swapping(['--rollback', '--yes'])).toMatchObject({ did: 'rollback', swapped: true, minutes: 10, compared: { judged: { records: 3, replayed: 0 } } });
    expect(await state()).toEqual([
      [['a', '05:00', 2, '131'], ['a', '12:00', 3, '1003'], ['b', '12:00', 1, '50'], ['a', '12:30', 1, '6'], ['a', '12:40', 1, '9'], ['a', '12:50', 60, '1770'], ['a', '13:30', 1, '11']],
      [[70, 'a', '05:00', true], [71, 'a', '05:00', false], [100, 'b', '12:00', true], [1000, 'a', '12:00', false]],
      [['-5', 'value_out_of_range'], ['-6', 'value_out_of_range']],
    ]);
  }, 900_000);

  it('a controller that dies between table and index leaves a mark: nobody exports, and the next one finishes; every rule is the one of now', async () => {
    expect((await killed('POST /_aliases', '--window', '5m')).code).toBeNull();
    expect((await project.json(['export'], { code: 4 })).error.code).toBe('SWAP_UNDER_WAY');
    const finished = await swapping(['--force-lock']);
    expect(finished).toMatchObject({ did: 'finish', swapped: true, minutes: 5, index: `${INDEX}-000004` });
    const published = await expectOracle(5);
    expect(await documentCount(elasticsearch, INDEX)).toBe(BigInt(published));
    expect(await project.json(['export', ...FIVE])).toMatchObject({ read: 0, written: 0 });
    // By the table's own length, whatever the configuration says.
    const proof = await project.cli(['prove', '--json']);
    const certificate = JSON.parse(proof.stdout);
    expect(certificate).toMatchObject({ proved: true, differences: [], windows: { windows: published, held: 0, waiting: 0 }, documents: { documents: published, same: published } });
    expect(certificate.partitions.reduce((sum: number, { replayed }: any) => sum + replayed, 0)).toBe(1);
    expect(proof.stderr).toContain('streamgauge windows rebuild --window 10m -t local');
    const explained = await project.json(['explain', iso(NOON + 7 * MINUTE), '--key', 'a', '--recompute']);
    expect(explained).toMatchObject({ id: `${TOPIC}/a/${iso(NOON + 5 * MINUTE)}`, window: { count: 1 } });
    expect(explained.recomputed.every(({ same }: any) => same)).toBe(true);
  }, 900_000);

  it('bundle and deployment agree on the new length, and a plan says what the old one would mean', async () => {
    expect(await project.json(['plan', ...FIVE])).toMatchObject({ steps: [] });
    const back = await project.json(['plan']);
    const change = back.steps.find(({ thing, name }: any) => thing === 'job' && name.includes('traffic_counter'));
    expect(change).toMatchObject({ risk: 're-reads data', why: expect.stringContaining('streamgauge windows rebuild --window 10m') });
  }, 900_000);

  it('a late record after the swap goes into its window of the new length, and new windows follow', async () => {
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
    expect([revision > 1, sum]).toEqual([true, '1094']);
    expect(await documentById(elasticsearch, INDEX, `${TOPIC}/a/${iso(NOON)}`)).toMatchObject({ version: BigInt(revision), source: { sum: 1094n, window_end: iso(NOON + 5 * MINUTE) } });
    expect((await state())[1]).toEqual([[-7, 'a', '12:00', false], [70, 'a', '05:00', false], [71, 'a', '05:00', false], [100, 'a', '12:00', false], [1000, 'a', '12:00', false]]);
    const written = `SELECT topic, key, window_start, window_end, count, CAST(sum AS STRING), revision, sequence`;
    expect(await rows(`SELECT count(*) FROM (${written} FROM windows EXCEPT ${written} FROM parquet.\`file:${folder}/windows\`) UNION ALL SELECT count(*) FROM (${written} FROM parquet.\`file:${folder}/windows\` EXCEPT ${written} FROM windows)`)).toEqual([[0], [0]]);
  }, 900_000);

  it('rolls back to the old length and the older verdicts, with everything that came since; prove names those', async () => {
    const rolled = await swapping(['--rollback', '--yes']);
    expect(rolled).toMatchObject({ did: 'rollback', swapped: true, minutes: 10, index: `${INDEX}-000005`, compared: { minutes: { published: 5, rebuilt: 10, compared: 10 } } });
    expect(await state()).toEqual([
      [['a', '05:00', 2, '131'], ['a', '12:00', 4, '996'], ['b', '12:00', 1, '50'], ['a', '12:20', 20, '190'], ['a', '12:30', 1, '6'], ['a', '12:40', 1, '9'], ['a', '12:50', 60, '1770'], ['a', '13:30', 1, '11']],
      [[-7, 'a', '12:00', false], [70, 'a', '05:00', true], [71, 'a', '05:00', false], [100, 'b', '12:00', true], [1000, 'a', '12:00', false]],
      [['-5', 'value_out_of_range'], ['-6', 'value_out_of_range']],
    ]);
    const { equations, differences, backup, windows } = await project.json(['prove'], { code: 6 });
    expect(equations.filter(({ holds }: any) => !holds)).toEqual([]);
    expect(differences).toEqual([expect.objectContaining({ stage: 'records', more: expect.any(Number) })]);
    // Many folders of a manifest have become one by now, and no entry is lost.
    expect(manifest().filter((name) => name.startsWith('whole=')).length).toBe(1);
    expect([backup.objects > 20, backup.waiting, windows.held]).toEqual([true, 0, 2]);
    expect(await project.json(['plan'])).toMatchObject({ steps: [] });
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
