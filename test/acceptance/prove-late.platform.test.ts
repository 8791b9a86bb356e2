import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { openSql, type Row, type Sql } from '../../src/databricks/sql.ts';
import { bulkIndex } from '../../src/elasticsearch/bulk.ts';
import { openElasticsearch, type Elasticsearch } from '../../src/elasticsearch/connect.ts';
import { bulkDocument, type WindowRow } from '../../src/elasticsearch/document.ts';
import { documentById } from '../../src/elasticsearch/read.ts';
import { sendRecords } from '../../src/kafka/send.ts';
import { clientAccess } from '../../src/msk/access.ts';
import { exportWindows } from '../../src/commands/export.ts';
import { prove } from '../../src/commands/prove.ts';
import { createProject, inProcess, type Project } from './project.ts';

const NAME = 'prove-late';
const TOPIC = 'traffic_prove_late';
const INDEX = 'traffic_windows_prove_late';
const MINUTE = 60_000;

const at = (time: number, value: number | string, more = ''): string => `{"timestamp":${time / 1000},"流量":${value},"key":"a"${more}}\n`;

// A stream that goes quiet, late records, another revision, records that came too late to count: all of it accounted for.
describe('late rows, quiet streams, revisions', () => {
  const eight = Date.UTC(2026, 0, 5, 8);
  let project: Project;
  let config: Config;
  let elasticsearch: Elasticsearch;
  let session: Sql;
  const results: Record<string, any> = {};

  /** In a session of the test's own: a process for each statement would take most of the time. */
  const rows = async (statement: string): Promise<any[][]> => {
    const { batches } = await session.execute(statement);
    return (await Array.fromAsync(batches)).flat().map((row) => row.map((cell) => (typeof cell === 'bigint' ? Number(cell) : cell)));
  };
  const produce = (...lines: string[]): Promise<any> => project.json(['produce', '--file', '-'], { input: lines.join('') });
  const documentOf = (time: number) => documentById(elasticsearch, INDEX, `${TOPIC}/a/${new Date(time).toISOString().replace('.000', '')}`);
  const positionOf = async (reason: string): Promise<string> => (await project.json(['quarantine', 'list', '--reason', reason])).records.map((row: any) => `${row.topic}/${row.partition}/${row.offset}`)[0];

  beforeAll(async () => {
    project = createProject(NAME, { partitions: 2, window_minutes: 1, allowed_lateness_minutes: 60 });
    await project.json(['provision']);
    await project.json(['deploy']);
    config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
    elasticsearch = await openElasticsearch(config);
    // A window that has ended, but not so long ago that nothing more of it is waited for.
    const recent = Math.floor(Date.now() / MINUTE) * MINUTE - 5 * MINUTE;
    await produce(...[1, 2, 3, 4, 5, 6].map((value) => at(eight + value * 1000, value)), ...[7, 8].map((value) => at(eight + MINUTE, value, ',"lane":{"nr":[1,2]}')), ...[20, 30, 50].map((value) => at(recent + value, value)));
    results.first = await runExportProve();
    session = await openSql(config);
  }, 900_000);
  afterAll(async () => {
    await session?.close();
    await elasticsearch?.close();
  });

  async function runExportProve(parameters: string[] = []): Promise<any> {
    await project.json(['run', ...parameters]);
    await inProcess(project, exportWindows, {});
    return inProcess(project, prove, {});
  }

  it('a window that may still get records is not published, and its records are counted as waiting', async () => {
    expect(results.first).toMatchObject({ proved: true, windows: { windows: 2, waitingWindows: 1, waiting: 3, counted: 8, held: 0 }, documents: { documents: 2 } });
  });

  it('fields that nobody knows are kept in the payload and break nothing', async () => {
    expect(await rows("SELECT DISTINCT decode(payload, 'UTF-8') LIKE '%lane%', error IS NULL FROM raw WHERE event_time = '2026-01-05T08:01:00Z'")).toEqual([[true, true]]);
  });

  it('the quiet stream: a later run publishes the last window by the clock, nothing else having arrived', async () => {
    results.quiet = await runExportProve(['--param', 'allowed_lateness_minutes=0']);
    expect(results.quiet).toMatchObject({ proved: true, windows: { windows: 3, waitingWindows: 0, counted: 11 } });
    expect(results.quiet.partitions.reduce((sum: number, { raw }: any) => sum + raw, 0)).toBe(11);
    expect(await rows('SELECT closed_by, count, sum FROM windows ORDER BY window_start DESC LIMIT 1')).toEqual([['clock', 3, '100']]);
  }, 900_000);

  it('amend: late records stand in the ledger, and their window gets its next revision; a bad record comes back corrected', async () => {
    const old = await oldWindows();
    await produce(at(eight + 30_000, 1000), at(eight + 31_000, -5), at(eight - 60 * MINUTE, 77));
    await sendBad('{"timestamp":"2026-01-05T08:00:40Z","流量":"12","key":"a"}');
    const amended = await runExportProve();
    expect(amended).toMatchObject({ proved: true, windows: { windows: 4, revised: 1, held: 0, waiting: 0 } });
    expect(await rows('SELECT count, sum, revision FROM windows WHERE window_start = "2026-01-05T08:00:00Z"')).toEqual([[8, '1016', 2]]);
    expect(await rows('SELECT value, revision FROM late_records ORDER BY value')).toEqual([[-5, 2], [1000, 2]]);
    expect(await documentOf(eight)).toMatchObject({ version: 2n, source: { count: 8n, sum: 1016n, revision: 2n } });
    // An export that was held up somewhere comes with what it had read before.
    const report = await bulkIndex(elasticsearch, INDEX, batchOf(old));
    expect(report).toMatchObject({ written: 0, unchanged: old.length, rejectedCount: 0 });
    expect(await documentOf(eight)).toMatchObject({ version: 2n, source: { count: 8n } });
    expect(await inProcess(project, exportWindows, { full: true })).toMatchObject({ written: 0, unchanged: 4 });
    const explained = await project.json(['explain', new Date(eight).toISOString(), '--key', 'a', '--recompute']);
    expect(explained.revisions.map(({ revision, count }: any) => [revision, count])).toEqual([[2, 8], [1, 6]]);
    expect(explained.late.map(({ revision }: any) => revision)).toEqual([2, 2]);
    expect(explained.recomputed.every(({ same }: any) => same)).toBe(true);
  }, 900_000);

  it('hold: what comes too late is in the ledger, and changes nothing; the corrected record counts, and its original stays, marked', async () => {
    await project.json(['deploy', '--var', 'late_policy=hold']);
    await produce(at(eight + 45_000, 5000));
    const position = await positionOf('value_not_integer');
    expect((await project.json(['quarantine', 'replay', position, '--payload', '{"timestamp":"x"}'], { code: 2 })).error.code).toBe('STILL_BAD');
    const corrected = '{"timestamp":"2026-01-05T08:30:40Z","流量":12,"key":"a"}';
    const replayed = await project.json(['quarantine', 'replay', position, '--payload', corrected]);
    expect((await project.json(['quarantine', 'replay', position, '--payload', corrected], { code: 2 })).error.code).toBe('ALREADY_REPLAYED');
    const held = await runExportProve(['--var', 'late_policy=hold']);
    expect(held).toMatchObject({ proved: true, windows: { windows: 5, revised: 1, held: 1, waiting: 0 } });
    expect(await rows('SELECT count, sum, revision FROM windows WHERE window_start = "2026-01-05T08:00:00Z"')).toEqual([[8, '1016', 2]]);
    expect(await rows('SELECT value FROM late_records WHERE revision IS NULL')).toEqual([[5000]]);
    const { record } = await project.json(['quarantine', 'show', position]);
    expect(record).toMatchObject({ error: 'value_not_integer', replay_partition: replayed.replay.partition, replay_offset: replayed.replay.offset });
    expect(await rows(`SELECT value, error, decode(headers[0].value, 'UTF-8') FROM raw WHERE partition = ${replayed.replay.partition} AND offset = ${replayed.replay.offset}`)).toEqual([[12, null, position]]);
    expect(await rows('SELECT count, sum FROM windows WHERE window_start = "2026-01-05T08:30:00Z"')).toEqual([[1, '12']]);
  }, 900_000);

  /** A record that `produce` would leave out. */
  async function sendBad(value: string): Promise<void> {
    await sendRecords(await clientAccess(config, 'pipeline'), [{ topic: TOPIC, value }]);
  }

  /** The windows as they are now, every digit of them: what a slow exporter may still have in hand when the next revision is out. */
  async function oldWindows(): Promise<Row[]> {
    return Array.fromAsync(session.rows('SELECT * FROM windows ORDER BY sequence'));
  }

  async function* batchOf(windows: Row[]) {
    yield windows.map((window) => bulkDocument(window as unknown as WindowRow));
  }
});
