import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Failure, Secret } from '../../errors.ts';
import { poll } from '../../poll.ts';
import type { Authority, Log, Runtime } from '../contract.ts';
import { liveBrokers, lockScramUser, putScramUser, withAdmin } from './kafka-admin.ts';
import { brokerProperties, log4jConfiguration, PLATFORM_IDENTITY, type BrokerPorts } from './kafka-settings.ts';
import { startProcess, type Started } from './process.ts';
import { deathOf, startServer } from './server.ts';
import { supervise } from './supervise.ts';

export type KafkaOptions = {
  runtime: Pick<Runtime, 'java' | 'python' | 'kafkaClasspath'>;
  authority: Authority;
  /** Everything of this cluster, data included; mode 0700. */
  stateDir: string;
  logDir: string;
  /** Kafka's own id of the cluster: 16 bytes in URL-safe base64. */
  clusterId: string;
  /** One entry a broker, 1 to 3, the same at each start. */
  brokers: readonly BrokerPorts[];
  heapMb: number;
  /** Server properties in place of the defaults: an MSK configuration. */
  properties?: Record<string, string>;
  log: Log;
  signal?: AbortSignal;
};

/** A running cluster; a broker that dies is started again with its data. */
export type Kafka = {
  /** `127.0.0.1:port` of each broker's SASL_SSL listener. */
  bootstrap: string[];
  brokers(): { node: number; pid: number; alive: boolean }[];
  putUser(name: string, password: Secret): Promise<void>;
  /** From now on nobody can log in as this user. */
  lockUser(name: string): Promise<void>;
  /** Restarts the brokers one after the other with these properties in place of the ones before. */
  reconfigure(properties: Record<string, string>): Promise<void>;
  /** Resolves only if a broker cannot be kept alive, with why; the other brokers go on. */
  failed: Promise<Failure>;
  stop(): Promise<void>;
};

const READY_DEADLINE_MS = 90_000;

/** Starts the brokers (formatting their storage the first time) and returns when each answers and knows itself in the cluster. */
export async function startKafka(options: KafkaOptions): Promise<Kafka> {
  const nodes = options.brokers.map((_, index) => index + 1);
  await Promise.all(nodes.map((node) => prepare(options, node)));
  // Brokers wait for one another: when one cannot start, the others would wait in vain.
  const giveUp = new AbortController();
  const signal = AbortSignal.any([giveUp.signal, ...(options.signal ? [options.signal] : [])]);
  const starts = await Promise.allSettled(
    nodes.map(async (node) => {
      const { log } = options;
      return supervise({ name: `Kafka broker ${node}`, logFile: filesOf(options, node).log, log, signal, start: (once) => startBroker(options, node, once) }).catch((error: unknown) => {
        giveUp.abort(error);
        throw error;
      });
    }),
  );
  const brokers = starts.flatMap((start) => (start.status === 'fulfilled' ? [start.value] : []));
  const stop = async () => void (await Promise.all(brokers.map((broker) => broker.stop())));
  const refused = starts.find((start) => start.status === 'rejected');
  if (refused !== undefined) {
    await stop();
    throw refused.reason;
  }
  const admin = <T>(use: Parameters<typeof withAdmin<T>>[2]) => withAdmin(options.authority, options.brokers.map((ports) => `127.0.0.1:${ports.internal}`), use);
  return {
    bootstrap: options.brokers.map((ports) => `127.0.0.1:${ports.clients}`),
    brokers: () => brokers.map((broker, index) => ({ node: index + 1, pid: broker.pid(), alive: broker.alive() })),
    putUser: (name, password) => admin((it) => putScramUser(it, name, password)),
    lockUser: (name) => admin((it) => lockScramUser(it, name)),
    reconfigure: async (properties) => {
      for (const [index, broker] of brokers.entries()) {
        options.signal?.throwIfAborted();
        await prepare({ ...options, properties }, index + 1);
        await broker.restart();
      }
    },
    failed: Promise.race(brokers.map((broker) => broker.failed)),
    stop,
  };
}

