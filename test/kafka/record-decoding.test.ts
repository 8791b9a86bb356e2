import { compressionsAlgorithms, crc32c } from '@platformatic/kafka';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { appendRecord, BATCH_HEADER_BYTES, newBatch, sealBatch } from '../../src/kafka/record-batch.ts';
import { decodeBatches, type Codec } from '../../src/kafka/record-decoding.ts';

const stamp = { producerId: 7n, producerEpoch: 3, sequence: 12 };
const codec: Codec = { crc32c, decompress: (_algorithm, bytes) => compressionsAlgorithms.gzip.decompressSync(bytes) };

type Sent = { key: Buffer | null; value: Buffer | null; headers: [string, Buffer | null][]; timestamp: number };

function sealed(records: readonly Sent[], firstOffset = 0n, change: (bytes: Buffer) => void = () => undefined): Buffer {
  const batch = newBatch(Buffer.alloc(64));
  for (const record of records) appendRecord(batch, { topic: 't', ...record }, 0, 1e9);
  const bytes = Buffer.from(sealBatch(batch, stamp, crc32c));
  bytes.writeBigInt64BE(firstOffset, 0);
  change(bytes);
  return bytes;
}

/** Attributes and what depends on them are under the checksum. */
function resealed(bytes: Buffer): Buffer {
  bytes.writeInt32BE(bytes.length - 12, 8);
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)) >>> 0, 17);
  return bytes;
}

const one = (value: string | null, timestamp = 1_700_000_000_000): Sent => ({ key: null, value: value === null ? null : Buffer.from(value), headers: [], timestamp });
const bytes = fc.uint8Array({ maxLength: 300 }).map((part) => Buffer.from(part));
const sent: fc.Arbitrary<Sent> = fc.record({
  key: fc.option(bytes),
  value: fc.option(bytes),
  headers: fc.array(fc.tuple(fc.constantFrom('a', 'b', '二'), fc.option(bytes)), { maxLength: 4 }),
  timestamp: fc.integer({ min: 0, max: 253_402_300_799_999 }),
});

describe('decodeBatches', () => {
  it('gives back what was sent, batch by batch, whatever its size', () => {
    fc.assert(
      fc.property(fc.array(fc.array(sent, { minLength: 1, maxLength: 40 }), { maxLength: 4 }), fc.bigInt({ min: 0n, max: 2n ** 62n }), (batches, base) => {
        const firsts = batches.map((_, at) => base + batches.slice(0, at).reduce((sum, records) => sum + BigInt(records.length), 0n));
        const found = decodeBatches(Buffer.concat(batches.map((records, at) => sealed(records, firsts[at]))), codec, 't/0');
        expect(found.map(({ end }) => end)).toEqual(batches.map((records, at) => (firsts[at] as bigint) + BigInt(records.length)));
        expect(found.flatMap(({ records }) => records)).toEqual(
          batches.flatMap((records, at) =>
            records.map(({ key, value, headers, timestamp }, n) => ({ offset: (firsts[at] as bigint) + BigInt(n), timestampMillis: timestamp, key, value, headers: headers.map(([name, part]) => [Buffer.from(name), part]) })),
          ),
        );
      }),
    );
  });

  it('leaves out what is cut off at the end', () => {
    const whole = Buffer.concat([sealed([one('first')]), sealed([one('second')], 1n)]);
    for (let length = whole.length - 1; length >= whole.length / 2; length -= 1) expect(decodeBatches(whole.subarray(0, length), codec, 't/0').map(({ end }) => end)).toEqual([1n]);
    expect(decodeBatches(Buffer.alloc(0), codec, 't/0')).toEqual([]);
  });

  it('unpacks, passes over markers of transactions, and takes the broker\'s time where it is stamped', () => {
    const plain = sealed([one('a'), one('b')]);
    const packed = resealed(Buffer.concat([plain.subarray(0, BATCH_HEADER_BYTES), compressionsAlgorithms.gzip.compressSync(plain.subarray(BATCH_HEADER_BYTES))]));
    packed.writeInt16BE(1, 21);
    expect(decodeBatches(resealed(packed), codec, 't/0')[0]?.records.map(({ value }) => value?.toString())).toEqual(['a', 'b']);
    const marker = sealed([one('commit')], 5n, (batch) => void batch.writeInt16BE(1 << 5, 21));
    expect(decodeBatches(resealed(marker), codec, 't/0')).toEqual([{ end: 6n, records: [] }]);
    const stamped = sealed([one('a', 1), one('b', 9)], 0n, (batch) => void batch.writeInt16BE(1 << 3, 21));
    expect(decodeBatches(resealed(stamped), codec, 't/0')[0]?.records.map(({ timestampMillis }) => timestampMillis)).toEqual([9, 9]);
  });

  it('refuses a batch that is not as it was sent, and says which', () => {
    const damaged = sealed([one('payload')], 42n, (batch) => void (batch[batch.length - 3] = (batch[batch.length - 3] as number) ^ 1));
    expect(() => decodeBatches(damaged, codec, 'traffic/3')).toThrow('traffic/3: the batch at offset 42 has another checksum than it was sent with');
    const old = sealed([one('payload')], 42n, (batch) => void (batch[16] = 1));
    expect(() => decodeBatches(old, codec, 'traffic/3')).toThrow('is of format 1');
  });
});
