/** Where the records of one topic go: keyed ones by their key, as Kafka's own clients put them; the others in turns. */
export type Partitioner = (key: string | Uint8Array | null | undefined, valueBytes: number) => number;

/** Records without a key stay on a partition for so many bytes before the next one has its turn (Kafka's batch.size, KIP-794). */
const TURN_BYTES = 16_384;
const REMEMBERED_KEYS = 10_000;

/** A partitioner for a topic of so many partitions; it remembers whose turn it is. */
export function createPartitioner(partitions: number): Partitioner {
  const remembered = new Map<string, number>();
  let turn = 0;
  let turnBytes = 0;
  return (key, valueBytes) => {
    if (key === null || key === undefined) {
      if (turnBytes >= TURN_BYTES) {
        turn = (turn + 1) % partitions;
        turnBytes = 0;
      }
      turnBytes += valueBytes;
      return turn;
    }
    if (typeof key !== 'string') return keyPartition(key, partitions);
    const known = remembered.get(key);
    if (known !== undefined) return known;
    if (remembered.size >= REMEMBERED_KEYS) remembered.clear();
    const partition = keyPartition(Buffer.from(key), partitions);
    remembered.set(key, partition);
    return partition;
  };
}

function keyPartition(key: Uint8Array, partitions: number): number {
  return (murmur2(key) & 0x7fff_ffff) % partitions;
}

/** The 32-bit hash by which Kafka's clients choose a key's partition: org.apache.kafka.common.utils.Utils.murmur2. */
export function murmur2(data: Uint8Array): number {
  const m = 0x5bd1e995;
  const whole = data.length & ~3;
  const byte = (at: number): number => data[at] as number;
  let h = 0x9747b28c ^ data.length;
  for (let at = 0; at < whole; at += 4) {
    let k = Math.imul(byte(at) | (byte(at + 1) << 8) | (byte(at + 2) << 16) | (byte(at + 3) << 24), m);
    k = Math.imul(k ^ (k >>> 24), m);
    h = Math.imul(h, m) ^ k;
  }
  const rest = data.length - whole;
  if (rest === 3) h ^= byte(whole + 2) << 16;
  if (rest >= 2) h ^= byte(whole + 1) << 8;
  if (rest >= 1) h = Math.imul(h ^ byte(whole), m);
  h = Math.imul(h ^ (h >>> 13), m);
  return h ^ (h >>> 15);
}
