import type { Hono } from 'hono';
import { z } from 'zod';
import { messageOf } from '../../../errors.ts';
import { pause } from '../../../poll.ts';
import type { Log } from '../../contract.ts';
import type { Clusters } from './clusters.ts';
import { routeTable } from '../routes.ts';
import { bad, msk, pageOf, paging } from './errors.ts';
import type { ReadLogin, Unprocessed } from './secrets.ts';
import { hasScram, type ClusterRecord } from './shapes.ts';

const secrets = z.object({ arn: z.string(), secretArnList: z.array(z.string()).min(1).max(10) });
/** MSK needs minutes. */
const ROTATION_MS = 5_000;

/** The association of secrets with a cluster: a SCRAM user in its brokers of each secret that follows MSK's rules; the others come back, each with why. */
export function scramRoutes(clusters: Clusters, readLogin: ReadLogin): Hono {
  const { app, get, post, patch } = routeTable('/v1/clusters/:arn/scram-secrets', msk);

  async function associate(arn: string, secretArn: string): Promise<Unprocessed | undefined> {
    const login = await readLogin(secretArn);
    if (!('username' in login)) return login;
    const { username, version } = login;
    const others = clusters.get(arn).scramSecrets.filter((known) => known.arn !== secretArn);
    if (others.some((other) => other.username === username)) return { secretArn, errorCode: 'InvalidSecret', errorMessage: 'Another associated secret has the same username.' };
    await clusters.kafka(clusters.get(arn)).putUser(username, login.password);
    clusters.change(arn, { scramSecrets: [...others, { arn: secretArn, username, version }] });
  }

  async function disassociate(arn: string, secretArn: string): Promise<Unprocessed | undefined> {
    const known = clusters.get(arn).scramSecrets.find((secret) => secret.arn === secretArn);
    if (known === undefined) return { secretArn, errorCode: 'InvalidSecretArn', errorMessage: 'The provided secret is not associated with this cluster.' };
    await clusters.kafka(clusters.get(arn)).lockUser(known.username);
    clusters.change(arn, { scramSecrets: clusters.get(arn).scramSecrets.filter((secret) => secret.arn !== secretArn) });
  }

  for (const [route, treat] of [[post, associate], [patch, disassociate]] as const) {
    route('/', secrets, async ({ arn, secretArnList }) => {
      if (!hasScram(clusters.get(arn))) throw bad('The cluster was created without SASL/SCRAM authentication.', 'clusterArn');
      clusters.kafka(clusters.get(arn));
      const unprocessedScramSecrets: Unprocessed[] = [];
      for (const secretArn of secretArnList) unprocessedScramSecrets.push(...[(await treat(arn, secretArn)) ?? []].flat());
      return { clusterArn: arn, unprocessedScramSecrets };
    });
  }
  get('/', paging.extend({ arn: z.string() }), ({ arn, ...page }) => {
    const { items, nextToken } = pageOf(page, clusters.get(arn).scramSecrets);
    return { secretArnList: items.map((secret) => secret.arn), nextToken };
  });
  return app;
}

/** As MSK does, gives the brokers a password that was rotated in Secrets Manager; resolves when the platform stops. */
export async function followRotations(clusters: Clusters, readLogin: ReadLogin, log: Log): Promise<void> {
  async function takeOver(arn: string, known: ClusterRecord['scramSecrets'][number]): Promise<void> {
    const login = await readLogin(known.arn);
    // Another user's name needs another association.
    if (!('username' in login) || login.version === known.version || login.username !== known.username) return;
    await clusters.kafka(clusters.get(arn)).putUser(login.username, login.password);
    clusters.change(arn, { scramSecrets: clusters.get(arn).scramSecrets.map((secret) => (secret.arn === known.arn ? { ...secret, version: login.version } : secret)) });
  }

  while (!clusters.closing.aborted) {
    await pause(ROTATION_MS, clusters.closing).catch(() => {});
    const known = clusters.all().flatMap(({ arn, state, scramSecrets }) => (state === 'ACTIVE' ? scramSecrets.map((secret) => ({ arn, secret })) : []));
    for (const { arn, secret } of known) if (!clusters.closing.aborted) await takeOver(arn, secret).catch((error: unknown) => log(`secret ${secret.arn}: ${messageOf(error)}`));
  }
}
