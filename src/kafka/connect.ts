import type { Admin, BaseOptions } from '@platformatic/kafka';
import type { Secret } from '../errors.ts';
import { guarded } from './connection.ts';
import { kafkaFailure } from './failure.ts';

/** Where the brokers are and who is asking: TLS always, authenticated by SCRAM-SHA-512 or by AWS IAM (a signed OAUTHBEARER token). */
export type KafkaAccess = Readonly<{
  /** Bootstrap brokers, each `host:port`. */
  brokers: readonly string[];
  sasl: Readonly<{ mechanism: 'scram-sha-512'; username: string; password: Secret } | { mechanism: 'iam'; region: string }>;
}>;

/** The Kafka client's options for this access; the password and the token are asked for when a connection authenticates. */
export async function clientOptions({ brokers, sasl }: KafkaAccess): Promise<BaseOptions> {
  const common = { clientId: 'streamgauge', bootstrapBrokers: [...brokers], tls: {}, retries: 0, connectTimeout: 5_000, requestTimeout: 30_000, autocreateTopics: false };
  if (sasl.mechanism === 'scram-sha-512') return { ...common, sasl: { mechanism: 'SCRAM-SHA-512', username: sasl.username, password: () => sasl.password.reveal() } };
  const { generateAuthToken } = await import('aws-msk-iam-sasl-signer-js');
  // A token lives 15 minutes; the connection asks for a new one each time it authenticates again.
  const token = async (): Promise<string> => (await generateAuthToken({ region: sasl.region })).token;
  return { ...common, sasl: { mechanism: 'OAUTHBEARER', token } };
}

/** Connects for administration, does `use`, disconnects; what the client throws becomes a Failure that names brokers and `doing`. */
export async function withAdmin<T>(access: KafkaAccess, doing: string, use: (admin: Admin) => Promise<T>): Promise<T> {
  const { Admin } = await import('@platformatic/kafka');
  // A moved controller and a restarting broker are normal in a cluster's life; wrong credentials come back at once all the same.
  const admin = guarded(new Admin({ ...(await clientOptions(access)), retries: 3, retryDelay: 300, timeout: 30_000 }));
  try {
    return await use(admin);
  } catch (error) {
    throw kafkaFailure(error, `${doing} at ${access.brokers.join(', ')}`);
  } finally {
    await admin.close().catch(() => undefined);
  }
}

/** Resolves once the brokers let this user in. */
export async function logIn(access: KafkaAccess): Promise<void> {
  await withAdmin(access, 'logging in', (admin) => admin.metadata({ topics: [], forceUpdate: true }));
}
