import { randomUUID } from 'node:crypto';
import type { Command, Context } from '../command.ts';
import { deployedJob } from '../databricks/deploy.ts';
import { connect, type Workspace } from '../databricks/client.ts';
import { followRun, idempotencyToken, startRun, stopRun, type RunEvent, type RunReport } from '../databricks/runs.ts';
import { Failure } from '../errors.ts';

type Options = { action?: string; id?: number; job?: string; param?: string[]; timeout?: number; token?: string; cancelOnInterrupt?: boolean };
type Result = RunReport & { job: string | null; asked: 'run' | 'cancel' };

/** `streamgauge run`: starts the job, or follows or cancels a run of it, and ends as the run ends. */
export const run: Command<Options, Result> = {
  name: 'run',
  positionals: '[action] [id]',
  summary: 'Start the job and follow it to its end; or `run follow ID`, `run cancel ID`.',
  examples: [
    ['streamgauge run -t prod', 'start the job; the exit code says how it ended'],
    ['streamgauge run --param window_minutes=5', 'with another job parameter, for this run'],
    ['streamgauge run follow 1234', 'follow a run that is already going on'],
    ['streamgauge run cancel 1234', 'stop it, and wait until it has stopped'],
    ['streamgauge run --token nightly-2026-05-01', 'start at most one run under this name, however often this is called'],
  ],
  options: {
    job: { type: 'string', requiresArg: true, describe: 'Key of the job in the bundle, where it has several' },
    param: { type: 'array', string: true, requiresArg: true, describe: 'Job parameter for this run: name=value' },
    timeout: { type: 'number', requiresArg: true, describe: 'Seconds to follow the run; the run itself goes on', default: 7200 },
    token: { type: 'string', requiresArg: true, describe: 'Name of this submission: the same name never starts a second run' },
    cancelOnInterrupt: { type: 'boolean', describe: 'Ctrl-C cancels the run, too; without it, the run goes on' },
  },
  async run(context, options) {
    const { action = 'start' } = options;
    const workspace = await connect(context.config.databricks, { signal: context.signal });
    if (action === 'cancel') return { job: null, asked: 'cancel', ...(await cancel(context, workspace, runIdOf(options))) };
    if (action === 'follow') return { job: null, asked: 'run', ...(await follow(context, workspace, runIdOf(options), options)) };
    if (action !== 'start') throw usage(`there is no ${JSON.stringify(action)} of a run`, 'Use `run`, `run follow ID` or `run cancel ID`.');
    context.progress.stage('run');
    const parameters = parametersOf(options.param ?? []);
    const job = await deployedJob(workspace, context.config, options.job);
    checkParameters(parameters, job.settings);
    const token = options.token === undefined ? randomUUID() : idempotencyToken(context.config.bundle, context.config.target, String(job.job_id), options.token);
    const runId = await startRun(workspace, job.job_id, parameters, token);
    return { job: job.settings.name ?? null, asked: 'run', ...(await follow(context, workspace, runId, options)) };
  },
  render({ job, runId, outcome, seconds, tasks, activeRuns, page }) {
    const failures = tasks.flatMap(({ task, error }) => (error === undefined ? [] : [[`${task}: ${error.message}`, error.trace ?? '', error.logTail ?? ''].filter((part) => part !== '').join('\n')]));
    return [
      { kind: 'text', text: `Run ${runId}${job === null ? '' : ` of ${job}`} ${outcome.meaning} after ${seconds} s.${explain(activeRuns, runId)}` },
      { kind: 'table', columns: ['task', 'state', 'attempts', 'seconds'], rows: tasks.map((task) => [task.task, task.state, task.attempt + 1, task.seconds]) },
      ...failures.map((text) => ({ kind: 'text' as const, text })),
      ...(page === undefined ? [] : [{ kind: 'text' as const, text: page }]),
    ];
  },
  // Whoever asked for a cancelled run got one.
  exitCode: ({ asked, outcome }) => (asked === 'cancel' ? 0 : outcome.exitCode),
};

