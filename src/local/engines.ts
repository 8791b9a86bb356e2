import { join } from 'node:path';
import { Hono } from 'hono';
import { messageOf, type Failure } from '../errors.ts';
import { trustOptions } from './authority.ts';
import type { Authority, Log, Runtime } from './contract.ts';
import type { Credentials } from './credentials.ts';
import { ACCOUNT_ID, ELASTICSEARCH_USER, HTTP_PATH, REGION, volumesOf, WAREHOUSE_ID, type Environment } from './environment.ts';
import { createAuth } from './facades/auth.ts';
import { faults } from './facades/faults.ts';
import { serveHttps } from './facades/https.ts';
import { createMsk } from './facades/msk/main.ts';
import { answerErrors } from './facades/refusal.ts';
import { createSql } from './facades/sql/main.ts';
import { createWorkspace, workspaceId } from './facades/workspace/main.ts';
import { portVariable, type Ports } from './ports.ts';
import { startAws } from './servers/aws.ts';
import { startElasticsearch } from './servers/elasticsearch.ts';
import { startSpark } from './servers/spark.ts';
import { supervise } from './servers/supervise.ts';
import { connectSpark, type SparkConnect } from './spark-connect/client.ts';
import { run } from './spark-connect/rows.ts';
import { startTogether, type Part, type StartProgress } from './together.ts';

export type EnginesOptions = {
  stateDir: string;
  logDir: string;
  ports: Ports;
  runtime: Runtime;
  authority: Authority & { bundleFile: string };
  credentials: Credentials;
  /** See PlatformOptions. */
  hadoopDir?: string;
  progress: StartProgress;
  log: Log;
  signal?: AbortSignal;
};

export type Running = {
  /** Resolves when an engine cannot be kept alive, with why. */
  failed: Promise<Failure>;
  stop(): Promise<void>;
};

type Started = { failed?: Promise<Failure>; warmUp?: () => Promise<void>; loseSpark?(): void; stop(): Promise<void> };
type Shared = EnginesOptions & { faults: ReturnType<typeof faults>; auth: ReturnType<typeof createAuth>; baseUrl: string };

/** Starts engines and façades side by side: nothing waits for another but where it needs an answer of it. */
export async function startEngines(options: EnginesOptions): Promise<Running> {
  const { credentials } = options;
  const baseUrl = `https://127.0.0.1:${options.ports.workspace}`;
  const client = { id: credentials.databricksClientId, secret: credentials.databricksClientSecret };
  const auth = createAuth({ baseUrl, workspaceId, token: credentials.databricksToken, client });
  const shared: Shared = { ...options, auth, baseUrl, faults: faults(auth.guard) };
  let onSparkDeath = (): void => undefined;
  const parts: Part<Started>[] = [
    { name: 'Databricks workspace', start: () => startWorkspace(shared) },
    { name: 'MSK', start: (signal) => startMsk({ ...shared, signal }) },
    { name: 'Spark', start: (signal) => startEngine({ ...options, signal }, () => onSparkDeath()) },
    { name: 'Elasticsearch', start: (signal) => startSearch({ ...options, signal }) },
    { name: 'Secrets Manager', start: (signal) => startSecrets({ ...options, signal }) },
  ];
  const started = await startTogether(parts, (part) => part.stop(), options.progress, options.signal);
  const [workspace, ...engines] = started as [Started, ...Started[]];
  onSparkDeath = () => workspace.loseSpark?.();
  // Nobody waits for it: it is for whoever asks Spark first.
  void workspace.warmUp?.().catch((error: unknown) => options.log(`warming Spark up: ${messageOf(error)}`));
  return {
    failed: Promise.race(started.flatMap((part) => part.failed ?? [])),
    stop: async () => {
      // First, while Spark is there: a run that is cut off releases its session.
      await workspace.stop();
      await Promise.allSettled(engines.map((engine) => engine.stop()));
    },
  };
}

function at(options: EnginesOptions, name: string) {
  return { stateDir: join(options.stateDir, name), logDir: options.logDir };
}

