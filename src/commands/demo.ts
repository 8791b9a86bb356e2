import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { Block, Command, Context } from '../command.ts';
import { Failure, type FailureKind } from '../errors.ts';
import { poll } from '../poll.ts';

type Options = { keep?: boolean; records?: number; seed?: number };
type Stage = { stage: string; seconds: number };
type Counts = { produced: number; badProduced: number; raw: number; bad: number; windows: number; documents: number };
type Result = { counts: Counts; stages: Stage[]; lastWindows: { columns: string[]; rows: (string | number | null)[][] }; platformPid: number | null };

/** The demo is about this one, whatever databricks.yml has as default. */
const TARGET = 'local';
/** Where the demo's first two days begin, a Monday; each further demo goes on where the windows end. */
const FIRST_DAY = Date.UTC(2024, 0, 1);
const TWO_DAYS_MS = 2 * 86_400_000;
const LAST_WINDOWS = 'SELECT window_start, key, count, sum, mean, median, stddev_samp, min, max FROM windows ORDER BY window_start DESC, key LIMIT 8';

/** `streamgauge demo`: the whole job on the local platform, by the same verbs and in the same way as on the cloud. */
export const demo: Command<Options, Result> = {
  name: 'demo',
  summary: 'Run the whole job on this machine: real Kafka, Spark with Delta and Elasticsearch, the same verbs as on the cloud.',
  examples: [
    ['streamgauge demo', 'start the platform, run everything, show the result, stop the platform'],
    ['streamgauge demo --keep', 'leave the platform up, to go on by hand'],
  ],
  ranges: { records: { whole: true, least: 1 }, seed: { whole: true } },
  options: {
    keep: { type: 'boolean', describe: 'Leave the platform running' },
    records: { type: 'number', requiresArg: true, describe: 'Records to produce', default: 200_000 },
    seed: { type: 'number', requiresArg: true, describe: 'Seed of the generator', default: 1 },
  },
  makesEnvironment: true,
  async run(context, { keep = false, records = 200_000, seed = 1 }) {
    const stages: Stage[] = [];
    const step = async <T>(stage: string, act: () => Promise<T>): Promise<T> => {
      const startedAt = performance.now();
      const result = await act();
      stages.push({ stage, seconds: Math.round((performance.now() - startedAt) / 100) / 10 });
      return result;
    };
    const verb = (...args: string[]): Promise<any> => step(args[0] as string, () => runVerb(context, args));
    const platform = await step('platform', () => platformFor(context, keep));
    try {
      await verb('provision');
      const from = await nextDay(context);
      const days = ['--from', from.toISOString(), '--to', new Date(from.getTime() + TWO_DAYS_MS).toISOString()];
      const produced = await verb('produce', '--records', String(records), '--seed', String(seed), '--bad-ratio', '0.001', ...days);
      await verb('deploy', '--yes');
      // Its third task exports.
      await verb('run');
      const lastWindows = await verb('query', LAST_WINDOWS);
      const status = await verb('status');
      return { counts: countsOf(produced, status), stages, lastWindows: tableOf(lastWindows), platformPid: platform.pid };
    } finally {
      await platform.stop();
    }
  },
  render,
};

