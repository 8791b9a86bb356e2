import { readFile } from 'node:fs/promises';
import { Agent } from 'node:https';
import { z } from 'zod';
import { Secret } from '../../../errors.ts';
import type { AwsCredentials } from '../../servers/aws.ts';
import { CERTIFICATE_PRINCIPAL_PREFIX } from '../../servers/kafka-settings.ts';

/** Why MSK would not take a secret: goes into UnprocessedScramSecrets, never an HTTP error. */
export type Unprocessed = { secretArn: string; errorCode: string; errorMessage: string };

/** `version` is the id of the secret's current value. */
export type ScramLogin = { username: string; password: Secret; version: string };

export type SecretsAccess = { awsUrl: string; caFile: string; region: string; credentials: AwsCredentials };

/** The login in a secret, or why MSK would not take it; throws if Secrets Manager does not answer. */
export type ReadLogin = (secretArn: string) => Promise<ScramLogin | Unprocessed>;

const login = z.object({
  // With this prefix, it would be a super user's principal.
  username: z.string().min(1).refine((name) => !name.startsWith(CERTIFICATE_PRINCIPAL_PREFIX)),
  password: z.string().min(1),
});

/**
 * Reads logins by MSK's rules: a secret's name starts with AmazonMSK_, it is readable, its KMS key is the customer's own,
 * and it is JSON with username and password. InvalidSecretArn and the first three messages are what MSK was seen to answer;
 * for unusable content its code is not documented, InvalidSecret is ours.
 */
export function loginReader(access: SecretsAccess): ReadLogin {
  let connected: ReturnType<typeof connect> | undefined;

  return async (secretArn) => {
    const invalid = (errorMessage: string, errorCode = 'InvalidSecretArn'): Unprocessed => ({ secretArn, errorCode, errorMessage });
    const name = /^arn:aws[\w-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:(.+)$/.exec(secretArn)?.[1];
    if (name === undefined) return invalid('The provided secret arn is invalid.');
    if (!name.startsWith('AmazonMSK_')) return invalid("The provided secret arn cannot be used with Amazon MSK. Secret names must have the prefix 'AmazonMSK_'.");
    const aws = await (connected ??= connect(access));
    const secret = await answer(aws.describe(secretArn));
    // moto's DeletedDate is null where AWS leaves it out.
    const value = secret && !secret.DeletedDate ? await answer(aws.value(secretArn)) : undefined;
    if (!secret || !value) return invalid("Amazon MSK wasn't able to access the provided secret.");
    const key = secret.KmsKeyId === undefined ? undefined : await answer(aws.key(secret.KmsKeyId));
    // moto calls every key the customer's; the default one is known by its alias.
    if (key?.KeyMetadata?.KeyManager !== 'CUSTOMER' || secret.KmsKeyId?.includes('alias/aws/')) return invalid("The provided secret is encrypted with the default key. You can't use this secret with Amazon MSK.");
    const { data } = login.safeParse(await new Response(value.SecretString).json().catch(() => undefined));
    if (!data) return invalid('The secret must be JSON with a non-empty "username" and "password".', 'InvalidSecret');
    return { username: data.username, password: new Secret(data.password), version: value.VersionId ?? '' };
  };
}

async function connect({ awsUrl: endpoint, caFile, region, credentials }: SecretsAccess) {
  const [{ SecretsManagerClient, DescribeSecretCommand, GetSecretValueCommand }, { KMSClient, DescribeKeyCommand }, ca] = await Promise.all([
    import('@aws-sdk/client-secrets-manager'), import('@aws-sdk/client-kms'), readFile(caFile),
  ]);
  const identity = { accessKeyId: credentials.accessKeyId, secretAccessKey: credentials.secretAccessKey.reveal() };
  const options = { endpoint, region, credentials: identity, requestHandler: { httpsAgent: new Agent({ ca }), requestTimeout: 20_000 } };
  const [secrets, keys] = [new SecretsManagerClient(options), new KMSClient(options)];
  return {
    describe: (SecretId: string) => secrets.send(new DescribeSecretCommand({ SecretId })),
    value: (SecretId: string) => secrets.send(new GetSecretValueCommand({ SecretId })),
    key: (KeyId: string) => keys.send(new DescribeKeyCommand({ KeyId })),
  };
}

/** Undefined if AWS refuses with a 4xx. */
function answer<T>(call: Promise<T>): Promise<T | undefined> {
  return call.catch((error: { $metadata?: { httpStatusCode?: number } }) => {
    const { httpStatusCode: status = 500 } = error.$metadata ?? {};
    if (status >= 400 && status < 500) return undefined;
    throw error;
  });
}
