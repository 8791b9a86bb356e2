import { describe, expect, it } from 'vitest';
import { createPartitioner, murmur2 } from '../../src/kafka/partitioner.ts';

describe('murmur2', () => {
  // The vectors of Kafka's own UtilsTest.testMurmur2.
  it.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ])('of %s', (text, hash) => {
    expect(murmur2(Buffer.from(text))).toBe(hash);
  });
});

describe('createPartitioner', () => {
  it('keeps a key on its partition, as text and as bytes', () => {
    const partition = createPartitioner(7);
    expect(partition('foobar', 10)).toBe((-790332482 & 0x7fffffff) % 7);
    expect(partition('foobar', 10)).toBe(partition(Buffer.from('foobar'), 10));
    expect(partition('', 10)).toBe(partition(new Uint8Array(), 10));
  });

  it('gives records without a key to each partition in turns of 16 KiB', () => {
    const partition = createPartitioner(4);
    const counts = [0, 0, 0, 0];
    for (let i = 0; i < 100_000; i += 1) {
      const chosen = partition(null, 50);
      counts[chosen] = (counts[chosen] as number) + 1;
    }
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(Math.ceil(16_384 / 50));
  });

  it('never leaves the topic, and forgets keys rather than fill the memory', () => {
    const partition = createPartitioner(3);
    const first = partition('k0', 1);
    for (let i = 0; i < 25_000; i += 1) expect(partition(`k${i}`, 1)).toBeLessThan(3);
    expect(partition('k0', 1)).toBe(first);
  });
});
