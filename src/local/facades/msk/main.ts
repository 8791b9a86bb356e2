import { Hono, type Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { z } from 'zod';
import type { Facade } from '../../contract.ts';
import type { AwsCredentials } from '../../servers/aws.ts';
import { answerErrors, parsed } from '../refusal.ts';
import { openClusters, type Clusters, type ClustersOptions } from './clusters.ts';
import { openConfigurations } from './configurations.ts';
import { bad, bodyOf, mskError, pageOf } from './errors.ts';
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
  app.route('/', configurations.routes((arn) => clusters.all().some((cluster) => cluster.wanted.configurationInfo?.arn === arn)));
  const following = followRotations(clusters, readLogin, options.log);
  return { app, stop: async () => void (await Promise.all([clusters.stop(), following])) };
}

function clusterRoutes(clusters: Clusters): Hono {
  const app = new Hono();
  const at = (c: Context): ClusterRecord => clusters.get(c.req.param('arn') ?? '');
  for (const [path, describe, version] of [['/api/v2/clusters', describeV2, 2], ['/v1/clusters', describeV1, 1]] as const) {
    app.post(path, async (c) => {
      const body = await bodyOf(c, z.looseObject({}));
      if (version === 2 && body.provisioned === undefined) throw bad('The local platform has provisioned clusters only.', 'provisioned');
      const { arn, name, state } = clusters.create(parsed(named, body, bad), parsed(wanted, version === 2 ? body.provisioned : body, bad));
      return c.json({ clusterArn: arn, clusterName: name, clusterType: version === 2 ? 'PROVISIONED' : undefined, state });
    });
    app.get(path, (c) => {
      const { clusterNameFilter: prefix = '', clusterTypeFilter: type = 'PROVISIONED' } = c.req.query();
      const { items, nextToken } = pageOf(c, clusters.all().filter(({ name }) => name.startsWith(prefix) && type === 'PROVISIONED'));
      return c.json({ clusterInfoList: items.map(describe), nextToken });
    });
    app.get(`${path}/:arn`, (c) => c.json({ clusterInfo: describe(at(c)) }));
  }
  app.get('/v1/clusters/:arn/bootstrap-brokers', (c) => {
    const { bootstrap } = clusters.kafka(at(c), ['ACTIVE', 'UPDATING']);
    return c.json(hasScram(at(c)) ? { bootstrapBrokerStringSaslScram: bootstrap.join(',') } : {});
  });
  app.put('/v1/clusters/:arn/configuration', async (c) => {
    const body = await bodyOf(c, z.object({ configurationInfo, currentVersion: z.string() }));
    const cluster = versionOf(at(c), body.currentVersion);
    clusters.reconfigure(cluster, body.configurationInfo);
    return c.json({ clusterArn: cluster.arn, clusterOperationArn: cluster.arn.replace(':cluster/', ':cluster-operation/') });
  });
  app.delete('/v1/clusters/:arn', (c) => {
    const cluster = versionOf(at(c), c.req.query('currentVersion'));
    clusters.remove(cluster);
    return c.json({ clusterArn: cluster.arn, state: 'DELETING' });
  });
  app.get('/v1/tags/:arn', (c) => c.json({ tags: at(c).tags }));
  app.post('/v1/tags/:arn', async (c) => {
    const { tags } = await bodyOf(c, named.pick({ tags: true }));
    clusters.change(at(c).arn, { tags: { ...at(c).tags, ...tags } });
    return c.body(null, 204);
  });
  app.delete('/v1/tags/:arn', (c) => {
    const gone = c.req.queries('tagKeys') ?? [];
    clusters.change(at(c).arn, { tags: Object.fromEntries(Object.entries(at(c).tags).filter(([name]) => !gone.includes(name))) });
    return c.body(null, 204);
  });
  return app;
}

/** The cluster, if this is its current version or none is asked for. */
function versionOf(cluster: ClusterRecord, version = cluster.currentVersion): ClusterRecord {
  if (version === cluster.currentVersion) return cluster;
  throw bad('This operation cannot be performed with the current version of the cluster.', 'currentVersion');
}
