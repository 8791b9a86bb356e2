import { crc32c, Reader, readRecordsBatch } from '@platformatic/kafka';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { appendRecord, newBatch, nextSequence, sealBatch, type OutgoingRecord } from '../../src/kafka/record-batch.ts';

const stamp = { producerId: 7_000_000_000n, producerEpoch: 3, sequence: 12 };
const bytes = fc.oneof(fc.string({ unit: 'grapheme' }), fc.uint8Array({ maxLength: 300 }));
const recordArbitrary: fc.Arbitrary<OutgoingRecord> = fc.record(
  {
    topic: fc.constant('t'),
    value: fc.option(bytes),
    key: fc.option(bytes),
    headers: fc.oneof(
      fc.dictionary(fc.string({ minLength: 1 }), bytes, { maxKeys: 3, noNullPrototype: true }),
      // Names may repeat, and a value may be null.
      fc.array(fc.tuple(fc.constantFrom('a', 'b', '二'), fc.option(bytes)), { maxLength: 4 }),
    ),
    timestamp: fc.integer({ min: 0, max: 253_402_300_799_999 }),
  },
  { requiredKeys: ['topic', 'value'] },
);
const asBuffer = (part: string | Uint8Array | null | undefined): Buffer | null => (part === null || part === undefined ? null : Buffer.from(part as Uint8Array));

describe('record batches', () => {
  it('read back, by the Kafka client, as what was put in', () => {
    fc.assert(
      fc.property(fc.array(recordArbitrary, { minLength: 1, maxLength: 40 }), (records) => {
        const batch = newBatch(Buffer.alloc(64));
        for (const record of records) expect(appendRecord(batch, record, 1_700_000_000_000, 1e9)).toBe(true);
        const sealed = sealBatch(batch, stamp, crc32c);
        expect(sealed.readUInt32BE(17)).toBe(crc32c(sealed.subarray(21)) >>> 0);
        const read = readRecordsBatch(Reader.from(Buffer.from(sealed)));
        expect(read).toMatchObject({ length: sealed.length - 12, magic: 2, producerId: 7_000_000_000n, producerEpoch: 3, firstSequence: 12, lastOffsetDelta: records.length - 1 });
        const found = read.records.map((record) => ({
          key: record.key ?? null,
          value: record.value ?? null,
          timestamp: Number(read.firstTimestamp + record.timestampDelta),
          headers: record.headers.map(([name, value]) => [String(name), asBuffer(value)]),
        }));
        expect(found).toEqual(
          records.map((record) => ({
            key: asBuffer(record.key),
            value: asBuffer(record.value),
            timestamp: record.timestamp ?? 1_700_000_000_000,
            headers: (Array.isArray(record.headers) ? record.headers : Object.entries(record.headers ?? {})).map(([name, value]) => [name, asBuffer(value)]),
          })),
        );
        expect(Number(read.maxTimestamp)).toBe(Math.max(...found.map((record) => record.timestamp)));
      }),
    );
  });

  it('stop at the limit without a trace of the record that did not fit, yet take any first record', () => {
    const batch = newBatch(Buffer.alloc(64));
    expect(appendRecord(batch, { topic: 't', value: 'x'.repeat(500) }, 0, 200)).toBe(true);
    const { length } = batch;
    expect(appendRecord(batch, { topic: 't', value: '' }, 0, 200)).toBe(false);
    expect(batch).toMatchObject({ length, records: 1 });
  });

  it('count sequences in 31 bits', () => {
    expect(nextSequence(2 ** 31 - 2, 1)).toBe(2 ** 31 - 1);
    expect(nextSequence(2 ** 31 - 2, 2)).toBe(0);
    expect(nextSequence(2 ** 31 - 1, 5)).toBe(4);
  });
});
