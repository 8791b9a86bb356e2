import type { Block, Command, Context } from '../command.ts';
import { deployedJob } from '../databricks/deploy.ts';
import { connect, type Workspace } from '../databricks/client.ts';
import { runLogs } from '../databricks/logs.ts';
import { outcomeOf, tasksOf, type TaskNow } from '../databricks/outcome.ts';
import { getRun, lastRepair, listRuns, repairRun } from '../databricks/rest.ts';
import { followRun, idempotencyToken, reportOf, startRun, stopRun, type ActiveRun, type RunEvent, type RunReport } from '../databricks/runs.ts';
import { lastStarted, ledgerFile, repairOf, settled, started, submissionOf } from '../databricks/submissions.ts';
import { Failure } from '../errors.ts';

type Options = { action?: string; id?: number; job?: string; param?: string[]; timeout?: number; token?: string; cancelOnInterrupt?: boolean; detach?: boolean; retry?: boolean; follow?: boolean };
type Ended = RunReport & { asked: 'run' | 'cancel' | 'status'; job: string | null; /** The run was asked for by an earlier call that did not see its end. */ reattached: boolean };
type GoingOn = { asked: 'detach' | 'status'; job: string | null; runId: number; page: string | undefined; state: string; tasks: Omit<TaskNow, 'outcome' | 'message'>[]; reattached: boolean };
type Logs = { asked: 'logs'; runId: number; pieces: AsyncIterable<string> };
type Result = Ended | GoingOn | Logs;

/** `streamgauge run`: starts the job, or looks at, follows, repairs or cancels a run of it, and ends as the run ends. */
export const run: Command<Options, Result> = {
  name: 'run',
  positionals: '[action] [id]',
  actions: ['start', 'follow', 'status', 'logs', 'cancel'],
  ranges: { timeout: { above: 0 } },
  summary: 'Start the job and follow it to its end; or `run follow|status|logs|cancel ID`. Killed and called again, it follows the same run.',
  examples: [
    ['streamgauge run -t prod', 'start the job; the exit code says how it ended'],
    ['streamgauge run --param window_minutes=5', 'with another job parameter, for this run'],
    ['streamgauge run --detach', 'start it and return; `run status ID`, `run logs ID --follow`, `run cancel ID`'],
    ['streamgauge run --retry', 'repair the last run: its failed tasks again, with the same parameters'],
    ['streamgauge run --token nightly-2026-05-01', 'start at most one run under this name, from wherever this is called'],
  ],
  options: {
    job: { type: 'string', requiresArg: true, describe: 'Key of the job in the bundle, where it has several' },
    param: { type: 'array', string: true, requiresArg: true, describe: 'Job parameter for this run: name=value' },
    timeout: { type: 'number', requiresArg: true, describe: 'Seconds to follow the run; the run itself goes on', default: 7200 },
    token: { type: 'string', requiresArg: true, describe: 'Name of this submission: the same name never starts a second run' },
    cancelOnInterrupt: { type: 'boolean', describe: 'Ctrl-C cancels the run, too; without it, the run goes on' },
    detach: { type: 'boolean', describe: 'Do not follow the run' },
    retry: { type: 'boolean', describe: 'Repair the last run (or `run --retry start ID`): only what failed, same parameters' },
    follow: { type: 'boolean', describe: 'With `logs`: until the run has ended' },
  },
  async run(context, options) {
    const { action = 'start' } = options;
    const { config, signal } = context;
    const workspace = await connect(config.databricks, { signal });
    if (action === 'start') return start(context, workspace, options);
    const runId = runIdOf(options);
    if (action === 'logs') return { asked: 'logs', runId, pieces: runLogs(workspace, runId, { follow: options.follow === true, signal }) };
    if (action === 'status') return statusOf(workspace, runId);
    const report = action === 'cancel' ? await cancel(context, workspace, runId) : await follow(context, workspace, runId, options);
    await settled(ledgerFile(config), runId);
    return { asked: action === 'cancel' ? 'cancel' : 'run', job: null, reattached: false, ...report };
  },
  render(result) {
    if (result.asked === 'logs') return result.pieces;
    if (!('outcome' in result)) {
      const { asked, runId, state, tasks, page } = result;
      const next = asked === 'detach' ? ` It goes on: \`streamgauge run follow ${runId}\`.` : '';
      return [{ kind: 'text', text: `Run ${runId}${result.job === null ? '' : ` of ${result.job}`} is ${state}.${next}` }, ...taskTable(tasks), ...pageOf(page)];
    }
    const { job, runId, outcome, seconds, tasks, activeRuns, page } = result;
    const failures = tasks.flatMap(({ task, error }) => (error === undefined ? [] : [[`${task}: ${error.message}`, error.trace ?? '', error.logTail ?? ''].filter((part) => part !== '').join('\n')]));
    return [
      { kind: 'text', text: `Run ${runId}${job === null ? '' : ` of ${job}`} ${outcome.meaning} after ${seconds} s.${explain(activeRuns, runId)}` },
      ...taskTable(tasks),
      ...failures.map((text) => ({ kind: 'text' as const, text })),
      ...pageOf(page),
    ];
  },
  async *json(result) {
    if (result.asked !== 'logs') yield `${JSON.stringify(result, undefined, 2)}\n`;
    else for await (const text of result.pieces) yield `${JSON.stringify({ runId: result.runId, text })}\n`;
  },
  // Whoever asked for a cancelled run got one.
  exitCode: (result) => (result.asked === 'cancel' || !('outcome' in result) ? 0 : result.outcome.exitCode),
};

