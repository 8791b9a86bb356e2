/** One record on its way to a broker. Text is sent as UTF-8; `null` is a tombstone. */
export type OutgoingRecord = {
  topic: string;
  key?: string | Uint8Array | null;
  value: string | Uint8Array | null;
  /** By name, or as pairs where names may repeat, the order counts, or a value is null. */
  headers?: Readonly<Record<string, string | Uint8Array>> | readonly RecordHeader[];
  /** Chosen by the key where it is absent. */
  partition?: number;
  /** Epoch milliseconds; the time of sending where it is absent. */
  timestamp?: number;
};

export type RecordHeader = readonly [name: string, value: string | Uint8Array | null];

/** Records of one partition, encoded as they come; grows up to what `appendRecord` is allowed. */
export type RecordBatch = { buffer: Buffer; length: number; records: number; firstTimestamp: number; maxTimestamp: number };

export type ProducerStamp = { producerId: bigint; producerEpoch: number; sequence: number };

/** Bytes before the first record of a batch, magic 2: https://kafka.apache.org/documentation/#recordbatch */
export const BATCH_HEADER_BYTES = 61;
const CRC_OFFSET = 17;
const ATTRIBUTES_OFFSET = 21;

/** An empty batch on `buffer`, whose content is overwritten. */
export function newBatch(buffer: Buffer): RecordBatch {
  return { buffer, length: BATCH_HEADER_BYTES, records: 0, firstTimestamp: 0, maxTimestamp: 0 };
}

/**
 * Encodes a record at the end of the batch and returns true; returns false, and changes nothing, where the batch would then
 * exceed `limitBytes`. A batch's first record always fits: whether the broker takes it is the broker's to say.
 */
export function appendRecord(batch: RecordBatch, record: OutgoingRecord, nowMillis: number, limitBytes: number): boolean {
  const { key = null, value, headers } = record;
  const timestamp = record.timestamp ?? nowMillis;
  if (batch.records === 0) batch.firstTimestamp = timestamp;
  const timestampDelta = timestamp - batch.firstTimestamp;
  const keyBytes = byteLength(key);
  const valueBytes = byteLength(value);
  const headerBytes = headers === undefined ? 1 : headersLength(headers);
  const body =
    1 + varintLength(timestampDelta) + varintLength(batch.records) + varintLength(keyBytes) + Math.max(keyBytes, 0) +
    varintLength(valueBytes) + Math.max(valueBytes, 0) + headerBytes;
  const end = batch.length + varintLength(body) + body;
  if (end > limitBytes && batch.records > 0) return false;
  if (end > batch.buffer.length) grow(batch, end, limitBytes);
  const { buffer } = batch;
  let at = writeVarint(buffer, batch.length, body);
  buffer[at] = 0;
  at = writeVarint(buffer, at + 1, timestampDelta);
  at = writeVarint(buffer, at, batch.records);
  at = writeBytes(buffer, at, key, keyBytes);
  at = writeBytes(buffer, at, value, valueBytes);
  at = headers === undefined ? writeVarint(buffer, at, 0) : writeHeaders(buffer, at, headers);
  batch.length = at;
  batch.records += 1;
  if (timestamp > batch.maxTimestamp) batch.maxTimestamp = timestamp;
  return true;
}

/** Fills in the header and returns the bytes of the whole batch, a view of its buffer; `crc32c` is the checksum of Kafka's format. */
export function sealBatch(batch: RecordBatch, stamp: ProducerStamp, crc32c: (bytes: Uint8Array) => number): Buffer {
  const bytes = batch.buffer.subarray(0, batch.length);
  bytes.writeBigInt64BE(0n, 0);
  bytes.writeInt32BE(batch.length - 12, 8);
  bytes.writeInt32BE(-1, 12);
  bytes[16] = 2;
  bytes.writeInt16BE(0, ATTRIBUTES_OFFSET);
  bytes.writeInt32BE(batch.records - 1, 23);
  bytes.writeBigInt64BE(BigInt(batch.firstTimestamp), 27);
  bytes.writeBigInt64BE(BigInt(batch.maxTimestamp), 35);
  bytes.writeBigInt64BE(stamp.producerId, 43);
  bytes.writeInt16BE(stamp.producerEpoch, 51);
  bytes.writeInt32BE(stamp.sequence, 53);
  bytes.writeInt32BE(batch.records, 57);
  bytes.writeUInt32BE(crc32c(bytes.subarray(ATTRIBUTES_OFFSET)), CRC_OFFSET);
  return bytes;
}

/** Sequence number after `records` more records: 31 bits, from the largest back to 0. */
export function nextSequence(sequence: number, records: number): number {
  return (sequence + records) % 2 ** 31;
}

function grow(batch: RecordBatch, neededBytes: number, limitBytes: number): void {
  const larger = Buffer.allocUnsafeSlow(Math.max(neededBytes, Math.min(batch.buffer.length * 2, limitBytes)));
  batch.buffer.copy(larger, 0, 0, batch.length);
  batch.buffer = larger;
}

function byteLength(bytes: string | Uint8Array | null): number {
  if (bytes === null) return -1;
  return typeof bytes === 'string' ? Buffer.byteLength(bytes) : bytes.length;
}

function writeBytes(buffer: Buffer, at: number, bytes: string | Uint8Array | null, length: number): number {
  const start = writeVarint(buffer, at, length);
  if (bytes === null || length === 0) return start;
  if (typeof bytes === 'string') buffer.write(bytes, start, length, 'utf8');
  else buffer.set(bytes, start);
  return start + length;
}

type Headers = NonNullable<OutgoingRecord['headers']>;

function pairsOf(headers: Headers): readonly RecordHeader[] {
  return Array.isArray(headers) ? (headers as readonly RecordHeader[]) : Object.entries(headers);
}

function headersLength(headers: Headers): number {
  const pairs = pairsOf(headers);
  return pairs.reduce((sum, [name, value]) => {
    const nameBytes = Buffer.byteLength(name);
    const valueBytes = byteLength(value);
    return sum + varintLength(nameBytes) + nameBytes + varintLength(valueBytes) + Math.max(valueBytes, 0);
  }, varintLength(pairs.length));
}

function writeHeaders(buffer: Buffer, at: number, headers: Headers): number {
  const pairs = pairsOf(headers);
  return pairs.reduce((next, [name, value]) => writeBytes(buffer, writeBytes(buffer, next, name, Buffer.byteLength(name)), value, byteLength(value)), writeVarint(buffer, at, pairs.length));
}

/** Zigzag, as a double: exact up to 2^52, which any delta of milliseconds and any length is. */
const zigzag = (value: number): number => (value >= 0 ? value * 2 : value * -2 - 1);

function varintLength(value: number): number {
  let rest = zigzag(value);
  let length = 1;
  while (rest >= 128) {
    rest = Math.floor(rest / 128);
    length += 1;
  }
  return length;
}

function writeVarint(buffer: Buffer, at: number, value: number): number {
  let rest = zigzag(value);
  let next = at;
  while (rest >= 128) {
    buffer[next] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
    next += 1;
  }
  buffer[next] = rest;
  return next + 1;
}
