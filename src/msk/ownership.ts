import { createHash } from 'node:crypto';
import { tagCluster, untagCluster, type ClusterFound } from './cluster.ts';
import type { Aws } from './clients.ts';

const PREFIX = 'streamgauge-topic-';

/** Topics that provision created in this cluster, by its tags: Kafka itself keeps no such mark. */
export function ownedTopics(cluster: ClusterFound): string[] {
  return Object.entries(cluster.tags).flatMap(([key, topic]) => (key.startsWith(PREFIX) ? [topic] : []));
}

/** Remembers that provision created this topic. */
export async function ownTopic(aws: Aws, cluster: ClusterFound, topic: string): Promise<void> {
  await tagCluster(aws, cluster, { [tagKey(topic)]: topic });
}

/** Forgets topics that are gone. */
export async function disownTopics(aws: Aws, cluster: ClusterFound, topics: readonly string[]): Promise<void> {
  if (topics.length > 0) await untagCluster(aws, cluster, topics.map(tagKey));
}

/** A topic may be longer than a tag's key (128 characters): the name is the value. */
function tagKey(topic: string): string {
  return PREFIX + createHash('sha256').update(topic).digest('hex').slice(0, 16);
}
