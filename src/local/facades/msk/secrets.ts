import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import { Secret } from '../../../errors.ts';
import type { AwsCredentials } from '../../servers/aws.ts';
import { CERTIFICATE_PRINCIPAL_PREFIX } from '../../servers/kafka-settings.ts';
import { signerFor } from './signature.ts';

/** Why MSK would not take a secret: goes into UnprocessedScramSecrets, never an HTTP error. */
export type Unprocessed = { secretArn: string; errorCode: string; errorMessage: string };

/** `version` is the id of the secret's current value. */
export type ScramLogin = { username: string; password: Secret; version: string };

export type SecretsAccess = { awsUrl: string; caFile: string; region: string; credentials: AwsCredentials };

/**
 * Reads the login in a secret by MSK's rules: its name starts with AmazonMSK_, it is readable, its KMS key is the customer's own,
 * and it is JSON with username and password. InvalidSecretArn and the first three messages are what MSK was seen to answer;
 * for unusable content its code is not documented, InvalidSecret is ours.
 */
export async function readLogin(access: SecretsAccess, secretArn: string): Promise<ScramLogin | Unprocessed> {
  const invalid = (errorMessage: string, errorCode = 'InvalidSecretArn'): Unprocessed => ({ secretArn, errorCode, errorMessage });
  const name = /^arn:aws[\w-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:(.+)$/.exec(secretArn)?.[1];
  if (name === undefined) return invalid('The provided secret arn is invalid.');
  if (!name.startsWith('AmazonMSK_')) return invalid("The provided secret arn cannot be used with Amazon MSK. Secret names must have the prefix 'AmazonMSK_'.");
  const secret = await call(access, 'secretsmanager', 'secretsmanager.DescribeSecret', { SecretId: secretArn });
  // moto's DeletedDate is null where AWS leaves it out.
  const value = secret && !secret.DeletedDate ? await call(access, 'secretsmanager', 'secretsmanager.GetSecretValue', { SecretId: secretArn }) : undefined;
  if (!secret || !value) return invalid("Amazon MSK wasn't able to access the provided secret.");
  const key = typeof secret.KmsKeyId === 'string' ? await call(access, 'kms', 'TrentService.DescribeKey', { KeyId: secret.KmsKeyId }) : undefined;
  const manager = (key?.KeyMetadata as { KeyManager?: string } | undefined)?.KeyManager;
  // moto calls every key the customer's; the default one is known by its alias.
  if (manager !== 'CUSTOMER' || String(secret.KmsKeyId).includes('alias/aws/')) return invalid("The provided secret is encrypted with the default key. You can't use this secret with Amazon MSK.");
  const login = loginIn(value.SecretString, String(value.VersionId));
  return login ?? invalid('The secret must be JSON with a non-empty "username" and "password".', 'InvalidSecret');
}

function loginIn(text: unknown, version: string): ScramLogin | undefined {
  try {
    const { username, password } = JSON.parse(String(text)) as Record<string, unknown>;
    if (typeof username !== 'string' || username === '' || typeof password !== 'string' || password === '') return undefined;
    // It would be a super user's principal.
    if (username.startsWith(CERTIFICATE_PRINCIPAL_PREFIX)) return undefined;
    return { username, password: new Secret(password), version };
  } catch {
    return undefined;
  }
}

/** One signed call to the local AWS services; undefined if they refuse it with a 4xx. Throws if they do not answer. */
async function call(access: SecretsAccess, service: string, target: string, input: object): Promise<Record<string, unknown> | undefined> {
  const url = new URL(access.awsUrl);
  const body = JSON.stringify(input);
  const headers = { host: url.host, 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': target };
  const { method, headers: signed } = await signerFor(service, access.region, access.credentials).sign({ method: 'POST', protocol: 'https:', hostname: url.hostname, path: '/', headers, body });
  const ca = await readFile(access.caFile);
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers: { ...signed, 'content-length': Buffer.byteLength(body) }, ca, timeout: 20_000 }, async (response) => {
      try {
        const text = Buffer.concat(await response.toArray()).toString('utf8');
        const status = response.statusCode ?? 0;
        if (status >= 500) reject(new Error(`${target} answered ${status}`));
        else resolve(status < 300 ? (JSON.parse(text) as Record<string, unknown>) : undefined);
      } catch (error) {
        reject(error);
      }
    });
    sent.once('timeout', () => sent.destroy(new Error(`${target} did not answer within 20 s`)));
    sent.once('error', reject);
    sent.end(body);
  });
}
