import type { Operation, OperationState, Page } from './operation.ts';
import type { SqlFailure } from './spark-errors.ts';
import { decimalOf, namesOf, type Column } from './types.ts';

/** `TStatusCode` of TCLIService. */
export const STATUS = { success: 0, error: 3, invalidHandle: 4 } as const;
// `TOperationState` of TCLIService.
const STATE: Record<OperationState, number> = { RUNNING: 1, FINISHED: 2, CANCELED: 3, ERROR: 5, TIMEDOUT: 8 };
// `TSparkRowSetType` of TCLIService.
const ROW_SET = { arrow: 0, columns: 1 } as const;

/** A `TStatus`; a failure keeps Spark's message, class and SQLSTATE. */
export function statusOf(failure?: SqlFailure, statusCode: number = failure ? STATUS.error : STATUS.success) {
  if (!failure) return { statusCode };
  return { statusCode, sqlState: failure.sqlState, errorMessage: failure.message, displayMessage: failure.message };
}

/** A `TGetOperationStatusResp`. */
export function operationStatus(operation: Operation) {
  const { failure, modifiedRows } = operation;
  return {
    status: statusOf(),
    operationState: STATE[operation.state],
    operationStarted: operation.startedAt,
    hasResultSet: true,
    ...(modifiedRows !== undefined && { numModifiedRows: modifiedRows }),
    ...(failure && { sqlState: failure.sqlState, errorMessage: failure.message, displayMessage: failure.message }),
  };
}

/** A `TGetResultSetMetadataResp`: positions count from 1, or a driver drops the first column in silence. */
export function resultMetadata(operation: Operation) {
  return {
    status: statusOf(),
    schema: { columns: operation.columns.map((column, index) => columnDesc(column, index + 1)) },
    resultFormat: operation.arrowSchema ? ROW_SET.arrow : ROW_SET.columns,
    lz4Compressed: false,
    isStagingOperation: false,
    ...(operation.arrowSchema && { arrowSchema: operation.arrowSchema }),
  };
}

/** A `TFetchResultsResp`. */
export function fetchedResults(operation: Operation, page: Page, withMetadata: boolean) {
  return {
    status: statusOf(),
    hasMoreRows: page.hasMore,
    results: {
      startRowOffset: page.startRow,
      rows: [],
      ...(page.batches && { arrowBatches: page.batches }),
      ...(page.rows && { columns: operation.columns.map((column, index) => valuesOf(column, page.rows!, index)) }),
    },
    ...(withMetadata && { resultSetMetadata: resultMetadata(operation) }),
  };
}

function columnDesc(column: Column, position: number) {
  const primitiveEntry = { type: namesOf(column.type).thrift, ...qualifiers(column) };
  return { columnName: column.name, position, typeDesc: { types: [{ primitiveEntry }] } };
}

function qualifiers({ type }: Column) {
  if (type.kind !== 'decimal') return {};
  const { precision, scale } = decimalOf(type);
  return { typeQualifiers: { qualifiers: { precision: { i32Value: precision }, scale: { i32Value: scale } } } };
}

/** One `TColumn`; the bit map says which values are null, lowest bit first. */
function valuesOf(column: Column, rows: unknown[][], index: number) {
  const nulls = Buffer.alloc(Math.ceil(rows.length / 8));
  const values = rows.map((row, at) => {
    const value = row[index] ?? null;
    if (value === null) nulls[at >> 3]! |= 1 << (at & 7);
    return value;
  });
  switch (column.type.kind) {
    case 'integer':
      return { i32Val: { values: values.map((value) => value ?? 0), nulls } };
    case 'short':
      return { i16Val: { values: values.map((value) => value ?? 0), nulls } };
    case 'boolean':
      return { boolVal: { values: values.map((value) => value ?? false), nulls } };
    default:
      return { stringVal: { values: values.map((value) => String(value ?? '')), nulls } };
  }
}
