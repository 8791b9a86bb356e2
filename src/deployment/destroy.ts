import type { Context } from '../command.ts';
import { placeOf } from '../databricks/bundle.ts';
import { findCheckpoints, removeCheckpoints } from '../databricks/checkpoints.ts';
import { dropTables, findTables } from '../databricks/data.ts';
import { findDeployed, removeDeployed, type Deployed } from '../databricks/destroy.ts';
import { underDeployLock } from '../databricks/lock.ts';
import { runsGoingOn, getStatus } from '../databricks/rest.ts';
import { stopRun } from '../databricks/runs.ts';
import { findIndexed, removeIndexed } from '../elasticsearch/destroy.ts';
import { Failure } from '../errors.ts';
import { findRights, removeRights } from '../kafka/acls.ts';
import { withAdmin } from '../kafka/connect.ts';
import { anyTopic, deleteTopics, findTopics } from '../kafka/topics.ts';
import { accessTo } from '../msk/access.ts';
import { deleteCluster, findCluster, type ClusterFound } from '../msk/cluster.ts';
import { deleteConfiguration, findConfiguration } from '../msk/configuration.ts';
import { strayKey } from '../msk/keys.ts';
import { observeLogins, removeLogins, ROLES, usernameOf, type LoginsFound } from '../msk/logins.ts';
import { disownTopics, ownedTopics } from '../msk/ownership.ts';
import { poll } from '../poll.ts';
import { agreed } from './agree.ts';
import { openSystems, type Systems } from './observe.ts';
import { checkProtected, keptOf, planRemoval, type Made, type RemovalOptions } from './removal.ts';
import type { Removal } from './removal-step.ts';
import { sentence, type Step } from './step.ts';

/** A cluster starts for it. */
const CHECKPOINTS_DEADLINE_MS = 30 * 60_000;

export type DestroyOptions = RemovalOptions & {
  yes: boolean;
  dryRun: boolean;
  forceLock: boolean;
  /** Throws where these steps may not be done (a saved plan that is outdated). */
  check?: (made: Made, steps: readonly Step[]) => void;
};

export type Destroyed = { steps: Step[]; kept: { thing: string; name: string }[]; made: Made };

/** Plans the end of what provision and deploy made, shows, asks, does it and looks again. Failure PREVENT_DESTROY where something must stay. */
export async function destroyWorld(context: Context, options: DestroyOptions): Promise<Destroyed> {
  const { config, progress } = context;
  const systems = await openSystems(context);
  try {
    const place = placeOf(config, systems.who);
    // The lock stands in the folder that goes: where there is none, nobody deploys.
    const isDeployed = !options.dryRun && (await getStatus(systems.workspace, place.root)) !== undefined;
    if (!isDeployed) return await planned(context, systems, options);
    return await underDeployLock(systems.workspace, place, systems.who, { force: options.forceLock, warn: progress.warn }, () => planned(context, systems, options));
  } finally {
    await systems.close();
  }
}

async function planned(context: Context, systems: Systems, options: DestroyOptions): Promise<Destroyed> {
  const { config, progress } = context;
  progress.update('looking for what is there');
  const made = await observeMade(context, systems, options);
  checkProtected(config, made);
  const steps = planRemoval(config.pipeline, made, options);
  options.check?.(made, steps);
  const done = { steps, kept: keptOf(config.pipeline, made), made };
  if (options.dryRun || steps.length === 0) return done;
  for (const step of steps) progress.note(sentence(step));
  if (!options.yes) await agreed(context, `Do these ${steps.length} steps to target ${config.target}?`, 'destroy');
  await remove(context, systems, made, steps, options);
  const left = planRemoval(config.pipeline, await observeMade(context, systems, options), options);
  if (left.length === 0) return done;
  throw new Failure({
    code: 'APPLY_DID_NOT_TAKE',
    kind: 'remote',
    message: `every step was taken, and this is still there: ${left.map(({ thing, name: what }) => `${thing} ${what}`).join(', ')}`,
    hint: `See it again: \`streamgauge plan --destroy -t ${config.target}\`; somebody else may be making it anew.`,
  });
}

async function observeMade({ config, signal }: Context, { aws, workspace, elasticsearch }: Systems, { data }: RemovalOptions): Promise<Made> {
  const { cluster_name: name, index } = config.pipeline;
  const [cluster, deployed, indexed, tables] = await Promise.all([
    findCluster(aws, name),
    findDeployed(workspace, config),
    elasticsearch === undefined ? { template: undefined, indices: [] } : findIndexed(elasticsearch, index),
    // Unlike for a plan, a table that nobody can see must not count as none.
    data ? findTables(config, signal) : [],
  ]);
  const [observed, own] = await Promise.all([observeLogins(aws, name, cluster?.state === 'DELETING' ? undefined : cluster), findConfiguration(aws, name)]);
  const logins = { ...observed, key: observed.key ?? (await strayKey(aws, name)) };
  // Somebody else's cluster may have taken it over.
  const configuration = own === undefined || (cluster?.configuration?.arn === own.arn && !cluster.ours) ? undefined : own.arn;
  const checkpoints = data ? await findCheckpoints(workspace, config, tables.length > 0 || hasFolder(deployed)) : [];
  const activeRuns = await runsGoingOn(workspace, jobsOf(deployed));
  return { cluster, configuration, logins, ...(await observeInside(config, aws, cluster, logins)), deployed, indexed, tables, checkpoints, activeRuns: activeRuns.map((run) => ({ jobId: run.job_id, runId: run.run_id })) };
}

