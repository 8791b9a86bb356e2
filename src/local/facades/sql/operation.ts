import { Readable } from 'node:stream';
import { pause } from '../../../poll.ts';
import type { Execution, Message, Relation, SparkSession } from '../../spark-connect/client.ts';
import { asSqlFailure, sqlFailure, type SqlFailure } from '../../spark-connect/errors.ts';
import { batchesOf, commandResult, firstBigint, type Batch } from '../../spark-connect/rows.ts';
import { boundStatement, type Parameter } from './parameters.ts';
import { columnsOf, type Column } from './types.ts';

export type OperationState = 'RUNNING' | 'FINISHED' | 'CANCELED' | 'TIMEDOUT' | 'ERROR';
export type Page = { startRow: number; batches: Batch[]; rows: number; hasMore: boolean };

/** What is to run, and in which session. A command runs once, before its rows are asked for. */
export type Prepared = { session: SparkSession; input: Relation; isCommand: boolean };
/** How a protocol wants the rows of a result. */
export type Shape = (relation: Relation, columns: Column[]) => Relation;

/** A statement, or a question about metadata, from its start until it is closed. */
export type Operation = {
  state: OperationState;
  failure?: SqlFailure;
  columns: Column[];
  /** Arrow's schema message; absent while nothing has come. */
  arrowSchema?: Buffer;
  modifiedRows?: number;
  /** Its rows go out in Thrift's own columns, not as Arrow. */
  isInColumns?: boolean;
  startedAt: number;
  /** Resolves when it is no longer RUNNING: finished means that the first rows are here, or that there are none. */
  settled: Promise<void>;
  /** The next rows: whole Arrow batches, one at least, and exact word on whether more follow. Fails as the statement fails. */
  fetch(maxRows: number, maxBytes: number): Promise<Page>;
  stop(state: 'CANCELED' | 'TIMEDOUT'): Promise<void>;
};

// The next page comes out of Spark while the client decodes the last.
const BATCHES_AHEAD = 2;
// Begins like this only what changes nothing.
const QUERY = /^\s*(?:select|values)\b/i;

/** A statement with its parameters, to be run in a session. */
export function prepared(session: SparkSession, statement: string, parameters: Parameter[]): Prepared {
  return { session, input: boundStatement(statement, parameters), isCommand: !QUERY.test(statement) };
}

/** Starts what `prepare` gives. Rows wait in Spark until they are fetched, but for a bounded read-ahead. */
export function startOperation(prepare: () => Promise<Prepared>, shape: Shape): Operation {
  let execution: Execution | undefined;
  let batches: AsyncIterator<Batch> | undefined;
  let ahead: Batch | undefined;
  let startRow = 0;
  let turn: Promise<unknown> = Promise.resolve();

  async function begin(): Promise<void> {
    const { session, input, isCommand } = await prepare();
    const relation = isCommand ? await commandResult(execute(session, { command: { sql_command: { input } } })) : input;
    operation.columns = columnsOf(await session.schema(relation));
    const stream = Readable.from(batchesOf(execute(session, { root: shape(relation, operation.columns) })), { highWaterMark: BATCHES_AHEAD });
    stream.on('error', () => {}); // thrown by the iterator
    batches = stream[Symbol.asyncIterator]();
    ahead = await nextBatch();
    if (isCommand && ahead && operation.columns[0]?.name === 'num_affected_rows') operation.modifiedRows = Number(firstBigint(ahead));
    if (operation.state === 'RUNNING') operation.state = 'FINISHED';
  }

  /** What was stopped asks nothing more. */
  function execute(session: SparkSession, plan: Message): Execution {
    if (operation.state !== 'RUNNING') throw stopped(operation.state);
    return (execution = session.execute(plan));
  }

  /** The next batch that has rows. */
  async function nextBatch(): Promise<Batch | undefined> {
    for (;;) {
      const batch = (await batches?.next())?.value ?? undefined;
      operation.arrowSchema ??= batch?.schema;
      if (!batch) execution = undefined; // nothing of it is left in Spark
      if (!batch || batch.rowCount > 0) return batch;
    }
  }

  async function take(maxRows: number, maxBytes: number): Promise<Page> {
    await operation.settled;
    if (operation.state !== 'FINISHED') throw operation.failure ?? stopped(operation.state);
    const page: Page = { startRow, batches: [], rows: 0, hasMore: false };
    let bytes = 0;
    try {
      while (ahead && (page.rows === 0 || (page.rows + ahead.rowCount <= maxRows && bytes + ahead.batch.length <= maxBytes))) {
        page.batches.push(ahead);
        page.rows += ahead.rowCount;
        bytes += ahead.batch.length;
        ahead = await nextBatch();
      }
    } catch (error) {
      fail(error);
      throw operation.failure ?? stopped(operation.state);
    }
    startRow += page.rows;
    return { ...page, hasMore: ahead !== undefined };
  }

  function fail(error: unknown): void {
    if (operation.state === 'CANCELED' || operation.state === 'TIMEDOUT') return;
    operation.failure = asSqlFailure(error);
    operation.state = 'ERROR';
  }

  const operation: Operation = {
    state: 'RUNNING',
    columns: [],
    startedAt: Date.now(),
    settled: Promise.resolve(),
    fetch: (maxRows, maxBytes) => {
      const page = turn.then(() => take(maxRows, maxBytes));
      turn = page.catch(() => {});
      return page;
    },
    stop: async (state) => {
      if (operation.state !== 'RUNNING' && operation.state !== 'FINISHED') return;
      operation.state = state;
      ahead = undefined;
      // Waiting for the generator first would wait for rows that may never come.
      await execution?.interrupt().catch(() => {});
      await batches?.return?.().catch(() => {});
    },
  };
  operation.settled = begin().catch(fail);
  return operation;
}

/** True when `settled` resolves within the time. */
export async function settledWithin(settled: Promise<void>, milliseconds: number): Promise<boolean> {
  const timer = new AbortController();
  const late = pause(milliseconds, timer.signal).then(() => false, () => false);
  const isInTime = await Promise.race([settled.then(() => true), late]);
  timer.abort();
  return isInTime;
}

function stopped(state: OperationState): SqlFailure {
  if (state === 'TIMEDOUT') return sqlFailure('STATEMENT_TIMEOUT', 'HYT00', 'The statement ran longer than its timeout allows.');
  return sqlFailure('OPERATION_CANCELED', 'HY008', 'The operation was cancelled.');
}
