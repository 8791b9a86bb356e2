import type { ConfigurationInfo } from './configurations.ts';
import { mskError } from './errors.ts';

export type ClusterState = 'CREATING' | 'UPDATING' | 'ACTIVE' | 'DELETING' | 'FAILED';

/** One cluster as it is kept on disk. */
export type ClusterRecord = {
  arn: string;
  name: string;
  /** Kafka's own id of the cluster. */
  kafkaId: string;
  state: ClusterState;
  stateInfo?: { code: string; message: string };
  creationTime: string;
  currentVersion: string;
  /** The brokers' places among the platform's ports, the first broker first. */
  slots: number[];
  /** As it was asked for, with MSK's defaults filled in; without what a description spells otherwise. */
  provisioned: Record<string, unknown> & { numberOfBrokerNodes: number };
  kafkaVersion: string;
  tags: Record<string, string>;
  configuration?: ConfigurationInfo;
  /** `version` is of the secret's value that the brokers have. */
  scramSecrets: { arn: string; username: string; version?: string }[];
};

type Fields = Record<string, unknown>;

/** What a create request asks for, or BadRequestException; `fields` is a V1 body, or `provisioned` of a V2 body. */
export function clusterWanted(name: unknown, tags: unknown, fields: Fields): Pick<ClusterRecord, 'name' | 'tags' | 'provisioned' | 'kafkaVersion' | 'configuration'> {
  if (typeof name !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/.test(name)) throw bad('The cluster name has 1 to 64 letters, digits and hyphens.', 'clusterName');
  const nodes = fields.numberOfBrokerNodes;
  if (!Number.isInteger(nodes) || (nodes as number) < 1 || (nodes as number) > 3) throw bad('numberOfBrokerNodes is from 1 to 3 on the local platform.', 'numberOfBrokerNodes');
  if (typeof fields.kafkaVersion !== 'string' || fields.kafkaVersion === '') throw bad('kafkaVersion is required.', 'kafkaVersion');
  const group = object(fields.brokerNodeGroupInfo);
  const subnets = group.clientSubnets;
  if (!Array.isArray(subnets) || subnets.length === 0) throw bad('clientSubnets is required.', 'clientSubnets');
  if ((nodes as number) % subnets.length !== 0) throw bad('The number of broker nodes must be a multiple of the number of client subnets.', 'numberOfBrokerNodes');
  if (typeof group.instanceType !== 'string' || group.instanceType.length < 5 || group.instanceType.length > 32) throw bad('instanceType has 5 to 32 characters.', 'instanceType');
  const inTransit = object(object(fields.encryptionInfo).encryptionInTransit);
  if ((inTransit.clientBroker ?? 'TLS') !== 'TLS') throw bad('The local platform has no plaintext listener: clientBroker is TLS.', 'clientBroker');
  const authentication = object(fields.clientAuthentication);
  for (const way of ['tls', 'unauthenticated'])
    if (object(authentication[way]).enabled === true) throw bad(`The local platform has no ${way} listener: use sasl.scram.`, way);
  const { kafkaVersion, clusterName: _name, tags: _tags, configurationInfo, ...kept } = fields;
  const encryptionInfo = { ...object(fields.encryptionInfo), encryptionInTransit: { clientBroker: 'TLS', inCluster: inTransit.inCluster ?? true } };
  return {
    name,
    tags: object(tags) as Record<string, string>,
    kafkaVersion: String(kafkaVersion),
    configuration: configurationInfo === undefined ? undefined : configurationWanted(configurationInfo),
    provisioned: { enhancedMonitoring: 'DEFAULT', storageMode: 'LOCAL', ...kept, encryptionInfo, numberOfBrokerNodes: nodes as number },
  };
}

/** `configurationInfo` of a request, or BadRequestException. */
export function configurationWanted(given: unknown): ConfigurationInfo {
  const { arn, revision } = object(given);
  if (typeof arn !== 'string' || !Number.isInteger(revision)) throw bad('configurationInfo has an arn and a revision.', 'configurationInfo');
  return { arn, revision: revision as number };
}

/** True if the cluster was created with SASL/SCRAM: without it there is no bootstrap string and no association. */
export function hasScram(cluster: ClusterRecord): boolean {
  return object(object(object(cluster.provisioned.clientAuthentication).sasl).scram).enabled === true;
}

/** `clusterInfo` of the V1 calls. */
export function describeV1(cluster: ClusterRecord): Fields {
  return { ...common(cluster), ...provisionedOf(cluster) };
}

/** `clusterInfo` of the V2 calls. */
export function describeV2(cluster: ClusterRecord): Fields {
  return { ...common(cluster), clusterType: 'PROVISIONED', provisioned: provisionedOf(cluster) };
}

function common(cluster: ClusterRecord): Fields {
  const { arn: clusterArn, name: clusterName, state, stateInfo, creationTime, currentVersion, tags } = cluster;
  return { clusterArn, clusterName, state, stateInfo, creationTime, currentVersion, tags };
}

function provisionedOf(cluster: ClusterRecord): Fields {
  return { ...cluster.provisioned, currentBrokerSoftwareInfo: { kafkaVersion: cluster.kafkaVersion, configurationArn: cluster.configuration?.arn, configurationRevision: cluster.configuration?.revision } };
}

/** The value if it is an object; an empty one if it is absent or of another kind. */
function object(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function bad(message: string, parameter: string) {
  return mskError('BadRequestException', message, parameter);
}
