import { messageOf } from '../../../errors.ts';
import { pause } from '../../../poll.ts';
import type { Log } from '../../contract.ts';
import { mskError } from './errors.ts';
import type { Clusters } from './clusters.ts';
import { readLogin, type SecretsAccess, type Unprocessed } from './secrets.ts';
import { hasScram, type ClusterRecord } from './shapes.ts';

const MOST_SECRETS = 10;
/** MSK needs minutes. */
const ROTATION_MS = 5_000;

/** Makes a SCRAM user in the brokers of each secret that follows MSK's rules; the others come back, each with why. */
export async function associate(clusters: Clusters, access: SecretsAccess, arn: string, body: Record<string, unknown>): Promise<Unprocessed[]> {
  const secretArns = secretArnsOf(body);
  const kafka = clusters.kafka(scramCluster(clusters, arn));
  const unprocessed: Unprocessed[] = [];
  for (const secretArn of secretArns) {
    const login = await readLogin(access, secretArn);
    const taken = 'username' in login && clusters.get(arn).scramSecrets.some((other) => other.username === login.username && other.arn !== secretArn);
    if (!('username' in login)) unprocessed.push(login);
    else if (taken) unprocessed.push({ secretArn, errorCode: 'InvalidSecret', errorMessage: 'Another associated secret has the same username.' });
    else {
      await kafka.putUser(login.username, login.password);
      const cluster = clusters.get(arn);
      const others = cluster.scramSecrets.filter((known) => known.arn !== secretArn);
      clusters.save({ ...cluster, scramSecrets: [...others, { arn: secretArn, username: login.username, version: login.version }] });
    }
  }
  return unprocessed;
}

/** Locks the SCRAM users of these secrets out of the brokers; a secret that is not associated comes back. */
export async function disassociate(clusters: Clusters, arn: string, body: Record<string, unknown>): Promise<Unprocessed[]> {
  const secretArns = secretArnsOf(body);
  const kafka = clusters.kafka(scramCluster(clusters, arn));
  const unprocessed: Unprocessed[] = [];
  for (const secretArn of secretArns) {
    const known = clusters.get(arn).scramSecrets.find((secret) => secret.arn === secretArn);
    if (known === undefined) {
      unprocessed.push({ secretArn, errorCode: 'InvalidSecretArn', errorMessage: 'The provided secret is not associated with this cluster.' });
      continue;
    }
    await kafka.lockUser(known.username);
    const cluster = clusters.get(arn);
    clusters.save({ ...cluster, scramSecrets: cluster.scramSecrets.filter((secret) => secret.arn !== secretArn) });
  }
  return unprocessed;
}

/** As MSK does, gives the brokers a password that was rotated in Secrets Manager; resolves when the platform stops. */
export async function followRotations(clusters: Clusters, access: SecretsAccess, log: Log): Promise<void> {
  const { closing } = clusters;
  while (!closing.aborted) {
    await pause(ROTATION_MS, closing).catch(() => {});
    for (const { arn, state, scramSecrets } of clusters.all()) {
      if (closing.aborted || state !== 'ACTIVE') continue;
      for (const secret of scramSecrets) await takeOver(clusters, access, arn, secret).catch((error: unknown) => closing.aborted || log(`secret ${secret.arn}: ${messageOf(error)}`));
    }
  }
}

async function takeOver(clusters: Clusters, access: SecretsAccess, arn: string, known: ClusterRecord['scramSecrets'][number]): Promise<void> {
  const login = await readLogin(access, known.arn);
  // Another user's name is another association's: MSK wants that to be made anew.
  if (!('username' in login) || login.version === known.version || login.username !== known.username) return;
  await clusters.kafka(clusters.get(arn)).putUser(login.username, login.password);
  const cluster = clusters.get(arn);
  clusters.save({ ...cluster, scramSecrets: cluster.scramSecrets.map((secret) => (secret.arn === known.arn ? { ...secret, version: login.version } : secret)) });
}

function scramCluster(clusters: Clusters, arn: string): ClusterRecord {
  const cluster = clusters.get(arn);
  if (!hasScram(cluster)) throw mskError('BadRequestException', 'The cluster was created without SASL/SCRAM authentication.', 'clusterArn');
  return cluster;
}

function secretArnsOf(body: Record<string, unknown>): string[] {
  const { secretArnList } = body;
  if (!Array.isArray(secretArnList) || !secretArnList.every((arn) => typeof arn === 'string') || secretArnList.length === 0) throw mskError('BadRequestException', 'secretArnList is a list of ARNs.', 'secretArnList');
  if (secretArnList.length > MOST_SECRETS) throw mskError('BadRequestException', `secretArnList has at most ${MOST_SECRETS} entries.`, 'secretArnList');
  return secretArnList;
}
