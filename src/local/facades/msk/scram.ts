import { Hono } from 'hono';
import { z } from 'zod';
import { messageOf } from '../../../errors.ts';
import { pause } from '../../../poll.ts';
import type { Log } from '../../contract.ts';
import type { Clusters } from './clusters.ts';
import { bad, bodyOf, pageOf } from './errors.ts';
import type { ReadLogin, Unprocessed } from './secrets.ts';
import { hasScram, type ClusterRecord } from './shapes.ts';

const secrets = z.object({ secretArnList: z.array(z.string()).min(1).max(10) });
/** MSK needs minutes. */
const ROTATION_MS = 5_000;

/** The association of secrets with a cluster: a SCRAM user in its brokers of each secret that follows MSK's rules; the others come back, each with why. */
export function scramRoutes(clusters: Clusters, readLogin: ReadLogin): Hono {
  const app = new Hono().basePath('/v1/clusters/:arn/scram-secrets');

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

  for (const [method, treat] of [['POST', associate], ['PATCH', disassociate]] as const) {
    app.on(method, '/', async (c) => {
      const cluster = clusters.get(c.req.param('arn'));
      const { secretArnList } = await bodyOf(c, secrets);
      if (!hasScram(cluster)) throw bad('The cluster was created without SASL/SCRAM authentication.', 'clusterArn');
      clusters.kafka(cluster);
      const unprocessedScramSecrets: Unprocessed[] = [];
      for (const secretArn of secretArnList) unprocessedScramSecrets.push(...[(await treat(cluster.arn, secretArn)) ?? []].flat());
      return c.json({ clusterArn: cluster.arn, unprocessedScramSecrets });
    });
  }
  app.get('/', (c) => {
    const { items, nextToken } = pageOf(c, clusters.get(c.req.param('arn')).scramSecrets);
    return c.json({ secretArnList: items.map((secret) => secret.arn), nextToken });
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
