import { describe, expect, it } from 'vitest';
import type { Pipeline } from '../../src/config/config.ts';
import { planRights, wantedRights, type Right } from '../../src/kafka/acls.ts';
import { planTopics, wantedTopics, type TopicFound } from '../../src/kafka/topics.ts';

const pipeline = { topics: ['t', 'u'], partitions: 6, replication_factor: 3, min_insync_replicas: 2, retention_hours: 168 } as unknown as Pipeline;
const configs = { 'min.insync.replicas': '2', 'retention.ms': '604800000' };
const found = (name: string, change: Partial<TopicFound> = {}): TopicFound => ({ name, partitions: 6, replicationFactor: 3, configs, ...change });

describe('planTopics', () => {
  const wanted = wantedTopics(pipeline);

  it.each<[string, TopicFound[], unknown[]]>([
    ['creates what is missing', [], ['t', 'u'].map((name) => ({ do: 'create topic', name, partitions: 6, replicationFactor: 3, configs }))],
    ['leaves what is as wanted', [found('t'), found('u')], []],
    ['grows', [found('t', { partitions: 2 }), found('u')], [{ do: 'grow topic', name: 't', from: 2, to: 6 }]],
    ['sets configuration', [found('t'), found('u', { configs: { ...configs, 'retention.ms': '1' } })], [{ do: 'configure topic', name: 'u', changes: [{ name: 'retention.ms', from: '1', to: '604800000' }] }]],
    ['grows and configures', [found('t', { partitions: 1, configs: {} }), found('u')], [{ do: 'grow topic', name: 't', from: 1, to: 6 }, { do: 'configure topic', name: 't', changes: [{ name: 'min.insync.replicas', from: null, to: '2' }, { name: 'retention.ms', from: null, to: '604800000' }] }]],
    ['leaves another number of copies: only a reassignment could change it', [found('t', { replicationFactor: 1 }), found('u')], []],
  ])('%s', (_, topics, steps) => {
    expect(planTopics(wanted, topics)).toEqual(steps);
  });

  it('never takes partitions away', () => {
    expect(() => planTopics(wanted, [found('t', { partitions: 12 }), found('u')])).toThrow(expect.objectContaining({ code: 'PARTITIONS_CANNOT_SHRINK', kind: 'usage', hint: 'Keep what it has: --var partitions=12' }));
  });
});

describe('rights', () => {
  const users = { admin: 'c-admin', pipeline: 'c-pipeline' };
  const wanted = wantedRights(pipeline, users);
  const said = (user: string) => wanted.filter((right) => right.user === user).map(({ operation, resource, pattern, name }) => `${operation} ${resource} ${pattern === 'prefixed' ? `${name}…` : name}`);

  it('gives the admin everything, which shuts everybody else out', () => {
    expect(said('c-admin')).toEqual(['all topic *', 'all group *', 'all cluster kafka-cluster', 'all transactional id *']);
  });

  it('gives the pipeline its topics, its groups and idempotent writing, and nothing more', () => {
    expect(said('c-pipeline')).toEqual([
      ...['t', 'u'].flatMap((topic) => ['read', 'write', 'describe', 'describe configs'].map((operation) => `${operation} topic ${topic}`)),
      'idempotent write cluster kafka-cluster',
      'describe cluster kafka-cluster',
      ...['streamgauge…', 'spark-kafka-…'].flatMap((group) => ['read', 'describe', 'delete'].map((operation) => `${operation} group ${group}`)),
    ]);
  });

  it('asks for all that is missing at once, and for nothing when nothing is', () => {
    expect(planRights(wanted, [])).toEqual([{ do: 'allow', rights: wanted }]);
    expect(planRights(wanted, wanted)).toEqual([]);
    const other: Right = { user: 'c-pipeline', resource: 'topic', name: 'somebody-elses', pattern: 'literal', operation: 'read' };
    expect(planRights(wanted, [...wanted.slice(1), other])).toEqual([{ do: 'allow', rights: wanted.slice(0, 1) }]);
  });
});
