import { RecordBatchReader } from 'apache-arrow/Arrow.node';
import type { Operation, Page } from './operation.ts';
import type { Column } from './types.ts';

/** The rows of a page as `TColumn`s: what Databricks answers metadata calls with, and the JDBC driver reads nothing else there. */
export function inColumns({ columns, arrowSchema }: Operation, { batches }: Page): object[] {
  const read = arrowSchema === undefined ? [] : [...RecordBatchReader.from([arrowSchema, ...batches.map(({ batch }) => batch)])];
  return columns.map((column, index) => columnOf(column, read.flatMap((batch) => [...(batch.getChildAt(index) ?? [])])));
}

/** The bit map says which values are null, lowest bit first. */
function columnOf({ type }: Column, cells: unknown[]): object {
  const nulls = Buffer.alloc(Math.ceil(cells.length / 8));
  for (const [at, cell] of cells.entries()) if (cell === null) nulls[at >> 3]! |= 1 << (at & 7);
  const values = <T>(instead: T) => ({ values: cells.map((cell) => (cell as T | null) ?? instead), nulls });
  if (type.kind === 'integer') return { i32Val: values(0) };
  if (type.kind === 'short') return { i16Val: values(0) };
  if (type.kind === 'boolean') return { boolVal: values(false) };
  return { stringVal: values('') };
}
