import { describe, expect, it } from 'vitest';
import type { Pipeline } from '../../src/config/config.ts';
import { planCluster, type ClusterFound } from '../../src/msk/cluster.ts';
import { planLogins, type LoginsFound, type SecretFound } from '../../src/msk/logins.ts';

const pipeline = { cluster_name: 'c', kafka_auth: 'scram', broker_count: 3, subnets: ['a', 'b', 'c'], broker_instance_type: 'kafka.m7g.large', kafka_version: '3.9.x' } as unknown as Pipeline;
const found: ClusterFound = { arn: 'arn:c', name: 'c', state: 'ACTIVE', ours: true, tags: {}, logins: { scram: true, iam: true }, brokers: 3 };

describe('planCluster', () => {
  it('creates what is missing', () => {
    expect(planCluster(pipeline, undefined)).toEqual([{ do: 'create cluster', name: 'c', brokers: 3, instanceType: 'kafka.m7g.large', kafkaVersion: '3.9.x' }]);
  });

  it.each(['ACTIVE', 'CREATING', 'UPDATING', 'HEALING', 'MAINTENANCE'])('takes a cluster in state %s as it is', (state) => {
    expect(planCluster(pipeline, { ...found, state, ours: false })).toEqual([]);
  });

  it.each<[string, Partial<Pipeline>, ClusterFound | undefined, string, string]>([
    ['a new cluster without subnets', { subnets: [] }, undefined, 'SUBNETS_MISSING', 'usage'],
    ['brokers that the subnets do not divide', { broker_count: 4 }, undefined, 'BROKER_COUNT_UNEVEN', 'usage'],
    ['a failed cluster', {}, { ...found, state: 'FAILED', stateReason: 'no addresses left' }, 'CLUSTER_FAILED', 'remote'],
    ['a cluster on its way out', {}, { ...found, state: 'DELETING' }, 'CLUSTER_DELETING', 'remote'],
    ['a cluster without SCRAM', {}, { ...found, logins: { scram: false, iam: true } }, 'CLUSTER_LOGIN_OFF', 'usage'],
    ['a cluster without IAM', { kafka_auth: 'iam' }, { ...found, logins: { scram: true, iam: false } }, 'CLUSTER_LOGIN_OFF', 'usage'],
  ])('refuses %s', (_, change, cluster, code, kind) => {
    expect(() => planCluster({ ...pipeline, ...change }, cluster)).toThrow(expect.objectContaining({ code, kind, hint: expect.any(String) }));
  });

  it('says why a cluster failed', () => {
    expect(() => planCluster(pipeline, { ...found, state: 'FAILED', stateReason: 'no addresses left' })).toThrow('no addresses left');
  });
});

describe('planLogins', () => {
  const secret = (name: string, change: Partial<SecretFound> = {}): SecretFound => ({ name, arn: `arn:${name}`, ours: true, scheduledForDeletion: false, associated: true, ...change });
  const key = { id: 'k', arn: 'arn:k', ours: true };
  const [admin, runner] = ['AmazonMSK_c_c-admin', 'AmazonMSK_c_c-pipeline'];
  const create = { admin: { do: 'create secret', name: admin, role: 'admin', username: 'c-admin' }, pipeline: { do: 'create secret', name: runner, role: 'pipeline', username: 'c-pipeline' } };

  it.each<[string, LoginsFound, unknown[]]>([
    ['nothing at all', { key: undefined, secrets: { admin: undefined, pipeline: undefined } }, [{ do: 'create key', alias: 'alias/c-streamgauge' }, create.admin, create.pipeline, { do: 'associate secrets', names: [admin, runner] }]],
    ['everything', { key, secrets: { admin: secret(admin), pipeline: secret(runner) } }, []],
    ['secrets under a key of somebody else', { key: undefined, secrets: { admin: secret(admin, { ours: false }), pipeline: secret(runner, { ours: false }) } }, []],
    ['a key and one secret', { key, secrets: { admin: secret(admin), pipeline: undefined } }, [create.pipeline, { do: 'associate secrets', names: [runner] }]],
    ['a crash before the association', { key, secrets: { admin: secret(admin, { associated: false }), pipeline: secret(runner) } }, [{ do: 'associate secrets', names: [admin] }]],
    [
      'what destroy left to be had back',
      { key: undefined, secrets: { admin: secret(admin, { scheduledForDeletion: true, associated: false }), pipeline: secret(runner, { scheduledForDeletion: true, associated: false }) } },
      [{ do: 'create key', alias: 'alias/c-streamgauge' }, { ...create.admin, do: 'restore secret' }, { ...create.pipeline, do: 'restore secret' }, { do: 'associate secrets', names: [admin, runner] }],
    ],
  ])('completes %s', (_, logins, steps) => {
    expect(planLogins('c', logins)).toEqual(steps);
  });
});