/** Asks for a run under a token that is on disk before the run can be there, and follows it to its end. */
async function start(context: Context, workspace: Workspace, options: Options): Promise<Result> {
  const { config, progress } = context;
  progress.stage('run');
  const parameters = parametersOf(options.param ?? []);
  const job = await deployedJob(workspace, config, options.job);
  checkParameters(parameters, job.settings);
  const name = job.settings.name ?? null;
  const file = ledgerFile(config);
  if (options.retry === true) return { asked: 'run', job: name, ...(await retry(context, workspace, job.job_id, options)) };
  const named = options.token === undefined ? undefined : idempotencyToken(config.bundle, config.target, String(job.job_id), options.token);
  const { token, again } = named === undefined ? await submissionOf(file, String(job.job_id), parameters) : { token: named, again: false };
  const runId = await startRun(workspace, job.job_id, parameters, token);
  await started(file, String(job.job_id), token, runId);
  if (again) progress.note(`run ${runId} was asked for before and not seen to its end: following it`);
  if (options.detach === true) {
    await settled(file, runId);
    return { ...(await statusOf(workspace, runId)), asked: 'detach', job: name, reattached: again } as GoingOn;
  }
  const report = await follow(context, workspace, runId, options);
  await settled(file, runId);
  return { asked: 'run', job: name, reattached: again, ...report };
}

/** The failed tasks of a run once more; one that goes on is only followed, one that succeeded stays as it is. Killed and called again, it repairs once. */
async function retry(context: Context, workspace: Workspace, jobId: number, options: Options): Promise<RunReport & { reattached: boolean }> {
  const file = ledgerFile(context.config);
  const runId = options.id ?? (await lastStarted(file, String(jobId))) ?? (await listRuns(workspace, jobId, { limit: 1 }))[0]?.run_id;
  if (runId === undefined) throw usage('there is no run to repair', 'Start one: `streamgauge run`.');
  const outcome = outcomeOf((await getRun(workspace, runId)).state);
  let reattached = false;
  if (outcome !== undefined && !outcome.ok) {
    const latest = await lastRepair(workspace, runId);
    reattached = !(await repairOf(file, runId, latest));
    context.progress.note(reattached ? `run ${runId} was repaired before and not seen to its end, which it has reached` : `repairing run ${runId}, which ${outcome.meaning}`);
    if (!reattached) await repairRun(workspace, runId, latest);
  }
  const report = await follow(context, workspace, runId, options);
  await settled(file, runId);
  return { ...report, reattached };
}

async function statusOf(workspace: Workspace, runId: number): Promise<Ended | GoingOn> {
  const found = await getRun(workspace, runId);
  if (outcomeOf(found.state) !== undefined) return { asked: 'status', job: found.run_name ?? null, reattached: false, ...(await reportOf(workspace, found)) };
  const tasks = tasksOf(found).map(({ task, runId: id, state, attempt, seconds }) => ({ task, runId: id, state, attempt, seconds }));
  return { asked: 'status', job: found.run_name ?? null, runId, page: found.run_page_url, state: found.state.life_cycle_state ?? 'UNKNOWN', tasks, reattached: false };
}

function taskTable(tasks: readonly { task: string; state: string; attempt: number; seconds: number }[]): Block[] {
  return [{ kind: 'table', columns: ['task', 'state', 'attempts', 'seconds'], rows: tasks.map((task) => [task.task, task.state, task.attempt + 1, task.seconds]) }];
}

function pageOf(page: string | undefined): Block[] {
  return page === undefined ? [] : [{ kind: 'text', text: page }];
}

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

function explain(active: readonly ActiveRun[], runId: number): string {
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
