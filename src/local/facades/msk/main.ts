import { Hono, type Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { HTTPException } from 'hono/http-exception';
import { messageOf } from '../../../errors.ts';
import type { Facade } from '../../contract.ts';
import type { AwsCredentials } from '../../servers/aws.ts';
import { openClusters, type Clusters, type ClustersOptions } from './clusters.ts';
import { openConfigurations } from './configurations.ts';
import { bodyOf, mskError, pageOf } from './errors.ts';
import { associate, disassociate, followRotations } from './scram.ts';
import type { SecretsAccess } from './secrets.ts';
import { clusterWanted, configurationWanted, describeV1, describeV2, hasScram, type ClusterRecord } from './shapes.ts';
import { verifySignature } from './signature.ts';

export type MskOptions = Omit<ClustersOptions, 'configurations'> & {
  /** Where Secrets Manager and KMS answer. */
  awsUrl: string;
  credentials: AwsCredentials;
};

const MOST_BODY_BYTES = 1 << 20;

/** MSK's REST API in front of real brokers; returns when the clusters that it had are up again. */
export async function createMsk(options: MskOptions): Promise<Facade> {
  const configurations = openConfigurations(options.stateDir, `arn:aws:kafka:${options.region}:${options.accountId}`);
  const clusters = await openClusters({ ...options, configurations });
  const access = { awsUrl: options.awsUrl, caFile: options.authority.caFile, region: options.region, credentials: options.credentials };
  const app = new Hono();
  app.onError((error) => {
    if (error instanceof HTTPException && error.res) return error.res;
    options.log(`MSK: ${error.stack ?? error.message}`);
    return mskError('InternalServerErrorException', `the local platform failed: ${messageOf(error)}`).getResponse();
  });
  app.notFound((c) => mskError('NotImplementedException', `${c.req.method} ${c.req.path} is not part of the local platform`).getResponse());
  app.use(bodyLimit({ maxSize: MOST_BODY_BYTES, onError: () => mskError('BadRequestException', `The request body has at most ${MOST_BODY_BYTES} bytes.`).getResponse() }));
  app.use(async (c, next) => {
    await verifySignature(c.req.raw, new Uint8Array(await c.req.arrayBuffer()), options.credentials);
    await next();
  });
  clusterRoutes(app, clusters);
  scramRoutes(app, clusters, access);
  tagRoutes(app, clusters);
  configurations.mount(app, (arn) => clusters.all().some(({ configuration }) => configuration?.arn === arn));
  const following = followRotations(clusters, access, options.log);
  return { app, stop: async () => void (await Promise.all([clusters.stop(), following])) };
}

function clusterRoutes(app: Hono, clusters: Clusters): void {
  app.post('/api/v2/clusters', async (c) => {
    const body = await bodyOf(c);
    if (typeof body.provisioned !== 'object' || body.provisioned === null) throw mskError('BadRequestException', 'The local platform has provisioned clusters only.', 'provisioned');
    const { arn, name, state } = clusters.create(clusterWanted(body.clusterName, body.tags, body.provisioned as Record<string, unknown>));
    return c.json({ clusterArn: arn, clusterName: name, clusterType: 'PROVISIONED', state });
  });
  app.post('/v1/clusters', async (c) => {
    const body = await bodyOf(c);
    const { arn, name, state } = clusters.create(clusterWanted(body.clusterName, body.tags, body));
    return c.json({ clusterArn: arn, clusterName: name, state });
  });
  for (const [path, describe] of [['/api/v2/clusters', describeV2], ['/v1/clusters', describeV1]] as const) {
    app.get(path, (c) => {
      const prefix = c.req.query('clusterNameFilter') ?? '';
      const type = c.req.query('clusterTypeFilter') ?? 'PROVISIONED';
      const { items, nextToken } = pageOf(c, clusters.all().filter(({ name }) => name.startsWith(prefix) && type === 'PROVISIONED'));
      return c.json({ clusterInfoList: items.map(describe), nextToken });
    });
    app.get(`${path}/:arn`, (c) => c.json({ clusterInfo: describe(clusters.get(arnOf(c))) }));
  }
  app.get('/v1/clusters/:arn/bootstrap-brokers', (c) => {
    const cluster = clusters.get(arnOf(c));
    const { bootstrap } = clusters.kafka(cluster, ['ACTIVE', 'UPDATING']);
    return c.json(hasScram(cluster) ? { bootstrapBrokerStringSaslScram: bootstrap.join(',') } : {});
  });
  app.put('/v1/clusters/:arn/configuration', async (c) => {
    const cluster = clusters.get(arnOf(c));
    const { configurationInfo, currentVersion } = await bodyOf(c);
    checkVersion(cluster, currentVersion);
    clusters.reconfigure(cluster, configurationWanted(configurationInfo));
    return c.json({ clusterArn: cluster.arn, clusterOperationArn: cluster.arn.replace(':cluster/', ':cluster-operation/') });
  });
  app.delete('/v1/clusters/:arn', (c) => {
    const cluster = clusters.get(arnOf(c));
    const version = c.req.query('currentVersion');
    if (version !== undefined) checkVersion(cluster, version);
    clusters.remove(cluster);
    return c.json({ clusterArn: cluster.arn, state: 'DELETING' });
  });
}

function checkVersion(cluster: ClusterRecord, version: unknown): void {
  if (version !== cluster.currentVersion) throw mskError('BadRequestException', 'This operation cannot be performed with the current version of the cluster.', 'currentVersion');
}

function scramRoutes(app: Hono, clusters: Clusters, access: SecretsAccess): void {
  const path = '/v1/clusters/:arn/scram-secrets';
  app.post(path, async (c) => {
    const unprocessedScramSecrets = await associate(clusters, access, arnOf(c), await bodyOf(c));
    return c.json({ clusterArn: arnOf(c), unprocessedScramSecrets });
  });
  app.patch(path, async (c) => {
    const unprocessedScramSecrets = await disassociate(clusters, arnOf(c), await bodyOf(c));
    return c.json({ clusterArn: arnOf(c), unprocessedScramSecrets });
  });
  app.get(path, (c) => {
    const { items, nextToken } = pageOf(c, clusters.get(arnOf(c)).scramSecrets);
    return c.json({ secretArnList: items.map((secret) => secret.arn), nextToken });
  });
}

function tagRoutes(app: Hono, clusters: Clusters): void {
  app.get('/v1/tags/:arn', (c) => c.json({ tags: clusters.get(arnOf(c)).tags }));
  app.post('/v1/tags/:arn', async (c) => {
    const cluster = clusters.get(arnOf(c));
    const { tags } = await bodyOf(c);
    if (typeof tags !== 'object' || tags === null) throw mskError('BadRequestException', 'tags is a map of strings.', 'tags');
    clusters.save({ ...cluster, tags: { ...cluster.tags, ...(tags as Record<string, string>) } });
    return c.body(null, 204);
  });
  app.delete('/v1/tags/:arn', (c) => {
    const cluster = clusters.get(arnOf(c));
    const gone = c.req.queries('tagKeys') ?? [];
    clusters.save({ ...cluster, tags: Object.fromEntries(Object.entries(cluster.tags).filter(([name]) => !gone.includes(name))) });
    return c.body(null, 204);
  });
}

function arnOf(c: Context): string {
  return c.req.param('arn') ?? '';
}
