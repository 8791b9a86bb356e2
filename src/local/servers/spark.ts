import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Secret } from '../../errors.ts';
import { poll } from '../../poll.ts';
import { trustOptions } from '../authority.ts';
import type { Authority, Log, Runtime, SparkDoor } from '../contract.ts';
import { runtimeFile } from '../runtime/files.ts';
import { writeAtomic } from '../state.ts';
import { startServer } from './server.ts';
import { supervise, type Supervised } from './supervise.ts';

export type SparkOptions = {
  runtime: Runtime;
  authority: Authority;
  /** Warehouse, metastore and scratch; mode 0700. */
  stateDir: string;
  logDir: string;
  port: number;
  token: Secret;
  heapMb: number;
  /** A folder of settings and jars at the end of the class path. */
  hadoopDir?: string;
  /** Archive of loaded classes: written at the end, or read for a faster start. */
  archive?: { make: string } | { use: string };
  log: Log;
  signal?: AbortSignal;
  /** Called at each death, before it is started again. */
  onDeath?(): void;
};

export type Spark = Supervised & { door: SparkDoor };

const READY_DEADLINE_MS = 120_000;

/** Starts Spark Connect with Delta and a persistent metastore; ready when it answers an authenticated request. */
export async function startSpark(options: SparkOptions): Promise<Spark> {
  const logFile = join(options.logDir, 'spark.log');
  // By name: PySpark sends a token without TLS only to "localhost".
  const door: SparkDoor = { host: 'localhost', port: options.port, token: options.token.reveal() };
  // Those settings may name a store of objects anywhere.
  const trustStoreFile = options.hadoopDir === undefined ? options.authority.trustStoreFile : await options.authority.publicTrustStore();
  const settings = await writeSettings({ ...options, authority: { ...options.authority, trustStoreFile } });
  const server = await supervise({
    name: 'Spark Connect',
    logFile,
    log: options.log,
    signal: options.signal,
    onDeath: options.onDeath,
    start: (signal) =>
      startServer({
        name: 'Spark Connect',
        python: options.runtime.python,
        command: join(options.runtime.sparkHome, 'bin', 'spark-submit'),
        args: ['--properties-file', settings, runtimeFile('spark_server.py')],
        env: {
          SPARK_HOME: options.runtime.sparkHome,
          // Java of the prerequisites' check, whatever JAVA_HOME the user's shell has.
          JAVA_HOME: join(options.runtime.java, '..', '..'),
          PYSPARK_PYTHON: options.runtime.python,
          // Not in the settings: Spark shows those to every session, and foreachBatch's workers look for it here.
          SPARK_CONNECT_AUTHENTICATE_TOKEN: door.token,
          SPARK_LOCAL_IP: '127.0.0.1',
          SPARK_LOCAL_DIRS: join(options.stateDir, 'scratch'),
          // At the end: before Spark's own jars, the archive of loaded classes would fit no more.
          ...(options.hadoopDir === undefined ? {} : { SPARK_DIST_CLASSPATH: [options.hadoopDir, join(options.hadoopDir, '*')].join(delimiter) }),
        },
        cwd: options.stateDir,
        logFile,
        // Writing an archive takes a loaded machine a minute.
        graceMs: options.archive && 'make' in options.archive ? 180_000 : 10_000,
        deadlineMs: READY_DEADLINE_MS,
        signal,
        ready: (over) => answers(door, over),
      }),
  });
  return { ...server, door };
}

async function writeSettings(options: SparkOptions): Promise<string> {
  await mkdir(options.stateDir, { recursive: true, mode: 0o700 });
  const log4j = join(options.stateDir, 'log4j2.properties');
  const settings = join(options.stateDir, 'spark.conf');
  await writeAtomic(log4j, log4jConfiguration);
  const lines = Object.entries(sparkSettings(options, log4j)).map(([name, value]) => `${name} ${value}\n`);
  await writeAtomic(settings, lines.join(''));
  return settings;
}

