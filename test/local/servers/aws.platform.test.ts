import { statSync } from 'node:fs';
import { join } from 'node:path';
import { CreateAliasCommand, CreateKeyCommand, DecryptCommand, DescribeKeyCommand, EncryptCommand, KMSClient } from '@aws-sdk/client-kms';
import { CreateSecretCommand, DeleteSecretCommand, GetSecretValueCommand, ListSecretsCommand, PutSecretValueCommand, SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { GetCallerIdentityCommand, STSClient } from '@aws-sdk/client-sts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Secret } from '../../../src/errors.ts';
import { startAws } from '../../../src/local/servers/aws.ts';
import { ACCESS_KEY, freePorts, prepareGround, REGION, type Ground } from '../aws-platform.ts';

let ground: Ground;
let aws: Awaited<ReturnType<typeof startAws>>;
let port = 0;

beforeAll(async () => {
  ground = await prepareGround();
  [port = 0] = await freePorts(1);
  aws = await begin();
});

afterAll(async () => {
  await aws?.stop();
  ground?.remove();
});

function begin() {
  const credentials = { accessKeyId: ACCESS_KEY.accessKeyId, secretAccessKey: new Secret(ACCESS_KEY.secretAccessKey) };
  return startAws({ runtime: ground.runtime, authority: ground.authority, stateDir: join(ground.folder, 'aws'), logDir: join(ground.folder, 'log'), port, credentials });
}

const options = (credentials = ACCESS_KEY) => ({ region: REGION, endpoint: `https://127.0.0.1:${port}`, credentials, maxAttempts: 1 });
const secrets = (credentials = ACCESS_KEY) => new SecretsManagerClient(options(credentials));
const kms = (credentials = ACCESS_KEY) => new KMSClient(options(credentials));

it('keeps what was answered, whatever ends it: keys that still decrypt, secrets, aliases, deletions', async () => {
  const key = (await kms().send(new CreateKeyCommand({}))).KeyMetadata?.Arn;
  await kms().send(new CreateAliasCommand({ AliasName: 'alias/kept', TargetKeyId: key?.split('/').at(-1) }));
  const { CiphertextBlob } = await kms().send(new EncryptCommand({ KeyId: key, Plaintext: Buffer.from('流量') }));
  await secrets().send(new CreateSecretCommand({ Name: 'AmazonMSK_kept', KmsKeyId: key, SecretString: 'first' }));
  await secrets().send(new PutSecretValueCommand({ SecretId: 'AmazonMSK_kept', SecretString: 'second' }));
  await secrets().send(new CreateSecretCommand({ Name: 'AmazonMSK_deleted', SecretString: 'x' }));
  await secrets().send(new DeleteSecretCommand({ SecretId: 'AmazonMSK_deleted' }));
  process.kill(aws.pid, 'SIGKILL');
  expect((await aws.exited).code).toBe(137);
  aws = await begin();
  expect((await secrets().send(new GetSecretValueCommand({ SecretId: 'AmazonMSK_kept' }))).SecretString).toBe('second');
  expect((await kms().send(new DescribeKeyCommand({ KeyId: 'alias/kept' }))).KeyMetadata?.Arn).toBe(key);
  const { Plaintext } = await kms().send(new DecryptCommand({ CiphertextBlob }));
  expect(Buffer.from(Plaintext ?? []).toString()).toBe('流量');
  await expect(secrets().send(new GetSecretValueCommand({ SecretId: 'AmazonMSK_deleted' }))).rejects.toMatchObject({ name: 'InvalidRequestException' });
  expect(statSync(join(ground.folder, 'aws', 'aws.pickle')).mode & 0o777).toBe(0o600);
});

describe('signatures', () => {
  it('lets the platform\'s key in', async () => {
    expect((await new STSClient(options()).send(new GetCallerIdentityCommand({}))).Account).toBe('123456789012');
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ['Secrets Manager, unknown key', () => secrets({ ...ACCESS_KEY, accessKeyId: 'AKIAOTHER' }).send(new ListSecretsCommand({})), 'UnrecognizedClientException'],
    ['Secrets Manager, wrong secret', () => secrets({ ...ACCESS_KEY, secretAccessKey: 'x' }).send(new ListSecretsCommand({})), 'InvalidSignatureException'],
    ['KMS, wrong secret', () => kms({ ...ACCESS_KEY, secretAccessKey: 'x' }).send(new CreateKeyCommand({})), 'InvalidSignatureException'],
    ['STS, unknown key', () => new STSClient(options({ ...ACCESS_KEY, accessKeyId: 'AKIAOTHER' })).send(new GetCallerIdentityCommand({})), 'InvalidClientTokenId'],
    ['STS, wrong secret', () => new STSClient(options({ ...ACCESS_KEY, secretAccessKey: 'x' })).send(new GetCallerIdentityCommand({})), 'SignatureDoesNotMatch'],
  ])('%s: 403', async (_, call, name) => {
    await expect(call()).rejects.toMatchObject({ name, $metadata: { httpStatusCode: 403 } });
  });

  it.each<[string, RequestInit & { path?: string }, number]>([
    ['no signature', { method: 'POST', body: '{}', headers: { 'x-amz-target': 'secretsmanager.ListSecrets' } }, 403],
    ['moto\'s own reset', { method: 'POST', path: '/moto-api/reset' }, 403],
    ['half a signature', { method: 'POST', headers: { authorization: 'AWS4-HMAC-SHA256 Credential=x' } }, 403],
    ['2 MiB', { method: 'POST', body: 'x'.repeat(2 << 20) }, 413],
  ])('refuses %s', async (_, { path = '/', ...init }, status) => {
    expect((await fetch(`https://127.0.0.1:${port}${path}`, init)).status).toBe(status);
  });
});
