import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { CreateClusterV2Command, DeleteClusterCommand, KafkaClient, ListClustersV2Command } from '@aws-sdk/client-kafka';
import { DescribeSecretCommand, GetSecretValueCommand, PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { Kafka, logLevel } from 'kafkajs';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { poll } from '../../src/poll.ts';
import { createProject, type Project } from '../acceptance/project.ts';

type Step = { action: string; thing: string; name: string; risk: string; changes: { field: string; found?: unknown; wanted?: unknown }[] };
type Provisioned = { changed: boolean; cluster: { brokers: string[]; state: string }; steps: Step[] };
type Destroyed = { changed: boolean; steps: { thing: string; name: string }[]; kept: { thing: string; name: string }[] };

let environment: Record<string, string>;

beforeAll(() => {
  environment = inject('environment');
  setDefaultCACertificates([...getCACertificates('default'), readFileSync(environment.NODE_EXTRA_CA_CERTS ?? '', 'utf8')]);
});

function awsOptions(service: 'KAFKA' | 'SECRETS_MANAGER') {
  return {
    region: environment.AWS_REGION,
    endpoint: environment[`AWS_ENDPOINT_URL_${service}`],
    credentials: { accessKeyId: environment.AWS_ACCESS_KEY_ID ?? '', secretAccessKey: environment.AWS_SECRET_ACCESS_KEY ?? '' },
  };
}

async function kafkaAs(cluster: string, role: 'admin' | 'pipeline', brokers: string[]): Promise<Kafka> {
  const secrets = new SecretsManagerClient(awsOptions('SECRETS_MANAGER'));
  const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: `AmazonMSK_${cluster}_${cluster}-${role}` }));
  const login = JSON.parse(SecretString ?? '') as { username: string; password: string };
  return new Kafka({ brokers, ssl: true, sasl: { mechanism: 'scram-sha-512', ...login }, logLevel: logLevel.NOTHING, retry: { retries: 0 } });
}

function things(list: { thing: string; name: string }[]): string[] {
  return list.map(({ thing, name }) => `${thing} ${name}`).sort();
}

