import { describe, expect, it } from 'vitest';
import { openJobs, task } from './fixture.ts';

describe('job definitions', () => {
  it('gives the settings back as they were sent', async () => {
    const { post, get } = openJobs();
    const settings = {
      name: '[dev me] two', tags: { dev: 'me' }, deployment: { kind: 'BUNDLE', metadata_file_path: '/x' }, edit_mode: 'UI_LOCKED', queue: { enabled: true },
      job_clusters: [{ job_cluster_key: 'c', new_cluster: { spark_version: '17.3', num_workers: 1 } }], tasks: [task('a')], parameters: [{ name: 'p', default: 'ü' }],
    };
    const { job_id } = await post('create', { ...settings, job_clusters: [{ job_cluster_key: 'c', new_cluster: { spark_version: '17.3', num_workers: 1, apply_policy_default_values: true } }] });
    const job = await get(`get?job_id=${job_id}`);
    expect(job.settings).toEqual({ ...settings, format: 'MULTI_TASK' });
    expect(job).toMatchObject({ job_id, creator_user_name: 'me@example.com', run_as_user_name: 'me@example.com', created_time: Date.parse('2026-01-05T10:00:00Z') });
  });

  it('merges an update field by field and entry by entry, and removes what it names', async () => {
    const { post, get } = openJobs();
    const { job_id } = await post('create', { name: 'a', description: 'd', timeout_seconds: 5, tasks: [task('x'), task('y', ['x']), task('z')] });
    await post('update', { job_id, new_settings: { name: 'b', tasks: [task('x', [], { max_retries: 3 })] }, fields_to_remove: ['description', 'tasks/z'] });
    const { settings } = await get(`get?job_id=${job_id}`);
    expect(settings).toEqual({ name: 'b', timeout_seconds: 5, format: 'MULTI_TASK', tasks: [task('x', [], { max_retries: 3 }), task('y', ['x'])] });
  });

  it('replaces everything but run_as on reset', async () => {
    const { post, get } = openJobs();
    const { job_id } = await post('create', { name: 'a', run_as: { user_name: 'other' }, tasks: [task('x')] });
    await post('reset', { job_id, new_settings: { name: 'b' } });
    expect(await get(`get?job_id=${job_id}`)).toMatchObject({ run_as_user_name: 'other', settings: { name: 'b', run_as: { user_name: 'other' } } });
    expect((await get(`get?job_id=${job_id}`)).settings.tasks).toBeUndefined();
    expect(await post('reset', { job_id: 1, new_settings: {} })).toMatchObject({ status: 404, message: 'Job 1 does not exist.' });
  });

  it('pages through jobs newest first, by name without regard to case', async () => {
    const { post, get } = openJobs();
    const ids: number[] = [];
    for (let n = 0; n < 25; n += 1) ids.unshift((await post('create', { name: n === 7 ? 'Seven' : `j${n}`, tasks: [task('a')] })).job_id);
    const first = await get('list?limit=10');
    const second = await get(`list?limit=10&page_token=${first.next_page_token}`);
    const third = await get(`list?limit=10&page_token=${second.next_page_token}`);
    expect([...first.jobs, ...second.jobs, ...third.jobs].map((job: any) => job.job_id)).toEqual(ids);
    expect(third.next_page_token).toBeUndefined();
    expect(first.jobs[0].settings.tasks).toBeUndefined();
    expect((await get('list?name=sEVEN&expand_tasks=true')).jobs).toMatchObject([{ settings: { name: 'Seven', tasks: [{ task_key: 'a' }] } }]);
    expect(await get('list?limit=101')).toMatchObject({ status: 400, error_code: 'INVALID_PARAMETER_VALUE' });
  });

  it('pages through more than 100 tasks, of a job and of a run', async () => {
    const { post, get } = openJobs({ slots: 0 });
    const { job_id } = await post('create', { tasks: Array.from({ length: 230 }, (_, n) => task(`t${n}`)), parameters: [{ name: 'p', default: '' }] });
    const { run_id } = await post('run-now', { job_id });
    for (const path of [`get?job_id=${job_id}`, `runs/get?run_id=${run_id}`]) {
      const keys: string[] = [];
      for (let token: string | undefined = ''; token !== undefined;) {
        const page: any = await get(`${path}&page_token=${token}`);
        const tasks = (page.settings ?? page).tasks;
        expect(tasks.length).toBeLessThanOrEqual(100);
        keys.push(...tasks.map((t: any) => t.task_key));
        token = page.next_page_token;
      }
      expect(keys).toEqual(Array.from({ length: 230 }, (_, n) => `t${n}`));
    }
    expect((await get(`get?job_id=${job_id}&page_token=100`)).settings.parameters).toEqual([]);
  });

  it.each([
    ['two tasks of one key', { tasks: [task('a'), task('a')] }],
    ['an unknown dependency', { tasks: [task('a', ['b'])] }],
    ['a cycle', { tasks: [task('a', ['b']), task('b', ['a'])] }],
    ['an unknown run_if', { tasks: [task('a', [], { run_if: 'SOMETIMES' })] }],
    ['a cron expression that Quartz refuses', { schedule: { quartz_cron_expression: '0 0 * * * *', timezone_id: 'UTC' } }],
    ['an unknown time zone', { schedule: { quartz_cron_expression: '0 0 * * * ?', timezone_id: 'Mars/Olympus' } }],
    ['a trigger that would never fire here', { trigger: { file_arrival: { url: 's3://x' } } }],
  ])('refuses %s', async (_, settings) => {
    const { post, get } = openJobs();
    expect(await post('create', settings)).toMatchObject({ status: 400, error_code: 'INVALID_PARAMETER_VALUE' });
    expect((await get('list')).jobs).toEqual([]);
  });
});

