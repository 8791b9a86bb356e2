import { createHash } from 'node:crypto';
import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { clientAccess } from '../../src/msk/access.ts';
import { connectAws, type Aws } from '../../src/msk/clients.ts';
import { bootstrapBrokers, createCluster, findCluster, waitUntilServing, type ClusterFound } from '../../src/msk/cluster.ts';
import { applyConfigurationStep, findConfiguration, type ConfigurationStep } from '../../src/msk/configuration.ts';
import { applyLoginStep } from '../../src/msk/logins.ts';
import type { Config } from '../../src/config/config.ts';

const REGION = 'eu-central-1';
const MSK = `https://kafka.${REGION}.amazonaws.com`;
const SECRETS = `https://secretsmanager.${REGION}.amazonaws.com`;
const cluster: ClusterFound = { arn: `arn:aws:kafka:${REGION}:1:cluster/c/u-1`, name: 'c', state: 'ACTIVE', ours: true, tags: {}, logins: { scram: true, iam: true }, brokers: 3 };
const path = `/v1/clusters/${encodeURIComponent(cluster.arn)}`;
const config = { awsRegion: REGION, target: 'prod', pipeline: { cluster_name: 'c', kafka_auth: 'scram' } } as unknown as Config;

/** A cluster as ListClustersV2 answers it. */
function listed(change: object = {}) {
  return {
    clusterArn: cluster.arn,
    clusterName: 'c',
    clusterType: 'PROVISIONED',
    creationTime: '2026-01-01T00:00:00.000Z',
    currentVersion: 'K1',
    state: 'ACTIVE',
    tags: { 'created-by': 'streamgauge' },
    provisioned: { numberOfBrokerNodes: 3, clientAuthentication: { sasl: { scram: { enabled: true }, iam: { enabled: true } } } },
    ...change,
  };
}

let aws: Aws;
const before = { ...process.env };

beforeEach(async () => {
  nock.disableNetConnect();
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'AKIATEST', AWS_SECRET_ACCESS_KEY: 'secret', AWS_EC2_METADATA_DISABLED: 'true' });
  aws = await connectAws(REGION);
});

afterEach(() => {
  const unasked = nock.pendingMocks();
  nock.cleanAll();
  if (unasked.length > 0) throw new Error(`never asked for: ${unasked.join(', ')}`);
  process.env = { ...before };
});

describe('findCluster', () => {
  it('reads every page, and takes no name that only starts alike', async () => {
    nock(MSK).get('/api/v2/clusters').query({ clusterNameFilter: 'c' }).reply(200, { clusterInfoList: [listed({ clusterName: 'c-other' })], nextToken: 'more' });
    nock(MSK).get('/api/v2/clusters').query({ clusterNameFilter: 'c', nextToken: 'more' }).reply(200, { clusterInfoList: [listed()] });
    expect(await findCluster(aws, 'c')).toEqual({ ...cluster, stateReason: undefined, version: 'K1', tags: { 'created-by': 'streamgauge' } });
  });

  it('says undefined where there is none', async () => {
    nock(MSK).get('/api/v2/clusters').query(true).reply(200, { clusterInfoList: [] });
    expect(await findCluster(aws, 'c')).toBeUndefined();
  });

  it('knows that a serverless cluster has IAM only, and that one without our tag is not ours', async () => {
    nock(MSK).get('/api/v2/clusters').query(true).reply(200, { clusterInfoList: [listed({ tags: {}, provisioned: undefined, clusterType: 'SERVERLESS', serverless: { vpcConfigs: [], clientAuthentication: { sasl: { iam: { enabled: true } } } } })] });
    expect(await findCluster(aws, 'c')).toMatchObject({ ours: false, logins: { scram: false, iam: true } });
  });
});

