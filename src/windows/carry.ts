import type { Context, Progress } from '../command.ts';
import type { Cell, Column, Sql } from '../databricks/sql.ts';
import { windowsAfter } from '../databricks/tables.ts';
import { bulkIndex, type BulkReport, type RejectedDocument } from '../elasticsearch/bulk.ts';
import type { Elasticsearch } from '../elasticsearch/connect.ts';
import { moveCursor, type Cursor } from '../elasticsearch/cursor.ts';
import { bulkDocument, type BulkDocument, type WindowRow } from '../elasticsearch/document.ts';
import { Failure, messageOf } from '../errors.ts';

export type Carriage = {
  elasticsearch: Elasticsearch;
  sql: Sql;
  /** Quoted name of a table of windows. */
  table: string;
  /** Of the index that they go to. */
  cursor: Cursor;
  /** The sequence after which they are read. */
  from: bigint;
  /** Throws where these windows do not belong into this index; asked after the query has fixed what it reads, before anything is written. */
  check?: () => Promise<void>;
};

export type Carried = {
  /** Windows that had changed since. */
  read: number;
  written: number;
  unchanged: number;
  rejectedCount: number;
  rejected: RejectedDocument[];
  reached: Cursor;
  bytes: number;
  seconds: number;
  interrupted: boolean;
};

/** The cursor is put down so often meanwhile: whoever dies starts again from there. */
const SAVE_MS = 5000;

/** Every window after a sequence, as a document; again and again gives the same index. What was written before an error stays, and the error says how much. */
export async function carryWindows({ progress, signal }: Pick<Context, 'progress' | 'signal'>, { elasticsearch, sql, table, cursor, from, check }: Carriage): Promise<Carried> {
  const startedAt = performance.now();
  const { columns, batches } = await sql.execute(windowsAfter(table), { sequence: from });
  await check?.();
  let read = 0;
  const documents = documentsOf(columns, batches, (count) => (read += count));
  const saved = saver(elasticsearch, cursor);
  const report = await bulkIndex(elasticsearch, cursor.index, documents, {
    signal,
    onProgress(soFar) {
      saved.put(soFar.safeSequence);
      tell(progress, soFar, startedAt);
    },
  });
  const reached = await saved.finish(report.safeSequence);
  const interrupted = signal.aborted;
  if (report.error !== undefined && !interrupted) throw stopped(report, reached);
  const { written, unchanged, rejectedCount, rejected, bytes } = report;
  return { read, written, unchanged, rejectedCount, rejected, reached, bytes, seconds: (performance.now() - startedAt) / 1000, interrupted };
}

async function* documentsOf(columns: readonly Column[], batches: AsyncIterable<Cell[][]>, onRead: (count: number) => void): AsyncGenerator<BulkDocument[], void, undefined> {
  const names = columns.map((column) => column.name);
  for await (const batch of batches) {
    onRead(batch.length);
    yield batch.map((cells) => bulkDocument(Object.fromEntries(names.map((name, at) => [name, cells[at]])) as unknown as WindowRow));
  }
}

/** Puts the cursor down from time to time, one move after the other. */
function saver(elasticsearch: Elasticsearch, cursor: Cursor): { put(sequence: bigint | undefined): void; finish(sequence: bigint | undefined): Promise<Cursor> } {
  let last = Promise.resolve(cursor);
  let savedAt = performance.now();
  const move = async (sequence: bigint | undefined): Promise<Cursor> => {
    const current = await last;
    return sequence === undefined ? current : await moveCursor(elasticsearch, current, sequence);
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
