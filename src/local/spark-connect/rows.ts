import { RecordBatchReader } from 'apache-arrow/Arrow.node';
import type { Execution, Relation, SparkSession } from './client.ts';
import { sqlFailure } from './errors.ts';

/** Rows in Arrow's IPC format: the stream's schema message, and the messages of the batch without the end-of-stream mark. */
export type Batch = { schema: Buffer; batch: Buffer; rowCount: number };

/** Ends a stream of Arrow IPC messages. */
export const END_OF_STREAM = Buffer.from('ffffffff00000000', 'hex');

/** The rows of a relation as they come; where there are none, one batch without rows brings the schema. */
export async function* batchesOf({ responses }: Execution): AsyncGenerator<Batch, void> {
  for await (const { arrow_batch: part } of responses) if (part) yield { ...splitIpc(part.data), rowCount: part.row_count ?? 0 };
}

/** The rows of a small result as objects; null cells are left out. */
export async function collect<Row>(session: SparkSession, input: Relation): Promise<Row[]> {
  const rows: Row[] = [];
  const root = { project: { input, expressions: [{ expression_string: { expression: "concat(to_json(struct(*)), ',')" } }] } };
  for await (const batch of batchesOf(session.execute({ root }))) {
    const json = Buffer.from(textColumn(batch).text).toString('utf8');
    rows.push(...(JSON.parse(`[${json.slice(0, -1)}]`) as Row[]));
  }
  return rows;
}

/** Runs a relation for its effect. */
export async function run(session: SparkSession, root: Relation): Promise<void> {
  for await (const _response of session.execute({ root }).responses);
}

/** Of an executed command: its rows as a relation, or the query itself where it was one after all. */
export async function commandResult({ responses }: Execution): Promise<Relation> {
  let relation: Relation | undefined;
  for await (const response of responses) relation ??= response.sql_command_result?.relation;
  if (!relation) throw sqlFailure('INTERNAL_ERROR', 'XX000', 'Spark answered a statement without a result');
  return relation;
}

/** The text of a first column of strings as it lies in a batch, UTF-8, and where each row starts in it (one offset more than rows). */
export function textColumn(batch: Batch): { text: Uint8Array; offsets: Int32Array } {
  const data = firstColumn(batch)?.data[0];
  if (!data || data.length === 0) return { text: new Uint8Array(0), offsets: new Int32Array(1) };
  const offsets: Int32Array = data.valueOffsets.subarray(0, data.length + 1); // what follows is padding, as behind the text
  return { text: data.values.subarray(0, offsets[data.length]), offsets };
}

/** The first cell of a first column of BIGINT. */
export function firstBigint(batch: Batch): bigint | undefined {
  return firstColumn(batch)?.get(0) as bigint | undefined;
}

/** Spark puts one record batch into each stream it sends. */
function firstColumn({ schema, batch }: Batch) {
  return RecordBatchReader.from([schema, batch]).next().value?.getChildAt(0);
}

export function splitIpc(stream: Buffer): { schema: Buffer; batch: Buffer } {
  const schemaEnd = 8 + stream.readInt32LE(4); // continuation mark, length of the metadata, metadata
  const isMarked = stream.length >= schemaEnd + 8 && stream.readBigUInt64LE(stream.length - 8) === 0xffffffffn;
  return { schema: stream.subarray(0, schemaEnd), batch: stream.subarray(schemaEnd, stream.length - (isMarked ? 8 : 0)) };
}