describe('runs', () => {
  it('lists active or completed runs, newest first, page by page', async () => {
    const { post, get, works } = openJobs();
    const { job_id } = await post('create', { tasks: [task('a')], max_concurrent_runs: 50 });
    const ids: number[] = [];
    for (let n = 0; n < 30; n += 1) ids.unshift((await post('run-now', { job_id })).run_id);
    for (const work of works.slice(0, 4)) await work.end();
    const first = await get(`runs/list?job_id=${job_id}&limit=25`);
    const second = await get(`runs/list?job_id=${job_id}&page_token=${first.next_page_token}`);
    expect([...first.runs, ...second.runs].map((run: any) => run.run_id)).toEqual(ids);
    expect((await get(`runs/list?completed_only=true`)).runs.map((run: any) => run.run_id)).toEqual(ids.slice(-4));
    expect((await get('runs/list?active_only=true&limit=25&expand_tasks=true')).runs[0].tasks).toHaveLength(1);
    expect(await get('runs/get?run_id=5')).toMatchObject({ status: 400, error_code: 'INVALID_PARAMETER_VALUE', message: 'Run 5 does not exist.' });
  });

  it('answers get-output for a task, for a run of one task, and refuses it for several', async () => {
    const { post, get, at } = openJobs();
    const one = (await post('runs/submit', { run_name: 'one', tasks: [task('a')] })).run_id;
    await at('a').end({ result: 'FAILED', error: 'ValueError: no', error_trace: 'Traceback\nValueError: no' });
    expect(await get(`runs/get-output?run_id=${one}`)).toMatchObject({ error: 'ValueError: no', error_trace: 'Traceback\nValueError: no', logs: '', metadata: { task_key: 'a', run_name: 'one' } });
    const two = (await post('runs/submit', { tasks: [task('a'), task('b')] })).run_id;
    expect(await get(`runs/get-output?run_id=${two}`)).toMatchObject({ status: 400 });
  });

  it('fires by the clock, in the time zone, until it is paused', async () => {
    const { clock, post, get, works } = openJobs({ startMs: Date.parse('2026-03-28T05:59:00Z') });
    const schedule = { quartz_cron_expression: '0 0 7 * * ?', timezone_id: 'Europe/Berlin' };
    const { job_id } = await post('create', { tasks: [task('a')], schedule, max_concurrent_runs: 9 });
    await clock.advance(60_000);
    expect(works.map((work) => work.order.run.trigger)).toEqual(['PERIODIC']);
    // The night in between has 23 hours: Berlin changes to summer time.
    await clock.advance(23 * 3_600_000);
    expect(works).toHaveLength(2);
    await post('update', { job_id, new_settings: { schedule: { ...schedule, pause_status: 'PAUSED' } } });
    await clock.advance(72 * 3_600_000);
    expect(works).toHaveLength(2);
    const runs = (await get(`runs/list?job_id=${job_id}`)).runs;
    expect(runs.map((run: any) => [run.trigger, new Date(run.start_time).toISOString()])).toEqual([
      ['PERIODIC', '2026-03-29T05:00:00.000Z'], ['PERIODIC', '2026-03-28T06:00:00.000Z'],
    ]);
  });

  it('fires every so many hours where a job has a periodic trigger, and not while that is paused', async () => {
    const { clock, post, works } = openJobs();
    const trigger = { periodic: { interval: 2, unit: 'HOURS' } };
    const { job_id } = await post('create', { tasks: [task('a')], trigger, max_concurrent_runs: 9 });
    await clock.advance(6 * 3_600_000);
    expect(works).toHaveLength(3);
    await post('update', { job_id, new_settings: { trigger: { ...trigger, pause_status: 'PAUSED' } } });
    await clock.advance(6 * 3_600_000);
    expect(works).toHaveLength(3);
    expect(await post('create', { trigger: { periodic: { interval: 0, unit: 'HOURS' } } })).toMatchObject({ status: 400 });
  });
});