/** One verb, as a user would type it: a process of its own, its progress on the same terminal, its result as JSON. */
async function runVerb({ config, signal }: Context, args: string[], anyOutcome = false): Promise<unknown> {
  const child = spawn(process.execPath, [process.argv[1] as string, ...args, '-t', TARGET, '--json'], {
    cwd: config.root,
    // Only the target may differ from what the user typed: the variables of this invocation are the same for every verb.
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  // Ctrl-C on a terminal reaches the verb by itself; a signal to the demo alone has to be passed on.
  const forward = (): void => void child.kill('SIGTERM');
  signal.addEventListener('abort', forward, { once: true });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => (text += piece));
  const [code] = (await once(child, 'close')) as [number | null];
  signal.removeEventListener('abort', forward);
  signal.throwIfAborted();
  if (code === 0 || (anyOutcome && text !== '')) return JSON.parse(text);
  throw new Failure({
    code: 'DEMO_STEP_FAILED',
    kind: KINDS[code ?? 1] ?? 'unexpected',
    message: `\`streamgauge ${args[0]}\` ended with exit code ${code}; what it said stands above`,
    hint: `Keep the platform and try again by hand: \`streamgauge local\`, then \`streamgauge ${args.join(' ')} -t ${TARGET}\`.`,
  });
}

const KINDS: Record<number, FailureKind> = { 2: 'usage', 3: 'access', 4: 'remote', 5: 'deadline', 6: 'checkFailed', 130: 'interrupted' };

type DemoPlatform = { pid: number | null; stop(): Promise<void> };

/** The platform that already runs here, or one that ends with the demo, or (`keep`) one in a process that outlives it. */
async function platformFor(context: Context, keep: boolean): Promise<DemoPlatform> {
  const { joinPlatform, placeIn, start } = await import('../local/platform.ts');
  const { portOptionsFrom } = await import('../local/ports.ts');
  const { config, progress, signal } = context;
  progress.stage('local platform');
  const place = placeIn(config.root);
  const running = await joinPlatform(place, signal);
  if (running !== undefined) return { pid: Number(running.pid), stop: async () => {} };
  if (keep) return startDetached(context, async () => (await joinPlatform(place, signal)) !== undefined);
  const { platformVariables } = config;
  const platform = await start({ ...place, cache: platformVariables.STREAMGAUGE_CACHE, ports: portOptionsFrom(platformVariables), progress, signal });
  void platform.failed.then((failure) => progress.warn(failure.message));
  return { pid: null, stop: () => platform.stop() };
}

async function startDetached({ config, signal }: Context, isUp: () => Promise<boolean>): Promise<DemoPlatform> {
  const folder = join(config.root, '.streamgauge');
  mkdirSync(folder, { recursive: true });
  const log = openSync(join(folder, 'local.log'), 'w', 0o600);
  const child = spawn(process.execPath, [process.argv[1] as string, 'local'], { cwd: config.root, detached: true, stdio: ['ignore', log, log] });
  closeSync(log);
  child.unref();
  let ended = false;
  child.once('exit', () => (ended = true));
  await poll({ what: 'the local platform', deadlineMs: 900_000, intervalMs: 500, maxIntervalMs: 1000, signal }, async () => {
    if (await isUp()) return true;
    if (!ended) return undefined;
    throw new Failure({ code: 'PLATFORM_ENDED', kind: 'remote', message: 'the local platform ended while it started', hint: `Read why in ${join(folder, 'local.log')}.` });
  });
  return { pid: child.pid ?? null, stop: async () => {} };
}

/** A second demo must not send its records into windows that are published: it goes on where they end. */
async function nextDay(context: Context): Promise<Date> {
  const { newestWindowEnd } = (await runVerb(context, ['status'], true)) as { newestWindowEnd: string | null };
  if (newestWindowEnd === null) return new Date(FIRST_DAY);
  const day = 86_400_000;
  return new Date(Math.ceil(Date.parse(newestWindowEnd) / day) * day);
}

function countsOf(produced: any, status: any): Counts {
  const sum = (field: string): number => status.partitions.reduce((total: number, partition: Record<string, number>) => total + (partition[field] ?? 0), 0);
  const badProduced = Object.values(produced.bad as Record<string, number>).reduce((total, count) => total + count, 0);
  return { produced: produced.records, badProduced, raw: sum('records'), bad: sum('bad'), windows: status.windows, documents: status.documents };
}

function tableOf({ columns, rows }: { columns: { name: string }[]; rows: (string | number | null)[][] }): Result['lastWindows'] {
  return { columns: columns.map((column) => column.name), rows };
}

function render({ counts, stages, lastWindows, platformPid }: Result): Block[] {
  const total = stages.reduce((sum, { seconds }) => sum + seconds, 0);
  const byHand = platformPid === null ? ['streamgauge local', '(in another terminal) '] : [`(the platform is up, process ${platformPid}; \`kill ${platformPid}\` stops it)`, ''];
  return [
    { kind: 'table', title: 'The last windows', ...lastWindows },
    {
      kind: 'facts',
      title: 'Counts',
      facts: [
        ['produced now', `${counts.produced} (${counts.badProduced} bad on purpose)`],
        ['raw, all demos', `${counts.raw}`],
        ['of these bad', `${counts.bad}`],
        ['windows', counts.windows],
        ['documents', counts.documents],
      ],
    },
    { kind: 'table', title: 'Time', columns: ['stage', 'seconds'], rows: [...stages.map(({ stage, seconds }) => [stage, seconds.toFixed(1)]), ['all', total.toFixed(1)]] },
    {
      kind: 'text',
      text: ['Go on by hand:', `  ${byHand[0]}`, `  ${byHand[1]}npx streamgauge status -t local`, '  npx streamgauge produce -t local --records 1000 && npx streamgauge run -t local && npx streamgauge export -t local', '  npx streamgauge query -t local "SELECT reason, count(*) FROM quarantine GROUP BY reason"'].join('\n'),
    },
  ];
}
