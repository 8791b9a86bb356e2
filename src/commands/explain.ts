import type { Block, Command, Context } from '../command.ts';
import type { Config } from '../config/config.ts';
import { lateRows, makersOf, revisionsOf, windowRow, windowShards, type Makers, type Revision, type WindowName } from '../databricks/lineage.ts';
import { currentVersions, type Proof, type Versions } from '../databricks/proof.ts';
import { openSql, type Row } from '../databricks/sql.ts';
import { tableNames } from '../databricks/tables.ts';
import { openElasticsearch } from '../elasticsearch/connect.ts';
import { documentById } from '../elasticsearch/read.ts';
import type { WindowRow } from '../elasticsearch/document.ts';
import { EXIT, Failure } from '../errors.ts';
import { expectedDocument } from '../proof/documents.ts';
import { windowMinutes } from '../proof/length.ts';
import { compareStatistics, recompute, type Comparison } from '../proof/recompute.ts';
import { parseTimestamp } from '../traffic/event.ts';
import { windowStart } from '../traffic/window.ts';

type Options = { window: string; topic?: string; key?: string; recompute?: boolean };
type Run = { id: number; startedAt: string; url: string | null };
type Result = {
  id: string;
  window: WindowRow;
  tables: Versions;
  shards: Row[];
  late: Row[];
  revisions: (Revision & { run: Run | null })[];
  notebooks: Makers['notebooks'];
  document: { id: string; seqNo: bigint; version: bigint } | null;
  recomputed: Comparison[] | null;
};

/** `streamgauge explain`: where one window comes from, down to the offsets, and whether it is right. */
export const explain: Command<Options, Result> = {
  name: 'explain',
  positionals: '<window>',
  summary: 'Say where a window comes from: offsets, shards, table versions, run, notebooks, revisions, document.',
  examples: [
    ['streamgauge explain 2026-01-05T01:20:00Z --key site-1', 'any moment in the window'],
    ['streamgauge explain traffic_counter/site-1/2026-01-05T01:20:00Z --recompute', 'by its document, and all statistics again from the payloads'],
  ],
  options: {
    topic: { type: 'string', requiresArg: true, describe: 'One of the configured topics; the first where it is left out' },
    key: { type: 'string', requiresArg: true, describe: 'The site or link; the empty key where it is left out' },
    recompute: { type: 'boolean', describe: 'Derive all statistics from the payloads again, here, and compare with Spark and Elasticsearch' },
  },
  async run(context, options) {
    const { config, progress, signal } = context;
    const inConfiguration = windowOf(config, options, config.pipeline.window_minutes);
    progress.stage('connect');
    const elasticsearch = await openElasticsearch(config, signal);
    const sql = await openSql(config, signal).catch(async (error: unknown) => {
      await elasticsearch.close();
      throw error;
    });
    try {
      const tables = tableNames(config.pipeline);
      const { shard_size: shardSize, window_minutes: configured, topics, index } = config.pipeline;
      const versions = await currentVersions(sql, tables);
      const minutes = await windowMinutes(sql, tables, { target: config.target, configured }, progress.warn);
      const proof: Proof = { sql, tables, versions, shardSize, windowMinutes: minutes, topics };
      const window = minutes === configured ? inConfiguration : windowOf(config, options, minutes);
      progress.stage('the window');
      const row = (await windowRow(proof, window)) as WindowRow | undefined;
      if (row === undefined) throw notPublished(window, config);
      const shards = await windowShards(proof, window);
      const { id } = expectedDocument(row);
      const document = await documentById(elasticsearch, index, id);
      progress.stage('its revisions');
      const [revisions, makers] = [await revisionsOf(proof, window), await makersOf(config, signal)];
      if (options.recompute) progress.stage('recompute');
      const computed = options.recompute ? await recompute(proof, window, placesOf(shards), rulesOf(config), row) : null;
      return {
        id, window: row, tables: proof.versions, shards, late: await lateRows(proof, window),
        revisions: revisions.map((revision) => ({ ...revision, run: runAt(makers, revision.at) })),
        notebooks: makers.notebooks,
        document: document === undefined ? null : { id, seqNo: document.seqNo, version: document.version },
        recomputed: options.recompute ? compareStatistics(computed, row, document) : null,
      };
    } finally {
      await sql.close();
      await elasticsearch.close();
    }
  },
  render,
  exitCode: ({ recomputed }) => (recomputed === null || recomputed.every(({ same }) => same) ? EXIT.ok : EXIT.checkFailed),
};

