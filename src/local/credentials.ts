import { randomBytes, randomInt } from 'node:crypto';
import { join } from 'node:path';
import { Secret } from '../errors.ts';
import { readIfThere, writeAtomic } from './state.ts';

/** Everything that opens the platform: made once, kept in `credentials.json` (0600), so that clients outlive a restart. */
export type Credentials = {
  databricksToken: Secret;
  /** Service principal of OAuth M2M. */
  databricksClientId: string;
  databricksClientSecret: Secret;
  awsAccessKeyId: string;
  awsSecretAccessKey: Secret;
  elasticsearchPassword: Secret;
  elasticsearchAdminPassword: Secret;
  sparkToken: Secret;
};

type Stored = Record<keyof Credentials, string>;

/** Reads the state folder's credentials, or makes what is missing, in the forms that real ones have. */
export async function openCredentials(stateDir: string): Promise<Credentials> {
  const file = join(stateDir, 'credentials.json');
  const known = JSON.parse((await readIfThere(file)) ?? '{}') as Partial<Stored>;
  const stored: Stored = { ...makeCredentials(), ...known };
  await writeAtomic(file, `${JSON.stringify(stored, null, 2)}\n`);
  return {
    databricksToken: new Secret(stored.databricksToken),
    databricksClientId: stored.databricksClientId,
    databricksClientSecret: new Secret(stored.databricksClientSecret),
    awsAccessKeyId: stored.awsAccessKeyId,
    awsSecretAccessKey: new Secret(stored.awsSecretAccessKey),
    elasticsearchPassword: new Secret(stored.elasticsearchPassword),
    elasticsearchAdminPassword: new Secret(stored.elasticsearchAdminPassword),
    sparkToken: new Secret(stored.sparkToken),
  };
}

function makeCredentials(): Stored {
  return {
    databricksToken: `dapi${randomBytes(16).toString('hex')}`,
    databricksClientId: crypto.randomUUID(),
    databricksClientSecret: `dose${randomBytes(16).toString('hex')}`,
    awsAccessKeyId: `AKIA${pick('ABCDEFGHIJKLMNOPQRSTUVWXYZ234567', 16)}`,
    awsSecretAccessKey: randomBytes(30).toString('base64url'),
    elasticsearchPassword: randomBytes(18).toString('base64url'),
    elasticsearchAdminPassword: randomBytes(18).toString('base64url'),
    sparkToken: randomBytes(24).toString('hex'),
  };
}

function pick(alphabet: string, length: number): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');
}