describe('the configuration of the brokers', () => {
  const step: ConfigurationStep = { do: 'configure cluster', name: 'c', changes: [{ name: 'min.insync.replicas', from: '1', to: '2' }] };
  const arn = `arn:aws:kafka:${REGION}:1:configuration/c-streamgauge/u-1`;
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const now = (state: string, revision?: number): void => {
    const provisioned = { ...listed().provisioned, currentBrokerSoftwareInfo: { kafkaVersion: '3.9.x', ...(revision && { configurationArn: arn, configurationRevision: revision }) } };
    nock(MSK).get('/api/v2/clusters').query(true).reply(200, { clusterInfoList: [listed({ state, provisioned })] });
  };
  const revision = (number: number, text: string): void => void nock(MSK).get(`/v1/configurations/${encodeURIComponent(arn)}/revisions/${number}`).reply(200, { arn, revision: number, serverProperties: base64(text) });
  const known = (description: string): void => void nock(MSK).get('/v1/configurations').reply(200, { configurations: [{ arn, name: 'c-streamgauge', description, latestRevision: { revision: 1, creationTime: '2026-01-01T00:00:00Z' } }] });
  const options = { onState: () => undefined };

  it('gets a further revision, which the cluster is then put on; what else it sets stays', async () => {
    now('ACTIVE', 1);
    revision(1, '# ours\nmin.insync.replicas = 1\nnum.partitions=3\n');
    known('made by streamgauge');
    revision(1, 'min.insync.replicas=1\nnum.partitions=3\n');
    nock(MSK).put(`/v1/configurations/${encodeURIComponent(arn)}`, (body: { serverProperties: string }) => Buffer.from(body.serverProperties, 'base64').toString() === 'min.insync.replicas=2\nnum.partitions=3\n').reply(200, { arn, latestRevision: { revision: 2, creationTime: '2026-01-01T00:00:00Z' } });
    nock(MSK).put(`${path}/configuration`, { currentVersion: 'K1', configurationInfo: { arn, revision: 2 } }).reply(200, {});
    now('ACTIVE', 2);
    expect(await applyConfigurationStep(aws, step, options)).toBeUndefined();
  });

  it('that a killed deployment left under way is waited for, and not changed twice', async () => {
    now('UPDATING', 1);
    now('ACTIVE', 2);
    revision(2, 'min.insync.replicas=2');
    expect(await applyConfigurationStep(aws, step, options)).toBeUndefined();
  });

  it('of the same name that somebody else made is not ours', async () => {
    known('by hand');
    expect(await findConfiguration(aws, 'c')).toBeUndefined();
  });
});

describe('errors', () => {
  it.each<[string, number, string, string, string]>([
    ['a wrong access key', 403, 'UnrecognizedClientException', 'AWS_CREDENTIALS_REFUSED', 'access'],
    ['a wrong secret', 403, 'InvalidSignatureException', 'AWS_CREDENTIALS_REFUSED', 'access'],
    ['an expired session', 403, 'ExpiredTokenException', 'AWS_CREDENTIALS_REFUSED', 'access'],
    ['a missing permission', 403, 'ForbiddenException', 'AWS_ACCESS_DENIED', 'access'],
    ['a refused request', 400, 'BadRequestException', 'AWS_BAD_REQUEST', 'remote'],
  ])('%s: HTTP %i %s', async (_, status, type, code, kind) => {
    nock(MSK).get('/api/v2/clusters').query(true).reply(status, { message: 'what the service says' }, { 'x-amzn-errortype': type });
    await expect(findCluster(aws, 'c')).rejects.toMatchObject({ code, kind, message: expect.stringContaining('what the service says') });
  });

  it('throttling is tried again, then said to be temporary', async () => {
    nock(MSK).get('/api/v2/clusters').query(true).times(4).reply(429, { message: 'slow down' }, { 'x-amzn-errortype': 'TooManyRequestsException' });
    await expect(findCluster(aws, 'c')).rejects.toMatchObject({ code: 'AWS_BUSY', kind: 'remote', retriable: true });
    // The SDK's own pauses between attempts are random, of some seconds together.
  }, 60_000);

  it('a refused connection names the address', async () => {
    nock(MSK).get('/api/v2/clusters').query(true).times(4).replyWithError(Object.assign(new Error('connect ECONNREFUSED 10.0.0.1:443'), { code: 'ECONNREFUSED' }));
    await expect(findCluster(aws, 'c')).rejects.toMatchObject({ code: 'AWS_UNREACHABLE', kind: 'remote', message: expect.stringContaining('10.0.0.1:443') });
  });

  it('no credentials at all', async () => {
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_PROFILE']) delete process.env[name];
    Object.assign(process.env, { AWS_SHARED_CREDENTIALS_FILE: '/nonexistent', AWS_CONFIG_FILE: '/nonexistent' });
    await expect(findCluster(await connectAws(REGION), 'c')).rejects.toMatchObject({ code: 'AWS_CREDENTIALS_MISSING', kind: 'access', hint: expect.stringContaining('AWS_ACCESS_KEY_ID') });
  });

  it('no region', async () => {
    for (const name of ['AWS_REGION', 'AWS_DEFAULT_REGION', 'AWS_PROFILE']) delete process.env[name];
    process.env.AWS_CONFIG_FILE = '/nonexistent';
    await expect(connectAws(undefined)).rejects.toMatchObject({ code: 'AWS_REGION_MISSING', kind: 'usage' });
  });
});

