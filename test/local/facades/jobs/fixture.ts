import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Hono } from 'hono';
import { jobRoutes } from '../../../../src/local/facades/jobs/jobs.ts';
import { runRoutes } from '../../../../src/local/facades/jobs/runs.ts';
import { answerErrors } from '../../../../src/local/facades/refusal.ts';
import { openJobEngine } from '../../../../src/local/jobs/engine.ts';
import type { Ending, Order } from '../../../../src/local/jobs/executor.ts';
import type { Clock } from '../../../../src/local/jobs/schedules.ts';

/** A clock that only the test moves; callbacks run in the order of their time. */
export function handClock(startMs: number): Clock & { advance(milliseconds: number): Promise<void> } {
  let now = startMs;
  const timers = new Map<object, { at: number; callback: () => void }>();
  return {
    now: () => now,
    after(milliseconds, callback) {
      const key = {};
      timers.set(key, { at: now + milliseconds, callback });
      return () => void timers.delete(key);
    },
    async advance(milliseconds) {
      const end = now + milliseconds;
      for (;;) {
        const [next] = [...timers].filter(([, timer]) => timer.at <= end).sort(([, a], [, b]) => a.at - b.at);
        if (!next) break;
        timers.delete(next[0]);
        now = Math.max(now, next[1].at);
        next[1].callback();
        await settled();
      }
      now = end;
      await settled();
    },
  };
}

/** Lets everything that promises and microtasks still hold happen. */
export async function settled(): Promise<void> {
  for (let n = 0; n < 20; n += 1) await Promise.resolve();
}

export type Work = { order: Order; end(ending?: Partial<Ending>): Promise<void>; stopped: boolean };

/** Jobs and runs over a hand clock; each task stays at work until the test ends it. */
export function openJobs(options: { stateDir?: string; slots?: number; startMs?: number } = {}) {
  const stateDir = options.stateDir ?? mkdtempSync(join(tmpdir(), 'streamgauge-jobs-'));
  const clock = handClock(options.startMs ?? Date.parse('2026-01-05T10:00:00Z'));
  const works: Work[] = [];
  const engine = openJobEngine({
    stateDir, clock, userName: 'me@example.com', slots: options.slots ?? 10, place: { workspaceId: '1', baseUrl: 'https://here' }, log: () => {},
    execute(order) {
      const { promise, resolve } = Promise.withResolvers<Ending>();
      const work: Work = { order, stopped: false, end: (ending) => (resolve({ result: 'SUCCESS', ...ending }), settled()) };
      works.push(work);
      // A stopped task goes at once, as a process that was interrupted.
      return { ended: promise, stop: () => ((work.stopped = true), resolve({ result: 'FAILED', error: 'gone' })) };
    },
  });
  const app = new Hono();
  answerErrors(app, () => {});
  app.route('/', jobRoutes('/jobs', engine, { set() {}, forget() {} })).route('/', runRoutes('/jobs', engine, 'https://here'));

  async function call(method: string, path: string, body?: unknown): Promise<any> {
    const response = await app.request(`/jobs/${path}`, { method, ...(body !== undefined && { body: JSON.stringify(body) }) });
    const answer = await response.json();
    await settled();
    return response.ok ? answer : { status: response.status, ...(answer as object) };
  }
  const post = (path: string, body: unknown) => call('POST', path, body);
  const get = (path: string) => call('GET', path);
  const at = (key: string) => {
    const work = works.findLast((one) => one.order.attempt.task_key === key);
    if (!work) throw new Error(`task ${key} was never started`);
    return work;
  };
  /** `key:life/result` of each attempt, in order. */
  const states = async (runId: number) => {
    const run = await get(`runs/get?run_id=${runId}`);
    const word = (state: any) => (state.result_state ?? state.life_cycle_state) as string;
    return { run: word(run.state), tasks: run.tasks.map((task: any) => `${task.task_key}:${word(task.state)}`).join(' ') };
  };
  return { stateDir, clock, engine, works, post, get, at, states };
}

/** A notebook task with whatever else is given. */
export function task(key: string, after: string[] = [], more: object = {}) {
  return { task_key: key, notebook_task: { notebook_path: `/Users/me/${key}` }, depends_on: after.map((task_key) => ({ task_key })), ...more };
}
