import { z } from 'zod';

const absent = (way: string) => z.looseObject({ enabled: z.literal(false, `The local platform has no ${way} listener: use sasl.scram.`).optional() }).optional();

/** Which revision of which configuration a cluster runs with. */
export const configurationInfo = z.object({ arn: z.string(), revision: z.int() });
/** The name of a new cluster, and its tags. */
export const named = z.object({ clusterName: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/, '1 to 64 letters, digits and hyphens'), tags: z.record(z.string(), z.string()).default({}) });
/** What a create request asks for: a V1 body, or `provisioned` of a V2 body. */
export const wanted = z
  .looseObject({
    numberOfBrokerNodes: z.int().min(1, 'from 1 to 3 on the local platform').max(3, 'from 1 to 3 on the local platform'),
    kafkaVersion: z.string().min(1),
    brokerNodeGroupInfo: z.looseObject({ clientSubnets: z.array(z.string()).min(1), instanceType: z.string().min(5).max(32) }),
    clientAuthentication: z.looseObject({ sasl: z.looseObject({ scram: z.looseObject({ enabled: z.boolean().optional() }).optional() }).optional(), tls: absent('tls'), unauthenticated: absent('unauthenticated') }).optional(),
    encryptionInfo: z.looseObject({
      encryptionInTransit: z.looseObject({ clientBroker: z.literal('TLS', 'The local platform has no plaintext listener: clientBroker is TLS.').default('TLS'), inCluster: z.boolean().default(true) }).prefault({}),
    }).prefault({}),
    enhancedMonitoring: z.string().default('DEFAULT'),
    storageMode: z.string().default('LOCAL'),
    configurationInfo: configurationInfo.optional(),
  })
  .refine(({ numberOfBrokerNodes, brokerNodeGroupInfo: { clientSubnets } }) => numberOfBrokerNodes % clientSubnets.length === 0, 'The number of broker nodes must be a multiple of the number of client subnets.');

export type ConfigurationInfo = z.infer<typeof configurationInfo>;
export type Named = z.infer<typeof named>;
export type Wanted = z.infer<typeof wanted>;

/** One cluster as it is kept on disk. */
export type ClusterRecord = {
  arn: string;
  name: string;
  /** Kafka's own id of the cluster. */
  kafkaId: string;
  state: 'CREATING' | 'UPDATING' | 'ACTIVE' | 'DELETING' | 'FAILED';
  stateInfo?: { code: string; message: string };
  creationTime: string;
  currentVersion: string;
  /** The brokers' places among the platform's ports, the first broker first. */
  slots: number[];
  /** As it was asked for, with MSK's defaults filled in. */
  provisioned: Wanted;
  tags: Record<string, string>;
  /** `version` is of the secret's value that the brokers have. */
  scramSecrets: { arn: string; username: string; version: string }[];
};

/** True if the cluster was created with SASL/SCRAM: without it there is no bootstrap string and no association. */
export function hasScram({ provisioned }: ClusterRecord): boolean {
  return provisioned.clientAuthentication?.sasl?.scram?.enabled === true;
}

/** `clusterInfo` of the V1 calls. */
export function describeV1(cluster: ClusterRecord): Record<string, unknown> {
  const { provisioned, ...common } = describeV2(cluster);
  return { ...common, ...provisioned };
}

/** `clusterInfo` of the V2 calls. */
export function describeV2({ arn: clusterArn, name: clusterName, state, stateInfo, creationTime, currentVersion, tags, ...cluster }: ClusterRecord) {
  const { kafkaVersion, configurationInfo: info, clusterName: _name, tags: _tags, ...kept } = cluster.provisioned;
  const provisioned = { ...kept, currentBrokerSoftwareInfo: { kafkaVersion, configurationArn: info?.arn, configurationRevision: info?.revision } };
  return { clusterArn, clusterName, clusterType: 'PROVISIONED', state, stateInfo, creationTime, currentVersion, tags, provisioned };
}
