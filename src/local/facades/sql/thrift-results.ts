import type { SqlFailure } from '../../spark-connect/errors.ts';
import type { Operation, OperationState, Page } from './operation.ts';
import { inColumns } from './thrift-columns.ts';
import { decimalOf, namesOf, type Column } from './types.ts';

/** `TStatusCode` of TCLIService. */
const STATUS = { success: 0, error: 3, invalidHandle: 4 } as const;
// `TOperationState` of TCLIService.
const STATE: Record<OperationState, number> = { RUNNING: 1, FINISHED: 2, CANCELED: 3, ERROR: 5, TIMEDOUT: 8 };
/** `ARROW_BASED_SET` and `COLUMN_BASED_SET` of TSparkRowSetType. */
const ROW_SET = { arrow: 0, columns: 1 } as const;

/** A `TStatus`; a failure keeps Spark's message, class and SQLSTATE. */
export function statusOf(failure?: SqlFailure) {
  if (!failure) return { statusCode: STATUS.success };
  return { statusCode: failure.code === 'INVALID_HANDLE' ? STATUS.invalidHandle : STATUS.error, ...described(failure) };
}

const described = ({ sqlState, message }: SqlFailure) => ({ sqlState, errorMessage: message, displayMessage: message });

/** A `TGetOperationStatusResp`. */
export function operationStatus({ state, startedAt, failure, modifiedRows }: Operation) {
  const facts = { operationState: STATE[state], operationStarted: startedAt, hasResultSet: true };
  return { status: statusOf(), ...facts, ...(modifiedRows !== undefined && { numModifiedRows: modifiedRows }), ...(failure && described(failure)) };
}

/** A `TGetResultSetMetadataResp`: positions count from 1, or a driver drops the first column in silence. */
export function resultMetadata({ columns, arrowSchema: schema, isInColumns }: Operation) {
  const arrowSchema = isInColumns ? undefined : schema;
  return {
    status: statusOf(),
    schema: { columns: columns.map((column, index) => columnDesc(column, index + 1)) },
    resultFormat: arrowSchema ? ROW_SET.arrow : ROW_SET.columns,
    lz4Compressed: false,
    isStagingOperation: false,
    ...(arrowSchema && { arrowSchema }),
  };
}

/** A `TFetchResultsResp`. */
export function fetchedResults(operation: Operation, page: Page, isWithMetadata: boolean) {
  return {
    status: statusOf(),
    hasMoreRows: page.hasMore,
    results: { startRowOffset: page.startRow, rows: [], ...(operation.isInColumns ? { columns: inColumns(operation, page) } : { arrowBatches: page.batches }) },
    ...(isWithMetadata && { resultSetMetadata: resultMetadata(operation) }),
  };
}

function columnDesc({ name, type }: Column, position: number) {
  const primitiveEntry = { type: namesOf(type).thrift, ...(type.kind === 'decimal' && { typeQualifiers: { qualifiers: digits(decimalOf(type)) } }) };
  return { columnName: name, position, typeDesc: { types: [{ primitiveEntry }] } };
}

function digits({ precision, scale }: { precision: number; scale: number }) {
  return { precision: { i32Value: precision }, scale: { i32Value: scale } };
}
