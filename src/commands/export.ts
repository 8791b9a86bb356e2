import type { Block, Command, Context, Progress } from '../command.ts';
import { openSql, type Cell, type Column, type Sql } from '../databricks/sql.ts';
import { tableNames, windowsAfter, type Tables } from '../databricks/tables.ts';
import { bulkIndex, type BulkReport, type RejectedDocument } from '../elasticsearch/bulk.ts';
import { openElasticsearch, type Elasticsearch } from '../elasticsearch/connect.ts';
import { moveCursor, readCursor, type Cursor } from '../elasticsearch/cursor.ts';
import { bulkDocument, type BulkDocument, type WindowRow } from '../elasticsearch/document.ts';
import { EXIT, Failure, messageOf } from '../errors.ts';

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

/** The cursor is put down so often meanwhile: an export that dies starts again from there. */
const SAVE_MS = 5000;
const SHOWN_REJECTED = 10;

/** `streamgauge export`: every window that changed since the last export, as a document; again and again gives the same index. */
export const exportWindows: Command<Options, Result> = {
  name: 'export',
  summary: 'Carry new and changed windows to Elasticsearch; running it again writes nothing.',
  examples: [
    ['streamgauge export -t prod', 'what changed since the last export'],
    ['streamgauge export --full', 'every window: documents that are there already stay as they are'],
  ],
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

type Carried = { elasticsearch: Elasticsearch; sql: Sql; cursor: Cursor; from: bigint };

async function carry({ config, progress, signal }: Context, { elasticsearch, sql, cursor, from }: Carried): Promise<Result> {
  const { index } = config.pipeline;
  const tables = tableNames(config.pipeline);
  const startedAt = performance.now();
  progress.stage(`export to ${index}`);
  const { columns, batches } = await sql.execute(windowsAfter(tables), { sequence: from });
  let read = 0;
  const documents = documentsOf(columns, batches, (count) => (read += count));
  const saved = saver(elasticsearch, index, cursor);
  const report = await bulkIndex(elasticsearch, index, documents, {
    signal,
    onProgress(soFar) {
      saved.put(soFar.safeSequence);
      tell(progress, soFar, startedAt);
    },
  });
  const reached = await saved.finish(report.safeSequence);
  const interrupted = signal.aborted;
  if (report.error !== undefined && !interrupted) throw stopped(report, reached);
  if (read === 0 && !interrupted) await checkNotRebuilt(sql, tables, reached, index);
  const { written, unchanged, rejectedCount, rejected, bytes } = report;
  const seconds = (performance.now() - startedAt) / 1000;
  return { index, read, written, unchanged, rejectedCount, rejected, cursor: { from, to: reached.sequence }, bytes, seconds, interrupted };
}

async function* documentsOf(columns: readonly Column[], batches: AsyncIterable<Cell[][]>, onRead: (count: number) => void): AsyncGenerator<BulkDocument[], void, undefined> {
  const names = columns.map((column) => column.name);
  for await (const batch of batches) {
    onRead(batch.length);
    yield batch.map((cells) => bulkDocument(Object.fromEntries(names.map((name, at) => [name, cells[at]])) as unknown as WindowRow));
  }
}

/** Puts the cursor down from time to time, one move after the other. */
function saver(elasticsearch: Elasticsearch, index: string, cursor: Cursor): { put(sequence: bigint | undefined): void; finish(sequence: bigint | undefined): Promise<Cursor> } {
  let last = Promise.resolve(cursor);
  let savedAt = performance.now();
  const move = async (sequence: bigint | undefined): Promise<Cursor> => {
    const current = await last;
    return sequence === undefined ? current : await moveCursor(elasticsearch, index, current, sequence);
  };
  return {
    put(sequence) {
      if (performance.now() - savedAt < SAVE_MS) return;
      savedAt = performance.now();
      last = move(sequence);
      // Whoever waits for `finish` gets the error.
      last.catch(() => undefined);
    },
    finish: move,
  };
}

function tell(progress: Progress, { written, unchanged, rejectedCount }: BulkReport, startedAt: number): void {
  const rate = Math.round(((written + unchanged) * 1000) / Math.max(performance.now() - startedAt, 1));
  progress.update(`${written.toLocaleString('en')} documents written, ${unchanged.toLocaleString('en')} unchanged${rejectedCount > 0 ? `, ${rejectedCount} rejected` : ''}, ${rate.toLocaleString('en')}/s`);
}

/** A table that was made anew counts its sequences from 1: the cursor would wait for them for ever, in silence. */
async function checkNotRebuilt(sql: Sql, { windows }: Tables, { sequence }: Cursor, index: string): Promise<void> {
  if (sequence === 0n) return;
  for await (const row of sql.rows(`SELECT max(sequence) AS newest FROM ${windows}`)) {
    if (typeof row.newest === 'bigint' && row.newest >= sequence) return;
    throw new Failure({
      code: 'CURSOR_AHEAD_OF_TABLE',
      kind: 'checkFailed',
      message: `the index ${index} holds windows up to sequence ${sequence}, and the table ends at ${String(row.newest ?? 0)}: it is not the table that was exported before`,
      hint: `Delete the indices ${index} and ${index}-cursor, or choose another with --var index=NAME, then export again.`,
    });
  }
}

function stopped({ error, written, unchanged }: BulkReport, { sequence }: Cursor): Failure {
  const facts = error instanceof Failure ? error : undefined;
  return new Failure({
    code: facts?.code ?? 'EXPORT_FAILED',
    kind: facts?.kind ?? 'unexpected',
    message: `${messageOf(error)}; before that ${written} documents were written and ${unchanged} unchanged, and the cursor stands at ${sequence}`,
    hint: facts?.hint ?? 'Run the export again: it goes on from its cursor.',
    cause: error,
  });
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
