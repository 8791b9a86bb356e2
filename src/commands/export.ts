import type { Block, Command, Context } from '../command.ts';
import { checkNotSwapping } from '../databricks/rebuild.ts';
import { openSql, type Sql } from '../databricks/sql.ts';
import { tableNames, type Tables } from '../databricks/tables.ts';
import type { RejectedDocument } from '../elasticsearch/bulk.ts';
import { openElasticsearch, type Elasticsearch } from '../elasticsearch/connect.ts';
import { readCursor, type Cursor } from '../elasticsearch/cursor.ts';
import { findGeneration } from '../elasticsearch/generations.ts';
import { EXIT, Failure } from '../errors.ts';
import { carryWindows } from '../windows/carry.ts';

type Options = { full?: boolean };
type Result = {
  index: string;
  /** Windows that had changed since the last export. */
  read: number;
  written: number;
  unchanged: number;
  rejectedCount: number;
  rejected: RejectedDocument[];
  /** Sequences: where this export began, and up to where everything is in the index now. */
  cursor: { from: bigint; to: bigint };
  bytes: number;
  seconds: number;
  interrupted: boolean;
};

const SHOWN_REJECTED = 10;

/** `streamgauge export`: every window that changed since the last export, as a document; again and again gives the same index. */
export const exportWindows: Command<Options, Result> = {
  name: 'export',
  summary: 'Carry new and changed windows to Elasticsearch; running it again writes nothing.',
  examples: [
    ['streamgauge export -t prod', 'what changed since the last export'],
    ['streamgauge export --full', 'every window: documents that are there already stay as they are'],
  ],
  // As a task of the job it has no bundle but what the run's parameters say (notebooks/export.py).
  reads: ['catalog', 'schema', 'index', 'warehouse_id'],
  options: {
    full: { type: 'boolean', describe: 'Start from the first window, wherever the cursor stands' },
  },
  async run(context, { full = false }) {
    const { config, progress, signal } = context;
    const { index } = config.pipeline;
    progress.stage('connect');
    const elasticsearch = await openElasticsearch(config);
    const opened: { sql?: Sql } = {};
    try {
      const cursor = await readCursor(elasticsearch, index);
      const sql = (opened.sql = await openSql(config, signal));
      return await carry(context, { elasticsearch, sql, cursor, from: full ? 0n : cursor.sequence });
    } finally {
      await opened.sql?.close();
      await elasticsearch.close();
    }
  },
  render,
  exitCode: ({ interrupted, rejectedCount }) => (interrupted ? EXIT.interrupted : rejectedCount > 0 ? EXIT.checkFailed : EXIT.ok),
};

type Carriage = { elasticsearch: Elasticsearch; sql: Sql; cursor: Cursor; from: bigint };

async function carry(context: Context, { elasticsearch, sql, cursor, from }: Carriage): Promise<Result> {
  const { config, progress } = context;
  const { index } = config.pipeline;
  const tables = tableNames(config.pipeline);
  progress.stage(`export to ${index}`);
  const check = async (): Promise<void> => {
    await checkNotSwapping(sql, tables, config.target);
    await checkSameIndex(elasticsearch, cursor);
  };
  const { reached, ...carried } = await carryWindows(context, { elasticsearch, sql, table: tables.windows, cursor, from, check });
  if (carried.read === 0 && !carried.interrupted) await checkNotRebuilt(sql, tables, reached);
  return { index, ...carried, cursor: { from, to: reached.sequence } };
}

/** Between the reading of cursor and table both may have been swapped: windows of one length would go to the index of another. */
async function checkSameIndex(elasticsearch: Elasticsearch, { name, index, indexUuid }: Cursor): Promise<void> {
  if ((await findGeneration(elasticsearch, name))?.uuid === indexUuid) return;
  throw new Failure({ code: 'INDEX_SWAPPED', kind: 'remote', retriable: true, message: `${name} stood for ${index} when this export began, and now stands for another index: nothing was written`, hint: 'Run the export again.' });
}

/** A table that was made anew counts its sequences from 1: the cursor would wait for them for ever, in silence. */
async function checkNotRebuilt(sql: Sql, { windows }: Tables, { sequence, index, name }: Cursor): Promise<void> {
  if (sequence === 0n) return;
  for await (const row of sql.rows(`SELECT max(sequence) AS newest FROM ${windows}`)) {
    if (typeof row.newest === 'bigint' && row.newest >= sequence) return;
    throw new Failure({
      code: 'CURSOR_AHEAD_OF_TABLE',
      kind: 'checkFailed',
      message: `the index ${index} holds windows up to sequence ${sequence}, and the table ends at ${String(row.newest ?? 0)}: it is not the table that was exported before`,
      hint: `Delete the indices ${index} and ${name}-cursor, or choose another with --var index=NAME, then export again.`,
    });
  }
}

function render({ index, read, written, unchanged, rejectedCount, rejected, cursor, seconds, interrupted }: Result): Block[] {
  const blocks: Block[] = [];
  if (interrupted) blocks.push({ kind: 'text', text: 'Interrupted; the next export goes on from the cursor.' });
  if (read === 0 && !interrupted) blocks.push({ kind: 'text', text: cursor.to === 0n ? 'Nothing to export: no window has been published yet.' : `Nothing to export: ${index} holds every window up to sequence ${cursor.to}.` });
  else {
    const rate = Math.round((written + unchanged) / Math.max(seconds, 0.001)).toLocaleString('en');
    const facts: [string, string | number | bigint][] = [
      ['index', index],
      ['windows read', read],
      ['written', `${written} in ${seconds.toFixed(1)} s (${rate}/s)`],
      ['unchanged', unchanged],
      ['cursor', `${cursor.from} -> ${cursor.to}`],
    ];
    blocks.push({ kind: 'facts', facts });
  }
  if (rejectedCount > 0) {
    const rows = rejected.slice(0, SHOWN_REJECTED).map(({ id, status, type, reason }) => [id, status, `${type}: ${reason}`]);
    const more = rejectedCount > rows.length ? `${rejectedCount - rows.length} more; all of the first 100 with --json` : undefined;
    blocks.push({ kind: 'table', title: `${rejectedCount} rejected; the cursor stays below them, so the next export tries them again`, columns: ['document', 'status', 'reason'], rows, more });
  }
  return blocks;
}
