import { RecordBatchReader } from 'apache-arrow/Arrow.node';

/** Ends a stream of Arrow IPC messages. */
export const END_OF_STREAM = Buffer.from('ffffffff00000000', 'hex');

/** Arrow's stream format in two: the schema message, and the batches without the end-of-stream mark. */
export function splitIpc(stream: Buffer): { schema: Buffer; batches: Buffer } {
  const schemaEnd = 8 + stream.readInt32LE(4); // continuation mark, length of the metadata, metadata
  const isMarked = stream.length >= schemaEnd + 8 && stream.readBigUInt64LE(stream.length - 8) === 0xffffffffn;
  return { schema: stream.subarray(0, schemaEnd), batches: stream.subarray(schemaEnd, stream.length - (isMarked ? 8 : 0)) };
}

/** The text of a first column of strings as it lies in one batch, UTF-8, and where each row starts in it (one offset more than rows). */
export function textColumn(schema: Buffer, batch: Buffer): { text: Uint8Array; offsets: Int32Array } {
  const data = firstColumn(schema, batch)?.data[0];
  return data && data.length > 0 ? { text: data.values, offsets: data.valueOffsets } : { text: new Uint8Array(0), offsets: new Int32Array(1) };
}

/** The first cell of a first column of BIGINT. */
export function firstBigint(schema: Buffer, batch: Buffer): bigint | undefined {
  return firstColumn(schema, batch)?.get(0) as bigint | undefined;
}

/** Spark puts one record batch into each stream it sends. */
function firstColumn(schema: Buffer, batch: Buffer) {
  return RecordBatchReader.from([schema, batch]).next().value?.getChildAt(0);
}
