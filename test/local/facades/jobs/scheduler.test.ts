import { describe, expect, it } from 'vitest';
import { openJobs, task } from './fixture.ts';

async function started(settings: object, options: Parameters<typeof openJobs>[0] = {}) {
  const jobs = openJobs(options);
  const { job_id } = await jobs.post('create', { name: 'j', ...settings });
  const { run_id } = await jobs.post('run-now', { job_id });
  return { ...jobs, job_id: job_id as number, run_id: run_id as number };
}

describe('dependencies', () => {
  it('starts a task when the tasks before it are done, and those without dependencies at once', async () => {
    const { works, at, states, run_id } = await started({ tasks: [task('c', ['a', 'b']), task('a'), task('b')] });
    expect(works.map((work) => work.order.attempt.task_key)).toEqual(['a', 'b']);
    await at('a').end();
    expect(works).toHaveLength(2);
    await at('b').end();
    expect(works).toHaveLength(3);
    await at('c').end();
    expect(await states(run_id)).toEqual({ run: 'SUCCESS', tasks: 'c:SUCCESS a:SUCCESS b:SUCCESS' });
  });

  // What each run_if does when the two tasks before it end like this: result of the third task, and of the run.
  const [ok, bad] = ['SUCCESS', 'FAILED'] as const;
  it.each([
    ['ALL_SUCCESS', ok, ok, 'SUCCESS', 'SUCCESS'],
    ['ALL_SUCCESS', ok, bad, 'UPSTREAM_FAILED', 'FAILED'],
    ['AT_LEAST_ONE_SUCCESS', ok, bad, 'SUCCESS', 'SUCCESS_WITH_FAILURES'],
    ['AT_LEAST_ONE_SUCCESS', bad, bad, 'UPSTREAM_FAILED', 'FAILED'],
    ['NONE_FAILED', ok, ok, 'SUCCESS', 'SUCCESS'],
    ['NONE_FAILED', ok, bad, 'UPSTREAM_FAILED', 'FAILED'],
    ['ALL_DONE', bad, bad, 'SUCCESS', 'SUCCESS_WITH_FAILURES'],
    ['ALL_DONE', ok, bad, 'SUCCESS', 'SUCCESS_WITH_FAILURES'],
    ['AT_LEAST_ONE_FAILED', ok, bad, 'SUCCESS', 'SUCCESS_WITH_FAILURES'],
    ['AT_LEAST_ONE_FAILED', ok, ok, 'EXCLUDED', 'SUCCESS'],
    ['ALL_FAILED', bad, bad, 'SUCCESS', 'SUCCESS_WITH_FAILURES'],
    ['ALL_FAILED', ok, bad, 'EXCLUDED', 'SUCCESS_WITH_FAILURES'],
  ])('run_if %s after %s and %s: task %s, run %s', async (run_if, first, second, ofTask, ofRun) => {
    const { at, works, states, run_id } = await started({ tasks: [task('a'), task('b'), task('c', ['a', 'b'], { run_if })] });
    await at('a').end({ result: first });
    await at('b').end({ result: second });
    if (works.length === 3) await at('c').end();
    expect(await states(run_id)).toEqual({ run: ofRun, tasks: `a:${first} b:${second} c:${ofTask}` });
  });

  it('leaves out everything behind a task that was left out', async () => {
    const tasks = [task('a'), task('on_failure', ['a'], { run_if: 'ALL_FAILED' }), task('after', ['on_failure'])];
    const { at, states, run_id } = await started({ tasks });
    await at('a').end();
    expect(await states(run_id)).toEqual({ run: 'SUCCESS', tasks: 'a:SUCCESS on_failure:EXCLUDED after:EXCLUDED' });
  });

  it('follows the branch that a condition names', async () => {
    const tasks = [
      { task_key: 'if', condition_task: { op: 'GREATER_THAN', left: '{{job.parameters.n}}', right: '9' } },
      { ...task('then'), depends_on: [{ task_key: 'if', outcome: 'true' }] },
      { ...task('else'), depends_on: [{ task_key: 'if', outcome: 'false' }] },
    ];
    const { at, states, run_id } = await started({ tasks, parameters: [{ name: 'n', default: '10' }] });
    await at('then').end();
    expect(await states(run_id)).toEqual({ run: 'SUCCESS', tasks: 'if:SUCCESS then:SUCCESS else:EXCLUDED' });
  });
});