function filesOf(options: KafkaOptions, node: number) {
  const home = join(options.stateDir, `broker-${node}`);
  return {
    home,
    data: join(home, 'data'),
    properties: join(home, 'server.properties'),
    log4j: join(home, 'log4j2.properties'),
    keyStore: join(home, 'broker.pem'),
    log: join(options.logDir, `kafka-${node}.log`),
  };
}

/** Writes what the broker reads (0600: the key store is its identity) and formats storage that is not yet formatted. */
async function prepare(options: KafkaOptions, node: number): Promise<void> {
  const files = filesOf(options, node);
  await mkdir(files.data, { recursive: true, mode: 0o700 });
  const { certFile, keyFile } = await options.authority.issue(PLATFORM_IDENTITY);
  const pem = await Promise.all([keyFile, certFile].map((file) => readFile(file, 'utf8')));
  const settings = { node, cluster: options.brokers, dataDir: files.data, keyStoreFile: files.keyStore, caFile: options.authority.caFile, custom: options.properties };
  const texts = [
    [files.keyStore, pem.join('\n')],
    [files.properties, brokerProperties(settings)],
    [files.log4j, log4jConfiguration],
  ] as const;
  await Promise.all(texts.map(([file, text]) => writeFile(file, text, { mode: 0o600 })));
  const formatted = await readFile(join(files.data, 'meta.properties'), 'utf8').catch(() => '');
  // meta.properties is the last file that formatting writes: without it, what is there is a torn attempt.
  if (formatted === '') await format(options, node);
}

async function format(options: KafkaOptions, node: number): Promise<void> {
  const files = filesOf(options, node);
  await rm(files.data, { recursive: true, force: true });
  await mkdir(files.data, { mode: 0o700 });
  const args = ['-Xmx128m', '-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', `-Dlog4j2.configurationFile=${files.log4j}`, '-cp', options.runtime.kafkaClasspath];
  const logFile = join(options.logDir, `kafka-${node}-format.log`);
  // One in 64 cluster ids starts with "-": apart from its option, the tool takes such an id for an option of its own.
  const tool = await startProcess({
    name: `formatting storage of Kafka broker ${node}`,
    python: options.runtime.python,
    command: options.runtime.java,
    args: [...args, 'kafka.tools.StorageTool', 'format', `--cluster-id=${options.clusterId}`, '-c', files.properties],
    logFile,
  });
  const onAbort = () => void tool.stop();
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const { code } = await tool.exited;
  options.signal?.removeEventListener('abort', onAbort);
  options.signal?.throwIfAborted();
  if (code !== 0) throw await deathOf(tool, code, logFile);
}

function startBroker(options: KafkaOptions, node: number, signal: AbortSignal | undefined): Promise<Started> {
  const files = filesOf(options, node);
  const internal = `127.0.0.1:${options.brokers[node - 1]?.internal}`;
  return startServer({
    name: `Kafka broker ${node}`,
    python: options.runtime.python,
    command: options.runtime.java,
    args: [`-Xmx${options.heapMb}m`, '-Xms64m', '-XX:+UseSerialGC', '-XX:+ExitOnOutOfMemoryError', '-Djava.awt.headless=true', `-Dlog4j2.configurationFile=${files.log4j}`, '-cp', options.runtime.kafkaClasspath, 'kafka.Kafka', files.properties],
    logFile: files.log,
    graceMs: 15_000,
    deadlineMs: READY_DEADLINE_MS,
    signal,
    ready: (signal) =>
      poll({ what: `Kafka broker ${node}`, deadlineMs: READY_DEADLINE_MS, intervalMs: 150, maxIntervalMs: 500, signal }, async () => {
        const known = await withAdmin(options.authority, [internal], liveBrokers).catch((): number[] => []);
        return known.includes(node) ? true : undefined;
      }),
  });
}
