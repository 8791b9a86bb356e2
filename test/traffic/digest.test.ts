import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { lineOf, shardDigests, type Arrived } from '../../src/traffic/digest.ts';

const rules = { fields: { timestamp: 'timestamp', value: '流量', key: 'key' }, maxFutureMinutes: 1440 };
const record = (offset: number, value: string | null, more: Partial<Arrived> = {}): Arrived => ({ offset: BigInt(offset), timestampMillis: 1_700_000_000_000, key: null, value: value === null ? null : Buffer.from(value), headers: [], ...more });
const good = (offset: number): Arrived => record(offset, `{"timestamp":1700000000.25,"流量":${offset},"key":"a"}`);

async function* groups(...lists: Arrived[][]): AsyncGenerator<Arrived[]> {
  yield* lists;
}

describe('lineOf', () => {
  it.each<[string, Arrived, string]>([
    ['a good record', good(7), '7|1700000000000||1700000000250000|7|a||\n'],
    ['a tombstone', record(8, null), '8|1700000000000|tombstone|||||\n'],
    ['a bad record with a key and headers', record(9, 'x', { key: Buffer.from('k'), headers: [[Buffer.from('h'), Buffer.from([1, 255])], [Buffer.from('n'), null]] }), '9|1700000000000|not_json||||6B|h=01FF,n=\n'],
  ])('%s', (_name, arrived, line) => {
    expect(lineOf(arrived, rules).line).toBe(line);
  });
});

describe('shardDigests', () => {
  it('slices by offset, over groups and gaps, and hashes the payloads one behind the other', async () => {
    const digests = await Array.fromAsync(shardDigests(groups([good(98), good(99), good(100)], [record(150, null), good(199)], [good(420)]), 100, rules));
    expect(digests.map(({ shard, first, last, records, good: judged }) => [shard, first, last, records, judged])).toEqual([
      [0n, 98n, 99n, 2, 2],
      [1n, 100n, 199n, 3, 2],
      [4n, 420n, 420n, 1, 1],
    ]);
    const payloads = [good(98), good(99)].map(({ value }) => Buffer.from(value as Uint8Array));
    expect(digests[0]?.payloads).toBe(createHash('sha256').update(Buffer.concat(payloads)).digest('hex'));
  });

  it('is another when a payload, its place, or the time of its arrival is', async () => {
    const of = async (...records: Arrived[]): Promise<string[]> => (await Array.fromAsync(shardDigests(groups(records), 100, rules))).map(({ rows }) => rows);
    const base = await of(good(1), good(2));
    expect(await of(good(1), good(2))).toEqual(base);
    expect(await of(good(1), { ...good(2), timestampMillis: 1_700_000_000_001 })).not.toEqual(base);
    expect(await of(good(1), { ...good(2), offset: 3n })).not.toEqual(base);
    expect(await of(good(1), record(2, '{"timestamp":1700000000.25,"流量":3,"key":"a"}'))).not.toEqual(base);
  });

  it('of nothing is nothing', async () => {
    expect(await Array.fromAsync(shardDigests(groups(), 100, rules))).toEqual([]);
  });
});