/** Follows with progress; on Ctrl-C the run goes on (and how to reach it is said), or is cancelled where that was asked for. */
async function follow({ progress, signal }: Context, workspace: Workspace, runId: number, { timeout = 7200, cancelOnInterrupt = false }: Options): Promise<RunReport> {
  progress.stage(`run ${runId}`);
  try {
    return await followRun(workspace, runId, { deadlineMs: timeout * 1000, signal, onEvent: (event) => tell(progress, event, runId) });
  } catch (error) {
    if (!signal.aborted) throw error;
    if (!cancelOnInterrupt) {
      throw new Failure({
        code: 'INTERRUPTED',
        kind: 'interrupted',
        message: `stopped following run ${runId}, which goes on`,
        hint: `Follow it again: \`streamgauge run follow ${runId}\`; cancel it: \`streamgauge run cancel ${runId}\`.`,
        cause: error,
      });
    }
    throw new Failure({ code: 'RUN_CANCELLED', kind: 'interrupted', message: `run ${runId}: ${await cancelAfterInterrupt(workspace, runId)}`, cause: error });
  }
}

/** The workspace of an interrupted verb refuses every call: the cancelling needs one of its own. */
async function cancelAfterInterrupt(workspace: Workspace, runId: number): Promise<string> {
  const report = await stopRun(workspace.withSignal(AbortSignal.timeout(60_000)), runId, 60_000);
  return report.outcome.meaning;
}

async function cancel({ progress }: Context, workspace: Workspace, runId: number): Promise<RunReport> {
  progress.stage(`cancel run ${runId}`);
  return stopRun(workspace, runId);
}

function tell(progress: Context['progress'], event: RunEvent, runId: number): void {
  if (event.kind === 'lost') progress.update('the connection was lost; trying again');
  else if (event.kind === 'tick') progress.update(event.tasks.length === 0 ? event.state : event.tasks.map((task) => `${task.task} ${task.state} ${Math.round(task.seconds)} s`).join(', '));
  else if (event.kind === 'queued') {
    const behind = event.behind.map((run) => run.runId);
    progress.note(`run ${runId} waits in the queue${behind.length === 0 ? '' : ` behind ${behind.join(', ')}: \`streamgauge run follow ${behind[0]}\``}`);
  } else {
    const { task, state, attempt, seconds, message } = event.task;
    const text = `${task} ${state}${attempt === 0 ? '' : ` (attempt ${attempt + 1})`}${seconds === 0 ? '' : ` ${seconds} s`}`;
    if (event.task.outcome !== undefined && !event.task.outcome.ok) progress.warn(`${text}${message === undefined ? '' : `: ${message}`}`);
    else progress.note(text);
  }
}

function explain(active: Result['activeRuns'], runId: number): string {
  const first = active[0];
  return first === undefined ? '' : ` Run ${first.runId} of the same job is active: follow it with \`streamgauge run follow ${first.runId}\`, then start again (run ${runId} did nothing).`;
}

function parametersOf(given: string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((text) => {
      const at = text.indexOf('=');
      if (at < 1) throw usage(`--param ${JSON.stringify(text)} is not name=value`, 'Write, for example, `--param window_minutes=5`.');
      return [text.slice(0, at), text.slice(at + 1)];
    }),
  );
}

/** A misspelt parameter would be ignored in silence by the notebooks. */
function checkParameters(parameters: Record<string, string>, settings: Readonly<Record<string, unknown>>): void {
  const known = ((settings.parameters as { name: string }[] | undefined) ?? []).map((parameter) => parameter.name);
  const unknown = Object.keys(parameters).filter((name) => !known.includes(name));
  if (unknown.length > 0) throw usage(`the job has no parameter ${unknown.join(', ')}`, `It has: ${known.join(', ')}.`);
}

function runIdOf({ action, id }: Options): number {
  if (typeof id === 'number' && Number.isSafeInteger(id) && id > 0) return id;
  throw usage(`run ${action} needs the id of a run`, `Write \`streamgauge run ${action} 1234\`; \`streamgauge status\` shows the last run.`);
}

function usage(message: string, hint: string): Failure {
  return new Failure({ code: 'USAGE', kind: 'usage', message, hint });
}
