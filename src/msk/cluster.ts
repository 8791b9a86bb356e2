import type { Cluster } from '@aws-sdk/client-kafka';
import type { Pipeline } from '../config/config.ts';
import { Failure } from '../errors.ts';
import { poll } from '../poll.ts';
import { CREATED_BY, type Aws } from './clients.ts';
import { ifThere, translated, unlessThere } from './failures.ts';

/** A cluster as the verbs need it. */
export type ClusterFound = {
  arn: string;
  name: string;
  state: string;
  /** MSK's reason for state FAILED, where it gives one. */
  stateReason?: string;
  /** Created by provision: destroy may delete it. */
  ours: boolean;
  tags: Record<string, string>;
  logins: { scram: boolean; iam: boolean };
  brokers: number;
  /** Of a provisioned cluster, where MSK tells them. */
  kafkaVersion?: string;
  instanceType?: string;
  storageGib?: number;
  /** What its updates have to name, so that none overwrites another. */
  version?: string;
  /** Undefined where MSK's own default holds. */
  configuration?: { arn: string; revision: number };
};

export type ClusterStep = { do: 'create cluster'; name: string; brokers: number; instanceType: string; kafkaVersion: string };

/** States in which brokers serve clients. */
const SERVING = new Set(['ACTIVE', 'UPDATING', 'MAINTENANCE', 'HEALING', 'REBOOTING_BROKER']);
const CREATE_DEADLINE_MS = 90 * 60_000;
const DELETE_DEADLINE_MS = 60 * 60_000;
/** MSK needs 20 to 40 minutes for a cluster, other places seconds: neither is asked too often, nor waited for much too long. */
const PACE = { intervalMs: 500, maxIntervalMs: 3_000 };

/** The cluster with exactly this name, or undefined. */
export async function findCluster(aws: Aws, name: string): Promise<ClusterFound | undefined> {
  return translated(`looking for cluster ${name}`, async () => {
    for await (const page of aws.api.msk.paginateListClustersV2({ client: aws.msk }, { ClusterNameFilter: name })) {
      const found = page.ClusterInfoList?.find((cluster) => cluster.ClusterName === name);
      if (found !== undefined) return foundOf(found);
    }
    return undefined;
  });
}

/** What is to be done about the cluster: nothing, or its creation; a Failure where the found one cannot serve this configuration. */
export function planCluster(pipeline: Pipeline, found: ClusterFound | undefined): ClusterStep[] {
  const { cluster_name: name, kafka_auth: auth, broker_count: brokers, subnets } = pipeline;
  if (found === undefined) {
    if (subnets.length === 0) throw new Failure({ code: 'SUBNETS_MISSING', kind: 'usage', message: `cluster ${name} does not exist, and a new one needs subnets`, hint: 'Name one subnet an availability zone: --var subnets=subnet-a,subnet-b,subnet-c' });
    if (brokers % subnets.length !== 0) throw new Failure({ code: 'BROKER_COUNT_UNEVEN', kind: 'usage', message: `broker_count ${brokers} is not a multiple of the ${subnets.length} subnets`, hint: `Set it to one, as --var broker_count=${subnets.length}` });
    return [{ do: 'create cluster', name, brokers, instanceType: pipeline.broker_instance_type, kafkaVersion: pipeline.kafka_version }];
  }
  if (found.state === 'FAILED') throw failed(found);
  if (found.state === 'DELETING') throw new Failure({ code: 'CLUSTER_DELETING', kind: 'remote', retriable: true, message: `cluster ${name} is being deleted`, hint: 'Wait until it is gone, then run again: streamgauge provision' });
  if (!found.logins[auth]) throw new Failure({ code: 'CLUSTER_LOGIN_OFF', kind: 'usage', message: `cluster ${name} was created without ${auth === 'scram' ? 'SASL/SCRAM' : 'IAM'} authentication`, hint: `Turn it on (aws kafka update-security), or use the other: --var kafka_auth=${auth === 'scram' ? 'iam' : 'scram'}` });
  return [];
}

/**
 * Starts the creation: TLS in transit, encryption at rest, SASL/SCRAM and IAM as ways to log in. False where somebody else began it meanwhile: that one
 * is taken, with the settings that it has, and a Failure where it cannot serve this configuration.
 */
export async function createCluster(aws: Aws, pipeline: Pipeline, configuration?: { arn: string; revision: number }): Promise<boolean> {
  const input = {
    ClusterName: pipeline.cluster_name,
    Tags: { [CREATED_BY.key]: CREATED_BY.value },
    Provisioned: {
      KafkaVersion: pipeline.kafka_version,
      NumberOfBrokerNodes: pipeline.broker_count,
      BrokerNodeGroupInfo: {
        ClientSubnets: [...pipeline.subnets],
        ...(pipeline.security_groups.length > 0 && { SecurityGroups: [...pipeline.security_groups] }),
        InstanceType: pipeline.broker_instance_type,
        StorageInfo: { EbsStorageInfo: { VolumeSize: pipeline.broker_storage_gib } },
      },
      ...(configuration && { ConfigurationInfo: { Arn: configuration.arn, Revision: configuration.revision } }),
      // Volumes are always encrypted; without a key of one's own it is the account's aws/kafka.
      EncryptionInfo: { EncryptionInTransit: { ClientBroker: 'TLS' as const, InCluster: true } },
      ClientAuthentication: { Sasl: { Scram: { Enabled: true }, Iam: { Enabled: true } } },
    },
  };
  const made = await unlessThere(`creating cluster ${pipeline.cluster_name}`, () => aws.msk.send(new aws.api.msk.CreateClusterV2Command(input)));
  if (made !== undefined) return true;
  const theirs = await findCluster(aws, pipeline.cluster_name);
  if (theirs !== undefined) planCluster(pipeline, theirs);
  return false;
}

