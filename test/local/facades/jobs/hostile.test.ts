import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { openJobs, task } from './fixture.ts';

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const settings: Json = {
  name: 'j', max_concurrent_runs: 2, timeout_seconds: 5, queue: { enabled: true }, run_as: { user_name: 'x' }, tags: { a: 'b' },
  schedule: { quartz_cron_expression: '0 0 0 * * ?', timezone_id: 'UTC', pause_status: 'UNPAUSED' }, trigger: { periodic: { interval: 1, unit: 'DAYS' } },
  parameters: [{ name: 'p', default: '{{job.id}}' }], job_clusters: [{ job_cluster_key: 'c', new_cluster: {} }],
  tasks: [task('a', [], { max_retries: 1, timeout_seconds: 3 }), task('b', ['a'], { run_if: 'ALL_DONE' }), { task_key: 'c', condition_task: { op: 'EQUAL_TO', left: '1', right: '1' } }] as unknown as Json,
};

/** The settings with the value at one place of them replaced. */
const spoiled = fc.tuple(fc.array(fc.nat(9), { minLength: 1, maxLength: 5 }), fc.jsonValue({ maxDepth: 2 })).map(([path, value]) => {
  const copy = structuredClone(settings);
  let at: any = copy;
  for (const [depth, step] of path.entries()) {
    const keys = Object.keys(at);
    const key = keys[step % keys.length] ?? '';
    const last = depth === path.length - 1 || typeof at[key] !== 'object' || at[key] === null || Object.keys(at[key]).length === 0;
    if (last) {
      at[key] = value;
      break;
    }
    at = at[key];
  }
  return copy as object;
});

/** No answer is a fault of the platform's own; a run has a `status` too, an object. */
const broken = (answer: any) => typeof answer.status === 'number' && answer.status >= 500;

it('answers settings with anything anywhere in them, and goes on', async () => {
  const { post, get, works, clock, engine } = openJobs();
  const looked = new Set<number>();
  await fc.assert(
    fc.asyncProperty(spoiled, spoiled, async (first, second) => {
      const created = await post('create', first);
      expect(created).not.toSatisfy(broken);
      if (created.job_id === undefined) return;
      const { job_id } = created;
      expect(await post('run-now', { job_id })).not.toSatisfy(broken);
      for (const work of works.splice(0)) await work.end();
      expect(await post('update', { job_id, new_settings: second })).not.toSatisfy(broken);
      expect(await post('runs/submit', second)).not.toSatisfy(broken);
      expect(await post('run-now', { job_id, job_parameters: { p: '{{x}}' } })).not.toSatisfy(broken);
      await clock.advance(10_000);
      for (const answer of [await get(`get?job_id=${job_id}`), await get('list?expand_tasks=true&name=J'), await get('runs/list?expand_tasks=true')]) expect(answer.status).toBeUndefined();
      for (const id of [...engine.runs.keys()].filter((one) => !looked.has(one))) expect(await get(`runs/get?run_id=${looked.add(id) && id}&include_history=true`)).not.toSatisfy(broken);
      await post('delete', { job_id });
    }),
    { numRuns: 100 },
  );
}, 120_000);

it.each(['create', 'update', 'reset', 'delete', 'run-now', 'runs/submit', 'runs/cancel', 'runs/repair'])('answers %s with any JSON', async (route) => {
  const { post } = openJobs();
  const { job_id } = await post('create', settings as object);
  const { run_id } = await post('run-now', { job_id });
  await fc.assert(fc.asyncProperty(fc.jsonValue(), fc.dictionary(fc.constantFrom('job_id', 'run_id', 'new_settings', 'rerun_tasks', 'job_parameters', 'notebook_params', 'tasks', 'fields_to_remove', 'idempotency_token'), fc.jsonValue()), async (any, fields) => {
    expect(await post(route, any)).not.toSatisfy(broken);
    expect(await post(route, { ...(route === 'delete' ? {} : { job_id, run_id }), ...fields })).not.toSatisfy(broken);
  }), { numRuns: 40 });
}, 60_000);
