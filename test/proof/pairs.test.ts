import { describe, expect, it } from 'vitest';
import type { Extent, Proof } from '../../src/databricks/proof.ts';
import type { OffsetRange, Reader } from '../../src/kafka/read.ts';
import { pairsOf, since, type Pair } from '../../src/proof/pairs.ts';
import { openDigests, readEarly } from '../../src/proof/records.ts';

const extent = (topic: string, partition: number, first: number, next: number): Extent => ({ topic, partition, first: BigInt(first), next: BigInt(next) });
const broker = (topic: string, partition: number, start: number, end: number) => ({ topic, partition, start: BigInt(start), end: BigInt(end) });

describe('pairs', () => {
  it('are in order, with partitions that only one side has', () => {
    const pairs = pairsOf([extent('b', 0, 5, 10), extent('gone', 3, 0, 7), extent('a', 10, 0, 4)], [broker('b', 0, 0, 12), broker('a', 10, 2, 4), broker('a', 9, 1, 3)], true);
    expect(pairs).toEqual([
      // Not in raw at all: everything there waits.
      { extent: extent('a', 9, 1, 1), broker: broker('a', 9, 1, 3) },
      { extent: extent('a', 10, 0, 4), broker: broker('a', 10, 2, 4) },
      // Raw begins behind what the broker still has.
      { extent: extent('b', 0, 0, 10), broker: broker('b', 0, 0, 12) },
      { extent: extent('gone', 3, 0, 7), broker: broker('gone', 3, 7, 7) },
    ]);
  });

  it('of a period are its extents, and nothing else', () => {
    expect(pairsOf([extent('a', 1, 5, 10)], [broker('a', 0, 0, 9), broker('a', 1, 0, 12)], false)).toEqual([{ extent: extent('a', 1, 5, 10), broker: broker('a', 1, 0, 12) }]);
  });

  it('begin where the brokers began when the proof did, though some of it was removed since', () => {
    expect(since([broker('a', 0, 3, 9)], [broker('a', 0, 7, 12), broker('a', 1, 2, 4)])).toEqual([broker('a', 0, 3, 12), broker('a', 1, 2, 4)]);
  });
});

describe('digests of what was read early', () => {
  const rules = { fields: { timestamp: 'timestamp', value: '流量', key: 'key' }, maxFutureMinutes: 1440 };
  /** A broker that has every offset but those that are divisible by 7. */
  const asked: string[] = [];
  const reader: Reader = {
    async *read({ topic, partition, from, to }: OffsetRange) {
      asked.push(`${topic}/${partition} ${from}-${to}`);
      for (let offset = from; offset < to; offset += 1n) if (offset % 7n !== 0n) yield [{ offset, timestampMillis: 1_700_000_000_000, key: null, value: Buffer.from(`{"timestamp":1700000000,"流量":${offset}}`), headers: [] }];
    },
    close: () => Promise.resolve(),
  };
  const proof = { shardSize: 10 } as Proof;

  it.each<[string, Pair[]]>([
    ['all of it', [{ extent: extent('a', 0, 3, 42), broker: broker('a', 0, 3, 42) }]],
    ['less than was read, in the middle of a shard', [{ extent: extent('a', 0, 3, 25), broker: broker('a', 0, 3, 42) }]],
    ['less, up to a gap', [{ extent: extent('a', 0, 3, 29), broker: broker('a', 0, 3, 42) }]],
    ['more, which came since', [{ extent: extent('a', 0, 3, 57), broker: broker('a', 0, 3, 60) }, { extent: extent('a', 1, 0, 12), broker: broker('a', 1, 0, 12) }]],
    ['nothing', [{ extent: extent('a', 0, 3, 3), broker: broker('a', 0, 3, 42) }]],
    ['not at the brokers any more, and one that is', [{ extent: extent('Z', 0, 0, 4), broker: broker('Z', 0, 4, 4) }, { extent: extent('a', 0, 3, 42), broker: broker('a', 0, 3, 42) }]],
  ])('are those that are read when it is known what raw has: %s', async (_name, pairs) => {
    const side = { proof, reader, rules };
    const take = async (early?: ReturnType<typeof readEarly>): Promise<unknown[]> => {
      const digests = openDigests(side, pairs, early);
      const found = [];
      for (const pair of pairs) found.push(await Array.fromAsync(digests.of(pair.extent)));
      await digests.close();
      return found;
    };
    const early = readEarly(reader, 10, rules, Promise.resolve([broker('a', 0, 3, 42)]));
    expect(await take(early)).toEqual(await take());
    await early.digests.close();
  });

  it('reads nothing twice but the shard that raw has a part of', async () => {
    asked.splice(0);
    const early = readEarly(reader, 10, rules, Promise.resolve([broker('a', 0, 3, 42)]));
    const digests = openDigests({ proof, reader, rules }, [{ extent: extent('a', 0, 3, 25), broker: broker('a', 0, 3, 42) }], early);
    expect(await Array.fromAsync(digests.of({ topic: 'a', partition: 0 }), ({ shard, records }) => [shard, records])).toEqual([[0n, 6], [1n, 9], [2n, 4]]);
    expect(asked).toEqual(['a/0 3-40', 'a/0 20-25']);
  });
});
