import { afterEach, expect, it } from 'vitest';
import { Secret } from '../../src/errors.ts';
import { clientOptions } from '../../src/kafka/connect.ts';

const before = { ...process.env };

afterEach(() => {
  process.env = { ...before };
});

it('SCRAM: TLS always, and the password only where the client asks for it', async () => {
  const options = await clientOptions({ brokers: ['b-1:9096'], sasl: { mechanism: 'scram-sha-512', username: 'u', password: new Secret('p4ss') } });
  expect(options).toMatchObject({ bootstrapBrokers: ['b-1:9096'], tls: {}, sasl: { mechanism: 'SCRAM-SHA-512', username: 'u' }, autocreateTopics: false });
  expect(JSON.stringify(options)).not.toContain('p4ss');
  const password = options.sasl?.password;
  expect(typeof password === 'function' && password()).toBe('p4ss');
});

it('IAM: a signed request to connect, for this region, as an OAUTHBEARER token', async () => {
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'AKIATEST', AWS_SECRET_ACCESS_KEY: 'secret' });
  const options = await clientOptions({ brokers: ['b-1:9098'], sasl: { mechanism: 'iam', region: 'eu-central-1' } });
  expect(options).toMatchObject({ tls: {}, sasl: { mechanism: 'OAUTHBEARER' } });
  const asked = options.sasl?.token;
  const token = typeof asked === 'function' ? await asked() : '';
  const url = new URL(Buffer.from(token, 'base64url').toString('utf8'));
  expect(url.host).toBe('kafka.eu-central-1.amazonaws.com');
  expect(url.searchParams.get('Action')).toBe('kafka-cluster:Connect');
  expect(url.searchParams.get('X-Amz-Credential')).toMatch(/^AKIATEST\/\d{8}\/eu-central-1\/kafka-cluster\/aws4_request$/);
  expect(token).not.toContain('secret');
});
