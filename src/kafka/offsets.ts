import type { Admin } from '@platformatic/kafka';
import { withAdmin, type KafkaAccess } from './connect.ts';

/** Offsets that one partition holds now: the first still kept, and the one that the next record gets. */
export type PartitionOffsets = { topic: string; partition: number; start: bigint; end: bigint };

const EARLIEST = -2n;
const LATEST = -1n;

/** Start and end of every partition of the topics that exist, in order; a topic that does not exist, or that the user may not see, is left out. */
export async function topicOffsets(access: KafkaAccess, topics: readonly string[]): Promise<PartitionOffsets[]> {
  return withAdmin(access, `reading the offsets of ${topics.join(', ')}`, async (admin) => {
    const there = new Set(await admin.listTopics({ includeInternals: true }));
    const known = topics.filter((topic) => there.has(topic));
    if (known.length === 0) return [];
    const metadata = await admin.metadata({ topics: known, forceUpdate: true });
    const places = known.flatMap((topic) => (metadata.topics.get(topic)?.partitions ?? []).map((_, partition) => ({ topic, partition })));
    // The same partition twice in one request is answered once: two requests.
    const [starts, ends] = await Promise.all([offsetsAt(admin, places, EARLIEST), offsetsAt(admin, places, LATEST)]);
    return places.map((place) => ({ ...place, start: starts.get(keyOf(place)) ?? 0n, end: ends.get(keyOf(place)) ?? 0n }));
  });
}

type Place = { topic: string; partition: number };

async function offsetsAt(admin: Admin, places: Place[], timestamp: bigint): Promise<Map<string, bigint>> {
  const byTopic = Map.groupBy(places, ({ topic }) => topic);
  const asked = [...byTopic].map(([name, partitions]) => ({ name, partitions: partitions.map(({ partition }) => ({ partitionIndex: partition, timestamp })) }));
  const answered = await admin.listOffsets({ topics: asked });
  return new Map(answered.flatMap(({ name, partitions }) => partitions.map(({ partitionIndex, offset }) => [keyOf({ topic: name, partition: partitionIndex }), offset] as const)));
}

function keyOf({ topic, partition }: Place): string {
  return `${topic}/${partition}`;
}
