import { Failure } from '../errors.ts';
import { BATCH_HEADER_BYTES } from './record-batch.ts';

/** A record as the broker keeps it. */
export type BrokerRecord = { offset: bigint; timestampMillis: number; key: Buffer | null; value: Buffer | null; headers: [key: Buffer | null, value: Buffer | null][] };

/** A batch as the broker keeps it: the offset after its last one, and its records, none where it is a marker of a transaction. */
export type BrokerBatch = { end: bigint; records: BrokerRecord[] };

/** What Kafka's client brings: the checksum of the format, and how to unpack what was compressed, by the bits that say with what. */
export type Codec = { crc32c(bytes: Uint8Array): number; decompress(algorithm: number, bytes: Buffer): Buffer };

const [LENGTH, MAGIC, CRC, ATTRIBUTES, LAST_OFFSET_DELTA, FIRST_TIMESTAMP, MAX_TIMESTAMP, COUNT] = [8, 16, 17, 21, 23, 27, 35, 57];
/** Bytes before a batch's length counts. */
const LENGTH_END = 12;
const COMPRESSION = 0b111;
const LOG_APPEND_TIME = 1 << 3;
/** Batches with this bit are markers of transactions, not records. */
const CONTROL = 1 << 5;

/**
 * The whole batches of a fetch's answer; what is cut off at its end is left out. Every checksum is compared: what a proof counts
 * is what was sent. The records are views of `bytes`. Format, magic 2: https://kafka.apache.org/documentation/#recordbatch
 */
export function decodeBatches(bytes: Buffer, codec: Codec, place: string): BrokerBatch[] {
  const batches: BrokerBatch[] = [];
  for (let at = 0; at + BATCH_HEADER_BYTES <= bytes.length; ) {
    const next = at + LENGTH_END + bytes.readInt32BE(at + LENGTH);
    if (next > bytes.length) break;
    batches.push(decodeBatch(bytes.subarray(at, next), codec, place));
    at = next;
  }
  return batches;
}

function decodeBatch(batch: Buffer, codec: Codec, place: string): BrokerBatch {
  const firstOffset = batch.readBigInt64BE(0);
  const damaged = (what: string): Failure =>
    new Failure({ code: 'KAFKA_BATCH_UNREADABLE', kind: 'remote', message: `${place}: the batch at offset ${firstOffset} ${what}`, hint: 'Look at the log of the partition\'s leader; another replica may have the batch whole.' });
  if (batch[MAGIC] !== 2) throw damaged(`is of format ${String(batch[MAGIC])}, which Kafka wrote before 0.11`);
  if (codec.crc32c(batch.subarray(ATTRIBUTES)) >>> 0 !== batch.readUInt32BE(CRC)) throw damaged('has another checksum than it was sent with');
  const attributes = batch.readInt16BE(ATTRIBUTES);
  const end = firstOffset + BigInt(batch.readInt32BE(LAST_OFFSET_DELTA)) + 1n;
  if ((attributes & CONTROL) !== 0) return { end, records: [] };
  const packed = batch.subarray(BATCH_HEADER_BYTES);
  const body = (attributes & COMPRESSION) === 0 ? packed : codec.decompress(attributes & COMPRESSION, packed);
  const stamped = (attributes & LOG_APPEND_TIME) !== 0 ? Number(batch.readBigInt64BE(MAX_TIMESTAMP)) : undefined;
  const cursor: Cursor = { bytes: body, at: 0 };
  const base = { firstOffset, firstTimestamp: Number(batch.readBigInt64BE(FIRST_TIMESTAMP)), stamped };
  return { end, records: Array.from({ length: batch.readInt32BE(COUNT) }, () => decodeRecord(cursor, base)) };
}

type Cursor = { bytes: Buffer; at: number };

/** `stamped`: the broker's own time on all records of the batch. */
function decodeRecord(cursor: Cursor, { firstOffset, firstTimestamp, stamped }: { firstOffset: bigint; firstTimestamp: number; stamped: number | undefined }): BrokerRecord {
  const length = readVarint(cursor);
  const end = cursor.at + length;
  // A byte of attributes comes first, of which none is in use.
  cursor.at += 1;
  const timestamp = firstTimestamp + readVarint(cursor);
  const offset = firstOffset + BigInt(readVarint(cursor));
  const key = readBytes(cursor);
  const value = readBytes(cursor);
  const count = readVarint(cursor);
  const headers: BrokerRecord['headers'] = [];
  for (let n = 0; n < count; n += 1) headers.push([readBytes(cursor), readBytes(cursor)]);
  cursor.at = end;
  return { offset, timestampMillis: stamped ?? timestamp, key, value, headers };
}

/** Null is a length of -1. */
function readBytes(cursor: Cursor): Buffer | null {
  const length = readVarint(cursor);
  if (length < 0) return null;
  const start = cursor.at;
  cursor.at += length;
  return cursor.bytes.subarray(start, cursor.at);
}

/** Zigzag, as a double beyond 28 bits: exact up to 2^52, which any delta of milliseconds and any length is. */
function readVarint(cursor: Cursor): number {
  const { bytes } = cursor;
  let { at } = cursor;
  let byte = bytes[at++] as number;
  let value = byte & 127;
  for (let shift = 7; byte >= 128 && shift < 28; shift += 7) {
    byte = bytes[at++] as number;
    value |= (byte & 127) << shift;
  }
  for (let factor = 2 ** 28; byte >= 128; factor *= 128) {
    byte = bytes[at++] as number;
    value += (byte & 127) * factor;
  }
  cursor.at = at;
  return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
}