async function startWorkspace(options: Shared): Promise<Started> {
  const { runtime, credentials, ports, log, auth, baseUrl } = options;
  const door = { host: 'localhost', port: ports.spark, token: credentials.sparkToken.reveal() };
  const spark = await connectSpark(door, runtime, join(options.stateDir, 'spark', 'protocol'));
  const sql = await createSql(spark, { stateDir: join(options.stateDir, 'workspace'), warehouseId: WAREHOUSE_ID });
  const workspace = await createWorkspace({
    ...at(options, 'workspace'),
    baseUrl,
    token: credentials.databricksToken,
    userName: 'streamgauge@localhost',
    client: { id: credentials.databricksClientId, secret: credentials.databricksClientSecret },
    spark: door,
    releaseSession: (id) => spark.openSession(id).release(),
    python: runtime.python,
    environment: { ...trustOf(options), ...(await hadoopOf(options)) },
    warehouse: { id: WAREHOUSE_ID, httpPath: HTTP_PATH },
    log,
    volumesDir: volumesOf(options.stateDir),
    librariesDir: runtime.librariesDir,
  });
  const guarded = new Hono();
  answerErrors(guarded, log);
  for (const path of ['/sql/*', '/api/2.0/sql/statements', '/api/2.0/sql/statements/*']) guarded.use(path, auth.guard);
  guarded.route('/', sql.app);
  const apps = [faulty(options, options.faults.admin), sql.links, guarded, workspace.app];
  const host = await serveHttps({ authority: options.authority, port: ports.workspace, apps, log });
  const stop = async () => {
    await Promise.allSettled([workspace.stop(), sql.stop()]);
    spark.close();
    await host.stop();
  };
  return { stop, warmUp: () => warmUp(spark), loseSpark: workspace.loseSpark };
}

/** Opens the metastore, which takes seconds the first time. */
async function warmUp(spark: SparkConnect): Promise<void> {
  const session = spark.openSession();
  try {
    await run(session, { sql: { query: 'SHOW SCHEMAS' } });
  } finally {
    await session.release();
  }
}

async function startMsk(options: Shared): Promise<Started> {
  const { ports, credentials, log } = options;
  const msk = await createMsk({
    ...options,
    ...at(options, 'msk'),
    region: REGION,
    accountId: ACCOUNT_ID,
    ports: ports.kafka,
    portVariable: portVariable('kafka'),
    heapMb: 384,
    awsUrl: `https://127.0.0.1:${ports.moto}`,
    credentials: { accessKeyId: credentials.awsAccessKeyId, secretAccessKey: credentials.awsSecretAccessKey },
  });
  try {
    const host = await serveHttps({ authority: options.authority, port: ports.aws, apps: [faulty(options), msk.app], log });
    return { stop: async () => void (await Promise.allSettled([host.stop(), msk.stop()])) };
  } catch (error) {
    await msk.stop();
    throw error;
  }
}

function startEngine(options: EnginesOptions, onDeath: () => void): Promise<Started> {
  const { sparkArchive } = options.runtime;
  return startSpark({
    ...options,
    ...at(options, 'spark'),
    port: options.ports.spark,
    token: options.credentials.sparkToken,
    heapMb: 2048,
    onDeath,
    archive: sparkArchive === undefined ? undefined : { use: sparkArchive },
  });
}

function startSearch(options: EnginesOptions): Promise<Started> {
  const { credentials, ports } = options;
  return startElasticsearch({
    ...options,
    ...at(options, 'elasticsearch'),
    ports: ports.elasticsearch,
    writer: { username: ELASTICSEARCH_USER, password: credentials.elasticsearchPassword },
    admin: { username: 'admin', password: credentials.elasticsearchAdminPassword },
    heapMb: 512,
  });
}

function startSecrets(options: EnginesOptions): Promise<Started> {
  const { credentials, ports, log, signal } = options;
  return supervise({
    name: 'AWS services (moto)',
    logFile: join(options.logDir, 'aws.log'),
    log,
    signal,
    start: (once) =>
      startAws({
        ...options,
        ...at(options, 'aws'),
        signal: once,
        port: ports.moto,
        credentials: { accessKeyId: credentials.awsAccessKeyId, secretAccessKey: credentials.awsSecretAccessKey },
      }),
  });
}

/** Faults come before everything: what they spoil must not reach a handler. */
function faulty({ faults }: Shared, admin?: Hono): Hono {
  const app = new Hono();
  app.use(faults.middleware);
  if (admin !== undefined) app.route('/', admin);
  return app;
}

/** For what a task asks of Hadoop without Spark. */
async function hadoopOf({ hadoopDir, authority }: EnginesOptions): Promise<Environment> {
  return hadoopDir === undefined ? {} : { STREAMGAUGE_HADOOP_DIR: hadoopDir, STREAMGAUGE_JAVA_TRUST: trustOptions(await authority.publicTrustStore()).join('\n') };
}

/** So that a task's own clients trust the platform. */
function trustOf({ authority: { caFile, bundleFile } }: EnginesOptions): Environment {
  return { NODE_EXTRA_CA_CERTS: caFile, SSL_CERT_FILE: bundleFile, REQUESTS_CA_BUNDLE: bundleFile, AWS_CA_BUNDLE: bundleFile };
}
