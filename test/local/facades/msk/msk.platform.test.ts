import { connect as connectTcp } from 'node:net';
import {
  BatchAssociateScramSecretCommand,
  BatchDisassociateScramSecretCommand,
  CreateClusterCommand,
  CreateClusterV2Command,
  CreateConfigurationCommand,
  DeleteClusterCommand,
  DescribeClusterCommand,
  DescribeClusterV2Command,
  DescribeConfigurationCommand,
  DescribeConfigurationRevisionCommand,
  GetBootstrapBrokersCommand,
  KafkaClient,
  ListClustersV2Command,
  ListConfigurationsCommand,
  ListNodesCommand,
  ListScramSecretsCommand,
  ListTagsForResourceCommand,
  TagResourceCommand,
  UntagResourceCommand,
  UpdateClusterConfigurationCommand,
  UpdateConfigurationCommand,
  type ProvisionedRequest,
} from '@aws-sdk/client-kafka';
import { CreateKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { CreateSecretCommand, DeleteSecretCommand, PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { AclOperationTypes, AclPermissionTypes, AclResourceTypes, Kafka, logLevel, ResourcePatternTypes } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { poll } from '../../../../src/poll.ts';
import { ACCESS_KEY, brokerPorts, freePorts, prepareGround, REGION, startAwsPlatform, type AwsPlatform, type Ground } from '../../aws-platform.ts';

const provisioned: ProvisionedRequest = {
  BrokerNodeGroupInfo: { ClientSubnets: ['subnet-a'], InstanceType: 'kafka.m7g.large', StorageInfo: { EbsStorageInfo: { VolumeSize: 10 } } },
  KafkaVersion: '3.9.x',
  NumberOfBrokerNodes: 1,
  ClientAuthentication: { Sasl: { Scram: { Enabled: true }, Iam: { Enabled: true } } },
};

let ground: Ground;
let platform: AwsPlatform;
let ports: Parameters<typeof startAwsPlatform>[1];
let msk: KafkaClient;
let secrets: SecretsManagerClient;
let arn: string;
let key: string;

beforeAll(async () => {
  ground = await prepareGround();
  const [mskPort = 0, awsPort = 0] = await freePorts(2);
  ports = { msk: mskPort, aws: awsPort, kafka: await brokerPorts(2) };
  platform = await startAwsPlatform(ground, ports);
  msk = mskClient();
  secrets = new SecretsManagerClient({ region: REGION, endpoint: platform.aws, credentials: ACCESS_KEY });
  const kms = new KMSClient({ region: REGION, endpoint: platform.aws, credentials: ACCESS_KEY });
  key = (await kms.send(new CreateKeyCommand({}))).KeyMetadata?.Arn ?? '';
  arn = (await msk.send(new CreateClusterV2Command({ ClusterName: 'main', Provisioned: provisioned, Tags: { team: 'traffic' } }))).ClusterArn ?? '';
  await stateOf(arn, 'ACTIVE');
});

afterAll(async () => {
  await platform?.stop();
  ground?.remove();
});

function mskClient(credentials = ACCESS_KEY): KafkaClient {
  return new KafkaClient({ region: REGION, endpoint: platform.msk, credentials, maxAttempts: 1 });
}

async function stateOf(clusterArn: string, wanted: string): Promise<void> {
  await poll({ what: `${clusterArn} to be ${wanted}`, deadlineMs: 90_000, intervalMs: 200 }, async () => {
    const { ClusterInfo } = await msk.send(new DescribeClusterV2Command({ ClusterArn: clusterArn }));
    if (ClusterInfo?.State === 'FAILED') throw new Error(ClusterInfo.StateInfo?.Message);
    return ClusterInfo?.State === wanted ? true : undefined;
  });
}

async function secret(name: string, value: string, KmsKeyId: string | undefined = key): Promise<string> {
  return (await secrets.send(new CreateSecretCommand({ Name: name, SecretString: value, KmsKeyId }))).ARN ?? '';
}

function login(username: string, password: string): string {
  return JSON.stringify({ username, password });
}

function kafka(username: string, password: string): Kafka {
  return new Kafka({ brokers: [`127.0.0.1:${ports.kafka[0]?.clients}`], ssl: true, sasl: { mechanism: 'scram-sha-512', username, password }, logLevel: logLevel.NOTHING, retry: { retries: 0 } });
}

/** Here as at MSK, brokers know a user or a password some time after the association. */
async function untilEntered(username: string, password: string): Promise<void> {
  await poll({ what: `${username} to be let in`, deadlineMs: 60_000, intervalMs: 250 }, () => topicsSeenBy(kafka(username, password)).then(() => true, () => undefined));
}

async function topicsSeenBy(client: Kafka): Promise<string[]> {
  const admin = client.admin();
  try {
    await admin.connect();
    return await admin.listTopics();
  } finally {
    await admin.disconnect();
  }
}

describe('clusters', () => {
  it('describes what was asked for, in both versions of the API', async () => {
    const v2 = (await msk.send(new DescribeClusterV2Command({ ClusterArn: arn }))).ClusterInfo;
    expect(v2).toMatchObject({ ClusterName: 'main', ClusterType: 'PROVISIONED', State: 'ACTIVE', Tags: { team: 'traffic' } });
    expect(v2?.CreationTime).toBeInstanceOf(Date);
    expect(v2?.Provisioned).toMatchObject({ NumberOfBrokerNodes: 1, BrokerNodeGroupInfo: provisioned.BrokerNodeGroupInfo, ClientAuthentication: provisioned.ClientAuthentication, CurrentBrokerSoftwareInfo: { KafkaVersion: '3.9.x' }, EncryptionInfo: { EncryptionInTransit: { ClientBroker: 'TLS', InCluster: true } } });
    const v1 = (await msk.send(new DescribeClusterCommand({ ClusterArn: arn }))).ClusterInfo;
    expect(v1).toMatchObject({ ClusterName: 'main', State: 'ACTIVE', NumberOfBrokerNodes: 1, CurrentBrokerSoftwareInfo: { KafkaVersion: '3.9.x' } });
  });

  it('gives the SASL_SSL listener as bootstrap, and no other', async () => {
    const { $metadata, ...answer } = await msk.send(new GetBootstrapBrokersCommand({ ClusterArn: arn }));
    expect(answer).toEqual({ BootstrapBrokerStringSaslScram: `127.0.0.1:${ports.kafka[0]?.clients}` });
    expect($metadata.httpStatusCode).toBe(200);
  });

  it.each<[string, Partial<ProvisionedRequest>, string]>([
    ['no broker', { NumberOfBrokerNodes: 0 }, 'from 1 to 3'],
    ['four brokers', { NumberOfBrokerNodes: 4 }, 'from 1 to 3'],
    ['brokers that do not fit the subnets', { NumberOfBrokerNodes: 1, BrokerNodeGroupInfo: { ClientSubnets: ['a', 'b'], InstanceType: 'kafka.m7g.large' } }, 'multiple'],
    ['more brokers than there are ports', { NumberOfBrokerNodes: 2 }, 'ports for 2 brokers'],
    ['plaintext', { EncryptionInfo: { EncryptionInTransit: { ClientBroker: 'PLAINTEXT' } } }, 'TLS'],
    ['clients without a login', { ClientAuthentication: { Unauthenticated: { Enabled: true } } }, 'unauthenticated'],
  ])('refuses %s as BadRequestException', async (_, change, reason) => {
    const creation = msk.send(new CreateClusterV2Command({ ClusterName: 'refused', Provisioned: { ...provisioned, ...change } }));
    await expect(creation).rejects.toMatchObject({ name: 'BadRequestException', message: expect.stringContaining(reason) });
  });

  it('refuses a name that is taken, and knows no cluster that is not there', async () => {
    await expect(msk.send(new CreateClusterCommand({ ClusterName: 'main', ...provisioned, KafkaVersion: '3.9.x', NumberOfBrokerNodes: 1, BrokerNodeGroupInfo: provisioned.BrokerNodeGroupInfo }))).rejects.toMatchObject({ name: 'ConflictException', $metadata: { httpStatusCode: 409 } });
    await expect(msk.send(new DescribeClusterV2Command({ ClusterArn: `${arn}x` }))).rejects.toMatchObject({ name: 'NotFoundException', $metadata: { httpStatusCode: 404 } });
  });

  it('lists by prefix and page, and deletes with everything in it', async () => {
    const second = (await msk.send(new CreateClusterCommand({ ClusterName: 'main-two', BrokerNodeGroupInfo: provisioned.BrokerNodeGroupInfo, KafkaVersion: '3.9.x', NumberOfBrokerNodes: 1 }))).ClusterArn ?? '';
    const first = await msk.send(new ListClustersV2Command({ ClusterNameFilter: 'main', MaxResults: 1 }));
    const rest = await msk.send(new ListClustersV2Command({ ClusterNameFilter: 'main', MaxResults: 1, NextToken: first.NextToken }));
    expect([...(first.ClusterInfoList ?? []), ...(rest.ClusterInfoList ?? [])].map((cluster) => cluster.ClusterName)).toEqual(['main', 'main-two']);
    expect(rest.NextToken).toBeUndefined();
    expect((await msk.send(new ListClustersV2Command({ ClusterNameFilter: 'other' }))).ClusterInfoList).toEqual([]);
    await expect(msk.send(new DeleteClusterCommand({ ClusterArn: second }))).rejects.toMatchObject({ name: 'BadRequestException' });
    await stateOf(second, 'ACTIVE');
    // Created without SASL/SCRAM: no way in, and no secret to associate.
    expect((await msk.send(new GetBootstrapBrokersCommand({ ClusterArn: second }))).BootstrapBrokerStringSaslScram).toBeUndefined();
    await expect(msk.send(new BatchAssociateScramSecretCommand({ ClusterArn: second, SecretArnList: ['x'] }))).rejects.toMatchObject({ name: 'BadRequestException' });
    expect((await msk.send(new DeleteClusterCommand({ ClusterArn: second }))).State).toBe('DELETING');
    await poll({ what: 'the deletion', deadlineMs: 60_000, intervalMs: 200 }, async () => ((await msk.send(new ListClustersV2Command({}))).ClusterInfoList?.length === 1 ? true : undefined));
    await expect(msk.send(new DescribeClusterV2Command({ ClusterArn: second }))).rejects.toMatchObject({ name: 'NotFoundException' });
  });

  it('keeps tags', async () => {
    await msk.send(new TagResourceCommand({ ResourceArn: arn, Tags: { 'a b': 'c/d' } }));
    await msk.send(new UntagResourceCommand({ ResourceArn: arn, TagKeys: ['team'] }));
    expect((await msk.send(new ListTagsForResourceCommand({ ResourceArn: arn }))).Tags).toEqual({ 'a b': 'c/d' });
  });

  it('answers 501, naming itself, to what it has not', async () => {
    await expect(msk.send(new ListNodesCommand({ ClusterArn: arn }))).rejects.toMatchObject({ name: 'NotImplementedException', message: expect.stringContaining('/nodes'), $metadata: { httpStatusCode: 501 } });
  });
});

describe('signatures', () => {
  it.each([
    ['an unknown access key', { ...ACCESS_KEY, accessKeyId: 'AKIASOMEBODYELSE' }, 'UnrecognizedClientException'],
    ['a wrong secret', { ...ACCESS_KEY, secretAccessKey: 'wrong' }, 'InvalidSignatureException'],
  ])('refuses %s with 403', async (_, credentials, name) => {
    await expect(mskClient(credentials).send(new ListClustersV2Command({}))).rejects.toMatchObject({ name, $metadata: { httpStatusCode: 403 } });
  });

  it('refuses a request that is not signed, or signed for another body', async () => {
    const unsigned = await fetch(`${platform.msk}/v1/clusters`);
    expect([unsigned.status, unsigned.headers.get('x-amzn-errortype')]).toEqual([403, 'MissingAuthenticationTokenException']);
    const tampering = mskClient();
    const tamper = (next: (args: unknown) => unknown) => (args: { request: { body: Uint8Array } }) => {
      args.request.body = Buffer.from(Buffer.from(args.request.body).toString('utf8').replace('tampered', 'TAMPERED'));
      return next(args);
    };
    tampering.middlewareStack.addRelativeTo(tamper as never, { relation: 'after', toMiddleware: 'httpSigningMiddleware', name: 'tamper' });
    await expect(tampering.send(new CreateClusterV2Command({ ClusterName: 'tampered', Provisioned: provisioned }))).rejects.toMatchObject({ name: 'InvalidSignatureException' });
  });
});

describe('SCRAM secrets', () => {
  it('makes a user of each good secret, and says of each bad one why not', async () => {
    const good = await secret('AmazonMSK_alice', login('alice', 'alice-password'));
    const gone = await secret('AmazonMSK_gone', login('gone', 'x'));
    await secrets.send(new DeleteSecretCommand({ SecretId: gone }));
    const bad: [string, string, string][] = [
      [await secret('Unprefixed', login('bob', 'x')), 'InvalidSecretArn', 'prefix'],
      [await secret('AmazonMSK_default_key', login('bob', 'x'), 'alias/aws/secretsmanager'), 'InvalidSecretArn', 'default key'],
      [(await secrets.send(new CreateSecretCommand({ Name: 'AmazonMSK_no_key', SecretString: login('bob', 'x') }))).ARN ?? '', 'InvalidSecretArn', 'default key'],
      [await secret('AmazonMSK_not_json', 'bob:x'), 'InvalidSecret', 'JSON'],
      [await secret('AmazonMSK_no_password', '{"username":"bob"}'), 'InvalidSecret', 'password'],
      [await secret('AmazonMSK_superuser', login('certificate:streamgauge-kafka', 'x')), 'InvalidSecret', 'JSON'],
      [gone, 'InvalidSecretArn', 'access'],
      [`arn:aws:secretsmanager:${REGION}:123456789012:secret:AmazonMSK_never-AbCdEf`, 'InvalidSecretArn', 'access'],
      ['not an arn', 'InvalidSecretArn', 'invalid'],
    ];
    const answer = await msk.send(new BatchAssociateScramSecretCommand({ ClusterArn: arn, SecretArnList: [good, ...bad.map(([secretArn]) => secretArn)] }));
    expect(answer.UnprocessedScramSecrets).toEqual(bad.map(([SecretArn, ErrorCode, reason]) => ({ SecretArn, ErrorCode, ErrorMessage: expect.stringContaining(reason) })));
    expect((await msk.send(new ListScramSecretsCommand({ ClusterArn: arn }))).SecretArnList).toEqual([good]);
    await untilEntered('alice', 'alice-password');
  });

  it('refuses a second secret for the same user, an eleventh secret, and an empty list', async () => {
    const twin = await secret('AmazonMSK_alice_twin', login('alice', 'other-password'));
    const answer = await msk.send(new BatchAssociateScramSecretCommand({ ClusterArn: arn, SecretArnList: [twin] }));
    expect(answer.UnprocessedScramSecrets).toMatchObject([{ SecretArn: twin, ErrorCode: 'InvalidSecret' }]);
    for (const SecretArnList of [Array.from({ length: 11 }, () => twin), []])
      await expect(msk.send(new BatchAssociateScramSecretCommand({ ClusterArn: arn, SecretArnList }))).rejects.toMatchObject({ name: 'BadRequestException' });
  });

  it('lets nobody in with a wrong password, or without TLS', async () => {
    await expect(topicsSeenBy(kafka('alice', 'wrong'))).rejects.toThrow(/authentication/i);
    const answered = await new Promise<string>((resolve) => {
      const socket = connectTcp({ host: '127.0.0.1', port: ports.kafka[0]?.clients ?? 0 });
      // An ApiVersions request in the open.
      socket.write(Buffer.from('0000000f0012000000000001000470726f6200', 'hex'));
      socket.once('data', (data) => resolve(data.toString('hex').startsWith('15') ? 'TLS alert' : 'an answer'));
      socket.once('close', () => resolve('closed'));
      socket.once('error', () => resolve('closed'));
    });
    expect(answered).not.toBe('an answer');
  });

  it('takes the user away with the association', async () => {
    const carol = await secret('AmazonMSK_carol', login('carol', 'carol-password'));
    await msk.send(new BatchAssociateScramSecretCommand({ ClusterArn: arn, SecretArnList: [carol] }));
    await untilEntered('carol', 'carol-password');
    const answer = await msk.send(new BatchDisassociateScramSecretCommand({ ClusterArn: arn, SecretArnList: [carol, 'arn:never'] }));
    expect(answer.UnprocessedScramSecrets).toMatchObject([{ SecretArn: 'arn:never' }]);
    await poll({ what: 'carol to be refused', deadlineMs: 60_000, intervalMs: 250 }, () => topicsSeenBy(kafka('carol', 'carol-password')).then(() => undefined, (error: Error) => error.message)).then((message) => expect(message).toMatch(/authentication/i));
  });
});

it('takes over a password that was rotated in Secrets Manager', async () => {
  const [alice = ''] = (await msk.send(new ListScramSecretsCommand({ ClusterArn: arn }))).SecretArnList ?? [];
  await secrets.send(new PutSecretValueCommand({ SecretId: alice, SecretString: login('alice', 'alice-password-2') }));
  await untilEntered('alice', 'alice-password-2');
  await expect(topicsSeenBy(kafka('alice', 'alice-password'))).rejects.toThrow(/authentication/i);
});

describe('configurations', () => {
  const properties = (text: string) => Buffer.from(text);

  it('keeps revisions of properties, and refuses what MSK refuses', async () => {
    const created = await msk.send(new CreateConfigurationCommand({ Name: 'strict', Description: 'first', KafkaVersions: ['3.9.x'], ServerProperties: properties('num.partitions=2') }));
    expect(created).toMatchObject({ Name: 'strict', State: 'ACTIVE', LatestRevision: { Revision: 1, Description: 'first' } });
    const Arn = created.Arn ?? '';
    const second = await msk.send(new UpdateConfigurationCommand({ Arn, ServerProperties: properties('# ours\nnum.partitions = 3\nallow.everyone.if.no.acl.found=false\nlog.message.timestamp.type=CreateTime\n') }));
    expect(second).toMatchObject({ Arn, LatestRevision: { Revision: 2 } });
    expect(await msk.send(new DescribeConfigurationCommand({ Arn }))).toMatchObject({ Arn, Name: 'strict', KafkaVersions: ['3.9.x'], LatestRevision: { Revision: 2 } });
    const first = await msk.send(new DescribeConfigurationRevisionCommand({ Arn, Revision: 1 }));
    expect([Buffer.from(first.ServerProperties ?? []).toString(), first.Description]).toEqual(['num.partitions=2', 'first']);
    expect((await msk.send(new ListConfigurationsCommand({}))).Configurations).toMatchObject([{ Arn, LatestRevision: { Revision: 2 } }]);
    for (const text of ['super.users=User:alice', 'num.partitions=many', 'auto.create.topics.enable=1', 'nonsense'])
      await expect(msk.send(new CreateConfigurationCommand({ Name: 'bad', ServerProperties: properties(text) }))).rejects.toMatchObject({ name: 'BadRequestException' });
    await expect(msk.send(new CreateConfigurationCommand({ Name: 'strict', ServerProperties: properties('') }))).rejects.toMatchObject({ name: 'ConflictException' });
    await expect(msk.send(new DescribeConfigurationRevisionCommand({ Arn: `${Arn}x`, Revision: 1 }))).rejects.toMatchObject({ name: 'NotFoundException' });
  });

  it('gives the brokers of a cluster its properties', async () => {
    const [configuration] = (await msk.send(new ListConfigurationsCommand({}))).Configurations ?? [];
    const bob = await secret('AmazonMSK_bob', login('bob', 'bob-password'));
    await msk.send(new BatchAssociateScramSecretCommand({ ClusterArn: arn, SecretArnList: [bob] }));
    const admin = kafka('alice', 'alice-password-2').admin();
    await admin.connect();
    const acl = { principal: 'User:alice', host: '*', operation: AclOperationTypes.ALL, permissionType: AclPermissionTypes.ALLOW, resourcePatternType: ResourcePatternTypes.LITERAL };
    await admin.createAcls({ acl: [{ ...acl, resourceType: AclResourceTypes.TOPIC, resourceName: '*' }, { ...acl, resourceType: AclResourceTypes.CLUSTER, resourceName: 'kafka-cluster' }] });
    await admin.disconnect();
    const ConfigurationInfo = { Arn: configuration?.Arn, Revision: 2 };
    const { CurrentVersion = '' } = (await msk.send(new DescribeClusterV2Command({ ClusterArn: arn }))).ClusterInfo ?? {};
    await expect(msk.send(new UpdateClusterConfigurationCommand({ ClusterArn: arn, ConfigurationInfo, CurrentVersion: 'K0' }))).rejects.toMatchObject({ name: 'BadRequestException' });
    await expect(msk.send(new UpdateClusterConfigurationCommand({ ClusterArn: arn, ConfigurationInfo: { ...ConfigurationInfo, Revision: 9 }, CurrentVersion }))).rejects.toMatchObject({ name: 'BadRequestException' });
    await msk.send(new UpdateClusterConfigurationCommand({ ClusterArn: arn, ConfigurationInfo, CurrentVersion }));
    const updating = (await msk.send(new DescribeClusterV2Command({ ClusterArn: arn }))).ClusterInfo;
    expect([updating?.State, updating?.Provisioned?.CurrentBrokerSoftwareInfo?.ConfigurationArn]).toEqual(['UPDATING', undefined]);
    await stateOf(arn, 'ACTIVE');
    const updated = (await msk.send(new DescribeClusterV2Command({ ClusterArn: arn }))).ClusterInfo;
    expect(updated?.Provisioned?.CurrentBrokerSoftwareInfo).toEqual({ KafkaVersion: '3.9.x', ConfigurationArn: configuration?.Arn, ConfigurationRevision: 2 });
    expect(updated?.CurrentVersion).not.toBe(CurrentVersion);
    const after = kafka('alice', 'alice-password-2').admin();
    await after.connect();
    await after.createTopics({ topics: [{ topic: 'by-default' }] });
    const { topics } = await after.fetchTopicMetadata({ topics: ['by-default'] });
    await after.disconnect();
    expect(topics[0]?.partitions).toHaveLength(3);
    // No ACL names bob: he may nothing.
    expect(await topicsSeenBy(kafka('bob', 'bob-password'))).toEqual([]);
    expect(await topicsSeenBy(kafka('alice', 'alice-password-2'))).toContain('by-default');
  });
});

it('survives a restart: cluster, users, topics, secrets, tags', async () => {
  const admin = kafka('alice', 'alice-password-2').admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: 'kept', numPartitions: 3 }] });
  await admin.disconnect();
  await platform.stop();
  platform = await startAwsPlatform(ground, ports);
  msk = mskClient();
  await stateOf(arn, 'ACTIVE');
  expect(await topicsSeenBy(kafka('alice', 'alice-password-2'))).toContain('kept');
  expect((await msk.send(new ListTagsForResourceCommand({ ResourceArn: arn }))).Tags).toEqual({ 'a b': 'c/d' });
  expect((await msk.send(new ListScramSecretsCommand({ ClusterArn: arn }))).SecretArnList).toHaveLength(2);
  expect((await msk.send(new DescribeClusterV2Command({ ClusterArn: arn }))).ClusterInfo?.Provisioned?.CurrentBrokerSoftwareInfo?.ConfigurationRevision).toBe(2);
  expect(await topicsSeenBy(kafka('bob', 'bob-password'))).toEqual([]);
});
