import type { Pipeline } from '../config/config.ts';
import { outdatedJobs, plan as planWorkspace, type Found as WorkspaceFound, type Wanted as WorkspaceWanted } from '../databricks/deploy.ts';
import { differences } from '../databricks/differences.ts';
import { planTables, tableDrift, type TableShape } from '../databricks/shapes.ts';
import { planRights, wantedRights, type Right } from '../kafka/acls.ts';
import { planTopics, wantedTopics, type TopicFound } from '../kafka/topics.ts';
import { planCluster, type ClusterFound } from '../msk/cluster.ts';
import { configurationDrift, planConfiguration, type ConfigurationFound } from '../msk/configuration.ts';
import { planLogins, usernameOf, type LoginsFound } from '../msk/logins.ts';
import { brokerStep, indexStep, restartStep, tableStep, workspaceStep } from './steps.ts';
import type { Drift, Step } from './step.ts';

/** Everything from broker to index as it should be; the workspace's part holds secrets and contents, and is never printed. */
export type Wanted = Readonly<{ pipeline: Pipeline; workspace: WorkspaceWanted; template: Record<string, unknown> | undefined }>;

/** MSK and Kafka as they were found. */
export type BrokerFound = Readonly<{ cluster: ClusterFound | undefined; configuration: ConfigurationFound; logins: LoginsFound; topics: readonly TopicFound[]; rights: readonly Right[] }>;

/** Everything as it was found: plain JSON. */
export type Observed = BrokerFound & Readonly<{
  workspace: WorkspaceFound;
  /** Runs going on now, with the key of their job; only of jobs that do not stay as they are. */
  activeRuns: readonly { key: string; jobId: number; runId: number }[];
  /** Names of the Delta tables; undefined where nobody could be asked, null would be a claim. */
  tables: readonly string[] | undefined;
  /** How the tables are made that the job makes, by unqualified name; none where nobody could be asked. */
  shapes: Readonly<Record<string, TableShape>>;
  template: Record<string, unknown> | undefined;
}>;

/** Every step that makes `found` what `wanted` is, in the order of doing; none where it is so already. Pure. */
export function planDeployment(wanted: Wanted, found: Observed): Step[] {
  const tables = planTables(found.shapes).map(tableStep);
  const steps = [...planBroker(wanted.pipeline, found), ...tables, ...planWorkspace(wanted.workspace, found.workspace).map((step) => workspaceStep(step, found))];
  return [...steps, ...restarts(wanted, found), ...planIndex(wanted, found)];
}

/** The plan's part in MSK and Kafka. Pure. */
export function planBroker(pipeline: Pipeline, found: BrokerFound): Step[] {
  const scram = pipeline.kafka_auth === 'scram';
  const users = { admin: usernameOf(pipeline.cluster_name, 'admin'), pipeline: usernameOf(pipeline.cluster_name, 'pipeline') };
  const cluster = planCluster(pipeline, found.cluster);
  return [
    ...planConfiguration(pipeline, found.cluster, found.configuration).map((step) => brokerStep({ room: 'configuration', step })),
    ...cluster.map((step) => brokerStep({ room: 'cluster', step })),
    ...(scram ? planLogins(pipeline.cluster_name, found.logins).map((step) => brokerStep({ room: 'logins', step })) : []),
    ...planTopics(wantedTopics(pipeline), found.topics).map((step) => brokerStep({ room: 'topics', step })),
    ...(scram ? planRights(wantedRights(pipeline, users), found.rights).map((step) => brokerStep({ room: 'rights', step })) : []),
  ];
}

/** A run that goes on with code or settings of its job that are no longer the deployed ones; one that runs the newest is left alone. */
function restarts({ workspace }: Wanted, found: Observed): Step[] {
  const outdated = outdatedJobs(workspace, found.workspace);
  const stale = (key: string): readonly number[] => found.workspace.state.code?.[key]?.staleRuns ?? [];
  const none = Object.fromEntries(Object.entries(found.workspace.state.code ?? {}).map(([key, { hash }]) => [key, { hash, staleRuns: [] }]));
  const changed = outdatedJobs(workspace, { ...found.workspace, state: { ...found.workspace.state, code: none } });
  return found.activeRuns.filter(({ key, runId }) => outdated.includes(key) && (stale(key).includes(runId) || changed.includes(key))).map(restartStep);
}

/** The plan's part in Elasticsearch. Pure. */
export function planIndex({ pipeline, template }: Pick<Wanted, 'pipeline' | 'template'>, found: Pick<Observed, 'template'>): Step[] {
  if (template === undefined) return [];
  const changes = differences(template, found.template);
  return changes.length === 0 && found.template !== undefined ? [] : [indexStep(pipeline.index, found.template === undefined, changes)];
}

/** What differs and stays: a running cluster and a topic's copies are not changed by a deployment, so what stands there wins. */
export function driftOf({ pipeline }: Pick<Wanted, 'pipeline'>, { cluster, configuration, topics, shapes = {} }: BrokerFound & Partial<Pick<Observed, 'shapes'>>): Drift[] {
  const fields: [field: string, found: unknown, wanted: unknown][] = [
    // A serverless cluster has none.
    ['brokers', cluster?.brokers === 0 ? undefined : cluster?.brokers, pipeline.broker_count],
    ['Kafka version', cluster?.kafkaVersion, pipeline.kafka_version],
    ['instance type', cluster?.instanceType, pipeline.broker_instance_type],
    ['storage in GiB', cluster?.storageGib, pipeline.broker_storage_gib],
  ];
  const ofCluster = fields
    .filter(([, there, wanted]) => there !== undefined && there !== wanted)
    .map(([field, there, wanted]) => ({ thing: 'cluster', name: pipeline.cluster_name, field, found: there, wanted, wins: 'the cluster: a deployment changes none that runs' }));
  const ofBrokers = configurationDrift(pipeline, cluster, configuration).map(({ name: field, from, to }) => ({ thing: 'cluster', name: pipeline.cluster_name, field, found: from, wanted: to, wins: 'the cluster: somebody else made it' }));
  const ofTopics = topics
    .filter((topic) => pipeline.topics.includes(topic.name) && topic.replicationFactor !== pipeline.replication_factor)
    .map((topic) => ({ thing: 'topic', name: topic.name, field: 'replication factor', found: topic.replicationFactor, wanted: pipeline.replication_factor, wins: 'the topic: moving copies is kafka-reassign-partitions\' work' }));
  const windowMinutes = shapes.windows?.windowMinutes;
  const ofWindows = windowMinutes === undefined || windowMinutes === pipeline.window_minutes ? [] : [{ thing: 'table', name: 'windows', field: 'window_minutes', found: windowMinutes, wanted: pipeline.window_minutes, wins: `the table, and the job publishes nothing: \`streamgauge windows rebuild --window ${pipeline.window_minutes}m\` computes its windows anew` }];
  const ofTables = tableDrift(shapes).map(({ table, why = 'the job reads and writes it all the same', ...difference }) => ({ thing: 'table', name: table, ...difference, wins: `the table: ${why}` }));
  return [...ofCluster, ...ofBrokers, ...ofTopics, ...ofWindows, ...ofTables];
}
