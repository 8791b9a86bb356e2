import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { outcomeOf, tasksOf } from '../../src/databricks/outcome.ts';
import { followRun, idempotencyToken, reportOf, stopRun, type RunEvent } from '../../src/databricks/runs.ts';
import type { Run } from '../../src/databricks/rest.ts';
import { HOST, testWorkspace, withToken } from './fixtures.ts';

beforeEach(() => nock.disableNetConnect());
afterEach(() => {
  nock.cleanAll();
  nock.enableNetConnect();
});

const TASK = { run_id: 12, task_key: 'ingest', start_time: 1_000, end_time: 0, attempt_number: 0 };
const runOf = (life: string, result?: string, tasks: object[] = []): object => ({
  run_id: 7,
  job_id: 5,
  run_page_url: `${HOST}/?o=1#job/5/run/7`,
  start_time: 1_000,
  end_time: result === undefined ? 0 : 4_500,
  state: { life_cycle_state: life, ...(result === undefined ? {} : { result_state: result }) },
  tasks,
});
const api = () => nock(HOST);
const answers = (...runs: object[]): void => runs.forEach((run) => void api().get('/api/2.2/jobs/runs/get').query({ run_id: 7 }).reply(200, run));
const fast = { deadlineMs: 5000, firstPauseMs: 1, maxPauseMs: 2 };
const follow = async (options: { onEvent?: (event: RunEvent) => void; deadlineMs?: number; signal?: AbortSignal } = {}) => withToken(async () => followRun(await testWorkspace(), 7, { ...fast, ...options }));

describe('every end of a run', () => {
  it.each([
    ['TERMINATED', 'SUCCESS', true, 0],
    ['TERMINATED', 'SUCCESS_WITH_FAILURES', true, 0],
    ['TERMINATED', 'FAILED', false, 4],
    ['INTERNAL_ERROR', 'FAILED', false, 4],
    ['TERMINATED', 'TIMEDOUT', false, 5],
    ['TERMINATED', 'CANCELED', false, 130],
    ['TERMINATED', 'UPSTREAM_FAILED', false, 4],
    ['TERMINATED', 'UPSTREAM_CANCELED', false, 130],
    ['TERMINATED', 'MAXIMUM_CONCURRENT_RUNS_REACHED', false, 4],
    ['TERMINATED', 'EXCLUDED', false, 4],
    ['TERMINATED', 'DISABLED', false, 4],
    ['SKIPPED', undefined, false, 4],
    ['INTERNAL_ERROR', undefined, false, 4],
    ['TERMINATED', undefined, false, 4],
    ['TERMINATED', 'A_STATE_OF_TOMORROW', false, 4],
  ])('%s %s', (life, result, ok, exitCode) => {
    expect(outcomeOf({ life_cycle_state: life, result_state: result })).toMatchObject({ ok, exitCode });
  });

  it.each(['PENDING', 'QUEUED', 'RUNNING', 'TERMINATING', 'BLOCKED', 'WAITING_FOR_RETRY', 'A_STATE_OF_TOMORROW', undefined])('%s is none', (life) => {
    expect(outcomeOf({ life_cycle_state: life })).toBeUndefined();
  });
});

describe('tasks', () => {
  it('are taken by their last attempt, in the order of their start', () => {
    const run = {
      run_id: 1,
      state: {},
      tasks: [
        { run_id: 4, task_key: 'windows', state: { life_cycle_state: 'BLOCKED' }, start_time: 0 },
        { run_id: 2, task_key: 'ingest', state: { life_cycle_state: 'TERMINATED', result_state: 'FAILED' }, start_time: 1_000, end_time: 2_000, attempt_number: 0 },
        { run_id: 3, task_key: 'ingest', state: { life_cycle_state: 'RUNNING' }, start_time: 3_000, end_time: 0, attempt_number: 1 },
      ],
    } as Run;
    expect(tasksOf(run, 15_000)).toMatchObject([
      { task: 'ingest', runId: 3, state: 'RUNNING', attempt: 1, seconds: 12 },
      { task: 'windows', runId: 4, state: 'BLOCKED', seconds: 0 },
    ]);
  });
});