/** A moment with `--topic` and `--key`, or a document's id: topic/key/start. */
function windowOf({ pipeline }: Context['config'], { window, topic, key }: Options, minutes: number): WindowName {
  const parts = /^([A-Za-z0-9._-]+)\/(.*)\/([^/]+)$/s.exec(window);
  const time = parts?.[3] ?? window;
  const micros = parseTimestamp(time);
  if (micros === undefined || micros < 0n) throw new Failure({ code: 'USAGE', kind: 'usage', message: `${JSON.stringify(time)} is no time`, hint: 'Give a moment in the window (2026-01-05T01:20:00Z), or topic/key/start as its document is called.' });
  return { topic: parts?.[1] ?? topic ?? (pipeline.topics[0] as string), key: parts?.[2] ?? key ?? '', start: windowStart(micros, minutes) };
}

function notPublished({ topic, key, start }: WindowName, { target, pipeline }: Config): Failure {
  const at = new Date(Number(start / 1000n)).toISOString().replace('.000', '');
  return new Failure({ code: 'WINDOW_NOT_FOUND', kind: 'checkFailed', message: `no window of ${topic}${key === '' ? '' : `, key ${JSON.stringify(key)},`} is published that starts at ${at}`, hint: `See which there are: streamgauge query -t ${target} "SELECT topic, key, window_start FROM ${pipeline.schema}.windows ORDER BY window_start DESC LIMIT 20"` });
}

function placesOf(shards: readonly Row[]): { partition: number; shard: bigint }[] {
  return shards.map(({ partition, shard }) => ({ partition: Number(partition), shard: shard as bigint }));
}

function rulesOf({ pipeline }: Config): Parameters<typeof recompute>[3] {
  return { fields: { timestamp: pipeline.timestamp_field, value: pipeline.value_field, key: pipeline.key_field }, maxFutureMinutes: pipeline.max_future_minutes };
}

/** The run that was under way when the table got this version; null where it is past what the workspace remembers, or somebody else wrote. */
function runAt({ runs }: Makers, at: string): Run | null {
  const moment = Date.parse(at);
  const run = runs.find(({ start_time: start = 0, end_time: end }) => start <= moment && (!end || moment <= end));
  return run === undefined ? null : { id: run.run_id, startedAt: new Date(run.start_time ?? 0).toISOString(), url: run.run_page_url ?? null };
}

function render({ id, window, tables, shards, late, revisions, notebooks, document, recomputed }: Result): Block[] {
  const blocks: Block[] = [
    {
      kind: 'facts',
      title: id,
      facts: [
        ['window', `${window.window_start} to ${window.window_end}, closed by the ${window.closed_by}`],
        ['statistics', `count ${window.count}, sum ${window.sum}, mean ${window.mean}, median ${window.median}, stddev ${window.stddev_samp}, min ${window.min}, max ${window.max}`],
        ['revision', `${window.revision}, sequence ${window.sequence}`],
        ['document', document === null ? 'not in the index' : `${document.id}, _seq_no ${document.seqNo}, _version ${document.version}`],
        ['versions', Object.entries(tables).map(([table, version]) => `${table} ${version}`).join(', ')],
      ],
    },
    { kind: 'table', title: 'Its records', columns: ['partition', 'shard', 'records', 'first offset', 'last offset', 'sealed', 'SHA-256'], rows: shards.map((s) => [cell(s.partition), cell(s.shard), cell(s.records), cell(s.first), cell(s.last), s.sealed === true ? 'yes' : 'no', cell(s.sha256)]) },
    { kind: 'table', title: 'Its revisions', columns: ['revision', 'version of windows', 'at', 'run', 'count', 'sum'], rows: revisions.map((r) => [r.revision, r.version, r.at, r.run?.id ?? null, r.count, r.sum]) },
    { kind: 'table', title: 'Made by', columns: ['notebook', 'SHA-256'], rows: notebooks.map(({ path, sha256 }) => [path, sha256]) },
  ];
  if (late.length > 0) blocks.push({ kind: 'table', title: 'Came late', columns: ['partition', 'offset', 'seconds late', 'revision'], rows: late.map((l) => [cell(l.partition), cell(l.offset), cell(l.lateness_seconds), l.revision === null ? 'held' : cell(l.revision ?? null)]) });
  if (recomputed !== null) blocks.push({ kind: 'table', title: 'Computed again', columns: ['', 'from the payloads', 'Spark', 'Elasticsearch', ''], rows: recomputed.map((c) => [c.field, c.typescript, c.spark, c.elasticsearch, c.same ? 'same' : 'DIFFERS']) });
  return blocks;
}

function cell(value: Row[string] | undefined): string | number | bigint | null {
  return value === undefined || value === null ? null : typeof value === 'bigint' || typeof value === 'number' ? value : String(value);
}
