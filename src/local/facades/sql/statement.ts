import { readFile, rm, writeFile } from 'node:fs/promises';
import type { Relation, SparkSession } from '../../spark-connect/client.ts';
import { asSqlFailure, sqlFailure, type SqlFailure } from '../../spark-connect/errors.ts';
import { END_OF_STREAM, textColumn, type Batch } from '../../spark-connect/rows.ts';
import { prepared, startOperation, type Operation } from './operation.ts';
import { asJsonRows } from './projection.ts';
import { useNamespace, type SessionPool } from './session.ts';
import type { StatementRequest } from './statement-request.ts';

export type StatementState = 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'CANCELED';
export type Chunk = { rowOffset: number; rowCount: number; bytes: number };

/** A statement of the statement API: an operation, and its whole result on disk. */
export type Statement = {
  id: string;
  request: StatementRequest;
  operation: Operation;
  state: StatementState;
  failure?: SqlFailure;
  chunks: Chunk[];
  /** A limit cut rows off. */
  isTruncated: boolean;
  /** Resolves when it has ended, one way or another. */
  settled: Promise<void>;
  /** A chunk as it goes over the wire. */
  read(chunk: number): Promise<Buffer>;
  cancel(): Promise<void>;
  /** Cancels it where it still runs, and deletes its result. */
  remove(): Promise<void>;
};

const MOST_INLINE_BYTES = 25 * 2 ** 20;
const CHUNK_BYTES = { INLINE: 4 * 2 ** 20, EXTERNAL_LINKS: 16 * 2 ** 20 };
const COMMA = 1;

/** Runs a statement to its end in a Spark session of its own; the files `<path>.0`, `<path>.1`, ... then hold its chunks. */
export function runStatement(sessions: SessionPool, id: string, request: StatementRequest, path: string): Statement {
  const isArrow = request.format === 'ARROW_STREAM';
  const limit = request.row_limit;
  let used: { session: SparkSession; isCommand: boolean; result?: Relation } | undefined;

  const prepare = async () => {
    const session = await sessions.take();
    used = { session, isCommand: true };
    await useNamespace(session, request);
    return (used = prepared(session, request.statement, request.parameters));
  };
  const operation = startOperation(prepare, (relation, columns) => {
    used!.result = relation;
    const input = limit === undefined ? relation : { limit: { input: relation, limit } };
    return isArrow ? input : asJsonRows(input, columns);
  });
  let current = operation;

  async function run(): Promise<void> {
    try {
      await operation.settled;
      let [rows, bytes, hasMore] = [0, 0, true];
      while (hasMore && !statement.isTruncated) {
        const page = await operation.fetch(Infinity, CHUNK_BYTES[request.disposition]);
        hasMore = page.hasMore;
        const kept = cut(page.batches, (request.byte_limit ?? Infinity) - bytes);
        statement.isTruncated = kept.rows < page.rows;
        if (kept.rows > 0) await write(kept, rows);
        rows += kept.rows;
        bytes += kept.bytes;
        if (request.disposition === 'INLINE' && bytes > MOST_INLINE_BYTES) throw tooLargeInline();
      }
      if (rows === limit && statement.state === 'RUNNING') statement.isTruncated ||= await hasRowAfter(limit);
      if (statement.state === 'RUNNING') statement.state = 'SUCCEEDED';
    } finally {
      const isUnchanged = statement.state === 'SUCCEEDED' && !used?.isCommand && !request.catalog && !request.schema;
      if (!isUnchanged || statement.isTruncated) await operation.stop('CANCELED');
      if (used) sessions.giveBack(used.session, isUnchanged);
    }
  }

  async function hasRowAfter(offset: number): Promise<boolean> {
    const { session, result } = used!;
    const input = { limit: { input: { offset: { input: result, offset } }, limit: 1 } };
    current = startOperation(async () => ({ session, input, isCommand: false }), (relation) => relation);
    return (await current.fetch(1, Infinity)).rows > 0;
  }

  /** As many rows as there is room for, in their wire form. */
  function cut(batches: Batch[], room: number): { data: Uint8Array[]; rows: number; bytes: number } {
    const kept = { data: [] as Uint8Array[], rows: 0, bytes: 0 };
    for (const part of batches) {
      // Arrow is cut between batches only.
      const { text, offsets } = isArrow ? { text: part.batch, offsets: Int32Array.of(0) } : textColumn(part);
      const isWhole = kept.bytes + text.length <= room;
      const rows = isWhole ? part.rowCount : offsets.findLastIndex((end) => kept.bytes + end <= room);
      const data = isWhole ? text : text.subarray(0, offsets[rows]);
      kept.data.push(data);
      kept.rows += rows;
      kept.bytes += data.length;
      if (!isWhole) break;
    }
    return kept;
  }

  async function write({ data, rows }: { data: Uint8Array[]; rows: number }, rowOffset: number): Promise<void> {
    const body = Buffer.concat(data);
    const parts = isArrow ? [operation.arrowSchema!, body, END_OF_STREAM] : [Buffer.from('['), body.subarray(0, -COMMA), Buffer.from(']')];
    const chunk = Buffer.concat(parts);
    await writeFile(`${path}.${statement.chunks.length}`, chunk, { mode: 0o600 });
    statement.chunks.push({ rowOffset, rowCount: rows, bytes: chunk.length });
  }

  const statement: Statement = {
    id,
    request,
    operation,
    state: 'RUNNING',
    chunks: [],
    isTruncated: false,
    settled: Promise.resolve(),
    read: (chunk) => readFile(`${path}.${chunk}`),
    cancel: async () => {
      if (statement.state !== 'RUNNING') return;
      statement.state = 'CANCELED';
      await current.stop('CANCELED');
    },
    remove: async () => {
      await statement.cancel();
      await statement.settled;
      await Promise.all(statement.chunks.map((_chunk, index) => rm(`${path}.${index}`, { force: true })));
    },
  };
  statement.settled = run().catch((error: unknown) => {
    if (statement.state === 'CANCELED') return;
    statement.failure = asSqlFailure(error);
    statement.state = 'FAILED';
  });
  return statement;
}

function tooLargeInline(): SqlFailure {
  return sqlFailure('RESULT_TOO_LARGE', '54000', `The result is larger than ${MOST_INLINE_BYTES} bytes, the most that disposition INLINE can carry: use disposition EXTERNAL_LINKS for the whole of it.`);
}