/** Waits until the cluster serves clients; Failure CLUSTER_FAILED if it never will. `onState` hears every state. */
export async function waitUntilServing(aws: Aws, name: string, options: { signal?: AbortSignal; onState(state: string): void }): Promise<ClusterFound> {
  const hint = `Look at it (aws kafka list-clusters-v2 --cluster-name-filter ${name}), then run again: streamgauge provision`;
  return poll({ what: `cluster ${name} to be ACTIVE`, deadlineMs: CREATE_DEADLINE_MS, ...PACE, signal: options.signal, hint }, async () => {
    const found = await findCluster(aws, name);
    if (found === undefined) return undefined;
    options.onState(found.state);
    if (found.state === 'FAILED') throw failed(found);
    return SERVING.has(found.state) ? found : undefined;
  });
}

/** The brokers' addresses for this way to log in, from inside the cluster's network. */
export async function bootstrapBrokers(aws: Aws, cluster: ClusterFound, auth: Pipeline['kafka_auth']): Promise<string[]> {
  const answer = await translated(`asking for the brokers of cluster ${cluster.name}`, () => aws.msk.send(new aws.api.msk.GetBootstrapBrokersCommand({ ClusterArn: cluster.arn })));
  const text = auth === 'scram' ? answer.BootstrapBrokerStringSaslScram : answer.BootstrapBrokerStringSaslIam;
  const brokers = (text ?? '').split(',').filter((broker) => broker !== '');
  if (brokers.length > 0) return brokers;
  throw new Failure({ code: 'NO_BROKERS', kind: 'remote', message: `cluster ${cluster.name} (${cluster.state}) gives no brokers for ${auth === 'scram' ? 'SASL/SCRAM' : 'IAM'} clients`, hint: `Use the other way to log in: --var kafka_auth=${auth === 'scram' ? 'iam' : 'scram'}` });
}

/** Deletes the cluster with everything in it and waits until it is gone. */
export async function deleteCluster(aws: Aws, cluster: ClusterFound, options: { signal?: AbortSignal; onState(state: string): void }): Promise<void> {
  await ifThere(`deleting cluster ${cluster.name}`, () => aws.msk.send(new aws.api.msk.DeleteClusterCommand({ ClusterArn: cluster.arn })));
  await poll({ what: `cluster ${cluster.name} to be gone`, deadlineMs: DELETE_DEADLINE_MS, ...PACE, signal: options.signal }, async () => {
    const answer = await ifThere(`describing cluster ${cluster.name}`, () => aws.msk.send(new aws.api.msk.DescribeClusterV2Command({ ClusterArn: cluster.arn })));
    if (answer === undefined) return true;
    options.onState(answer.ClusterInfo?.State ?? '');
    return undefined;
  });
}

/** Adds tags to the cluster: what provision made inside it is written there, for destroy. */
export async function tagCluster(aws: Aws, cluster: ClusterFound, tags: Record<string, string>): Promise<void> {
  await translated(`tagging cluster ${cluster.name}`, () => aws.msk.send(new aws.api.msk.TagResourceCommand({ ResourceArn: cluster.arn, Tags: tags })));
}

/** Removes tags from the cluster. */
export async function untagCluster(aws: Aws, cluster: ClusterFound, keys: string[]): Promise<void> {
  await translated(`untagging cluster ${cluster.name}`, () => aws.msk.send(new aws.api.msk.UntagResourceCommand({ ResourceArn: cluster.arn, TagKeys: keys })));
}

function foundOf(cluster: Cluster): ClusterFound {
  const tags = cluster.Tags ?? {};
  const sasl = cluster.Provisioned?.ClientAuthentication?.Sasl;
  const { KafkaVersion, ConfigurationArn: arn, ConfigurationRevision: revision } = cluster.Provisioned?.CurrentBrokerSoftwareInfo ?? {};
  return {
    arn: cluster.ClusterArn ?? '',
    name: cluster.ClusterName ?? '',
    state: cluster.State ?? '',
    stateReason: cluster.StateInfo?.Message,
    ours: tags[CREATED_BY.key] === CREATED_BY.value,
    tags,
    // A serverless cluster has IAM and nothing else.
    logins: { scram: sasl?.Scram?.Enabled === true, iam: sasl?.Iam?.Enabled === true || cluster.Serverless !== undefined },
    brokers: cluster.Provisioned?.NumberOfBrokerNodes ?? 0,
    kafkaVersion: KafkaVersion,
    version: cluster.CurrentVersion,
    ...(arn && revision !== undefined && { configuration: { arn, revision: Number(revision) } }),
    instanceType: cluster.Provisioned?.BrokerNodeGroupInfo?.InstanceType,
    storageGib: cluster.Provisioned?.BrokerNodeGroupInfo?.StorageInfo?.EbsStorageInfo?.VolumeSize,
  };
}

function failed({ name, stateReason }: ClusterFound): Failure {
  return new Failure({ code: 'CLUSTER_FAILED', kind: 'remote', message: `cluster ${name} is in state FAILED${stateReason ? `: ${stateReason}` : ''}`, hint: 'Delete it, correct what the message names, and run again: streamgauge provision' });
}
