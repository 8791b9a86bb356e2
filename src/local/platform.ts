import { appendFileSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseEnv } from 'node:util';
import { Failure } from '../errors.ts';
import { poll } from '../poll.ts';
import { openAuthority } from './authority.ts';
import type { Log, Runtime } from './contract.ts';
import { openCredentials } from './credentials.ts';
import { startEngines, type Running } from './engines.ts';
import { CONTRADICTING, environmentFile, environmentOf, type Environment } from './environment.ts';
import { assertPortsFree, layOutPorts, type PortOptions, type Ports } from './ports.ts';
import { install } from './runtime/install.ts';
import { takeLock, type Lock } from './runtime/lock.ts';
import { findPrerequisites } from './runtime/prerequisites.ts';
import { startForeground } from './servers/process.ts';
import { readIfThere, writeAtomic } from './state.ts';
import type { StartProgress } from './together.ts';

export type Place = {
  /** Everything that survives a restart; mode 0700. */
  stateDir: string;
  /** What clients need to know, mode 0600: `.streamgauge/local.env`. */
  environmentFile: string;
};

export type PlatformOptions = Place & {
  /** Where engines are installed; `~/.cache/streamgauge` unless given. */
  cache?: string;
  ports?: PortOptions;
  /** A folder with settings of Hadoop's (core-site.xml) and jars, for filesystems that Spark has no client of: it stands at the end of Spark's class path. */
  hadoopDir?: string;
  progress: StartProgress;
  /** Gives the start up; a platform that is up is ended by `stop`. */
  signal?: AbortSignal;
};

export type Endpoint = { name: string; url: string };

/** The whole platform, up. */
export type Platform = {
  endpoints: Endpoint[];
  environment: Environment;
  runtime: Runtime;
  /** Resolves when an engine cannot be kept alive, with why. */
  failed: Promise<Failure>;
  stop(): Promise<void>;
};

/** Where the platform of the bundle in this folder keeps what it knows. */
export function placeIn(root: string): Place {
  return { stateDir: join(root, '.streamgauge', 'local'), environmentFile: join(root, '.streamgauge', 'local.env') };
}

/** Installs what is missing, starts everything and returns when it all answers; what fails leaves nothing running. */
export async function start(options: PlatformOptions): Promise<Platform> {
  const ports = layOutPorts(options.ports ?? {});
  const { progress, signal, cache } = options;
  const runtime = await install({
    cache,
    signal,
    progress: ({ what, done, total }) => progress.update(total > 0 ? `installing ${what}: ${done} of ${total}` : what),
  });
  const lock = await lockPlace(options, runtime.python);
  try {
    // Where there is such a file, there is a platform: whoever finds it may rely on it.
    await rm(options.environmentFile, { force: true });
    await assertPortsFree(ports);
    return await startLocked(options, ports, runtime, lock);
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** The environment of the platform that runs in this place, once it is up; undefined if none runs there. */
export async function joinPlatform(place: Place, signal?: AbortSignal): Promise<{ pid: string; environment: Environment } | undefined> {
  const { python } = await findPrerequisites({ maven: false });
  return poll({ what: `the platform in ${place.stateDir} to come up`, deadlineMs: 300_000, intervalMs: 500, signal }, async () => {
    const lock = await takeLock({ python, file: lockFile(place) });
    if ('release' in lock) {
      await lock.release();
      return { joined: undefined };
    }
    const text = await readIfThere(place.environmentFile);
    return text === undefined ? undefined : { joined: { pid: lock.ownerPid, environment: parseEnv(text) as Environment } };
  }).then(({ joined }) => joined);
}

/** Forgets everything: topics, tables, index, secrets, jobs, credentials. Refuses while a platform runs there. */
export async function reset(place: Place): Promise<void> {
  const { python } = await findPrerequisites({ maven: false });
  const lock = await lockPlace(place, python);
  try {
    await Promise.all([rm(place.stateDir, { recursive: true, force: true }), rm(place.environmentFile, { force: true })]);
  } finally {
    await lock.release();
  }
}

async function startLocked(options: PlatformOptions, ports: Ports, runtime: Runtime, lock: Lock): Promise<Platform> {
  const { stateDir } = options;
  const logDir = join(stateDir, 'log');
  await mkdir(logDir, { recursive: true, mode: 0o700 });
  const log = await openLog(join(logDir, 'platform.log'));
  const [credentials, authority] = await Promise.all([openCredentials(stateDir), openAuthority({ folder: join(stateDir, 'tls'), java: runtime.java })]);
  const engines: Running = await startEngines({ ...options, ports, runtime, credentials, authority, logDir, log });
  const environment = environmentOf(ports, credentials, authority, stateDir);
  await writeAtomic(options.environmentFile, environmentFile(environment));
  log(`up, process ${process.pid}`);
  const stop = async () => {
    log('stopping');
    await rm(options.environmentFile, { force: true });
    await engines.stop();
    log('stopped');
    await lock.release();
  };
  let stopped: Promise<void> | undefined;
  return { endpoints: endpointsOf(ports), environment, runtime, failed: engines.failed, stop: () => (stopped ??= stop()) };
}

function lockFile(place: Place): string {
  // Beside the folder: a reset removes the folder while it holds the lock.
  return `${place.stateDir}.lock`;
}

async function lockPlace(place: Place, python: string): Promise<Lock> {
  const lock = await takeLock({ python, file: lockFile(place) });
  if (!('ownerPid' in lock)) return lock;
  throw new Failure({
    code: 'PLATFORM_RUNNING',
    kind: 'usage',
    message: `a local platform already runs in ${place.stateDir} (process ${lock.ownerPid})`,
    hint: `use it as it is with \`streamgauge local -- CMD\`, or stop it with Ctrl-C in its terminal (kill ${lock.ownerPid})`,
  });
}

async function openLog(file: string): Promise<Log> {
  await rename(file, `${file}.1`).catch(() => {});
  await writeAtomic(file, '');
  return (line) => appendFileSync(file, `${new Date().toISOString()} ${line}\n`);
}

function endpointsOf(ports: Ports): Endpoint[] {
  const [broker] = ports.kafka;
  return [
    { name: 'Databricks workspace and SQL', url: `https://127.0.0.1:${ports.workspace}` },
    { name: 'MSK', url: `https://127.0.0.1:${ports.aws}` },
    { name: 'Secrets Manager, KMS, STS', url: `https://127.0.0.1:${ports.moto}` },
    { name: 'Kafka brokers (once provisioned)', url: `127.0.0.1:${broker?.clients}-${(broker?.clients ?? 0) + ports.kafka.length - 1}` },
    { name: 'Elasticsearch', url: `https://127.0.0.1:${ports.elasticsearch.http}` },
    { name: 'Spark Connect', url: `sc://localhost:${ports.spark}` },
  ];
}

/** Runs a command on this terminal in the platform's environment; it ends with this process. Resolves with its exit code. */
export async function runInside(environment: Environment, command: string, args: string[], signal: AbortSignal): Promise<number> {
  const { python } = await findPrerequisites({ maven: false });
  const started = await startForeground({ name: command, python, command, args, env: environment, dropEnvironment: CONTRADICTING });
  const stop = () => void started.stop();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  const { code } = await started.exited;
  signal.removeEventListener('abort', stop);
  return code;
}