/** Spark's configuration by name. */
export function sparkSettings(options: SparkOptions, log4jFile: string): Record<string, string | number | boolean> {
  const { stateDir, authority } = options;
  const javaOptions = [
    `-Dlog4j2.configurationFile=${pathToFileURL(log4jFile)}`,
    // With it the Kafka source trusts the local brokers as it trusts MSK's: with no option at all.
    ...trustOptions(authority.trustStoreFile),
    `-Dderby.system.home=${stateDir}`,
    `-Dderby.stream.error.file=${join(options.logDir, 'derby.log')}`,
    '-Duser.timezone=UTC',
    '-XX:+ExitOnOutOfMemoryError',
    // Throughput counts here, not pauses; and pages of a MiB are huge objects to G1, which then marks without end.
    '-XX:+UseParallelGC',
    // The optimising compiler only for what stays hot, forty times its usual thresholds: else it takes half of a young process's time (processor
    // seconds of the first run of the job 33, now 23; of the fifth 7.0, now 4.3; of the eighth `prove` of a million records 9.1, now 7.2).
    '-XX:Tier3DelayOn=0',
    '-XX:Tier4InvocationThreshold=200000',
    '-XX:Tier4MinInvocationThreshold=24000',
    '-XX:Tier4CompileThreshold=600000',
    '-XX:Tier4BackEdgeThreshold=1600000',
    ...archiveOptions(options.archive),
  ];
  return {
    'spark.master': 'local[*]',
    'spark.app.name': 'streamgauge',
    'spark.driver.memory': `${options.heapMb}m`,
    'spark.driver.extraClassPath': options.runtime.sparkExtraClasspath,
    'spark.driver.extraJavaOptions': javaOptions.map(quoted).join(' '),
    // All three: the default of each binds to every interface.
    'spark.driver.bindAddress': '127.0.0.1',
    'spark.driver.host': '127.0.0.1',
    'spark.connect.grpc.binding.address': '127.0.0.1',
    'spark.connect.grpc.binding.port': options.port,
    'spark.connect.grpc.port.maxRetries': 0,
    'spark.ui.enabled': false,
    'spark.sql.session.timeZone': 'UTC',
    'spark.sql.catalogImplementation': 'hive',
    'spark.sql.warehouse.dir': join(stateDir, 'warehouse'),
    'spark.hadoop.javax.jdo.option.ConnectionURL': `jdbc:derby:;databaseName=${join(stateDir, 'metastore')};create=true`,
    // No pool of connections: a query that is interrupted loses its connection, and an emptied pool is waited for without end.
    'spark.hadoop.datanucleus.connectionPoolingType': 'None',
    'spark.hadoop.hive.exec.scratchdir': join(stateDir, 'scratch', 'hive'),
    'spark.sql.extensions': 'io.delta.sql.DeltaSparkSessionExtension',
    'spark.sql.catalog.spark_catalog': 'org.apache.spark.sql.delta.catalog.DeltaCatalog',
    // What CREATE TABLE means without USING on Databricks.
    'spark.sql.sources.default': 'delta',
    // Defaults are for clusters: on two cores they are most of a small query's time.
    'spark.databricks.delta.snapshotPartitions': 1,
    'spark.sql.shuffle.partitions': 2,
    // One process runs the same few hundred stages again and again, each session anew: what was compiled for one serves them all.
    'spark.sql.codegen.cache.maxEntries': 2000,
    'spark.sql.artifact.isolation.enabled': false,
    'spark.sql.artifact.isolation.alwaysApplyClassloader': false,
  };
}

function archiveOptions(archive: SparkOptions['archive']): string[] {
  if (archive === undefined) return [];
  if ('make' in archive) return [`-XX:ArchiveClassesAtExit=${archive.make}`, '-Xlog:cds=error'];
  // One that does not fit this JVM is passed over in silence.
  return [`-XX:SharedArchiveFile=${archive.use}`, '-Xlog:cds=off', '-Xlog:cds+dynamic=off', '-Xlog:class+path=off'];
}

/** The launcher splits these options as a shell would. */
function quoted(option: string): string {
  return `"${option.replace(/["\\]/g, '\\$&')}"`;
}

const log4jConfiguration = `status = warn
appender.out.type = Console
appender.out.name = out
appender.out.target = SYSTEM_ERR
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %c{1}: %m%n%ex
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
# Hive's warnings on every start and table are about Hive clients, which there are none of.
logger.hive.name = org.apache.hadoop.hive
logger.hive.level = error
logger.catalog.name = org.apache.spark.sql.hive.HiveExternalCatalog
logger.catalog.level = error
logger.native.name = org.apache.hadoop.util.NativeCodeLoader
logger.native.level = error
`;

/** Polls with AnalyzePlan(spark_version) until it is answered; UNAUTHENTICATED and its like are thrown. */
async function answers(door: SparkDoor, signal: AbortSignal): Promise<void> {
  const { Client, Metadata, credentials, status } = await import('@grpc/grpc-js');
  const client = new Client(`${door.host}:${door.port}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${door.token}`);
  const session = randomUUID();
  const call = (method: string, request: Buffer) =>
    new Promise<number>((resolve) => {
      const path = `/spark.connect.SparkConnectService/${method}`;
      const bytes = (buffer: Buffer) => buffer;
      client.makeUnaryRequest(path, bytes, bytes, request, metadata, { deadline: Date.now() + 30_000 }, (error) => resolve(error?.code ?? status.OK));
    });
  try {
    await poll({ what: 'Spark Connect', deadlineMs: READY_DEADLINE_MS, intervalMs: 200, maxIntervalMs: 300, signal }, async () => {
      const code = await call('AnalyzePlan', sessionRequest(session, true));
      if (code === status.UNAVAILABLE || code === status.DEADLINE_EXCEEDED) return undefined;
      if (code !== status.OK) throw new Error(`Spark Connect on port ${door.port} answered ${status[code]} to its own token`);
      return true;
    });
    await call('ReleaseSession', sessionRequest(session, false));
  } finally {
    client.close();
  }
}

/** AnalyzePlanRequest or ReleaseSessionRequest in protobuf's wire format: session_id = 1, user_context = 2 {user_id = 1}, spark_version = 10 {}. */
function sessionRequest(session: string, sparkVersion: boolean): Buffer {
  const field = (number: number, content: Buffer) => Buffer.concat([Buffer.from([(number << 3) | 2, content.length]), content]);
  const user = field(1, Buffer.from('streamgauge'));
  return Buffer.concat([field(1, Buffer.from(session)), field(2, user), ...(sparkVersion ? [field(10, Buffer.alloc(0))] : [])]);
}
