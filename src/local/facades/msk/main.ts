import { Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { z } from 'zod';
import type { Facade } from '../../contract.ts';
import type { AwsCredentials } from '../../servers/aws.ts';
import { answerErrors } from '../refusal.ts';
import { routeTable } from '../routes.ts';
import { openClusters, type Clusters, type ClustersOptions } from './clusters.ts';
import { openConfigurations } from './configurations.ts';
import { bad, msk, mskError, pageOf, paging } from './errors.ts';
import { followRotations, scramRoutes } from './scram.ts';
import { loginReader } from './secrets.ts';
import { configurationInfo, describeV1, describeV2, hasScram, named, wanted, type ClusterRecord } from './shapes.ts';
import { verifySignature } from './signature.ts';

export type MskOptions = Omit<ClustersOptions, 'configurations' | 'arnPrefix'> & {
  region: string;
  accountId: string;
  /** Where Secrets Manager and KMS answer. */
  awsUrl: string;
  credentials: AwsCredentials;
};

const onCluster = z.object({ arn: z.string() });
const MOST_BODY_BYTES = 1 << 20;

/** MSK's REST API in front of real brokers; returns when the clusters that it had are up again. */
export async function createMsk(options: MskOptions): Promise<Facade> {
  const arnPrefix = `arn:aws:kafka:${options.region}:${options.accountId}`;
  const configurations = openConfigurations(options.stateDir, arnPrefix);
  const clusters = await openClusters({ ...options, configurations, arnPrefix });
  const readLogin = loginReader({ ...options, caFile: options.authority.caFile });
  const app = new Hono();
  answerErrors(app, options.log, (message) => mskError('InternalServerErrorException', message));
  app.notFound((c) => mskError('NotImplementedException', `${c.req.method} ${c.req.path} is not part of the local platform`).getResponse());
  app.use(bodyLimit({ maxSize: MOST_BODY_BYTES, onError: () => mskError('BadRequestException', `The request body has at most ${MOST_BODY_BYTES} bytes.`).getResponse() }));
  app.use(async (c, next) => {
    await verifySignature(c.req.raw, new Uint8Array(await c.req.arrayBuffer()), options.credentials);
    await next();
  });
  app.route('/', clusterRoutes(clusters));
  app.route('/', scramRoutes(clusters, readLogin));
  app.route('/', configurations.routes((arn) => clusters.all().some((cluster) => cluster.provisioned.configurationInfo?.arn === arn)));
  const following = followRotations(clusters, readLogin, options.log);
  return { app, stop: async () => void (await Promise.all([clusters.stop(), following])) };
}

function clusterRoutes(clusters: Clusters): Hono {
  const { app, get, post, put, delete: remove } = routeTable('/', msk);
  const filters = paging.extend({ clusterNameFilter: z.string().default(''), clusterTypeFilter: z.string().default('PROVISIONED') });
  for (const [path, describe, asked] of [['/api/v2/clusters', describeV2, z.object({ provisioned: wanted })], ['/v1/clusters', describeV1, wanted.transform((provisioned) => ({ provisioned }))]] as const) {
    post(path, z.intersection(named, asked), ({ clusterName, tags, provisioned }) => {
      const { arn, state } = clusters.create({ clusterName, tags }, provisioned);
      return { clusterArn: arn, clusterName, state };
    });
    get(path, filters, ({ clusterNameFilter: prefix, clusterTypeFilter: type, ...page }) => {
      const { items, nextToken } = pageOf(page, clusters.all().filter(({ name }) => name.startsWith(prefix) && type === 'PROVISIONED'));
      return { clusterInfoList: items.map(describe), nextToken };
    });
    get(`${path}/:arn`, onCluster, ({ arn }) => ({ clusterInfo: describe(clusters.get(arn)) }));
  }
  get('/v1/clusters/:arn/bootstrap-brokers', onCluster, ({ arn }) => {
    const { bootstrap } = clusters.kafka(clusters.get(arn), ['ACTIVE', 'UPDATING']);
    return hasScram(clusters.get(arn)) ? { bootstrapBrokerStringSaslScram: bootstrap.join(',') } : {};
  });
  put('/v1/clusters/:arn/configuration', onCluster.extend({ configurationInfo, currentVersion: z.string() }), ({ arn, configurationInfo: info, currentVersion }) => {
    clusters.reconfigure(versionOf(clusters.get(arn), currentVersion), info);
    return { clusterArn: arn, clusterOperationArn: arn.replace(':cluster/', ':cluster-operation/') };
  });
  remove('/v1/clusters/:arn', onCluster.extend({ currentVersion: z.string().optional() }), ({ arn, currentVersion }) => {
    clusters.remove(versionOf(clusters.get(arn), currentVersion));
    return { clusterArn: arn, state: 'DELETING' };
  });
  get('/v1/tags/:arn', onCluster, ({ arn }) => ({ tags: clusters.get(arn).tags }));
  post('/v1/tags/:arn', onCluster.extend(named.pick({ tags: true }).shape), ({ arn, tags }, c) => {
    clusters.change(arn, { tags: { ...clusters.get(arn).tags, ...tags } });
    return c.body(null, 204);
  });
  remove('/v1/tags/:arn', onCluster, ({ arn }, c) => {
    const gone = c.req.queries('tagKeys') ?? [];
    clusters.change(arn, { tags: Object.fromEntries(Object.entries(clusters.get(arn).tags).filter(([name]) => !gone.includes(name))) });
    return c.body(null, 204);
  });
  return app;
}

/** The cluster, if this is its current version or none is asked for. */
function versionOf(cluster: ClusterRecord, version = cluster.currentVersion): ClusterRecord {
  if (version === cluster.currentVersion) return cluster;
  throw bad('This operation cannot be performed with the current version of the cluster.', 'currentVersion');
}