/** Inside a cluster that stays; one that goes takes everything with it. */
async function observeInside(config: Context['config'], aws: Systems['aws'], cluster: ClusterFound | undefined, logins: LoginsFound): Promise<Pick<Made, 'topics' | 'goneTopics' | 'rights'>> {
  const scram = config.pipeline.kafka_auth === 'scram';
  const canEnter = !scram || logins.secrets.admin?.associated === true;
  if (cluster === undefined || cluster.ours || !canEnter) return { topics: [], goneTopics: [], rights: [] };
  return withAdmin(await accessTo(aws, cluster, config, 'admin'), 'looking at topics and rights', async (admin) => {
    const owned = ownedTopics(cluster);
    const topics = await findTopics(admin, owned);
    const goneTopics = owned.filter((name) => !topics.some((topic) => topic.name === name));
    return { topics, goneTopics, rights: scram ? await findRights(admin, usersOf(cluster.name)) : [] };
  });
}

type Does<K extends Removal['do']> = Extract<Removal, { do: K }>;

function stepsThat<K extends Removal['do']>(steps: readonly Step[], kind: K): Does<K>[] {
  return steps.flatMap(({ work }) => (work.room === 'removal' && work.step.do === kind ? [work.step as Does<K>] : []));
}

async function remove(context: Context, systems: Systems, { cluster, logins, deployed }: Made, steps: readonly Step[], { force }: RemovalOptions): Promise<void> {
  const { config, progress, signal } = context;
  const { aws, elasticsearch, workspace, who } = systems;
  const { cluster_name: name, index } = config.pipeline;
  const things = stepsThat(steps, 'remove deployed').map(({ thing }) => thing);
  // A run that went on would make anew what goes after it.
  for (const run of await runsGoingOn(workspace, jobsOf(things))) await stopRun(workspace, run.run_id);
  const removed = (which: (thing: Deployed) => boolean): Promise<void> => removeDeployed(workspace, things.filter(which), ({ what }) => progress.update(what));
  await removed(({ what }) => what === 'job');
  const tables = stepsThat(steps, 'drop table').map(({ table }) => table);
  if (tables.length > 0) await dropTables(config, tables, signal);
  if (stepsThat(steps, 'remove checkpoints').length > 0) await removeCheckpoints(workspace, config, who, hasFolder(deployed), { deadlineMs: CHECKPOINTS_DEADLINE_MS, signal, onUpdate: (text) => progress.update(`checkpoints: ${text}`) });
  await removed(({ what }) => what !== 'job');
  const indexed = { indices: stepsThat(steps, 'delete index').map((step) => step.index), template: stepsThat(steps, 'delete template')[0]?.index };
  if (elasticsearch !== undefined) await removeIndexed(elasticsearch, index, indexed);
  const topics = stepsThat(steps, 'delete topic').map(({ topic }) => topic);
  const rights = stepsThat(steps, 'take rights');
  if (cluster !== undefined && (topics.length > 0 || rights.length > 0)) {
    progress.update('topics and rights');
    await withAdmin(await accessTo(aws, cluster, config, 'admin'), 'deleting topics and rights', async (admin) => {
      await deleteTopics(admin, topics);
      // Seen now: without its rights and its login, the admin sees nothing any more.
      await poll({ what: `topics ${topics.join(', ')} to be gone`, deadlineMs: 30_000, intervalMs: 50, signal }, async () => ((await anyTopic(admin, topics)) ? undefined : true));
      if (rights.length > 0) await removeRights(admin, usersOf(name));
    });
  }
  if (cluster !== undefined) await disownTopics(aws, cluster, [...topics, ...stepsThat(steps, 'forget topic').map(({ topic }) => topic)]);
  progress.update('secrets and key');
  await removeLogins(aws, cluster, name, logins, force);
  if (stepsThat(steps, 'delete cluster').length > 0 && cluster !== undefined) await deleteCluster(aws, cluster, { signal, onState: (state) => progress.update(`cluster ${name}: ${state}`) });
  for (const { arn } of stepsThat(steps, 'delete configuration')) await deleteConfiguration(aws, arn);
}

function jobsOf(deployed: readonly Deployed[]): number[] {
  return deployed.flatMap((thing) => (thing.what === 'job' ? [thing.id] : []));
}

function hasFolder(deployed: readonly Deployed[]): boolean {
  return deployed.some(({ what }) => what === 'folder');
}

function usersOf(cluster: string): string[] {
  return ROLES.map((role) => usernameOf(cluster, role));
}
