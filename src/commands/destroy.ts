import type { Block, Command, Context } from '../command.ts';
import { placeOf } from '../databricks/bundle.ts';
import { connect } from '../databricks/client.ts';
import { dropTables, findTables } from '../databricks/data.ts';
import { findDeployed, removeDeployed, type Deployed } from '../databricks/destroy.ts';
import { agreed } from '../deployment/agree.ts';
import type { Risk } from '../deployment/step.ts';
import { takeDeployLock } from '../databricks/lock.ts';
import { me } from '../databricks/rest.ts';
import { openElasticsearch, type Elasticsearch } from '../elasticsearch/connect.ts';
import { findIndexed, removeIndexed, type Indexed } from '../elasticsearch/destroy.ts';
import { Failure } from '../errors.ts';
import { findRights, removeRights, type Right } from '../kafka/acls.ts';
import { withAdmin } from '../kafka/connect.ts';
import { deleteTopics, findTopics } from '../kafka/topics.ts';
import { accessTo } from '../msk/access.ts';
import { connectAws, type Aws } from '../msk/clients.ts';
import { deleteCluster, findCluster, type ClusterFound } from '../msk/cluster.ts';
import { keyAliasOf, observeLogins, removeLogins, ROLES, usernameOf, type LoginsFound } from '../msk/logins.ts';
import { disownTopics, ownedTopics } from '../msk/ownership.ts';

type Options = { yes?: boolean; data?: boolean; force?: boolean; dryRun?: boolean; forceLock?: boolean };
type Found = { cluster: ClusterFound | undefined; logins: LoginsFound; kafka: { topics: string[]; rights: Right[] }; deployed: Deployed[]; indexed: Indexed; tables: string[] };
type Thing = { thing: string; name: string; risk: Risk };
type Result = { changed: boolean; destroyed: Thing[]; kept: Omit<Thing, 'risk'>[]; dryRun?: true };

/** `streamgauge destroy`: takes back what provision and deploy made, after showing it; what was there before them stays. */
export const destroy: Command<Options, Result> = {
  name: 'destroy',
  summary: 'Delete what provision and deploy made: shows it first and asks. Delta tables only with --data.',
  examples: [
    ['streamgauge destroy -t dev', 'show what would go, and ask'],
    ['streamgauge destroy -t dev --dry-run', 'only show it, with what each thing costs'],
    ['streamgauge destroy -t dev --yes', 'without asking, for scripts'],
    ['streamgauge destroy -t dev --data --force --yes', 'tables too, and secrets without a recovery window'],
  ],
  options: {
    yes: { type: 'boolean', alias: 'y', describe: 'Do not ask' },
    dryRun: { type: 'boolean', describe: 'Show what would go, and do nothing' },
    data: { type: 'boolean', describe: 'Drop the Delta tables as well' },
    forceLock: { type: 'boolean', describe: 'Break the lock of a deployment that crashed' },
    force: { type: 'boolean', describe: 'Delete secrets at once; without it they can be had back for 7 days' },
  },
  async run(context, { yes = false, data = false, force = false, dryRun = false, forceLock = false }) {
    const { config, progress, signal } = context;
    const aws = await connectAws(config.awsRegion);
    const elasticsearch = config.elasticsearch && (await openElasticsearch(config, signal));
    const found = await observe(context, aws, elasticsearch, data);
    const things = thingsIn(found, config.pipeline.cluster_name);
    const kept = keptOf(found, config.pipeline.cluster_name);
    checkProtected(config, found, things);
    if (things.length > 0 && !dryRun) {
      for (const thing of things) progress.note(`${thing.thing} ${thing.name} [${thing.risk}]`);
      if (!yes) await agreed(context, `${things.length} things of target ${config.target} would be destroyed.`, 'destroy');
      await locked(context, found, forceLock, () => remove(context, aws, elasticsearch, found, force));
    }
    await elasticsearch?.close();
    return { changed: things.length > 0, destroyed: things, kept, ...(dryRun ? { dryRun } : {}) };
  },
  render({ destroyed, kept, dryRun }) {
    const rows = (things: Thing[]) => things.map(({ thing, name, risk }) => [thing, name, risk]);
    const head: Block = destroyed.length === 0 ? { kind: 'text', text: 'Nothing to do: nothing that provision or deploy made is there.' } : { kind: 'table', title: dryRun ? 'Would destroy:' : 'Destroyed:', columns: ['', 'name', 'risk'], rows: rows(destroyed) };
    return kept.length === 0 ? [head] : [head, { kind: 'table', title: 'Kept, because streamgauge did not make it:', columns: ['', 'name'], rows: kept.map(({ thing, name }) => [thing, name]) }];
  },
};

