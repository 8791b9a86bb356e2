import type { Config } from '../config/config.ts';
import type { Deployed } from '../databricks/destroy.ts';
import type { Indexed } from '../elasticsearch/destroy.ts';
import { Failure } from '../errors.ts';
import type { Right } from '../kafka/acls.ts';
import type { TopicFound } from '../kafka/topics.ts';
import type { ClusterFound } from '../msk/cluster.ts';
import { configurationNameOf } from '../msk/configuration.ts';
import { keyAliasOf, RECOVERY_DAYS } from '../msk/keys.ts';
import { ROLES, type LoginsFound, type SecretFound } from '../msk/logins.ts';
import type { Removal } from './removal-step.ts';
import type { Change, Risk, Step } from './step.ts';

/** What shall go besides that which can be made again. */
export type RemovalOptions = Readonly<{ /** The Delta tables, and the checkpoints of the streams that wrote them. */ data: boolean; /** Secrets without the days in which they can be had back. */ force: boolean }>;

/** What provision and deploy made and is still there; topics and rights only of a cluster that stays: one that goes takes them along. */
export type Made = Readonly<{
  cluster: ClusterFound | undefined;
  /** The configuration that was made for the cluster, by its ARN. */
  configuration: string | undefined;
  logins: LoginsFound;
  topics: readonly TopicFound[];
  /** Topics that are marked as ours at the cluster and are gone: a killed `destroy` leaves that. */
  goneTopics: readonly string[];
  rights: readonly Right[];
  deployed: readonly Deployed[];
  indexed: Indexed;
  /** Empty where they are not asked for. */
  tables: readonly string[];
  /** Folders of the streams below `checkpoint_root`, likewise. */
  checkpoints: readonly string[];
  activeRuns: readonly { jobId: number; runId: number }[];
}>;

/** Every step that takes back what was made, from the outside in: what uses a thing goes before it. Pure. */
export function planRemoval({ cluster_name: name, checkpoint_root: root }: Pick<Config['pipeline'], 'cluster_name' | 'checkpoint_root'>, made: Made, { force }: RemovalOptions): Step[] {
  const { cluster, configuration, logins, topics, goneTopics, rights, deployed, indexed, tables, checkpoints } = made;
  const users = [...new Set(rights.map(({ user }) => user))];
  return [
    ...deployed.filter(({ what }) => what === 'job').map((thing) => deployedStep(thing, made)),
    ...tables.map((table) => gone('table', table, 'loses data', { do: 'drop table', table })),
    // After the tables: a stream without its checkpoint would write every record once more into a table that is still there. Before the folder: while
    // that stands, whoever was killed in between knows what is left.
    ...(checkpoints.length === 0 ? [] : [{ ...gone('checkpoints', root, 'loses data', { do: 'remove checkpoints', root }, fields({ folders: checkpoints })), why: 'where the streams were; the next deployment reads the topics from their beginning' }]),
    ...deployed.filter(({ what }) => what !== 'job').map((thing) => deployedStep(thing, made)),
    ...indexed.indices.map((index) => gone('index', index, 'loses data', { do: 'delete index', index })),
    ...(indexed.template === undefined ? [] : [gone('index template', indexed.template, 'safe', { do: 'delete template', index: indexed.template })]),
    ...topics.map(topicStep),
    ...goneTopics.map((topic) => gone('mark of the topic', topic, 'safe', { do: 'forget topic', topic })),
    ...users.map((user) => gone('rights', user, 'safe', { do: 'take rights', user }, fields({ count: rights.filter((right) => right.user === user).length }))),
    ...ownSecrets(logins, force).map((secret) => secretStep(secret, force)),
    ...(logins.key?.ours === true ? [{ ...gone('key', keyAliasOf(name), 'irreversible', { do: 'delete key', alias: keyAliasOf(name) }), why: `AWS deletes it after ${RECOVERY_DAYS} days` }] : []),
    ...(isGoing(cluster) ? [clusterStep(cluster)] : []),
    // In use until the cluster is gone.
    ...(configuration === undefined ? [] : [gone('configuration', configurationNameOf(name), 'safe', { do: 'delete configuration', arn: configuration })]),
  ];
}

