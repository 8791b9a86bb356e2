import { resolve } from 'node:path';
import type { Command, Context } from '../command.ts';
import { Failure } from '../errors.ts';
import type { Place, Platform, PlatformOptions } from '../local/platform.ts';

type Options = { action?: string; command: string[] };
type Result = { action: 'ran' | 'reset' | 'stopped'; stateDir: string; exitCode: number };

/** `streamgauge local`: the whole platform on this machine, in the foreground, or around one command. */
export const local: Command<Options, Result> = {
  name: 'local',
  positionals: '[action]',
  actions: ['reset'],
  summary: 'Run Kafka, Spark with Delta, Elasticsearch and the AWS and Databricks APIs on this machine, on 127.0.0.1 only.',
  examples: [
    ['streamgauge local', 'run the platform until Ctrl-C'],
    ['streamgauge local -- npm test', 'run a command in its environment and stop afterwards, with the command\'s exit code'],
    ['streamgauge local reset', 'forget topics, tables, index, secrets, jobs and runs'],
    ['STREAMGAUGE_PORT_OFFSET=1000 streamgauge local', 'on other ports'],
  ],
  options: {},
  takesCommand: true,
  makesEnvironment: true,
  async run(context, { action, command }) {
    const { placeIn } = await import('../local/platform.ts');
    const place = placeIn(context.config.root);
    if (action === 'reset' && command.length === 0) return resetPlace(place);
    if (action !== undefined) throw unknownAction(action);
    const [program, ...args] = command;
    if (program === undefined) return serve(context, place);
    return { action: 'ran', stateDir: place.stateDir, exitCode: await runAround(context, place, program, args) };
  },
  render: ({ action, stateDir }) => (action === 'reset' ? [{ kind: 'text', text: `Nothing is left of the local platform in ${stateDir}.` }] : []),
  exitCode: ({ exitCode }) => exitCode,
};

/** How the environment's STREAMGAUGE_... variables want the platform to start. */
async function optionsOf(context: Context, place: Place): Promise<PlatformOptions> {
  const { portOptionsFrom } = await import('../local/ports.ts');
  const { platformVariables } = context.config;
  const { STREAMGAUGE_CACHE: cache, STREAMGAUGE_HADOOP_DIR: hadoop } = platformVariables;
  const hadoopDir = hadoop === undefined ? undefined : resolve(context.config.root, hadoop);
  return { ...place, cache, hadoopDir, ports: portOptionsFrom(platformVariables), progress: context.progress, signal: context.signal };
}

async function resetPlace(place: Place): Promise<Result> {
  const { reset } = await import('../local/platform.ts');
  await reset(place);
  return { action: 'reset', stateDir: place.stateDir, exitCode: 0 };
}

async function serve(context: Context, place: Place): Promise<Result> {
  const platform = await up(context, place);
  for (const { name, url } of platform.endpoints) context.progress.note(`${name.padEnd(34)} ${url}`);
  context.progress.note(`Credentials and everything else that clients need: ${place.environmentFile}`);
  context.progress.note('Use it with `-t local`, or `streamgauge local -- CMD`. Ctrl-C stops it; its state stays.');
  context.progress.stage('running');
  try {
    await endOf(platform, context.signal);
  } finally {
    context.progress.stage('stopping');
    await platform.stop();
  }
  return { action: 'stopped', stateDir: place.stateDir, exitCode: 0 };
}

async function runAround(context: Context, place: Place, program: string, args: string[]): Promise<number> {
  const { joinPlatform, runInside } = await import('../local/platform.ts');
  const running = await joinPlatform(place, context.signal);
  if (running !== undefined) return runInside(running.environment, program, args, context.signal);
  const platform = await up(context, place);
  void platform.failed.then((failure) => context.progress.warn(failure.message));
  context.progress.note(`running ${program}`);
  try {
    return await runInside(platform.environment, program, args, context.signal);
  } finally {
    await platform.stop();
  }
}

async function up(context: Context, place: Place): Promise<Platform> {
  const { start } = await import('../local/platform.ts');
  context.progress.stage('local platform');
  return start(await optionsOf(context, place));
}

/** Resolves when the user ends it; throws what made it end by itself. */
async function endOf(platform: Platform, signal: AbortSignal): Promise<void> {
  const asked = new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  const failure = await Promise.race([asked, platform.failed]);
  if (failure !== undefined) throw failure;
}

function unknownAction(action: string): Failure {
  return new Failure({
    code: 'USAGE',
    kind: 'usage',
    message: `there is no \`streamgauge local ${action}\``,
    hint: `Run \`streamgauge local reset\`, or \`streamgauge local -- ${action}\` for a command of that name.`,
  });
}