async function observe({ config, progress, signal }: Context, aws: Aws, elasticsearch: Elasticsearch | undefined, data: boolean): Promise<Found> {
  progress.stage('looking for what is there');
  const { cluster_name: name, index } = config.pipeline;
  const workspace = await connect(config.databricks, { signal });
  const [cluster, deployed, indexed, tables] = await Promise.all([
    findCluster(aws, name),
    findDeployed(workspace, config),
    elasticsearch === undefined ? { template: undefined, indices: [] } : findIndexed(elasticsearch, index),
    data ? findTables(config, signal) : [],
  ]);
  const logins = await observeLogins(aws, name, cluster?.state === 'DELETING' ? undefined : cluster);
  return { cluster, logins, kafka: await observeKafka(config, aws, cluster, logins), deployed, indexed, tables };
}

/** Inside a cluster that stays; one that goes takes everything with it. */
async function observeKafka(config: Context['config'], aws: Aws, cluster: ClusterFound | undefined, logins: LoginsFound): Promise<Found['kafka']> {
  const scram = config.pipeline.kafka_auth === 'scram';
  const canEnter = !scram || logins.secrets.admin?.associated === true;
  if (cluster === undefined || cluster.ours || !canEnter) return { topics: [], rights: [] };
  const access = await accessTo(aws, cluster, config, 'admin');
  return withAdmin(access, 'looking at topics and rights', async (admin) => {
    const topics = await findTopics(admin, ownedTopics(cluster));
    const rights = scram ? await findRights(admin, usersOf(cluster.name)) : [];
    return { topics: topics.map((topic) => topic.name), rights };
  });
}

/** What a thing costs when it goes: what holds no data can be made again. */
function riskOf(thing: string): Risk {
  if (['table', 'index', 'topic', 'cluster with all its topics'].includes(thing)) return 'loses data';
  return ['job', 'folder', 'key'].includes(thing) ? 'irreversible' : 'safe';
}

function thingsIn(found: Found, name: string): Thing[] {
  return namesIn(found, name).map((thing) => ({ ...thing, risk: riskOf(thing.thing) }));
}

function namesIn({ cluster, logins, kafka, deployed, indexed, tables }: Found, name: string): Omit<Thing, 'risk'>[] {
  const secrets = ROLES.flatMap((role) => logins.secrets[role] ?? []).filter((secret) => secret.ours && !secret.scheduledForDeletion);
  return [
    ...deployed.map((thing) => ({ thing: thing.what, name: 'name' in thing ? thing.name : 'path' in thing ? thing.path : `${thing.scope}: ${thing.keys.join(', ')}` })),
    ...tables.map((table) => ({ thing: 'table', name: table })),
    ...indexed.indices.map((index) => ({ thing: 'index', name: index })),
    ...(indexed.template === undefined ? [] : [{ thing: 'index template', name: indexed.template }]),
    ...kafka.topics.map((topic) => ({ thing: 'topic', name: topic })),
    ...[...new Set(kafka.rights.map((right) => right.user))].map((user) => ({ thing: 'rights', name: user })),
    ...secrets.map((secret) => ({ thing: 'secret', name: secret.name })),
    ...(logins.key?.ours === true ? [{ thing: 'key', name: keyAliasOf(name) }] : []),
    ...(cluster?.ours === true && cluster.state !== 'DELETING' ? [{ thing: 'cluster with all its topics', name }] : []),
  ];
}