describe('retries and timeouts', () => {
  it('tries a failed task again after its interval, at most max_retries times', async () => {
    const { clock, at, works, states, run_id, get } = await started({ tasks: [task('a', [], { max_retries: 2, min_retry_interval_millis: 5000 })] });
    await at('a').end({ result: 'FAILED', error: 'first' });
    expect(await states(run_id)).toEqual({ run: 'RUNNING', tasks: 'a:FAILED a:WAITING_FOR_RETRY' });
    await clock.advance(4999);
    expect(works).toHaveLength(1);
    await clock.advance(1);
    await at('a').end({ result: 'FAILED', error: 'second' });
    await clock.advance(5000);
    await at('a').end({ result: 'FAILED', error: 'third' });
    const run = await get(`runs/get?run_id=${run_id}`);
    expect(run.tasks.map((t: any) => [t.attempt_number, t.original_attempt_run_id === run.tasks[0].run_id])).toEqual([[0, true], [1, true], [2, true]]);
    expect(run.state).toMatchObject({ result_state: 'FAILED', state_message: 'Task a failed with message: third' });
  });

  it('counts a run as successful when a retry succeeds', async () => {
    const { at, clock, states, run_id } = await started({ tasks: [task('a', [], { max_retries: 1 }), task('b', ['a'])] });
    await at('a').end({ result: 'FAILED' });
    await clock.advance(0);
    await at('a').end();
    await at('b').end();
    expect(await states(run_id)).toEqual({ run: 'SUCCESS', tasks: 'a:FAILED b:SUCCESS a:SUCCESS' });
  });

  it.each([[true, 'TIMEDOUT a:RUNNING'], [false, 'TIMEDOUT']])('stops a task at its timeout; retry_on_timeout %s', async (retry_on_timeout, rest) => {
    const { clock, at, states, run_id } = await started({ tasks: [task('a', [], { timeout_seconds: 60, max_retries: 1, retry_on_timeout })] });
    await clock.advance(59_999);
    expect(at('a').stopped).toBe(false);
    await clock.advance(1);
    await clock.advance(0);
    expect((await states(run_id)).tasks).toBe(`a:${rest}`);
  });

  it('stops the whole run at the timeout of the job', async () => {
    const { clock, works, states, run_id, get } = await started({ timeout_seconds: 10, tasks: [task('a'), task('b', ['a'])] });
    await clock.advance(10_000);
    expect(works.map((work) => work.stopped)).toEqual([true]);
    expect(await states(run_id)).toEqual({ run: 'TIMEDOUT', tasks: 'a:TIMEDOUT b:TIMEDOUT' });
    expect((await get(`runs/get?run_id=${run_id}`)).state.user_cancelled_or_timedout).toBe(true);
  });
});

describe('limits', () => {
  it('queues runs beyond max_concurrent_runs in order, where the job has a queue', async () => {
    const { post, states, works, job_id, run_id, get } = await started({ tasks: [task('a')], queue: { enabled: true } });
    const second = (await post('run-now', { job_id })).run_id;
    const third = (await post('run-now', { job_id })).run_id;
    expect((await get(`runs/get?run_id=${third}`)).status).toMatchObject({ state: 'QUEUED', queue_details: { code: 'MAX_CONCURRENT_RUNS_REACHED' } });
    await works[0]?.end();
    expect([(await states(run_id)).run, (await states(second)).run, (await states(third)).run]).toEqual(['SUCCESS', 'RUNNING', 'QUEUED']);
    await works[1]?.end();
    await works[2]?.end();
    expect((await states(third)).run).toBe('SUCCESS');
  });

  it('starts queued runs when the limit is raised', async () => {
    const { post, works, job_id } = await started({ tasks: [task('a')], queue: { enabled: true }, max_concurrent_runs: 0 });
    await post('run-now', { job_id });
    expect(works).toHaveLength(0);
    await post('update', { job_id, new_settings: { max_concurrent_runs: 2 } });
    expect(works).toHaveLength(2);
  });

  it('skips them where it has none', async () => {
    const { post, get, job_id } = await started({ tasks: [task('a')] });
    const skipped = (await post('run-now', { job_id })).run_id;
    expect((await get(`runs/get?run_id=${skipped}`)).state).toMatchObject({ life_cycle_state: 'SKIPPED', result_state: 'MAXIMUM_CONCURRENT_RUNS_REACHED' });
  });

  it('has at most so many tasks at work, whatever is asked', async () => {
    const { works, states, run_id } = await started({ tasks: Array.from({ length: 7 }, (_, n) => task(`t${n}`)) }, { slots: 2 });
    for (let n = 0; n < 7; n += 1) {
      expect(works.length).toBe(Math.min(7, n + 2));
      await works[n]?.end();
    }
    expect((await states(run_id)).run).toBe('SUCCESS');
  });

  it('gives one run for one idempotency token, and 404 for a job that was deleted', async () => {
    const { post, job_id } = await started({ tasks: [task('a')], max_concurrent_runs: 5 });
    const [one, two, three] = await Promise.all(['t', 't', 'u'].map((idempotency_token) => post('run-now', { job_id, idempotency_token })));
    expect(one.run_id).toBe(two.run_id);
    expect(three.run_id).not.toBe(one.run_id);
    await post('delete', { job_id });
    expect(await post('run-now', { job_id })).toMatchObject({ status: 404, error_code: 'RESOURCE_DOES_NOT_EXIST' });
  });
});

