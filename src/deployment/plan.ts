import type { Pipeline } from '../config/config.ts';
import { plan as planWorkspace, type Found as WorkspaceFound, type Wanted as WorkspaceWanted } from '../databricks/deploy.ts';
import { differences } from '../databricks/differences.ts';
import { planRights, wantedRights, type Right } from '../kafka/acls.ts';
import { planTopics, wantedTopics, type TopicFound } from '../kafka/topics.ts';
import { planCluster, type ClusterFound } from '../msk/cluster.ts';
import { planLogins, usernameOf, type LoginsFound } from '../msk/logins.ts';
import { brokerStep, indexStep, restartStep, workspaceStep } from './steps.ts';
import type { Drift, Step } from './step.ts';

/** Everything from broker to index as it should be; the workspace's part holds secrets and contents, and is never printed. */
export type Wanted = Readonly<{ pipeline: Pipeline; workspace: WorkspaceWanted; template: Record<string, unknown> | undefined }>;

/** The same as it was found: plain JSON. */
export type Observed = Readonly<{
  cluster: ClusterFound | undefined;
  logins: LoginsFound;
  topics: readonly TopicFound[];
  rights: readonly Right[];
  workspace: WorkspaceFound;
  /** Runs going on now, with the key of their job. */
  activeRuns: readonly { key: string; jobId: number; runId: number }[];
  /** Names of the Delta tables; undefined where nobody could be asked, null would be a claim. */
  tables: readonly string[] | undefined;
  /** Length of the windows that are published; undefined where there are none, or nobody could be asked. */
  windowMinutes: number | undefined;
  template: Record<string, unknown> | undefined;
}>;

/** Every step that makes `found` what `wanted` is, in the order of doing; none where it is so already. Pure. */
export function planDeployment(wanted: Wanted, found: Observed): Step[] {
  const { pipeline } = wanted;
  const scram = pipeline.kafka_auth === 'scram';
  const users = { admin: usernameOf(pipeline.cluster_name, 'admin'), pipeline: usernameOf(pipeline.cluster_name, 'pipeline') };
  const steps = [
    ...planCluster(pipeline, found.cluster).map((step) => brokerStep({ room: 'cluster', step })),
    ...(scram ? planLogins(pipeline.cluster_name, found.logins).map((step) => brokerStep({ room: 'logins', step })) : []),
    ...planTopics(wantedTopics(pipeline), found.topics).map((step) => brokerStep({ room: 'topics', step })),
    ...(scram ? planRights(wantedRights(pipeline, users), found.rights).map((step) => brokerStep({ room: 'rights', step })) : []),
    ...planWorkspace(wanted.workspace, found.workspace).map((step) => workspaceStep(step, found)),
  ];
  return [...steps, ...restarts(wanted, found, steps), ...indexSteps(wanted, found)];
}

/** A run that goes on with code or settings that are no longer the deployed ones; one that runs the newest is left alone. */
function restarts({ workspace }: Wanted, found: Observed, steps: readonly Step[]): Step[] {
  const changes = steps.some(({ work }) => work.room === 'workspace' && ['upload', 'delete', 'update job'].includes(work.step.do));
  const stale = found.workspace.state.code?.staleRuns ?? [];
  return found.activeRuns.filter(({ key, runId }) => workspace.jobs.some((job) => job.key === key) && (changes || stale.includes(runId))).map(restartStep);
}

function indexSteps({ pipeline, template }: Wanted, found: Observed): Step[] {
  if (template === undefined) return [];
  const changes = differences(template, found.template);
  return changes.length === 0 && found.template !== undefined ? [] : [indexStep(pipeline.index, found.template === undefined, changes)];
}

/** What differs and stays: a running cluster and a topic's copies are not changed by a deployment, so what stands there wins. */
export function driftOf({ pipeline }: Wanted, { cluster, topics, windowMinutes }: Observed): Drift[] {
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
  const ofTopics = topics
    .filter((topic) => pipeline.topics.includes(topic.name) && topic.replicationFactor !== pipeline.replication_factor)
    .map((topic) => ({ thing: 'topic', name: topic.name, field: 'replication factor', found: topic.replicationFactor, wanted: pipeline.replication_factor, wins: 'the topic: moving copies is kafka-reassign-partitions\' work' }));
  const ofWindows = windowMinutes === undefined || windowMinutes === pipeline.window_minutes ? [] : [{ thing: 'table', name: 'windows', field: 'window_minutes', found: windowMinutes, wanted: pipeline.window_minutes, wins: `the table, and the job publishes nothing: \`streamgauge windows rebuild --window ${pipeline.window_minutes}m\` computes its windows anew` }];
  return [...ofCluster, ...ofTopics, ...ofWindows];
}
