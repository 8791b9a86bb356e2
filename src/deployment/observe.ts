import type { Context } from '../command.ts';
import { connect, type Workspace } from '../databricks/client.ts';
import { observeTables } from '../databricks/data.ts';
import { outdatedJobs, wantedDeployment, type Found as WorkspaceFound, type Wanted as WorkspaceWanted } from '../databricks/deploy.ts';
import { observe } from '../databricks/observe.ts';
import { runsGoingOn, me, type Me } from '../databricks/rest.ts';
import { openElasticsearch, type Elasticsearch } from '../elasticsearch/connect.ts';
import { findTemplate, indexTemplate } from '../elasticsearch/template.ts';
import { Failure, Secret } from '../errors.ts';
import { findRights } from '../kafka/acls.ts';
import { withAdmin, type KafkaAccess } from '../kafka/connect.ts';
import { findTopics } from '../kafka/topics.ts';
import { accessTo } from '../msk/access.ts';
import { connectAws, type Aws } from '../msk/clients.ts';
import { findCluster } from '../msk/cluster.ts';
import { loginAgeMs, observeLogins, ROLES, usernameOf, type LoginsFound } from '../msk/logins.ts';
import { observeConfiguration } from '../msk/configuration.ts';
import { admitted, LOGIN_DEADLINE_MS } from './broker.ts';
import type { BrokerFound, Observed, Wanted } from './plan.ts';

/** The systems that a deployment talks to; Elasticsearch only where the environment names one. */
export type Systems = { aws: Aws; workspace: Workspace; who: Me; elasticsearch: Elasticsearch | undefined; close(): Promise<void> };

export type World = { wanted: Wanted; found: Observed };

const SCRAM_SECRETS = ['bootstrap_servers', 'password', 'username'];

/** Clients for every system of the target; nothing is changed, and little is asked yet. */
export async function openSystems({ config, signal }: Context): Promise<Systems> {
  const [aws, { connected, who }, elasticsearch] = await Promise.all([
    connectAws(config.awsRegion),
    connect(config.databricks, { signal }).then(async (connected) => ({ connected, who: await me(connected) })),
    config.elasticsearch === undefined ? undefined : openElasticsearch(config, signal),
  ]);
  return { aws, workspace: connected, who, elasticsearch, close: async () => elasticsearch?.close() };
}

/** Reads everything from broker to index, and what the configuration makes of it. */
export async function observeWorld(context: Context, systems: Systems): Promise<World> {
  const { config } = context;
  const { index } = config.pipeline;
  const broker = observeBroker(context, systems.aws);
  const [{ secrets, ...brokerFound }, { tables, shapes }, template, { wanted, found, activeRuns }] = await Promise.all([
    broker,
    tablesThere(context),
    systems.elasticsearch === undefined ? undefined : findTemplate(systems.elasticsearch, index),
    observeWorkspace(context, systems, broker.then(({ secrets }) => secrets)),
  ]);
  const wantedTemplate = systems.elasticsearch === undefined ? undefined : (indexTemplate(index) as Record<string, unknown>);
  const complete: WorkspaceWanted = { ...wanted, scope: { ...wanted.scope, ...scopeOf(config, secrets) } };
  return {
    wanted: { pipeline: config.pipeline, workspace: complete, template: wantedTemplate },
    found: { ...brokerFound, workspace: found, activeRuns, tables, shapes, template },
  };
}

/** The secrets of the scope, and the keys of those that will have values once the broker's part is applied. */
export function scopeOf(config: Pick<Context['config'], 'pipeline' | 'jobs' | 'elasticsearch'>, secrets: Record<string, Secret> | undefined): { secrets: Record<string, Secret>; pending: string[] } {
  const pending = config.pipeline.kafka_auth === 'iam' ? ['bootstrap_servers'] : SCRAM_SECRETS;
  return { secrets: { ...secrets, ...elasticsearchSecrets(config) }, pending: secrets === undefined ? pending : [] };
}

async function observeWorkspace({ config }: Context, { workspace, who }: Systems, secrets: Promise<unknown>) {
  // Not waited for: what MSK answers is not needed to ask the workspace; but its failure must not be nobody's.
  secrets.catch(() => undefined);
  const wanted = await wantedDeployment(workspace, config, {}, who);
  const found = await observe(workspace, wanted);
  return { wanted, found, activeRuns: await activeRunsOf(workspace, wanted, found) };
}