function keptOf({ cluster, logins }: Found, name: string): Omit<Thing, 'risk'>[] {
  const secrets = ROLES.flatMap((role) => logins.secrets[role] ?? []).filter((secret) => !secret.ours);
  return [
    ...(cluster !== undefined && !cluster.ours ? [{ thing: 'cluster', name }] : []),
    ...secrets.map((secret) => ({ thing: 'secret', name: secret.name })),
    ...(logins.key?.ours === false ? [{ thing: 'key', name: keyAliasOf(name) }] : []),
  ];
}

/** What is marked as not to be destroyed blocks the whole: half a destruction helps nobody. */
function checkProtected(config: Context['config'], { cluster, kafka, deployed }: Found, things: readonly Thing[]): void {
  const { prevent_destroy: kinds } = config.pipeline;
  const topics = kafka.topics.length > 0 || (cluster?.ours === true && cluster.state !== 'DELETING');
  const jobs = config.jobs.filter((job) => (job.settings.lifecycle as { prevent_destroy?: unknown } | undefined)?.prevent_destroy === true);
  const blocked = [
    ...(kinds.includes('topics') && topics ? [`topics ${config.pipeline.topics.join(', ')} (variable prevent_destroy)`] : []),
    ...things.filter(({ thing }) => thing === 'table' && kinds.includes('tables')).map(({ name }) => `table ${name} (variable prevent_destroy)`),
    ...(deployed.some(({ what }) => what === 'job') ? jobs.map((job) => `job ${job.key} (lifecycle.prevent_destroy in ${job.file})`) : []),
  ];
  if (blocked.length === 0) return;
  throw new Failure({ code: 'PREVENT_DESTROY', kind: 'usage', message: `nothing was destroyed, because this must stay: ${blocked.join('; ')}`, hint: 'If it really shall go, take the mark away first: --var prevent_destroy= (or lifecycle.prevent_destroy: false).' });
}

/** No deployment may write while this deletes; the lock stands in the folder that goes, so there is none where nothing is deployed. */
async function locked({ config, signal }: Context, { deployed }: Found, force: boolean, act: () => Promise<void>): Promise<void> {
  if (!deployed.some(({ what }) => what === 'folder')) return act();
  const workspace = await connect(config.databricks, { signal });
  const who = await me(workspace);
  const lock = await takeDeployLock(workspace, placeOf(config, who), who, force);
  try {
    await act();
  } finally {
    await lock.release(workspace.withSignal(undefined));
  }
}

/** From the outside in: what uses a thing goes before it. */
async function remove({ config, progress, signal }: Context, aws: Aws, elasticsearch: Elasticsearch | undefined, found: Found, force: boolean): Promise<void> {
  const { cluster, logins, kafka, deployed, indexed, tables } = found;
  const { cluster_name: name, index } = config.pipeline;
  progress.stage('destroying');
  if (deployed.length > 0) await removeDeployed(await connect(config.databricks, { signal }), deployed, (thing) => progress.update(thing.what));
  if (tables.length > 0) await dropTables(config, tables, signal);
  if (elasticsearch !== undefined) await removeIndexed(elasticsearch, index, indexed);
  if (cluster !== undefined && (kafka.topics.length > 0 || kafka.rights.length > 0)) {
    progress.update('topics and rights');
    await withAdmin(await accessTo(aws, cluster, config, 'admin'), 'deleting topics and rights', async (admin) => {
      await deleteTopics(admin, kafka.topics);
      if (kafka.rights.length > 0) await removeRights(admin, usersOf(name));
    });
    await disownTopics(aws, cluster, kafka.topics);
  }
  progress.update('secrets and key');
  await removeLogins(aws, cluster, name, logins, force);
  if (cluster?.ours === true) await deleteCluster(aws, cluster, { signal, onState: (state) => progress.update(`cluster ${name}: ${state}`) });
}

function usersOf(cluster: string): string[] {
  return ROLES.map((role) => usernameOf(cluster, role));
}
