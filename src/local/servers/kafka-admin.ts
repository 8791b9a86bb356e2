import { pbkdf2, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Admin } from '@platformatic/kafka';
import { Secret } from '../../errors.ts';
import { anyConnection, guarded } from '../../kafka/connection.ts';
import type { Authority } from '../contract.ts';
import { PLATFORM_IDENTITY } from './kafka-settings.ts';

const SCRAM_SHA_512 = 2;
/** Kafka's least, and what MSK stores. */
const ITERATIONS = 4096;

/** The platform's own access to brokers: mutual TLS on the internal listener, where its certificate makes it super user. */
export async function withAdmin<T>(authority: Authority, bootstrap: string[], use: (admin: Admin) => Promise<T>): Promise<T> {
  const [{ Admin }, files] = await Promise.all([import('@platformatic/kafka'), authority.issue(PLATFORM_IDENTITY)]);
  const [ca, cert, key] = await Promise.all([authority.caFile, files.certFile, files.keyFile].map((file) => readFile(file)));
  const admin = guarded(new Admin({
    clientId: 'streamgauge-platform',
    bootstrapBrokers: bootstrap,
    tls: { ca, cert, key },
    retries: 2,
    retryDelay: 250,
    connectTimeout: 2_000,
    timeout: 10_000,
  }));
  try {
    return await use(admin);
  } finally {
    await admin.close().catch(() => {});
  }
}

/** Node ids of the brokers that this broker knows to be up. */
export async function liveBrokers(admin: Admin): Promise<number[]> {
  return [...(await admin.metadata({ topics: [], forceUpdate: true })).brokers.keys()];
}

/** Creates the SCRAM-SHA-512 user, or gives it this password; the broker keeps salted keys only. */
export async function putScramUser(admin: Admin, name: string, password: Secret): Promise<void> {
  const salt = randomBytes(32);
  const saltedPassword = await promisify(pbkdf2)(password.reveal(), salt, ITERATIONS, 64, 'sha512');
  const { alterUserScramCredentialsV0 } = await import('@platformatic/kafka');
  const upsertion = { name, mechanism: SCRAM_SHA_512, iterations: ITERATIONS, salt, saltedPassword };
  await alterUserScramCredentialsV0.api.async(await anyConnection(admin), [], [upsertion]);
}

/**
 * Locks the user out: nobody knows the new password. The name stays, because Kafka 4.1.0 loses every SCRAM user at its next start
 * once one was removed (measured: put alice, put carol, remove carol, restart: no users). Open connections stay open, as at MSK.
 */
export async function lockScramUser(admin: Admin, name: string): Promise<void> {
  await putScramUser(admin, name, new Secret(randomBytes(48).toString('base64url')));
}