/** Runs that go on, of jobs that do not stay as they are: nobody else's have to be known. */
export async function activeRunsOf(workspace: Workspace, wanted: WorkspaceWanted, found: WorkspaceFound): Promise<Observed['activeRuns']> {
  const jobs = outdatedJobs(wanted, found).flatMap((key) => (found.jobs[key] === undefined ? [] : [{ key, id: found.jobs[key].job_id }]));
  const runs = await runsGoingOn(workspace, jobs.map(({ id }) => id));
  return jobs.flatMap(({ key, id }) => runs.filter((run) => run.job_id === id).map((run) => ({ key, jobId: id, runId: run.run_id })));
}

/** MSK and Kafka; what is inside the cluster only where the admin can log in already. `secrets` are the pipeline's, where they are there. */
export async function observeBroker(context: Context, aws: Aws): Promise<BrokerFound & { secrets: Record<string, Secret> | undefined }> {
  const { config } = context;
  const { cluster_name: name, kafka_auth: auth } = config.pipeline;
  const cluster = await findCluster(aws, name);
  const scram = auth === 'scram';
  const [configuration, logins] = await Promise.all([
    observeConfiguration(aws, name, cluster),
    scram ? observeLogins(aws, name, cluster?.state === 'DELETING' ? undefined : cluster) : ({ key: undefined, secrets: { admin: undefined, pipeline: undefined } } satisfies LoginsFound),
  ]);
  const canEnter = cluster?.logins[auth] === true && !['CREATING', 'DELETING', 'FAILED'].includes(cluster.state);
  const isReady = (role: (typeof ROLES)[number]): boolean => canEnter && (!scram || (logins.secrets[role]?.associated === true && !logins.secrets[role].scheduledForDeletion));
  const secrets = cluster !== undefined && isReady('pipeline') ? kafkaSecrets(await accessTo(aws, cluster, config, 'pipeline')) : undefined;
  if (cluster === undefined || !isReady('admin')) return { cluster, configuration, logins, topics: [], rights: [], secrets };
  const look = async (access: KafkaAccess) => withAdmin(access, 'looking at topics and rights', async (admin) => ({
    topics: await findTopics(admin, config.pipeline.topics),
    rights: scram ? await findRights(admin, ROLES.map((role) => usernameOf(name, role))) : [],
  }));
  const access = await accessTo(aws, cluster, config, 'admin');
  const inside = await look(access).catch(async (error: unknown) => {
    // Somebody is making this user, or has changed its password: the brokers will know it.
    const isNew = error instanceof Failure && error.code === 'KAFKA_AUTHENTICATION_FAILED' && scram && ((await loginAgeMs(aws, name, 'admin')) ?? Infinity) < LOGIN_DEADLINE_MS;
    if (!isNew) throw error;
    await admitted(context, access, true);
    return look(access);
  });
  // Others may share the users and the cluster: their topics' rights are not this deployment's world.
  const rights = inside.rights.filter(({ resource, name: topic }) => resource !== 'topic' || topic === '*' || config.pipeline.topics.includes(topic));
  return { cluster, configuration, logins, topics: inside.topics, rights, secrets };
}

/** What the notebooks read from the secret scope; MSK names the brokers in any order. */
export function kafkaSecrets({ brokers, sasl }: KafkaAccess): Record<string, Secret> {
  const servers = { bootstrap_servers: new Secret([...brokers].sort().join(',')) };
  return sasl.mechanism === 'iam' ? servers : { ...servers, username: new Secret(sasl.username), password: sasl.password };
}

/** For the task that carries windows to Elasticsearch; a job without it is given nothing that it does not need. */
function elasticsearchSecrets({ jobs, elasticsearch }: Pick<Context['config'], 'jobs' | 'elasticsearch'>): Record<string, Secret> {
  const exports = jobs.some(({ settings: { tasks } }) => Array.isArray(tasks) && tasks.some((task: { task_key?: unknown } | null) => task?.task_key === 'export'));
  if (!exports || elasticsearch === undefined) return {};
  const { url, auth } = elasticsearch;
  const login: Record<string, Secret> = 'apiKey' in auth ? { elasticsearch_api_key: auth.apiKey } : { elasticsearch_username: new Secret(auth.username), elasticsearch_password: auth.password };
  return { elasticsearch_url: new Secret(url), ...login };
}

type TablesFound = Pick<Observed, 'tables' | 'shapes'>;

/** The job makes the tables; a plan has to know whether there is something to lose, and what they lack. Undefined where no warehouse answers. */
async function tablesThere({ config, signal }: Context): Promise<TablesFound> {
  if (config.databricks.httpPath === undefined) return { tables: undefined, shapes: {} };
  try {
    return await observeTables(config, signal);
  } catch (error) {
    // Whoever may deploy need not have the right to query; the workspace itself says what is wrong with the rest.
    if (error instanceof Failure && !signal.aborted) return { tables: undefined, shapes: {} };
    throw error;
  }
}