describe('waitUntilServing', () => {
  it('hears every state and ends with ACTIVE', async () => {
    for (const state of ['CREATING', 'ACTIVE']) nock(MSK).get('/api/v2/clusters').query(true).reply(200, { clusterInfoList: [listed({ state })] });
    const heard: string[] = [];
    expect(await waitUntilServing(aws, 'c', { onState: (state) => heard.push(state) })).toMatchObject({ state: 'ACTIVE' });
    expect(heard).toEqual(['CREATING', 'ACTIVE']);
  });

  it('ends with the reason of a failed creation', async () => {
    nock(MSK).get('/api/v2/clusters').query(true).reply(200, { clusterInfoList: [listed({ state: 'FAILED', stateInfo: { code: 'x', message: 'insufficient addresses' } })] });
    await expect(waitUntilServing(aws, 'c', { onState: () => {} })).rejects.toMatchObject({ code: 'CLUSTER_FAILED', message: expect.stringContaining('insufficient addresses') });
  });
});

describe('associating secrets', () => {
  const step = { do: 'associate secrets', names: ['AmazonMSK_c_c-admin', 'AmazonMSK_c_c-pipeline'] } as const;
  const arns = step.names.map((name) => `arn:aws:secretsmanager:${REGION}:1:secret:${name}-AbCdEf`);
  const described = (times: number) => {
    for (let n = 0; n < times; n += 1)
      for (const [at, name] of step.names.entries()) nock(SECRETS).post('/', { SecretId: name }).reply(200, { ARN: arns[at], Name: name });
  };
  const associated = (unprocessedScramSecrets: object[]) => nock(MSK).post(`${path}/scram-secrets`, { secretArnList: arns }).reply(200, { clusterArn: cluster.arn, unprocessedScramSecrets });

  const there = (secretArnList: string[]) => nock(MSK).get(`${path}/scram-secrets`).query(true).reply(200, { secretArnList });

  it('sends both by ARN', async () => {
    described(1);
    const asked = associated([]);
    await applyLoginStep(aws, cluster, { ...step, names: [...step.names] });
    expect(asked.isDone()).toBe(true);
  });

  it('asks again while MSK cannot read a secret that was just made', async () => {
    described(2);
    there([]);
    associated([{ secretArn: arns[0], errorCode: 'InvalidSecretArn', errorMessage: "Amazon MSK wasn't able to access the provided secret." }]);
    const asked = associated([]);
    await applyLoginStep(aws, cluster, { ...step, names: [...step.names] });
    expect(asked.isDone()).toBe(true);
  });

  it('names each secret that MSK refused, although the answer was 200', async () => {
    described(1);
    associated([
      { secretArn: arns[0], errorCode: 'InvalidSecret', errorMessage: 'no password' },
      { secretArn: arns[1], errorCode: 'AccessDenied', errorMessage: 'policy' },
    ]);
    there([]);
    const failing = applyLoginStep(aws, cluster, { ...step, names: [...step.names] });
    await expect(failing).rejects.toMatchObject({ code: 'SECRETS_NOT_ASSOCIATED', kind: 'remote' });
    await expect(failing).rejects.toThrow(new RegExp(`${arns[0]}.*no password.*${arns[1]}.*policy`));
  });

  it('is done where MSK refuses one that somebody else has associated meanwhile', async () => {
    described(1);
    associated([{ secretArn: arns[0], errorCode: 'X', errorMessage: 'already associated' }]);
    const asked = there([arns[0] as string]);
    await applyLoginStep(aws, cluster, { ...step, names: [...step.names] });
    expect(asked.isDone()).toBe(true);
  });
});

