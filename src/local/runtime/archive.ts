import { createHash } from 'node:crypto';
import { access, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { messageOf, Secret } from '../../errors.ts';
import { openAuthority } from '../authority.ts';
import type { Runtime } from '../contract.ts';
import { runtimeFile } from './files.ts';
import { startProcess } from '../servers/process.ts';
import { startSpark } from '../servers/spark.ts';

/** The archive's file; none where it could not be made. */
export type SparkArchive = { file?: string };

/** What is known of the archive of Spark's loaded classes (class data sharing) for this Java; undefined until it has been tried. */
export async function findArchive(folder: string, java: JavaIdentity): Promise<SparkArchive | undefined> {
  const file = archiveFile(folder, java);
  if (await exists(file)) return { file };
  return (await exists(`${file}.failed`)) ? {} : undefined;
}

/**
 * Runs Spark once and keeps what it loaded; the caller holds the installation's lock. With it a start and the first queries cost about half the processor time (measured:
 * 8.3 s and 43 s without, 3.6 s and 22 s with). What fails leaves Spark as it is, slower, and is not tried at each start.
 */
export async function makeArchive(runtime: Runtime, folder: string, java: JavaIdentity, signal?: AbortSignal): Promise<SparkArchive> {
  const file = archiveFile(folder, java);
  // What an interrupted attempt left.
  for (const name of await readdir(folder)) if (name.startsWith('training-')) await rm(join(folder, name), { recursive: true, force: true });
  const scratch = await mkdtemp(join(folder, 'training-'));
  try {
    await train(runtime, scratch, signal);
    await rename(join(scratch, 'spark.jsa'), file);
    return { file };
  } catch (error) {
    signal?.throwIfAborted();
    await writeFile(`${file}.failed`, `${messageOf(error)}\n`);
    return {};
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** An archive fits one build of the JVM. */
type JavaIdentity = { java: string; javaVersion: string };

function archiveFile(folder: string, { java, javaVersion }: JavaIdentity): string {
  return join(folder, `spark-${createHash('sha256').update(`${java} ${javaVersion}`).digest('hex').slice(0, 8)}.jsa`);
}

async function train(runtime: Runtime, scratch: string, signal: AbortSignal | undefined): Promise<void> {
  const authority = await openAuthority({ folder: join(scratch, 'tls'), java: runtime.java });
  const token = new Secret(crypto.randomUUID());
  const port = await freePort();
  const spark = await startSpark({
    runtime,
    authority,
    stateDir: join(scratch, 'spark'),
    logDir: join(scratch, 'log'),
    port,
    token,
    heapMb: 1024,
    archive: { make: join(scratch, 'spark.jsa') },
    log: () => {},
    signal,
  });
  let trained = false;
  try {
    await mkdir(join(scratch, 'checkpoints'));
    const training = await startProcess({
      name: 'training',
      python: runtime.python,
      command: runtime.python,
      args: [runtimeFile('train_spark.py'), join(scratch, 'checkpoints')],
      env: { SPARK_REMOTE: `sc://localhost:${port}`, SPARK_CONNECT_AUTHENTICATE_TOKEN: token.reveal() },
      logFile: join(scratch, 'log', 'training.log'),
    });
    const stop = () => void training.stop();
    signal?.addEventListener('abort', stop, { once: true });
    const { code } = await training.exited;
    signal?.removeEventListener('abort', stop);
    if (code !== 0) throw new Error(`training ended with exit code ${code}:\n${await training.logTail()}`);
    trained = true;
  } finally {
    // The JVM writes the archive as it ends; one that nobody wants is not waited for.
    const stopped = spark.stop();
    if (!trained) process.kill(spark.pid(), 'SIGKILL');
    await stopped;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => (typeof address === 'object' && address !== null ? resolve(address.port) : reject(new Error('no TCP port'))));
    });
  });
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
