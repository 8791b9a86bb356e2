import type { Admin } from '@platformatic/kafka';
import type { Pipeline } from '../config/config.ts';
import { Failure } from '../errors.ts';
import { poll } from '../poll.ts';
import { saysTopicThere } from './failure.ts';

/** What streamgauge sets of a topic's configuration. */
const CONFIGS = ['min.insync.replicas', 'retention.ms'] as const;
type ConfigName = (typeof CONFIGS)[number];

export type TopicWanted = { name: string; partitions: number; replicationFactor: number; configs: Record<ConfigName, string> };

/** Effective configuration; undefined where the user may not read it. */
export type TopicFound = { name: string; partitions: number; replicationFactor: number; configs: Partial<Record<ConfigName, string>> };

export type TopicStep =
  | ({ do: 'create topic' } & TopicWanted)
  | { do: 'grow topic'; name: string; from: number; to: number }
  | { do: 'configure topic'; name: string; changes: { name: ConfigName; from: string | null; to: string }[] };

/** The topics of a configuration. */
export function wantedTopics(pipeline: Pipeline): TopicWanted[] {
  const configs = { 'min.insync.replicas': String(pipeline.min_insync_replicas), 'retention.ms': String(pipeline.retention_hours * 3_600_000) };
  return pipeline.topics.map((name) => ({ name, partitions: pipeline.partitions, replicationFactor: pipeline.replication_factor, configs }));
}

/** Those of the named topics that exist. */
export async function findTopics(admin: Admin, names: readonly string[]): Promise<TopicFound[]> {
  const there = new Set(await admin.listTopics({ includeInternals: true }));
  const known = names.filter((name) => there.has(name));
  if (known.length === 0) return [];
  const { ConfigResourceTypes } = await import('@platformatic/kafka');
  const { topics } = await admin.metadata({ topics: [...known], forceUpdate: true });
  const described = await admin.describeConfigs({ resources: known.map((resourceName) => ({ resourceType: ConfigResourceTypes.TOPIC, resourceName, configurationKeys: [...CONFIGS] })) });
  return known.map((name) => {
    const partitions = topics.get(name)?.partitions ?? [];
    const configs = described.find((resource) => resource.resourceName === name)?.configs ?? [];
    return {
      name,
      partitions: partitions.length,
      replicationFactor: Math.max(0, ...partitions.map((partition) => partition.replicas.length)),
      configs: Object.fromEntries(configs.map((config) => [config.name, config.value ?? undefined])),
    };
  });
}

/** What makes the found topics as wanted. Partitions are never taken away (Kafka cannot, and the keys' order would be lost): Failure. Pure. */
export function planTopics(wanted: readonly TopicWanted[], found: readonly TopicFound[]): TopicStep[] {
  return wanted.flatMap((topic): TopicStep[] => {
    const known = found.find(({ name }) => name === topic.name);
    if (known === undefined) return [{ do: 'create topic', ...topic }];
    if (known.partitions > topic.partitions) {
      throw new Failure({
        code: 'PARTITIONS_CANNOT_SHRINK',
        kind: 'usage',
        message: `topic ${topic.name} has ${known.partitions} partitions, and Kafka cannot take partitions away: ${topic.partitions} are configured`,
        hint: `Keep what it has: --var partitions=${known.partitions}`,
      });
    }
    const grow: TopicStep[] = known.partitions < topic.partitions ? [{ do: 'grow topic', name: topic.name, from: known.partitions, to: topic.partitions }] : [];
    const changes = CONFIGS.filter((name) => known.configs[name] !== topic.configs[name]).map((name) => ({ name, from: known.configs[name] ?? null, to: topic.configs[name] }));
    return [...grow, ...(changes.length > 0 ? [{ do: 'configure topic', name: topic.name, changes } as const] : [])];
  });
}

/** Brokers learn of a topic, or of its partitions, a moment after it was made. */
const KNOWN_DEADLINE_MS = 30_000;

/** Does one step; fewer brokers than copies is a usage Failure. What somebody else has made meanwhile stays as it is. */
export async function applyTopicStep(admin: Admin, step: TopicStep): Promise<void> {
  switch (step.do) {
    case 'create topic': {
      const { brokers } = await admin.metadata({ topics: [], forceUpdate: true });
      if (brokers.size < step.replicationFactor) {
        throw new Failure({
          code: 'TOO_FEW_BROKERS',
          kind: 'usage',
          message: `topic ${step.name} is to have ${step.replicationFactor} copies, and ${brokers.size} brokers are up`,
          hint: `Ask for fewer: --var replication_factor=${brokers.size} --var min_insync_replicas=${Math.max(1, brokers.size - 1)}`,
        });
      }
      const configs = Object.entries(step.configs).map(([name, value]) => ({ name, value }));
      const created = admin.createTopics({ topics: [step.name], partitions: step.partitions, replicas: step.replicationFactor, configs });
      return unlessMade(admin, step.name, created.then(() => undefined), () => true);
    }
    case 'grow topic':
      return unlessMade(admin, step.name, admin.createPartitions({ topics: [{ name: step.name, count: step.to, assignments: null as never }] }), ({ partitions }) => partitions >= step.to);
    case 'configure topic': {
      const { ConfigResourceTypes, IncrementalAlterConfigOperationTypes } = await import('@platformatic/kafka');
      const configs = step.changes.map(({ name, to }) => ({ name, value: to, configOperation: IncrementalAlterConfigOperationTypes.SET }));
      await admin.incrementalAlterConfigs({ resources: [{ resourceType: ConfigResourceTypes.TOPIC, resourceName: step.name, configs }] });
    }
  }
}

/** Awaits a change; where the broker says that it is made, until the topic is seen so. */
async function unlessMade(admin: Admin, name: string, change: Promise<void>, isMade: (topic: TopicFound) => boolean): Promise<void> {
  await change.catch(async (error: unknown) => {
    if (!saysTopicThere(error)) throw error;
    await poll({ what: `topic ${name}, which somebody else has changed,`, deadlineMs: KNOWN_DEADLINE_MS, intervalMs: 200 }, async () => (await findTopics(admin, [name])).some(isMade) || undefined);
  });
}

/** True while one of these topics is listed; its metadata may be gone already. */
export async function anyTopic(admin: Admin, names: readonly string[]): Promise<boolean> {
  const there = await admin.listTopics({ includeInternals: true });
  return names.some((name) => there.includes(name));
}

/** Deletes those of these topics that exist. */
export async function deleteTopics(admin: Admin, names: readonly string[]): Promise<void> {
  const there = new Set(await admin.listTopics({ includeInternals: true }));
  const known = names.filter((name) => there.has(name));
  if (known.length > 0) await admin.deleteTopics({ topics: known });
}