describe('what somebody else makes at the same moment', () => {
  const conflict = { message: 'A resource already exists', invalidParameter: 'name' };
  const pipeline = { cluster_name: 'c', kafka_auth: 'scram', broker_count: 1, subnets: ['s'], security_groups: [] } as unknown as Config['pipeline'];
  const taken = (): void => void nock(MSK).post('/api/v2/clusters').reply(409, conflict, { 'x-amzn-errortype': 'ConflictException' });

  it.each<[string, object, object]>([
    ['a cluster is taken, as it is', { state: 'CREATING' }, { made: false }],
    ['but not one that is going', { state: 'DELETING' }, { code: 'CLUSTER_DELETING', kind: 'remote' }],
    ['nor one that lets nobody in this way', { provisioned: { numberOfBrokerNodes: 1 } }, { code: 'CLUSTER_LOGIN_OFF' }],
  ])('%s', async (_what, change, outcome) => {
    taken();
    nock(MSK).get('/api/v2/clusters').query(true).reply(200, { clusterInfoList: [listed(change)] });
    expect(await createCluster(aws, pipeline).then((made) => ({ made }), (error: unknown) => error)).toMatchObject(outcome);
  });

  it('a configuration is used where it is the same, and gets a revision more where it is another', async () => {
    const list = (...names: string[]) => nock(MSK).get('/v1/configurations').query(true).reply(200, { configurations: names.map((name) => ({ arn: 'arn:c', name, description: 'made by streamgauge', latestRevision: { revision: 1 } })) });
    const revision = (text: string): void => void nock(MSK).get('/v1/configurations/arn%3Ac/revisions/1').reply(200, { arn: 'arn:c', revision: 1, serverProperties: Buffer.from(text).toString('base64') });
    const write = { do: 'write configuration', name: 'c-streamgauge', properties: { 'min.insync.replicas': '2' } } as const;
    const begin = (theirs: string): void => {
      list();
      nock(MSK).post('/v1/configurations').reply(409, conflict, { 'x-amzn-errortype': 'ConflictException' });
      for (let look = 0; look < 2; look += 1) {
        list('c-streamgauge');
        revision(theirs);
      }
    };
    begin('min.insync.replicas=2\n');
    await applyConfigurationStep(aws, write, { onState: () => {} });
    begin('min.insync.replicas=1\n');
    const more = nock(MSK).put('/v1/configurations/arn%3Ac').reply(200, { arn: 'arn:c', latestRevision: { revision: 2 } });
    await applyConfigurationStep(aws, write, { onState: () => {} });
    expect(more.isDone()).toBe(true);
  });

  const restore = { do: 'restore secret', name: 'AmazonMSK_c_c-admin', role: 'admin', username: 'c-admin' } as const;
  const after = (version: string): string => createHash('sha256').update(`arn:s ${version}`).digest('hex');
  const secret = (body: object) => nock(SECRETS).post('/', { SecretId: restore.name }).reply(200, { ARN: 'arn:s', Name: restore.name, ...body });
  const key = (): void => {
    const KMS = `https://kms.${REGION}.amazonaws.com`;
    nock(KMS).post('/').reply(200, { KeyMetadata: { KeyId: 'k', Arn: 'arn:k' } });
    nock(KMS).post('/').reply(200, { Tags: [] });
  };
  const exists = { __type: 'ResourceExistsException', message: 'it is there' };

  it('a secret keeps its password: a new one, and one that is restored, whose versions have one name', async () => {
    key();
    nock(SECRETS).post('/', /c-admin/).reply(400, exists);
    await applyLoginStep(aws, cluster, { ...restore, do: 'create secret' });
    secret({ DeletedDate: 1, VersionIdsToStages: { v1: ['AWSCURRENT'] } });
    secret({});
    key();
    const refused = nock(SECRETS).post('/', (body) => body.ClientRequestToken === after('v1') && body.KmsKeyId === 'arn:k').reply(400, exists);
    await applyLoginStep(aws, cluster, restore);
    expect(refused.isDone()).toBe(true);
    // Restored by somebody else, with a password already.
    secret({ VersionIdsToStages: { v1: ['AWSPREVIOUS'], [after('v1')]: ['AWSCURRENT'] } });
    await applyLoginStep(aws, cluster, restore);
  });
});

