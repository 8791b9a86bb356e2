import type { Extent } from '../databricks/proof.ts';
import type { PartitionOffsets } from '../kafka/offsets.ts';
import type { Place } from './ahead.ts';

/** A partition to prove: what `raw` and the ledger have of it, and what the broker has. */
export type Pair = { extent: Extent; broker: PartitionOffsets };

/** The partitions to prove, in order, those that are no longer at the brokers among them; `isWhole`: of everything, not of a period. */
export function pairsOf(known: readonly Extent[], offsets: readonly PartitionOffsets[], isWhole: boolean): Pair[] {
  const extentOf = (broker: PartitionOffsets): Extent | undefined => {
    const extent = known.find((candidate) => isAt(candidate, broker));
    if (!isWhole) return extent;
    if (extent === undefined) return { topic: broker.topic, partition: broker.partition, first: broker.start, next: broker.start };
    // What stands at the broker before the first row of raw was lost.
    return broker.start < extent.first ? { ...extent, first: broker.start } : extent;
  };
  const gone = known.filter((extent) => !offsets.some((broker) => isAt(extent, broker))).map(({ topic, partition, next }) => ({ topic, partition, start: next, end: next }));
  return inOrder([...offsets, ...gone]).flatMap((broker) => {
    const extent = extentOf(broker);
    return extent === undefined ? [] : [{ broker, extent }];
  });
}

/** The offsets of now, from where the brokers began before: that much was read by then. */
export function since(before: readonly PartitionOffsets[], now: readonly PartitionOffsets[]): PartitionOffsets[] {
  return now.map((broker) => ({ ...broker, start: before.find((other) => isAt(other, broker))?.start ?? broker.start }));
}

/** By topic and partition, as Spark sorts them. */
export function inOrder<T extends Place>(places: readonly T[]): T[] {
  return places.toSorted((a, b) => (a.topic === b.topic ? a.partition - b.partition : a.topic < b.topic ? -1 : 1));
}

function isAt(one: Place, other: Place): boolean {
  return one.topic === other.topic && one.partition === other.partition;
}