/** What is there and stays: what somebody else made. */
export function keptOf({ cluster_name: name }: Pick<Config['pipeline'], 'cluster_name'>, { cluster, logins }: Made): { thing: string; name: string }[] {
  const secrets = ROLES.flatMap((role) => logins.secrets[role] ?? []).filter((secret) => !secret.ours);
  return [
    ...(cluster !== undefined && !cluster.ours ? [{ thing: 'cluster', name }] : []),
    ...secrets.map((secret) => ({ thing: 'secret', name: secret.name })),
    ...(logins.key?.ours === false ? [{ thing: 'key', name: keyAliasOf(name) }] : []),
  ];
}

/** What is marked as not to be destroyed blocks the whole, by a Failure PREVENT_DESTROY: half a destruction helps nobody. */
export function checkProtected({ pipeline, jobs }: Pick<Config, 'pipeline' | 'jobs'>, { cluster, topics, deployed, tables }: Made): void {
  const kinds = pipeline.prevent_destroy;
  const marked = jobs.filter((job) => (job.settings.lifecycle as { prevent_destroy?: unknown } | undefined)?.prevent_destroy === true);
  const blocked = [
    ...(kinds.includes('topics') && (topics.length > 0 || isGoing(cluster)) ? [`topics ${pipeline.topics.join(', ')} (variable prevent_destroy)`] : []),
    ...(kinds.includes('tables') ? tables.map((table) => `table ${table} (variable prevent_destroy)`) : []),
    ...(deployed.some(({ what }) => what === 'job') ? marked.map((job) => `job ${job.key} (lifecycle.prevent_destroy in ${job.file})`) : []),
  ];
  if (blocked.length === 0) return;
  throw new Failure({ code: 'PREVENT_DESTROY', kind: 'usage', message: `nothing was destroyed, because this must stay: ${blocked.join('; ')}`, hint: 'If it really shall go, take the mark away first: --var prevent_destroy= (or lifecycle.prevent_destroy: false).' });
}

/** Secrets that go: with `force` also those whose days are already counted. */
export function ownSecrets(logins: LoginsFound, force: boolean): SecretFound[] {
  return ROLES.flatMap((role) => logins.secrets[role] ?? []).filter((secret) => secret.ours && (force || !secret.scheduledForDeletion));
}

function isGoing(cluster: ClusterFound | undefined): cluster is ClusterFound {
  return cluster?.ours === true && cluster.state !== 'DELETING';
}

function gone(thing: string, name: string, risk: Risk, step: Removal, changes: Change[] = []): Step {
  return { action: 'delete', thing, name, risk, changes, work: { room: 'removal', step } };
}

/** What is there now, field by field, and will not be. */
function fields(found: Record<string, unknown>): Change[] {
  return Object.entries(found).flatMap(([field, value]) => (value === undefined ? [] : [{ field, found: value }]));
}

function deployedStep(thing: Deployed, { activeRuns }: Made): Step {
  const removal: Removal = { do: 'remove deployed', thing };
  switch (thing.what) {
    case 'job': {
      const runs = activeRuns.filter(({ jobId }) => jobId === thing.id).map(({ runId }) => runId);
      const why = runs.length === 0 ? 'the history of its runs goes with it' : 'the history of its runs goes with it; runs that go on are cancelled';
      return { ...gone('job', thing.name, 'irreversible', removal, fields({ id: thing.id, 'runs that go on': runs.length === 0 ? undefined : runs })), why };
    }
    case 'folder':
      return { ...gone('folder', thing.path, 'irreversible', removal), why: 'notebooks, and the history of deployments' };
    case 'secret scope':
      return gone('secret scope', thing.name, 'safe', removal);
    case 'secrets':
      return gone('secrets', `${thing.scope}: ${thing.keys.join(', ')}`, 'safe', removal);
  }
}

function topicStep({ name, partitions, replicationFactor, configs }: TopicFound): Step {
  return gone('topic', name, 'loses data', { do: 'delete topic', topic: name }, fields({ partitions, 'replication factor': replicationFactor, ...configs }));
}

function secretStep({ name }: SecretFound, force: boolean): Step {
  return { ...gone('secret', name, force ? 'irreversible' : 'safe', { do: 'delete secret', name, atOnce: force }), why: force ? 'at once' : `can be had back for ${RECOVERY_DAYS} days` };
}

function clusterStep({ name, brokers, kafkaVersion, instanceType, storageGib }: ClusterFound): Step {
  return { ...gone('cluster with all its topics', name, 'loses data', { do: 'delete cluster', name }, fields({ brokers, 'Kafka version': kafkaVersion, 'instance type': instanceType, 'storage in GiB': storageGib })) };
}