describe('a cluster of its own', () => {
  const cluster = 'sg-verbs';
  let project: Project;
  let made: Provisioned;

  beforeAll(() => {
    project = createProject('verbs', { cluster_name: cluster, partitions: 2 });
  });

  it('two that begin at the same moment make everything, once: both end well, and there is nothing left to do', async () => {
    const both = await Promise.all([project.json<Provisioned>(['provision']), project.json<Provisioned>(['provision'])]);
    made = both[0];
    expect(made).toMatchObject({ changed: true, cluster: { state: 'ACTIVE' } });
    expect(both[1].cluster).toEqual(made.cluster);
    const secrets = ['admin', 'pipeline'].map((role) => `AmazonMSK_${cluster}_${cluster}-${role}`);
    // Whoever looked first found none of it.
    expect([...new Set(both.flatMap(({ steps }) => things(steps)))].sort()).toEqual(
      [
        `configuration ${cluster}-streamgauge`,
        `cluster ${cluster}`,
        `key alias/${cluster}-streamgauge`,
        ...secrets.map((name) => `secret ${name}`),
        `association ${secrets.join(', ')}`,
        `rights ${cluster}-admin, ${cluster}-pipeline`,
        'topic traffic_verbs',
        'index template traffic_windows_verbs',
      ].sort(),
    );
    const again = await project.json<Provisioned>(['provision']);
    expect(again).toMatchObject({ changed: false, steps: [], cluster: made.cluster });
    expect((await project.cli(['provision'])).stdout).toContain('Nothing to do');
  });

  it('waits for a password that was written just now, and has not reached the brokers; no password is in anything that it says', async () => {
    const secrets = new SecretsManagerClient(awsOptions('SECRETS_MANAGER'));
    await secrets.send(new PutSecretValueCommand({ SecretId: `AmazonMSK_${cluster}_${cluster}-admin`, SecretString: JSON.stringify({ username: `${cluster}-admin`, password: randomBytes(32).toString('base64url') }) }));
    const said = await project.cli(['provision', '--json']);
    expect([said.code, said.stderr]).toEqual([0, expect.not.stringContaining('error')]);
    for (const role of ['admin', 'pipeline']) {
      const { SecretString } = await secrets.send(new GetSecretValueCommand({ SecretId: `AmazonMSK_${cluster}_${cluster}-${role}` }));
      const { password } = JSON.parse(SecretString ?? '') as { password: string };
      expect(password.length).toBeGreaterThanOrEqual(40);
      expect(said.stdout + said.stderr).not.toContain(password);
    }
  });

  it('grows a topic and sets the brokers anew, and refuses to shrink it', async () => {
    const grown = await project.json<Provisioned>(['provision', '--var', 'partitions=4', '--var', 'retention_hours=24', '--var', 'replication_factor=2', '--var', 'broker_count=2']);
expect(grown.steps.map(({ action, thing, risk, changes }) => ({ action, thing, risk, changes }))).toEqual([
      { action: 'change', thing: 'cluster', risk: 'restarts stream', changes: [{ field: 'default.replication.factor', found: '1', wanted: '2' }] },
      { action: 'change', thing: 'topic', risk: 'irreversible', changes: [{ field: 'partitions', found: 2, wanted: 4 }] },
      { action: 'change', thing: 'topic', risk: 'loses data', changes: [{ field: 'retention.ms', found: '604800000', wanted: '86400000' }] },
    ]);
    const refused = await project.cli(['provision']);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('--var partitions=4');
  });

  it('the pipeline may use its topic and nothing else; the admin may everything', async () => {
    const brokers = made.cluster.brokers;
    const pipeline = (await kafkaAs(cluster, 'pipeline', brokers)).admin();
    await pipeline.connect();
    expect(await pipeline.fetchTopicOffsets('traffic_verbs')).toHaveLength(4);
    await expect(pipeline.createTopics({ topics: [{ topic: 'forbidden' }] })).rejects.toMatchObject({ errors: [{ type: 'TOPIC_AUTHORIZATION_FAILED' }] });
    await expect(pipeline.deleteTopics({ topics: ['traffic_verbs'] })).rejects.toThrow(/authori[sz]ed|authorization/i);
    await pipeline.disconnect();
    const admin = (await kafkaAs(cluster, 'admin', brokers)).admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'somebody-elses', replicationFactor: 1 }] });
    expect(await admin.listTopics()).toContain('somebody-elses');
    await admin.disconnect();
    const reader = (await kafkaAs(cluster, 'pipeline', brokers)).producer();
    await reader.connect();
    await expect(reader.send({ topic: 'somebody-elses', messages: [{ value: 'x' }] })).rejects.toThrow(/authori[sz]ed|does not host/i);
    await reader.disconnect();
  });

  it('destroy asks first, then takes everything back, and then finds nothing', async () => {
    const unasked = await project.cli(['destroy']);
    expect([unasked.code, unasked.stderr]).toEqual([2, expect.stringContaining('--yes')]);
    expect(unasked.stderr).toContain(`cluster with all its topics ${cluster}`);
    expect((await project.json<Provisioned>(['provision', '--var', 'partitions=4', '--var', 'replication_factor=2', '--var', 'broker_count=2'])).steps.filter((step) => step.thing !== 'topic')).toEqual([]);
    const { steps, kept } = await project.json<Destroyed>(['destroy', '--yes']);
    expect(things(steps)).toEqual(
      [`cluster with all its topics ${cluster}`, `configuration ${cluster}-streamgauge`, `key alias/${cluster}-streamgauge`, ...['admin', 'pipeline'].map((role) => `secret AmazonMSK_${cluster}_${cluster}-${role}`), 'index template traffic_windows_verbs'].sort(),
    );
    expect(kept).toEqual([]);
    const secrets = new SecretsManagerClient(awsOptions('SECRETS_MANAGER'));
    expect((await secrets.send(new DescribeSecretCommand({ SecretId: `AmazonMSK_${cluster}_${cluster}-admin` }))).DeletedDate).toBeInstanceOf(Date);
    expect(await project.json<Destroyed>(['destroy', '--yes'])).toEqual({ changed: false, dryRun: false, risk: 'safe', steps: [], kept: [] });
  });
});