describe('cancel and repair', () => {
  it('cancels what works, waits, and is queued', async () => {
    const { post, states, works, job_id, run_id } = await started({ tasks: [task('a'), task('b', ['a'])], queue: { enabled: true } });
    const queued = (await post('run-now', { job_id })).run_id;
    await post('delete', { job_id });
    expect(works.map((work) => work.stopped)).toEqual([true]);
    expect(await states(run_id)).toEqual({ run: 'CANCELED', tasks: 'a:CANCELED b:CANCELED' });
    expect((await states(queued)).run).toBe('CANCELED');
  });

  it('runs the clean-up behind a single task that was cancelled', async () => {
    const { post, get, at, states, run_id } = await started({ tasks: [task('a'), task('next', ['a']), task('clean', ['a'], { run_if: 'ALL_DONE' })] });
    const run = await get(`runs/get?run_id=${run_id}`);
    await post('runs/cancel', { run_id: run.tasks[0].run_id });
    await at('clean').end();
    expect(await states(run_id)).toEqual({ run: 'FAILED', tasks: 'a:CANCELED next:UPSTREAM_CANCELED clean:SUCCESS' });
  });

  it('repairs the failed tasks and what depends on them, keeping the history', async () => {
    const { post, get, at, works, states, run_id } = await started({ tasks: [task('a'), task('b', ['a']), task('c', ['b'])] });
    await at('a').end();
    await at('b').end({ result: 'FAILED' });
    const { repair_id } = await post('runs/repair', { run_id, rerun_all_failed_tasks: true });
    expect(repair_id).toBeGreaterThan(run_id);
    expect((await states(run_id)).run).toBe('RUNNING');
    await at('b').end();
    await at('c').end();
    expect(works.map((work) => work.order.attempt.task_key)).toEqual(['a', 'b', 'b', 'c']);
    const run = await get(`runs/get?run_id=${run_id}&include_history=true`);
    expect(run.state.result_state).toBe('SUCCESS');
    expect(run.repair_history.map((item: any) => [item.type, item.id, item.state.result_state, item.task_run_ids.length])).toEqual([
      ['ORIGINAL', undefined, 'FAILED', 3], ['REPAIR', repair_id, 'SUCCESS', 2],
    ]);
    expect(await post('runs/repair', { run_id, rerun_all_failed_tasks: true })).toMatchObject({ status: 400, error_code: 'INVALID_PARAMETER_VALUE' });
  });

  it('repairs a task by name alone or with what is behind it, with retries of its own and new parameters', async () => {
    const { post, get, at, clock, works, run_id } = await started({ tasks: [task('a', [], { max_retries: 1 }), task('b', ['a'])], parameters: [{ name: 'p', default: 'old' }] });
    await at('a').end();
    await at('b').end();
    const { repair_id } = await post('runs/repair', { run_id, rerun_tasks: ['a'], rerun_dependent_tasks: true, job_parameters: { p: 'new' } });
    await at('a').end({ result: 'FAILED' });
    await clock.advance(0);
    expect(at('a').order.named).toEqual({ p: 'new' });
    await at('a').end();
    await at('b').end();
    expect(works.map((work) => [work.order.attempt.task_key, work.order.attempt.attempt_number])).toEqual([['a', 0], ['b', 0], ['a', 1], ['a', 2], ['b', 1]]);
    const wrong = [{ rerun_tasks: ['none'] }, { rerun_tasks: ['a'], rerun_all_failed_tasks: true }, { rerun_tasks: ['a'], latest_repair_id: 1 }, {}];
    for (const body of wrong) expect(await post('runs/repair', { run_id, ...body })).toMatchObject({ status: 400 });
    await post('runs/repair', { run_id, rerun_tasks: ['b'], latest_repair_id: repair_id });
    expect((await get(`runs/get?run_id=${run_id}`)).state.life_cycle_state).toBe('RUNNING');
    expect(await post('runs/repair', { run_id, rerun_tasks: ['b'] })).toMatchObject({ status: 400, message: 'Cannot repair an active run.' });
  });

  it('ends runs that an earlier process left alive as INTERNAL_ERROR, and nothing else', async () => {
    const { stateDir, works, run_id, post, job_id } = await started({ tasks: [task('a'), task('b', ['a'])], max_concurrent_runs: 2 });
    const done = (await post('run-now', { job_id })).run_id;
    await works[0]?.end({ exit_value: 'kept' });
    const later = openJobs({ stateDir });
    expect(await later.states(run_id)).toEqual({ run: 'FAILED', tasks: 'a:SUCCESS b:FAILED' });
    const run = await later.get(`runs/get?run_id=${run_id}`);
    expect([run.state.life_cycle_state, run.status.termination_details.code]).toEqual(['INTERNAL_ERROR', 'INTERNAL_ERROR']);
    expect((await later.get(`runs/get-output?run_id=${run.tasks[0].run_id}`)).notebook_output.result).toBe('kept');
    expect((await later.get(`get?job_id=${job_id}`)).settings.name).toBe('j');
    expect((await later.states(done)).run).toBe('FAILED');
  });
});
