import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { currentVersions, type Proof } from '../../src/databricks/proof.ts';
import { openSql, type Row } from '../../src/databricks/sql.ts';
import { tableNames } from '../../src/databricks/tables.ts';
import { windowOutcomes } from '../../src/databricks/window-outcomes.ts';
import { openElasticsearch, type Elasticsearch } from '../../src/elasticsearch/connect.ts';
import { documentsBySequence } from '../../src/elasticsearch/read.ts';
import { sendRecords, type OutgoingRecord } from '../../src/kafka/send.ts';
import { clientAccess } from '../../src/msk/access.ts';
import { judge } from '../../src/traffic/event.ts';
import { statistics, type WindowStatistics } from '../../src/traffic/window.ts';
import { HARD_PAYLOADS, REPEATED_NAMES } from './hard-payloads.ts';
import { createProject, type Project } from './project.ts';

const NAME = 'prove-keys';
const TOPICS = ['one', 'two', 'three'].map((name) => `traffic_prove_keys_${name}`);
const HARD = 'traffic_prove_keys_hard';
const INDEX = 'traffic_windows_prove_keys';
// All of a day's windows of a thousand keys take minutes: STREAMGAUGE_SCALE=full.
const [KEYS, WINDOWS] = process.env.STREAMGAUGE_SCALE === 'full' ? [1000, 144] : [100, 24];
const SEED = 20260105;
const FIRST = Date.UTC(2026, 0, 5);
const TEN_MINUTES = 600_000;

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const edge = fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 0n, 1n, -1n);
/** A window's values: none, one row, ties, small ones, ones past 2^53 that lie close together, the whole range, the very ends of it. */
const windowValues = fc.oneof(
  fc.constant<bigint[]>([]),
  fc.tuple(int64),
  fc.tuple(int64, fc.integer({ min: 2, max: 6 })).map(([value, times]) => Array.from({ length: times }, () => value)),
  fc.array(fc.bigInt({ min: -50n, max: 50n }), { minLength: 1, maxLength: 7 }),
  fc.tuple(fc.bigInt({ min: 2n ** 53n, max: 2n ** 62n }), fc.array(fc.bigInt({ min: 0n, max: 9n }), { minLength: 2, maxLength: 6 })).map(([base, more]) => more.map((value) => base + value)),
  fc.array(int64, { minLength: 2, maxLength: 6 }),
  fc.array(edge, { minLength: 1, maxLength: 5 }),
);