describe('a cluster that was there before', () => {
  const cluster = 'sg-adopted';

  it('is adopted; destroy takes back our topic, rights and secrets, and leaves cluster and foreign topics', async () => {
    const msk = new KafkaClient(awsOptions('KAFKA'));
    const group = { ClientSubnets: ['subnet-a'], InstanceType: 'kafka.m7g.large' };
    await msk.send(new CreateClusterV2Command({ ClusterName: cluster, Provisioned: { BrokerNodeGroupInfo: group, KafkaVersion: '3.9.x', NumberOfBrokerNodes: 1, ClientAuthentication: { Sasl: { Scram: { Enabled: true } } } } }));
    const project = createProject('adopted', { cluster_name: cluster, partitions: 1, topics: 'there_before' });
    // Its creation is waited for, although somebody else began it.
    const first = await project.json<Provisioned>(['provision', '--var', 'topics=made_by_us']);
    expect(things(first.steps)).not.toEqual(expect.arrayContaining([expect.stringMatching(/^cluster|^configuration/)]));
    const admin = (await kafkaAs(cluster, 'admin', first.cluster.brokers)).admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'there_before', numPartitions: 1, configEntries: [{ name: 'retention.ms', value: '604800000' }, { name: 'min.insync.replicas', value: '1' }] }] });
    const second = await project.json<Provisioned>(['provision', '--var', 'topics=made_by_us,there_before']);
    expect(things(second.steps)).toEqual([`rights ${cluster}-pipeline`]);
    const { steps, kept } = await project.json<Destroyed>(['destroy', '--yes', '--force']);
    expect(things(steps)).toEqual(
      ['topic made_by_us', `key alias/${cluster}-streamgauge`, ...['admin', 'pipeline'].flatMap((role) => [`rights ${cluster}-${role}`, `secret AmazonMSK_${cluster}_${cluster}-${role}`]), 'index template traffic_windows_adopted'].sort(),
    );
    expect(things(kept)).toEqual([`cluster ${cluster}`]);
    // The connection from before outlives its user, as at MSK: with the rights gone, everybody may look again.
    expect(await admin.listTopics()).toEqual(['there_before']);
    await admin.disconnect();
    const { ClusterInfoList } = await msk.send(new ListClustersV2Command({ ClusterNameFilter: cluster }));
    expect(ClusterInfoList).toMatchObject([{ State: 'ACTIVE', Tags: {} }]);
    await msk.send(new DeleteClusterCommand({ ClusterArn: ClusterInfoList?.[0]?.ClusterArn }));
    await poll({ what: 'its deletion', deadlineMs: 60_000, intervalMs: 200 }, async () => ((await msk.send(new ListClustersV2Command({ ClusterNameFilter: cluster }))).ClusterInfoList?.length === 0 ? true : undefined));
  });
});

describe('what goes wrong is named, with its exit code', () => {
  it.each<[string, Record<string, string>, string[], number, string]>([
    ['a wrong access key', { AWS_ACCESS_KEY_ID: 'AKIAWRONG' }, [], 3, 'security token'],
    ['a wrong secret', { AWS_SECRET_ACCESS_KEY: 'wrong' }, [], 3, 'signature'],
    ['nobody at the endpoint', { AWS_ENDPOINT_URL_KAFKA: 'https://127.0.0.1:9' }, [], 4, '127.0.0.1:9'],
    ['a new cluster without subnets', {}, ['--var', 'subnets='], 2, '--var subnets='],
    ['more copies than acknowledge', {}, ['--var', 'min_insync_replicas=2'], 2, 'min_insync_replicas'],
  ])('%s', async (_, overrides, args, code, said) => {
    const project = createProject('wrong', { cluster_name: 'sg-wrong' }, overrides);
    const { stderr, ...finished } = await project.cli(['provision', ...args]);
    expect([finished.code, stderr]).toEqual([code, expect.stringContaining(said)]);
  });
});
