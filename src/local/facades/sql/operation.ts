import { pause } from '../../../poll.ts';
import { firstBigint, readableByDrivers, splitIpc, type ArrowTypes } from './projection.ts';
import type { Execution, Relation, SparkSession } from './spark-connect.ts';
import { asSqlFailure, sqlFailure, type SqlFailure } from './spark-errors.ts';
import { columnsOf, type Column } from './types.ts';

export type OperationState = 'RUNNING' | 'FINISHED' | 'CANCELED' | 'TIMEDOUT' | 'ERROR';
export type Page = {
  startRow: number;
  hasMore: boolean;
  /** Arrow IPC messages without schema and end mark, or the rows themselves where no engine was asked. */
  batches?: { batch: Buffer; rowCount: number }[];
  rows?: unknown[][];
};

/** A statement from its start until it is closed. */
export type Operation = {
  state: OperationState;
  failure?: SqlFailure;
  columns: Column[];
  /** Arrow's schema message; absent for rows. */
  arrowSchema?: Buffer;
  modifiedRows?: number;
  startedAt: number;
  /** Resolves when it is no longer RUNNING: finished means that the first rows are here, or that there are none. */
  settled: Promise<void>;
  /** The next rows: whole Arrow batches, one at least, and exact word on whether more follow. Fails as the statement fails. */
  fetch(maxRows: number, maxBytes: number): Promise<Page>;
  stop(state: 'CANCELED' | 'TIMEDOUT'): Promise<void>;
};

type Batch = { batch: Buffer; rowCount: number };

/** Starts a statement; `prepare` binds its parameters. Rows wait in Spark until they are fetched, but for a bounded read-ahead. */
export function startOperation(session: SparkSession, prepare: () => Promise<Relation>, native: ArrowTypes): Operation {
  let execution: Execution | undefined;
  let ahead: Batch | undefined;
  let startRow = 0;
  let turn: Promise<unknown> = Promise.resolve();

  async function begin(): Promise<void> {
    const relation = await prepare();
    execution = open(relation);
    operation.columns = await readColumns(execution);
    const readable = readableByDrivers(relation, operation.columns, native);
    if (readable) {
      // Nothing has run yet: Spark tells the schema of a query before it starts it.
      await execution.responses.return();
      execution = open(readable);
    }
    ahead = await nextBatch(execution);
    if (ahead && operation.columns[0]?.name === 'num_affected_rows') operation.modifiedRows = affectedRows(ahead, operation);
    if (operation.state === 'RUNNING') operation.state = 'FINISHED';
  }

  function open(root: Relation): Execution {
    if (operation.state !== 'RUNNING') throw stopped(operation.state);
    return session.execute({ root });
  }

  async function nextBatch({ responses }: Execution): Promise<Batch | undefined> {
    for (;;) {
      const { value: response } = await responses.next();
      if (!response) {
        execution = undefined; // nothing of it is left in Spark
        return undefined;
      }
      if (!response.arrow_batch) continue;
      const { schema, batches } = splitIpc(response.arrow_batch.data);
      operation.arrowSchema ??= schema;
      if (response.arrow_batch.row_count) return { batch: batches, rowCount: response.arrow_batch.row_count };
    }
  }

  async function take(maxRows: number, maxBytes: number): Promise<Page> {
    await operation.settled;
    if (operation.state !== 'FINISHED') throw operation.failure ?? stopped(operation.state);
    const page = { startRow, batches: [] as Batch[] };
    let [rows, bytes] = [0, 0];
    try {
      while (ahead && (rows === 0 || (rows + ahead.rowCount <= maxRows && bytes + ahead.batch.length <= maxBytes))) {
        page.batches.push(ahead);
        rows += ahead.rowCount;
        bytes += ahead.batch.length;
        ahead = await nextBatch(execution!);
      }
    } catch (error) {
      fail(error);
      throw operation.failure ?? stopped(operation.state);
    }
    startRow += rows;
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
      if (!execution) return;
      // Waiting for the generator first would wait for rows that may never come.
      await execution.interrupt().catch(() => {});
      await execution.responses.return().catch(() => {});
    },
  };
  operation.settled = begin().catch(fail);
  return operation;
}

/** An operation whose rows are known: what the metadata calls answer. */
export function finishedOperation(columns: Column[], rows: unknown[][]): Operation {
  let at = 0;
  return {
    state: 'FINISHED',
    columns,
    startedAt: Date.now(),
    settled: Promise.resolve(),
    fetch: async (maxRows) => {
      const page = { startRow: at, rows: rows.slice(at, at + maxRows) };
      at += page.rows.length;
      return { ...page, hasMore: at < rows.length };
    },
    stop: async () => {},
  };
}

/** True when `settled` resolves within the time. */
export async function settledWithin(settled: Promise<void>, milliseconds: number): Promise<boolean> {
  const timer = new AbortController();
  const late = pause(milliseconds, timer.signal).then(() => false, () => false);
  const inTime = await Promise.race([settled.then(() => true), late]);
  timer.abort();
  return inTime;
}

async function readColumns({ responses }: Execution): Promise<Column[]> {
  for (;;) {
    const { value: response } = await responses.next();
    if (!response) throw sqlFailure('INTERNAL_ERROR', 'XX000', 'Spark answered without a schema');
    if (response.schema) return columnsOf(response.schema.struct);
  }
}

function affectedRows({ batch }: Batch, { arrowSchema }: Operation): number | undefined {
  const count = firstBigint(Buffer.concat([arrowSchema!, batch]));
  return count === undefined ? undefined : Number(count);
}

function stopped(state: OperationState): SqlFailure {
  if (state === 'TIMEDOUT') return sqlFailure('STATEMENT_TIMEOUT', 'HYT00', 'The statement ran longer than its timeout allows.');
  return sqlFailure('OPERATION_CANCELED', 'HY008', 'The operation was cancelled.');
}