describe('clientAccess', () => {
  const withCluster = () => nock(MSK).get('/api/v2/clusters').query(true).reply(200, { clusterInfoList: [listed()] });
  const withBrokers = (body: object) => nock(MSK).get(`${path}/bootstrap-brokers`).reply(200, body);
  const withSecret = (status: number, body: object) => nock(SECRETS).post('/', { SecretId: 'AmazonMSK_c_c-pipeline' }).reply(status, body);
  const brokers = { bootstrapBrokerStringSaslScram: 'b-1.c:9096,b-2.c:9096', bootstrapBrokerStringSaslIam: 'b-1.c:9098' };

  it('reads brokers and login of a role, the password hidden', async () => {
    withCluster();
    withBrokers(brokers);
    withSecret(200, { SecretString: '{"username":"c-pipeline","password":"p4ss"}' });
    const access = await clientAccess(config, 'pipeline');
    expect(access).toMatchObject({ brokers: ['b-1.c:9096', 'b-2.c:9096'], sasl: { mechanism: 'scram-sha-512', username: 'c-pipeline' } });
    expect(JSON.stringify(access)).not.toContain('p4ss');
    expect(access.sasl.mechanism === 'scram-sha-512' && access.sasl.password.reveal()).toBe('p4ss');
  });

  it('needs no secret with IAM', async () => {
    withCluster();
    withBrokers(brokers);
    expect(await clientAccess({ ...config, pipeline: { ...config.pipeline, kafka_auth: 'iam' } }, 'pipeline')).toEqual({ brokers: ['b-1.c:9098'], sasl: { mechanism: 'iam', region: REGION } });
  });

  it.each<[string, () => void, string]>([
    ['no cluster', () => nock(MSK).get('/api/v2/clusters').query(true).reply(200, { clusterInfoList: [] }), 'CLUSTER_NOT_FOUND'],
    ['no secret', () => [withCluster(), withBrokers(brokers), withSecret(400, { __type: 'ResourceNotFoundException', Message: "Secrets Manager can't find the specified secret." })], 'LOGIN_NOT_FOUND'],
    ['a secret that is no login', () => [withCluster(), withBrokers(brokers), withSecret(200, { SecretString: 'p4ss' })], 'LOGIN_UNREADABLE'],
    ['no SCRAM listener', () => [withCluster(), withBrokers({})], 'NO_BROKERS'],
  ])('%s: a failure with the command to run', async (_, prepare, code) => {
    prepare();
    const failing = clientAccess(config, 'pipeline');
    await expect(failing).rejects.toMatchObject({ code, kind: 'remote', hint: expect.any(String) });
    await expect(failing).rejects.not.toMatchObject({ message: expect.stringContaining('p4ss') });
  });

  it('asks for the brokers of the cluster it was given', async () => {
    withBrokers(brokers);
    expect(await bootstrapBrokers(aws, cluster, 'iam')).toEqual(['b-1.c:9098']);
  });
});
