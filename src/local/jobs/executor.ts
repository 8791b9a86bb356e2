import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { messageOf } from '../../errors.ts';
import { pause } from '../../poll.ts';
import type { Log, SparkDoor } from '../contract.ts';
import { runtimeFile } from '../runtime/files.ts';
import { latestAttempts } from './state.ts';
import type { Attempt, Run } from './state.ts';
import { createRedaction, logWriter } from './tasklog.ts';
import type { Redaction } from './tasklog.ts';

/** What has to be executed: a notebook with named parameters, or a Python file with arguments. */
export type Order = { run: Run; attempt: Attempt; kind: 'notebook' | 'python'; path: string; named: Record<string, string>; listed: string[] };

export type Ending = { result: 'SUCCESS' | 'FAILED'; exit_value?: string; error?: string; error_trace?: string };

/** A task at work: `ended` never rejects; after `stop()` it resolves once nothing of the task is left. */
export type Execution = { ended: Promise<Ending>; stop(): void };

export type ExecutorOptions = {
  /** Python with pyspark[connect]. */
  python: string;
  spark: SparkDoor;
  /** Added to every task's environment; secrets in it stay out of argv and logs. */
  environment: Record<string, string>;
  baseUrl: string;
  workspaceRoot: string;
  volumesDir: string;
  /** Where the tasks' PyPI libraries are installed. */
  librariesDir: string;
  fileOf(path: string): string;
  logFile(taskRunId: number): string;
  /** A token for the task's own calls; its subject comes back with each secret that the task reads. */
  mint(subject: string, seconds: number): Promise<string>;
  /** Ends a session in Spark, with its streaming queries, where the task's process could not do it. */
  releaseSession(sessionId: string): Promise<void>;
  log: Log;
};

export type Executor = {
  execute(order: Order): Execution;
  /** Hides this value in the output of the task that read it. */
  onSecretRead(subject: string, value: string): void;
  /** Spark died, and every session with it: ends what is at work, as a notebook dies with its driver. */
  loseSpark(): void;
};

const tokenSeconds = 14 * 24 * 3600;
/** Time for a task to stop its queries and release its session before its processes are killed. */
const stopMs = 15_000;
const killMs = 2000;
const SPARK_LOST = 'Spark ended while the task was at work (see spark.log.1)';

/** Runs tasks as Python processes on Spark Connect, each with its family under guard.py: none outlives the platform. */
export function createExecutor(options: ExecutorOptions): Executor {
  const redactions = new Map<string, Redaction>();
  const atWork = new Set<() => void>();

  function execute(order: Order): Execution {
    const file = options.fileOf(order.path);
    if (!existsSync(file)) throw new RangeError(`Unable to access the ${order.kind} "${order.path}" in the workspace: it does not exist`);
    const subject = `task-run-${order.attempt.run_id}`;
    const redaction = createRedaction();
    redactions.set(subject, redaction);
    const sessionId = randomUUID();
    const over = new AbortController();
    const child = spawn(options.python, ['-I', '-S', runtimeFile('guard.py')], { stdio: Array(6).fill('pipe'), detached: true });
    let lost = false;
    const lose = () => {
      lost = true;
      guard.end();
    };
    atWork.add(lose);
    const ended = attend(child, order, redaction, options).then(async ({ released, by, ...ending }) => {
      over.abort();
      atWork.delete(lose);
      redactions.delete(subject);
      if (lost && by === 'process') ending.error = SPARK_LOST;
      if (!released && !lost) await options.releaseSession(sessionId).catch((error: unknown) => options.log(`Spark session of ${subject}: ${messageOf(error)}`));
      return ending;
    });
    const [control, guard] = [child.stdin as Writable, child.stdio[3] as Writable];
    // A process that is gone already says more by its exit than by a broken pipe.
    for (const stream of [control, guard]) stream.on('error', () => {});
    const begin = async () => {
      const token = await options.mint(subject, tokenSeconds);
      // What opens the platform is no secret to the task, but has no place in its log either.
      for (const value of [token, options.spark.token]) redaction.add(value);
      guard.write(`${JSON.stringify(guardSpecification(options, file, sessionId, token))}\n`);
    };
    void begin();
    control.write(`${JSON.stringify(taskSpecification(options, order, file))}\n`);
    let stopped = false;
    const stop = () => {
      if (stopped) return;
      stopped = true;
      control.write('stop\n');
      pause(stopMs, over.signal).then(() => guard.end(), () => {});
    };
    return { ended, stop };
  }

  return { execute, onSecretRead: (subject, value) => redactions.get(subject)?.add(value), loseSpark: () => atWork.forEach((lose) => lose()) };
}

