import { Failure } from '../errors.ts';
import type { BrokerPorts } from './servers/kafka-settings.ts';
import { assertPortFree, type PortClaim } from './servers/port.ts';

export type PortName = 'workspace' | 'aws' | 'moto' | 'kafka' | 'elasticsearch' | 'spark';
/** Where each part listens: `offset` moves all of them, a port by name moves that one, whatever the offset. */
export type PortOptions = { offset?: number } & { [name in PortName]?: number };

export type Ports = {
  workspace: number;
  aws: number;
  moto: number;
  spark: number;
  elasticsearch: { http: number; transport: number };
  /** As many brokers as all clusters together may have. */
  kafka: BrokerPorts[];
};

const defaults: Record<PortName, { port: number; title: string }> = {
  workspace: { port: 8443, title: 'the Databricks workspace' },
  aws: { port: 8444, title: 'the MSK API' },
  moto: { port: 8445, title: 'Secrets Manager, KMS and STS' },
  kafka: { port: 9096, title: 'Kafka' },
  elasticsearch: { port: 9200, title: 'Elasticsearch' },
  spark: { port: 15002, title: 'Spark Connect' },
};
const names = Object.keys(defaults) as PortName[];
/** One cluster of three beside one of one; a fifth would meet Elasticsearch's port. */
const MOST_BROKERS = 4;

/** The environment variable that moves a part. */
export function portVariable(name: PortName): string {
  return `STREAMGAUGE_${name.toUpperCase()}_PORT`;
}

/** Reads STREAMGAUGE_PORT_OFFSET and STREAMGAUGE_..._PORT; throws PORT_INVALID that names every one that is no port. */
export function portOptionsFrom(variables: Readonly<Record<string, string | undefined>>): PortOptions {
  const bad: string[] = [];
  const read = (variable: string, least: number): number | undefined => {
    const text = variables[variable];
    if (text === undefined || text === '') return undefined;
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || value > 65_535) bad.push(`${variable}=${text}`);
    return value;
  };
  const options: PortOptions = { offset: read('STREAMGAUGE_PORT_OFFSET', 0) };
  for (const name of names) options[name] = read(portVariable(name), 1);
  if (bad.length > 0) {
    throw new Failure({ code: 'PORT_INVALID', kind: 'usage', message: `not a port: ${bad.join(', ')}`, hint: 'give a number from 1 to 65535, for example STREAMGAUGE_PORT_OFFSET=1000' });
  }
  return options;
}

/** Lays the parts out; throws PORT_INVALID where the offset leads beyond the last port or two parts would meet. */
export function layOutPorts(options: PortOptions): Ports {
  const port = (name: PortName) => options[name] ?? defaults[name].port + (options.offset ?? 0);
  const ports: Ports = {
    workspace: port('workspace'),
    aws: port('aws'),
    moto: port('moto'),
    spark: port('spark'),
    elasticsearch: { http: port('elasticsearch'), transport: port('elasticsearch') + 100 },
    kafka: Array.from({ length: MOST_BROKERS }, (_, n) => ({ clients: port('kafka') + n, internal: port('kafka') + 100 + n, controller: port('kafka') + 200 + n })),
  };
  const claims = claimsOf(ports);
  const beyond = claims.find((claim) => claim.port > 65_535);
  const met = claims.find((claim, index) => claims.findIndex((other) => other.port === claim.port) !== index);
  const wrong = beyond ?? met;
  if (wrong === undefined) return ports;
  const problem = beyond ? 'is beyond 65535' : 'is also wanted by another part';
  throw new Failure({ code: 'PORT_INVALID', kind: 'usage', message: `port ${wrong.port} for ${wrong.name} ${problem}`, hint: `change ${wrong.variable} or STREAMGAUGE_PORT_OFFSET` });
}

/** Throws one PORT_BUSY for all ports that are taken. */
export async function assertPortsFree(ports: Ports): Promise<void> {
  const results = await Promise.allSettled(claimsOf(ports).map(assertPortFree));
  const busy = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as Failure] : []));
  const [first] = busy;
  if (first === undefined) return;
  throw new Failure({ code: first.code, kind: first.kind, message: busy.map(({ message }) => message).join('; '), hint: first.hint, cause: first });
}

function claimsOf(ports: Ports): PortClaim[] {
  const claim = (name: PortName, ...all: number[]) => all.map((port) => ({ port, name: defaults[name].title, variable: portVariable(name) }));
  return [
    ...claim('workspace', ports.workspace),
    ...claim('aws', ports.aws),
    ...claim('moto', ports.moto),
    ...claim('spark', ports.spark),
    ...claim('elasticsearch', ports.elasticsearch.http, ports.elasticsearch.transport),
    ...claim('kafka', ...ports.kafka.flatMap(({ clients, internal, controller }) => [clients, internal, controller])),
  ];
}
