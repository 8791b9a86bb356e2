import { bindStatement } from './parameters.ts';
import { asJsonRows, END_OF_STREAM, jsonRows, splitIpc } from './projection.ts';
import { createResultFile, type ResultFile } from './results.ts';
import { useNamespace, type SessionPool } from './session.ts';
import type { Execution, Message, Relation, SparkSession } from './spark-connect.ts';
import { asSqlFailure, sqlFailure, type SqlFailure } from './spark-errors.ts';
import type { StatementRequest } from './statement-request.ts';
import { columnsOf, type Column } from './types.ts';

export type StatementState = 'PENDING' | 'RUNNING' | 'SUCCEEDED' | 'FAILED' | 'CANCELED' | 'CLOSED';
export type Statement = {
  id: string;
  request: StatementRequest;
  state: StatementState;
  failure?: SqlFailure;
  columns: Column[];
  result?: ResultFile;
  /** A limit cut rows off. */
  truncated: boolean;
  finishedAt?: number;
  /** Resolves when it has ended, one way or another. */
  settled: Promise<void>;
  cancel(): Promise<void>;
};

const MOST_INLINE_BYTES = 25 * 2 ** 20;
const CHUNK_BYTES = { INLINE: 4 * 2 ** 20, EXTERNAL_LINKS: 16 * 2 ** 20 };
const COMMA = 1;

// Begins like this only what changes nothing: its schema can be asked for at once, and its session used again.
const QUERY = /^\s*(?:select|values)\b/i;

/** Runs a statement to its end, in a Spark session of its own; the result lies in `path` then. */
export function runStatement(sessions: SessionPool, id: string, request: StatementRequest, path: string): Statement {
  let execution: Execution | undefined;
  const statement: Statement = {
    id,
    request,
    state: 'PENDING',
    columns: [],
    truncated: false,
    settled: Promise.resolve(),
    cancel: async () => {
      if (statement.finishedAt !== undefined) return;
      end('CANCELED');
      await execution?.interrupt().catch(() => {});
    },
  };

  function end(state: StatementState): void {
    statement.state = state;
    statement.finishedAt = Date.now();
  }

  /** Everything Spark is asked goes through here: a cancelled statement asks nothing more. */
  function ask(session: SparkSession, plan: Message): Execution {
    if (statement.state === 'CANCELED') throw sqlFailure('OPERATION_CANCELED', 'HY008', 'The statement was cancelled.');
    execution = session.execute(plan);
    return execution;
  }

  async function run(): Promise<void> {
    const session = await sessions.take();
    const isQuery = QUERY.test(request.statement);
    try {
      await useNamespace(session, request);
      const input = await bindStatement(session, request.statement, request.parameters);
      if (statement.state === 'PENDING') statement.state = 'RUNNING';
      // A command runs here, once; of a query comes back its own plan.
      const relation = isQuery ? input : await commandResult(ask(session, { command: { sql_command: { input } } }));
      statement.columns = columnsOf(await session.schema(relation));
      if (statement.columns.length > 0) await readResult(session, relation);
      if (statement.state === 'RUNNING') end('SUCCEEDED');
    } finally {
      sessions.giveBack(session, statement.state === 'SUCCEEDED' && isQuery && !request.catalog && !request.schema);
    }
  }

  async function readResult(session: SparkSession, relation: Relation): Promise<void> {
    const { rowLimit, format, disposition } = request;
    const arrow = format === 'ARROW_STREAM';
    let schema: Buffer = Buffer.alloc(0);
    const framing = arrow
      ? { before: () => schema, after: END_OF_STREAM, cut: 0 }
      : { before: () => Buffer.from('['), after: Buffer.from(']'), cut: COMMA };
    const result = (statement.result = await createResultFile(path, CHUNK_BYTES[disposition], framing));
    const input = rowLimit === undefined ? relation : limited(relation, arrow ? rowLimit : rowLimit + 1);
    const { responses } = ask(session, { root: arrow ? input : asJsonRows(input, statement.columns) });
    for await (const { arrow_batch: batch } of responses) {
      if (!batch) continue;
      if (arrow) schema = splitIpc(batch.data).schema;
      const whole = { data: arrow ? splitIpc(batch.data).batches : jsonRows(batch.data).text, rowCount: batch.row_count ?? 0 };
      const kept = arrow ? wholeBatch(whole, result.bytes) : cutRows(whole, jsonRows(batch.data).offsets, result);
      await result.append(kept);
      if (disposition === 'INLINE' && result.bytes > MOST_INLINE_BYTES) throw tooLargeInline();
      if (kept.rowCount < whole.rowCount) {
        statement.truncated = true;
        break;
      }
    }
    await result.finish();
    if (arrow && rowLimit !== undefined && result.rows === rowLimit) statement.truncated ||= await hasRow(ask(session, { root: { offset: { input: limited(relation, rowLimit + 1), offset: rowLimit } } }));
  }

  /** As many rows of a batch as the limits leave room for. */
  function cutRows(rows: { data: Uint8Array; rowCount: number }, offsets: Int32Array, result: ResultFile) {
    let rowCount = Math.min(rows.rowCount, (request.rowLimit ?? Infinity) - result.rows);
    const room = (request.byteLimit ?? Infinity) - result.bytes;
    while (rowCount > 0 && offsets[rowCount]! > room) rowCount -= 1;
    return { data: rows.data.subarray(0, offsets[rowCount]), rowCount };
  }

  function wholeBatch(rows: { data: Uint8Array; rowCount: number }, bytes: number) {
    return bytes + rows.data.length > (request.byteLimit ?? Infinity) ? { data: new Uint8Array(0), rowCount: 0 } : rows;
  }

  statement.settled = run().catch((error: unknown) => {
    if (statement.state === 'CANCELED') return;
    statement.failure = asSqlFailure(error);
    end('FAILED');
  });
  return statement;
}

async function commandResult({ responses }: Execution): Promise<Relation> {
  let relation: Relation | undefined;
  for await (const response of responses) relation ??= response.sql_command_result?.relation;
  if (!relation) throw sqlFailure('INTERNAL_ERROR', 'XX000', 'Spark answered a statement without a result');
  return relation;
}

async function hasRow({ responses }: Execution): Promise<boolean> {
  for await (const { arrow_batch: batch } of responses) if (batch?.row_count) return true;
  return false;
}

const limited = (input: Relation, limit: number): Relation => ({ limit: { input, limit } });

function tooLargeInline(): SqlFailure {
  return sqlFailure('RESULT_TOO_LARGE', '54000', `The result is larger than ${MOST_INLINE_BYTES} bytes, the most that disposition INLINE can carry: use disposition EXTERNAL_LINKS for the whole of it.`);
}
