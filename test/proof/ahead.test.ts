import { describe, expect, it } from 'vitest';
import { ahead, byPartition } from '../../src/proof/ahead.ts';

/** Numbers, and how far they were taken; `closed` when nobody wants more. */
function counted(count: number, failAt = Infinity): { source: AsyncGenerator<number, void, undefined>; seen: { taken: number; closed: boolean } } {
  const seen = { taken: 0, closed: false };
  async function* source(): AsyncGenerator<number, void, undefined> {
    try {
      for (let n = 0; n < count; n += 1) {
        if (n === failAt) throw new Error('no more');
        seen.taken = n + 1;
        yield n;
      }
    } finally {
      seen.closed = true;
    }
  }
  return { source: source(), seen };
}

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 100; turn += 1) await Promise.resolve();
};

describe('ahead', () => {
  it('takes what nobody has asked for yet, up to a bound, and gives all of it in order', async () => {
    const { source, seen } = counted(100);
    const items = ahead(source, 10);
    expect((await items.next()).value).toBe(0);
    await turns();
    expect(seen.taken).toBeGreaterThanOrEqual(10);
    expect(seen.taken).toBeLessThanOrEqual(22);
    expect(await Array.fromAsync(items)).toEqual(Array.from({ length: 99 }, (_, n) => n + 1));
    expect(seen.closed).toBe(true);
  });

  it('gives what came before an error, and then the error', async () => {
    const found: number[] = [];
    const all = (async () => {
      for await (const item of ahead(counted(100, 5).source, 2)) found.push(item);
    })();
    await expect(all).rejects.toThrow('no more');
    expect(found).toEqual([0, 1, 2, 3, 4]);
  });

  it('lets go of its source when it is left early', async () => {
    const { source, seen } = counted(100);
    for await (const item of ahead(source, 3)) if (item === 4) break;
    expect(seen.closed).toBe(true);
    expect(seen.taken).toBeLessThan(20);
  });
});

it('byPartition hands out one partition after the other, also those that hold nothing', async () => {
  async function* all() {
    for (const [partition, n] of [[0, 1], [0, 2], [2, 3]] as const) yield { topic: 't', partition, n };
  }
  const parts = byPartition(all(), (item) => item);
  const of = async (partition: number): Promise<number[]> => (await Array.fromAsync(parts.of({ topic: 't', partition }))).map(({ n }) => n);
  expect([await of(0), await of(1), await of(2), await of(3)]).toEqual([[1, 2], [], [3], []]);
});