// Random values in many windows of many keys of several topics, and payloads made to be read wrong: TypeScript = Spark = Elasticsearch.
describe('several topics, many keys, any values', () => {
  const values = fc.sample(windowValues, { seed: SEED, numRuns: TOPICS.length * KEYS * WINDOWS });
  const wanted = new Map<string, WindowStatistics>();
  let project: Project;
  let config: Config;
  let elasticsearch: Elasticsearch;
  let windows: Map<string, Row>;
  let hard: Row[];

  beforeAll(async () => {
    project = createProject(NAME, { topics: [...TOPICS, HARD].join(','), partitions: 2 });
    await project.json(['provision']);
    config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
    const report = await sendRecords(await clientAccess(config, 'pipeline'), [...randomRecords(), ...[...HARD_PAYLOADS, ...REPEATED_NAMES].map((value) => ({ topic: HARD, key: 'same', value }))]);
    if (report.error !== undefined) throw report.error;
    await project.json(['deploy']);
    await project.json(['run']);
    await project.json(['export']);
    elasticsearch = await openElasticsearch(config);
    const sql = await openSql(config);
    try {
      windows = new Map();
      for await (const row of sql.rows('SELECT * FROM windows')) windows.set(`${String(row.topic)}/${String(row.key)}/${String(row.window_start)}`, row);
      hard = await Array.fromAsync(sql.rows(`SELECT offset, payload, unix_millis(broker_timestamp) AS arrived, unix_micros(event_time) AS micros, key, value, error FROM raw WHERE topic = '${HARD}' ORDER BY offset`));
    } finally {
      await sql.close();
    }
  }, 900_000);
  afterAll(async () => await elasticsearch?.close());

  function* randomRecords(): Generator<OutgoingRecord> {
    let next = 0;
    for (const topic of TOPICS) {
      for (let key = 0; key < KEYS; key += 1) {
        for (let window = 0; window < WINDOWS; window += 1) {
          const counts = values[next++] as readonly bigint[];
          if (counts.length === 0) continue;
          const start = FIRST + window * TEN_MINUTES;
          wanted.set(`${topic}/k${key}/${new Date(start).toISOString().replace('.000', '')}`, statistics(counts));
          for (const [at, count] of counts.entries()) yield { topic, key: `k${key}`, value: `{"timestamp":${start + (at * 83_000) % TEN_MINUTES},"流量":${count},"key":"k${key}"}` };
        }
      }
    }
  }

  it(`of ${TOPICS.length * KEYS * WINDOWS} windows those that have records are there, and no other, right to the last digit, in Spark and in Elasticsearch`, async () => {
    const documents = new Map<string, Record<string, unknown>>();
    for await (const page of documentsBySequence(elasticsearch, INDEX, {})) for (const { id, source } of page) documents.set(id, source);
    expect(wanted.size).toBeGreaterThan(0.7 * TOPICS.length * KEYS * WINDOWS);
    expect(wanted.size).toBeLessThan(TOPICS.length * KEYS * WINDOWS);
    const ids = (all: Iterable<string>): string[] => [...all].filter((id) => !id.startsWith(HARD)).toSorted();
    expect(ids(documents.keys())).toEqual(ids(windows.keys()));
    const ours = [...windows.keys()].filter((id) => !id.startsWith(HARD));
    expect(ours.length).toBe(wanted.size);
    const wrong = [...wanted].flatMap(([id, expected]) => [differing(id, expected, windows.get(id)), differing(id, expected, documents.get(id))]).filter((message) => message !== undefined);
    expect(wrong).toEqual([]);
  });

  it(`${HARD_PAYLOADS.length} hard payloads: Spark judges each as the oracle does`, () => {
    expect(hard.length).toBe(HARD_PAYLOADS.length + REPEATED_NAMES.length);
    const options = { fields: { timestamp: 'timestamp', value: '流量', key: 'key' }, maxFutureMinutes: config.pipeline.max_future_minutes };
    const verdicts = hard.slice(0, HARD_PAYLOADS.length).map(({ payload, arrived, micros, key, value, error }) => {
      const bytes = payload === null ? null : Buffer.from(String(payload), 'base64');
      const verdict = judge(bytes, { ...options, arrivedAtMillis: Number(arrived) });
      const oracle = 'error' in verdict ? verdict.error : `${verdict.eventTimeMicros} ${verdict.key} ${verdict.value}`;
      return { payload: bytes?.toString().slice(0, 120), spark: error ?? `${String(micros)} ${String(key)} ${String(value)}`, oracle };
    });
    expect(verdicts.filter(({ spark, oracle }) => spark !== oracle)).toEqual([]);
    expect(new Set(hard.map(({ error }) => error)).size).toBeGreaterThan(11);
  });

  it('and prove says the same of all of it, and counts what may be read one way or the other', async () => {
    const certificate = await project.json(['prove']);
    expect(certificate).toMatchObject({ proved: true, differences: [], windows: { windows: windows.size, waiting: 0 }, documents: { same: windows.size } });
    const ambiguous = certificate.partitions.reduce((sum: number, partition: any) => sum + partition.ambiguous, 0);
    expect(ambiguous).toBeGreaterThan(0);
    expect(ambiguous).toBeLessThanOrEqual(REPEATED_NAMES.length);
    expect(certificate.partitions.length).toBe((TOPICS.length + 1) * 2);
  });

  it('a median or a deviation that is a little wrong is seen in every single one of them', async () => {
    const sql = await openSql(config);
    try {
      await sql.execute(`
        CREATE OR REPLACE TABLE windows_altered AS
        SELECT * EXCEPT (isEven, median, stddev_samp), CAST(median + CASE WHEN isEven THEN 0.5BD ELSE 0BD END AS DECIMAL(20,1)) AS median,
               CASE WHEN isEven THEN stddev_samp ELSE coalesce(stddev_samp * 1.000001, 0) + 0.001 END AS stddev_samp
        FROM (SELECT *, pmod(hash(key, window_start), 2) = 0 AS isEven FROM windows)`);
      const tables = { ...tableNames(config.pipeline), windows: 'windows_altered' };
      const proof: Proof = { sql, tables, versions: await currentVersions(sql, tables), shardSize: config.pipeline.shard_size, windowMinutes: 10, topics: config.pipeline.topics };
      const outcomes = Object.fromEntries((await windowOutcomes(proof, {})).map(({ outcome, windows: count }) => [String(outcome), Number(count)]));
      const half = expect.toSatisfy((count: number) => count > 0.4 * windows.size);
      expect(outcomes).toEqual({ median: half, stddev_samp: half });
      expect((outcomes.median as number) + (outcomes.stddev_samp as number)).toBe(windows.size);
    } finally {
      await sql.close();
    }
  });
});

function differing(id: string, expected: WindowStatistics, found: Record<string, unknown> | undefined): string | undefined {
  if (found === undefined) return `${id} is missing`;
  for (const field of ['count', 'sum', 'median', 'min', 'max'] as const) {
    if (String(found[field]) !== String(expected[field])) return `${id}: ${field} ${String(found[field])}, not ${String(expected[field])}`;
  }
  const isNear = (a: unknown, b: number | null): boolean => (b === null || a === null ? a === b : Math.abs(Number(a) - b) <= 1e-9 * Math.max(Math.abs(b), 1e-9));
  if (!isNear(found.mean, expected.mean)) return `${id}: mean ${String(found.mean)}, not ${expected.mean}`;
  return isNear(found.stddev_samp, expected.stddevSamp) ? undefined : `${id}: stddev_samp ${String(found.stddev_samp)}, not ${expected.stddevSamp}`;
}
