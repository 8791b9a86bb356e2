import type { Config } from '../config/config.ts';
import { Failure, Secret } from '../errors.ts';
import { connectAws, type Aws } from './clients.ts';
import { bootstrapBrokers, findCluster, type ClusterFound } from './cluster.ts';
import { ifThere } from './failures.ts';
import { secretNameOf, type Role } from './logins.ts';

/** Brokers and login as Kafka clients need them. */
export type ClientAccess = {
  brokers: string[];
  sasl: { mechanism: 'scram-sha-512'; username: string; password: Secret } | { mechanism: 'iam'; region: string };
};

/** How a role reaches the configured cluster; Failure CLUSTER_NOT_FOUND or LOGIN_NOT_FOUND where provision has not run. */
export async function clientAccess(config: Config, role: Role): Promise<ClientAccess> {
  const aws = await connectAws(config.awsRegion);
  const name = config.pipeline.cluster_name;
  const cluster = await findCluster(aws, name);
  if (cluster === undefined) throw new Failure({ code: 'CLUSTER_NOT_FOUND', kind: 'remote', message: `there is no MSK cluster ${name} in ${aws.region}`, hint: `Create it: streamgauge provision -t ${config.target}` });
  return accessTo(aws, cluster, config, role);
}

/** The same for a cluster that is known. */
export async function accessTo(aws: Aws, cluster: ClusterFound, config: Config, role: Role): Promise<ClientAccess> {
  const auth = config.pipeline.kafka_auth;
  const brokers = await bootstrapBrokers(aws, cluster, auth);
  if (auth === 'iam') return { brokers, sasl: { mechanism: 'iam', region: aws.region } };
  return { brokers, sasl: { mechanism: 'scram-sha-512', ...(await loginOf(aws, config, role)) } };
}

async function loginOf(aws: Aws, config: Config, role: Role): Promise<{ username: string; password: Secret }> {
  const name = secretNameOf(config.pipeline.cluster_name, role);
  const hint = `Create it: streamgauge provision -t ${config.target}`;
  const answer = await ifThere(`reading secret ${name}`, () => aws.secrets.send(new aws.api.secrets.GetSecretValueCommand({ SecretId: name })));
  if (answer === undefined) throw new Failure({ code: 'LOGIN_NOT_FOUND', kind: 'remote', message: `there is no secret ${name} in ${aws.region}`, hint });
  try {
    const { username, password } = JSON.parse(answer.SecretString ?? '') as { username: unknown; password: unknown };
    if (typeof username === 'string' && typeof password === 'string') return { username, password: new Secret(password) };
  } catch {
    // No cause: the parser's message quotes what it read.
  }
  throw new Failure({ code: 'LOGIN_UNREADABLE', kind: 'remote', message: `secret ${name} is not JSON with username and password`, hint: `Delete it, then: streamgauge provision -t ${config.target}` });
}
