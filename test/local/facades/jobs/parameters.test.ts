import { describe, expect, it } from 'vitest';
import { openJobs, task } from './fixture.ts';

async function parametersOf(base: Record<string, string>, settings: object = {}, body: object = {}) {
  const jobs = openJobs({ startMs: Date.parse('2026-01-05T10:07:09.250Z') });
  const { job_id } = await jobs.post('create', { name: 'nightly', tasks: [task('a', [], { notebook_task: { notebook_path: '/n', base_parameters: base } })], ...settings });
  const { run_id } = await jobs.post('run-now', { job_id, ...body });
  return { ...jobs, job_id: String(job_id), run_id: String(run_id), named: jobs.works[0]?.order.named ?? {} };
}

describe('parameters of a notebook', () => {
  it('takes the job parameter before notebook_params before the task own', async () => {
    const { named } = await parametersOf({ a: 'task', b: 'task', c: 'task' }, { parameters: [{ name: 'a', default: 'job' }, { name: 'd', default: 'job' }] }, {
      notebook_params: { a: 'call', b: 'call' }, job_parameters: { d: 'given', e: 'extra' },
    });
    expect(named).toEqual({ a: 'job', b: 'call', c: 'task', d: 'given', e: 'extra' });
  });

  it('fills in dynamic values', async () => {
    const { named, job_id, run_id, works } = await parametersOf({
      ids: '{{job.id}} {{job.run_id}} {{run.id}} {{task.run_id}}', names: '{{job.name}}/{{task.name}}/{{ task.notebook_path }}',
      when: '{{job.start_time.iso_date}} {{job.start_time.iso_datetime}} {{job.start_time.iso_weekday}} {{job.start_time.is_weekday}} {{job.start_time.timestamp_ms}}',
      own: 'x{{job.parameters.p}}y', how: '{{job.trigger.type}} {{workspace.id}} {{task.execution_count}}', unknown: '{{something.else}} {{ }} {single}', old: '{{run_id}} {{parent_run_id}}',
    }, { parameters: [{ name: 'p', default: '{{job.start_time.year}}' }] });
    const attempt = works[0]?.order.attempt.run_id;
    expect(named).toEqual({
      ids: `${job_id} ${run_id} ${run_id} ${attempt}`, names: 'nightly/a//n', when: `2026-01-05 2026-01-05T10:07:09 1 true ${Date.parse('2026-01-05T10:07:09.250Z')}`,
      own: 'x2026y', how: 'one_time 1 1', unknown: '{{something.else}} {{ }} {single}', old: `${attempt} ${run_id}`, p: '2026',
    });
  });

  it.each(['{{job.naem}}', '{{job.parameters.missing}}', '{{tasks.none.values.k}}', '{{job.start_time.fortnight}}'])('fails the task for %s', async (reference) => {
    const { get, run_id, works } = await parametersOf({ x: reference });
    expect(works).toHaveLength(0);
    const run = await get(`runs/get?run_id=${run_id}`);
    expect(run.tasks[0].state).toMatchObject({ result_state: 'FAILED', state_message: expect.stringContaining(`${reference} cannot be resolved`) });
  });
});

it('hands task values and results on, and arguments to Python files', async () => {
  const { post, at, get } = openJobs();
  const parameters = ['{{tasks.a.values.n}}', '{{tasks.a.values.list}}', '{{tasks.a.result_state}}', '--day={{job.parameters.day}}'];
  const { job_id } = await post('create', {
    parameters: [{ name: 'day', default: '1' }],
    tasks: [task('a'), { task_key: 'b', depends_on: [{ task_key: 'a' }], spark_python_task: { python_file: '/f.py', parameters } }],
  });
  const { run_id } = await post('run-now', { job_id, job_parameters: { day: '2' } });
  Object.assign(at('a').order.attempt.values, { n: 'seven', list: [1, { two: null }] });
  await at('a').end({ exit_value: 'out' });
  expect(at('b').order).toMatchObject({ kind: 'python', path: '/f.py', listed: ['seven', '[1,{"two":null}]', 'success', '--day=2'], named: {} });
  const run = await get(`runs/get?run_id=${run_id}`);
  expect(run.job_parameters).toEqual([{ name: 'day', default: '1', value: '2' }]);
  expect((await get(`runs/get-output?run_id=${run.tasks[0].run_id}`)).notebook_output).toEqual({ result: 'out', truncated: false });
});
