/** Where one broker of a cluster listens, on 127.0.0.1. */
export type BrokerPorts = { clients: number; internal: number; controller: number };

export type BrokerSettings = {
  node: number;
  /** Of all brokers, in the order of their node ids, which start at 1. */
  cluster: readonly BrokerPorts[];
  dataDir: string;
  /** PEM: private key and certificate in one file. */
  keyStoreFile: string;
  caFile: string;
  /** What an MSK configuration sets. */
  custom?: Record<string, string>;
};

/** Common name of the certificate that brokers, and the platform's own administration, show to brokers. */
export const PLATFORM_IDENTITY = 'streamgauge-kafka';
/** Prefix of every principal that comes from a certificate; a SCRAM user whose name starts with it could pass for the platform. */
export const CERTIFICATE_PRINCIPAL_PREFIX = 'certificate:';

/**
 * `server.properties` of one KRaft node (broker and controller in one process). Clients come by SASL_SSL with SCRAM-SHA-512 as
 * at MSK's port 9096; brokers, controllers and the platform itself by mutual TLS. Topic and ACL defaults are those of an MSK cluster.
 */
export function brokerProperties(settings: BrokerSettings): string {
  return Object.entries({ ...network(settings), ...security(settings), ...behaviour(settings), ...settings.custom })
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}

function network({ node, cluster }: BrokerSettings) {
  const own = cluster[node - 1];
  if (own === undefined) throw new RangeError(`no ports for node ${node} of ${cluster.length}`);
  return {
    'process.roles': 'broker,controller',
    'node.id': node,
    'controller.quorum.voters': cluster.map((ports, index) => `${index + 1}@127.0.0.1:${ports.controller}`).join(','),
    'controller.listener.names': 'CONTROLLER',
    'inter.broker.listener.name': 'INTERNAL',
    listeners: `CLIENT://127.0.0.1:${own.clients},INTERNAL://127.0.0.1:${own.internal},CONTROLLER://127.0.0.1:${own.controller}`,
    'advertised.listeners': `CLIENT://127.0.0.1:${own.clients},INTERNAL://127.0.0.1:${own.internal}`,
    'listener.security.protocol.map': 'CLIENT:SASL_SSL,INTERNAL:SSL,CONTROLLER:SSL',
  };
}

function security({ keyStoreFile, caFile }: BrokerSettings) {
  return {
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': keyStoreFile,
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': caFile,
    'listener.name.internal.ssl.client.auth': 'required',
    'listener.name.controller.ssl.client.auth': 'required',
    'listener.name.client.ssl.client.auth': 'none',
    // Backslashes are the properties file's own escapes.
    'ssl.principal.mapping.rules': `RULE:^(.*,)?CN=([^,]+).*$/${CERTIFICATE_PRINCIPAL_PREFIX}$2/`,
    'sasl.enabled.mechanisms': 'SCRAM-SHA-512',
    'listener.name.client.sasl.enabled.mechanisms': 'SCRAM-SHA-512',
    'listener.name.client.scram-sha-512.sasl.jaas.config': 'org.apache.kafka.common.security.scram.ScramLoginModule required;',
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users': `User:${CERTIFICATE_PRINCIPAL_PREFIX}${PLATFORM_IDENTITY}`,
    'allow.everyone.if.no.acl.found': true,
  };
}

function behaviour({ cluster, dataDir }: BrokerSettings) {
  const copies = Math.min(3, cluster.length);
  const inSync = copies === 3 ? 2 : 1;
  return {
    'log.dirs': dataDir,
    'auto.create.topics.enable': false,
    'default.replication.factor': copies,
    'min.insync.replicas': inSync,
    'num.partitions': 1,
    'unclean.leader.election.enable': false,
    'log.retention.hours': 168,
    'message.max.bytes': 1048588,
    'offsets.topic.replication.factor': copies,
    'transaction.state.log.replication.factor': copies,
    'transaction.state.log.min.isr': inSync,
    'share.coordinator.state.topic.replication.factor': copies,
    'share.coordinator.state.topic.min.isr': inSync,
    'group.initial.rebalance.delay.ms': 0,
    // A small machine: fewer threads and files, and a log cleaner that does not take 128 MiB of a 384 MiB heap.
    'offsets.topic.num.partitions': 5,
    'transaction.state.log.num.partitions': 5,
    'share.coordinator.state.topic.num.partitions': 5,
    'num.network.threads': 3,
    'num.io.threads': 4,
    'num.replica.fetchers': 1,
    'background.threads': 2,
    'log.cleaner.dedupe.buffer.size': 4 * 1024 * 1024,
    'controlled.shutdown.max.retries': 1,
    'controlled.shutdown.retry.backoff.ms': 500,
  };
}

/** Kafka's own log: warnings, what the authorizer refused, and that the server started; nothing that could hold a credential. */
export const log4jConfiguration = `status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.authorizer.name = kafka.authorizer.logger
logger.authorizer.level = info
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
`;