describe('following a run', () => {
  it('tells each change of a task once, and returns how it ended', async () => {
    const done = { ...TASK, end_time: 4_000, state: { life_cycle_state: 'TERMINATED', result_state: 'SUCCESS' } };
    answers(runOf('PENDING'), runOf('RUNNING', undefined, [{ ...TASK, state: { life_cycle_state: 'RUNNING' } }]), runOf('RUNNING', undefined, [{ ...TASK, state: { life_cycle_state: 'RUNNING' } }]), runOf('TERMINATED', 'SUCCESS', [done]));
    const said: string[] = [];
    const report = await follow({ onEvent: (event) => event.kind === 'task' && said.push(`${event.task.task} ${event.task.state}`) });
    expect(said).toEqual(['ingest RUNNING', 'ingest SUCCESS']);
    expect(report).toMatchObject({ runId: 7, outcome: { ok: true, exitCode: 0 }, seconds: 3.5, tasks: [{ task: 'ingest', state: 'SUCCESS', seconds: 3, error: undefined }] });
  });

  it('brings the error, the trace without colours and the end of the log of the task that failed, and of that one only', async () => {
    const failed = { ...TASK, end_time: 4_000, state: { life_cycle_state: 'TERMINATED', result_state: 'FAILED', state_message: 'Workload failed' } };
    const after = { run_id: 13, task_key: 'windows', state: { life_cycle_state: 'TERMINATED', result_state: 'UPSTREAM_FAILED' } };
    answers(runOf('TERMINATED', 'FAILED', [failed, after]));
    const logs = Array.from({ length: 50 }, (_, at) => `line ${at}`).join('\n');
    api().get('/api/2.2/jobs/runs/get-output').query({ run_id: 12 }).reply(200, { error: 'ValueError: no', error_trace: '\u001b[0;31mValueError\u001b[0m: no\n', logs });
    const { outcome, tasks } = await follow();
    expect(outcome).toMatchObject({ ok: false, exitCode: 4 });
    expect(tasks[0]?.error).toEqual({ message: 'ValueError: no', trace: 'ValueError: no', logTail: logs.split('\n').slice(-20).join('\n') });
    expect(tasks[1]).toMatchObject({ task: 'windows', state: 'UPSTREAM_FAILED', error: undefined });
  });

  it('keeps the outcome of a run whose output cannot be read', async () => {
    const failed = { ...TASK, state: { life_cycle_state: 'INTERNAL_ERROR', result_state: 'FAILED', state_message: 'Cluster was terminated' } };
    answers(runOf('INTERNAL_ERROR', 'FAILED', [failed]));
    api().get('/api/2.2/jobs/runs/get-output').query(true).reply(400, { error_code: 'INVALID_PARAMETER_VALUE', message: 'no output' });
    expect((await follow()).tasks[0]?.error?.message).toMatch(/^Cluster was terminated|no error message/);
  });

  it('waits out a lost connection and a busy workspace', async () => {
    api().get('/api/2.2/jobs/runs/get').query(true).times(4).replyWithError(Object.assign(new Error('reset'), { code: 'ECONNRESET' }));
    api().get('/api/2.2/jobs/runs/get').query(true).times(4).reply(503, 'down');
    answers(runOf('TERMINATED', 'SUCCESS'));
    const lost: string[] = [];
    expect((await follow({ onEvent: (event) => event.kind === 'lost' && lost.push(event.cause.code) })).outcome.ok).toBe(true);
    expect(lost).toEqual(['DATABRICKS_UNREACHABLE', 'DATABRICKS_BUSY']);
  });

  it.each([
    [403, { error_code: 'PERMISSION_DENIED', message: 'no' }, 'DATABRICKS_FORBIDDEN', 3],
    [400, { error_code: 'INVALID_PARAMETER_VALUE', message: 'Run 7 does not exist.' }, 'INVALID_PARAMETER_VALUE', 4],
  ])('ends at once when refused with %s', async (status, body, code, exitCode) => {
    api().get('/api/2.2/jobs/runs/get').query(true).reply(status, body);
    await expect(follow()).rejects.toMatchObject({ code, exitCode });
  });

  it('names the run that it waits behind', async () => {
    answers(runOf('QUEUED'), runOf('TERMINATED', 'SUCCESS'));
    api().get('/api/2.2/jobs/runs/list').query({ job_id: 5, limit: 25, active_only: 'true' }).reply(200, { runs: [{ run_id: 7, state: {} }, { run_id: 6, state: {}, start_time: 0 }] });
    const behind: number[] = [];
    await follow({ onEvent: (event) => event.kind === 'queued' && behind.push(...event.behind.map((run) => run.runId)) });
    expect(behind).toEqual([6]);
  });

  it('says which run was active where this one was skipped', async () => {
    answers(runOf('SKIPPED'));
    api().get('/api/2.2/jobs/runs/list').query(true).reply(200, { runs: [{ run_id: 6, state: {}, start_time: 1_700_000_000_000 }] });
    expect(await follow()).toMatchObject({ outcome: { state: 'SKIPPED', exitCode: 4 }, activeRuns: [{ runId: 6, startedAt: '2023-11-14T22:13:20.000Z' }] });
  });

  it('stops following when the time is up, and says how to go on', async () => {
    api().get('/api/2.2/jobs/runs/get').query(true).times(50).reply(200, runOf('RUNNING'));
    await expect(follow({ deadlineMs: 20 })).rejects.toMatchObject({ exitCode: 5, hint: expect.stringContaining('streamgauge run follow 7') });
  });

  it('an interrupt ends the pause, not the run', async () => {
    const abort = new AbortController();
    api().get('/api/2.2/jobs/runs/get').query(true).reply(200, runOf('RUNNING'));
    await expect(withToken(async () => followRun(await testWorkspace(), 7, { deadlineMs: 60_000, firstPauseMs: 60_000, signal: abort.signal, onEvent: () => abort.abort() }))).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('stopping a run', () => {
  it('cancels, and waits until it has ended', async () => {
    answers(runOf('RUNNING'));
    const cancelled = api().post('/api/2.2/jobs/runs/cancel', { run_id: 7 }).reply(200, {});
    answers(runOf('TERMINATING'), runOf('TERMINATED', 'CANCELED'));
    const report = await withToken(async () => stopRun(await testWorkspace(), 7, 5000));
    expect(cancelled.isDone()).toBe(true);
    expect(report.outcome).toMatchObject({ state: 'CANCELED', exitCode: 130 });
  });

  it('leaves one that has ended as it is', async () => {
    answers(runOf('TERMINATED', 'SUCCESS'), runOf('TERMINATED', 'SUCCESS'));
    expect((await withToken(async () => stopRun(await testWorkspace(), 7, 5000))).outcome.ok).toBe(true);
  });

  it('a run that goes on has no report', async () => {
    await expect(withToken(async () => reportOf(await testWorkspace(), runOf('RUNNING') as Run))).rejects.toMatchObject({ code: 'RUN_NOT_ENDED' });
  });
});

describe('tokens', () => {
  it('are the same for the same submission only, and short enough', () => {
    expect(idempotencyToken('a', 'b')).toBe(idempotencyToken('a', 'b'));
    expect(idempotencyToken('a', 'b')).not.toBe(idempotencyToken('ab', ''));
    expect(idempotencyToken('a', 'b')).toHaveLength(64);
  });
});