function guardSpecification(options: ExecutorOptions, file: string, sessionId: string, token: string) {
  const { spark, environment, baseUrl, python } = options;
  // PySpark sends a token without TLS to `localhost` alone.
  const host = spark.host === '127.0.0.1' ? 'localhost' : spark.host;
  const env = {
    ...environment,
    PYTHONDONTWRITEBYTECODE: '1',
    PYTHONUNBUFFERED: '1',
    PYTHONIOENCODING: 'utf-8',
    SPARK_REMOTE: `sc://${host}:${spark.port}/;user_id=streamgauge;session_id=${sessionId}`,
    SPARK_CONNECT_AUTHENTICATE_TOKEN: spark.token,
    DATABRICKS_HOST: baseUrl,
    DATABRICKS_TOKEN: token,
  };
  const args = [runtimeFile('run_notebook.py')];
  return { command: python, args, env, cwd: dirname(file), graceMs: killMs, unprivileged: false, foreground: false, inherit: false };
}

function taskSpecification({ workspaceRoot, volumesDir, librariesDir }: ExecutorOptions, { run, attempt, kind, path, named, listed }: Order, file: string) {
  const values = Object.fromEntries([...latestAttempts(run)].map(([key, latest]) => [key, latest.values]));
  // Those from PyPI; on Databricks they come with the task's compute.
  const libraries = run.settings.tasks?.find((task) => task.task_key === attempt.task_key)?.libraries?.flatMap(({ pypi }) => pypi?.package ?? []) ?? [];
  return { kind, path, file, root: workspaceRoot, volumes: volumesDir, parameters: named, arguments: listed, values, librariesDir, libraries };
}

async function attend(child: ChildProcess, order: Order, redaction: Redaction, options: ExecutorOptions): Promise<Ending & { released: boolean; by: 'task' | 'process' }> {
  let ending: Ending | undefined;
  let released = false;
  const logFile = options.logFile(order.attempt.run_id);
  for (const stream of [child.stdout as Readable, child.stderr as Readable]) {
    const writer = logWriter(logFile, redaction);
    stream.on('data', (chunk: Buffer) => writer.write(chunk));
    stream.on('end', () => writer.end());
  }
  createInterface({ input: (child.stdio as unknown[])[5] as Readable }).on('line', (line) => {
    const event = JSON.parse(line) as { event: string; key: string; value: unknown } & Ending;
    if (event.event === 'value') order.attempt.values[event.key] = event.value;
    if (event.event === 'released') released = true;
    if (event.event === 'ended') ending = endingOf(event, redaction);
  });
  // guard.py's line with the child's pid: of no use here, but a full pipe would block it.
  (child.stdio[4] as Readable).resume();
  const [code] = await once(child, 'close').catch((error: unknown) => [messageOf(error)]);
  const how = typeof code === 'number' && code > 128 ? `was killed by signal ${code - 128}` : `ended with exit code ${code}`;
  return ending === undefined ? { result: 'FAILED', error: `The Python process ${how} before the task was done`, by: 'process', released } : { ...ending, by: 'task', released };
}

function endingOf(event: Ending, redaction: Redaction): Ending {
  const ending: Ending = { result: event.result };
  for (const field of ['exit_value', 'error', 'error_trace'] as const) if (event[field] != null) ending[field] = redaction.apply(event[field]);
  return ending;
}
