#!/usr/bin/env node
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command, Context } from './command.ts';
import { parseArguments } from './arguments.ts';
import { EXIT, Failure } from './errors.ts';
import { createEvents } from './report/events.ts';
import { failureJson, renderFailure } from './report/failure.ts';
import { renderJson } from './report/json.ts';
import { createProgress } from './report/progress.ts';
import { renderBlocks } from './report/text.ts';

/** One verb, one module, loaded only when it is asked for: starting up must not cost what the verb does not use. */
export const VERBS: Record<string, () => Promise<Command>> = {
  provision: async () => (await import('./commands/provision.ts')).provision as unknown as Command,
  produce: async () => (await import('./commands/produce.ts')).produce as unknown as Command,
  plan: async () => (await import('./commands/plan.ts')).plan as unknown as Command,
  deploy: async () => (await import('./commands/deploy.ts')).deploy as unknown as Command,
  history: async () => (await import('./commands/history.ts')).history as unknown as Command,
  rollback: async () => (await import('./commands/rollback.ts')).rollback as unknown as Command,
  import: async () => (await import('./commands/import.ts')).importThing as unknown as Command,
  run: async () => (await import('./commands/run.ts')).run as unknown as Command,
  export: async () => (await import('./commands/export.ts')).exportWindows as unknown as Command,
  windows: async () => (await import('./commands/windows.ts')).windows as unknown as Command,
  query: async () => (await import('./commands/query.ts')).query as unknown as Command,
  status: async () => (await import('./commands/status.ts')).status as unknown as Command,
  backup: async () => (await import('./commands/backup.ts')).backup as unknown as Command,
  restore: async () => (await import('./commands/restore.ts')).restore as unknown as Command,
  prove: async () => (await import('./commands/prove.ts')).prove as unknown as Command,
  explain: async () => (await import('./commands/explain.ts')).explain as unknown as Command,
  quarantine: async () => (await import('./commands/quarantine.ts')).quarantine as unknown as Command,
  destroy: async () => (await import('./commands/destroy.ts')).destroy as unknown as Command,
  local: async () => (await import('./commands/local.ts')).local as unknown as Command,
  demo: async () => (await import('./commands/demo.ts')).demo as unknown as Command,
};

type Streams = { stdout: NodeJS.WriteStream; stderr: NodeJS.WriteStream };

/**
 * Runs one invocation and returns its exit code; prints the result on stdout, everything else on stderr. `astray` rejects with what was
 * thrown where nobody waits for it: it ends the verb like an error of its own.
 */
export async function main(argv: readonly string[], streams: Streams, signal: AbortSignal, astray: Promise<never>): Promise<number> {
  const asJson = argv.includes('--json');
  try {
    return await Promise.race([invoke(argv, streams, signal), astray]);
  } catch (error) {
    const shown = signal.aborted ? interrupted(error) : error;
    // A person reads stderr, a script stdout: with --json there is one document on stdout whatever happens.
    const exitCode = shown instanceof Failure ? shown.exitCode : EXIT.unexpected;
    if (argv.includes('--events')) createEvents(streams.stderr, argv.find((word) => !word.startsWith('-')) ?? '').finish(exitCode, failureJson(shown).error);
    else streams.stderr.write(`${renderFailure(shown)}\n`);
    if (asJson) streams.stdout.write(`${JSON.stringify(failureJson(shown))}\n`);
    return exitCode;
  }
}

async function invoke(argv: readonly string[], streams: Streams, signal: AbortSignal): Promise<number> {
  const invocation = await parseArguments(argv, VERBS);
  if (invocation.kind === 'verb') return runVerb(invocation, streams, signal);
  streams.stdout.write(`${invocation.text}\n`);
  return EXIT.ok;
}

type Invocation = Extract<Awaited<ReturnType<typeof parseArguments>>, { kind: 'verb' }>;

async function runVerb({ command, options, json }: Invocation, { stdout, stderr }: Streams, signal: AbortSignal): Promise<number> {
  const { loadConfig } = await import('./config/load.ts');
  const config = loadConfig({
    cwd: process.cwd(),
    target: options.target as string | undefined,
    vars: (options.var as string[] | undefined) ?? [],
    needsEnvironment: command.makesEnvironment !== true,
    reads: command.reads,
  });
  const events = options.events === true ? createEvents(stderr, command.name) : undefined;
  const progress = events ?? createProgress({ sink: stderr, animate: stderr.isTTY && !config.ci });
  const context: Context = { config, progress, signal };
  try {
    const result = await command.run(context, options);
    progress.end();
    await write(stdout, json ? (command.json?.(result) ?? [`${renderJson(result)}\n`]) : rendered(command, result));
    const exitCode = command.exitCode?.(result) ?? EXIT.ok;
    events?.finish(exitCode);
    return exitCode;
  } finally {
    progress.end();
  }
}

function rendered(command: Command, result: unknown): AsyncIterable<string> | string[] {
  const shown = command.render(result);
  if (!Array.isArray(shown)) return shown;
  const text = renderBlocks(shown);
  return text === '' ? [] : [`${text}\n`];
}

/** Writes with the reader's pace: a million rows to a slow pipe must not pile up in memory. */
async function write(stdout: NodeJS.WriteStream, chunks: AsyncIterable<string> | Iterable<string>): Promise<void> {
  for await (const chunk of chunks) {
    if (stdout.destroyed) return;
    if (!stdout.write(chunk)) await new Promise<void>((resolve) => {
      const done = (): void => {
        stdout.off('drain', done).off('close', done).off('error', done);
        resolve();
      };
      stdout.once('drain', done).once('close', done).once('error', done);
    });
  }
}

function interrupted(error: unknown): Failure {
  if (error instanceof Failure && error.kind === 'interrupted') return error;
  return new Failure({ code: 'INTERRUPTED', kind: 'interrupted', message: 'interrupted', cause: error });
}

/** The whole program. Ctrl-C once asks the verb to stop cleanly; a second time the system's own default ends the process. */
export async function start(): Promise<void> {
  const abort = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, () => abort.abort());
  // A reader that went away (`| head`) is not an error of ours.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.stdout.destroy();
  });
  const { promise: astray, reject } = Promise.withResolvers<never>();
  let isAstray = false;
  const goAstray = (error: unknown): void => {
    isAstray = true;
    reject(error);
  };
  process.once('uncaughtException', goAstray);
  process.exitCode = await main(process.argv.slice(2), process, abort.signal, astray);
  process.off('uncaughtException', goAstray);
  // What the verb would still do, nobody knows.
  if (isAstray) process.exit();
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) await start();
