import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { connect, type Workspace } from '../../src/databricks/client.ts';
import { deployedJob } from '../../src/databricks/deploy.ts';
import { findDeployed, removeDeployed } from '../../src/databricks/destroy.ts';
import { exportFile, listRuns, listSecrets, listTree } from '../../src/databricks/rest.ts';
import type { Config } from '../../src/config/config.ts';
import { createProject, type Project } from './project.ts';

// The controller is killed as nothing can be caught, just after each effect that it has, and started again: what comes out is
// what an undisturbed run makes.
const killer = new URL('killer.mjs', import.meta.url).pathname;
const NOTEBOOK = `# Databricks notebook source
dbutils.widgets.text("late_policy", "amend")
if dbutils.widgets.get("late_policy") == "hold":
    raise ValueError("asked to fail")
`;

let project: Project;
let workspace: Workspace;
let config: Config;

const killedAfter = (effect: number) => ({ env: { NODE_OPTIONS: `--import ${killer}`, KILL_AFTER: String(effect) } });

async function effectsOf(args: string[]): Promise<string[]> {
  const log = join(mkdtempSync(join(tmpdir(), 'effects-')), 'log');
  const finished = await project.cli(args, { env: { NODE_OPTIONS: `--import ${killer}`, KILL_LOG: log } });
  expect(finished.stderr).not.toContain('error:');
  return readFileSync(log, 'utf8').trimEnd().split('\n');
}

beforeAll(async () => {
  project = createProject('survive', { partitions: 1 });
  for (const name of ['ingest', 'windows']) writeFileSync(join(project.folder, 'notebooks', `${name}.py`), NOTEBOOK);
  rmSync(join(project.folder, 'notebooks', 'pipeline'), { recursive: true });
  const job = join(project.folder, 'jobs/traffic_counter.job.yml');
  writeFileSync(job, readFileSync(job, 'utf8').replaceAll('max_retries: 2', 'max_retries: 0'));
  config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
  workspace = await connect(config.databricks);
  await project.json(['provision']);
  await removeDeployed(workspace, await findDeployed(workspace, config));
});

afterAll(async () => removeDeployed(workspace, await findDeployed(workspace, config)));

describe('a deployment', () => {
  /** What is in the workspace, without ids and times. */
  async function deployed(): Promise<unknown> {
    const found = await findDeployed(workspace, config);
    const root = found.find((thing) => thing.what === 'folder');
    const tree = await listTree(workspace, root?.what === 'folder' ? root.path : '');
    const files = await Promise.all(tree.filter((object) => object.object_type !== 'DIRECTORY' && !object.path.includes('/state/')).map(async (object) => [object.path, (await exportFile(workspace, object.path))?.toString()]));
    const secrets = (await listSecrets(workspace, config.pipeline.secret_scope))?.map(({ key }) => key.replace(/-[0-9a-f-]{97}$/, '')).sort();
    return { things: found.map(({ what }) => what), files, secrets, settings: (await deployedJob(workspace, config)).settings, locked: tree.some((object) => object.path.endsWith('deploy.lock')) };
  }

  it('killed after any effect and started again is the one that was not killed', async () => {
    const effects = await effectsOf(['deploy']);
    const undisturbed = await deployed();
    expect(effects.length).toBeGreaterThan(12);
    const [seen, wanted]: [unknown[], unknown[]] = [[], []];
    for (const at of effects.keys()) {
      await removeDeployed(workspace, await findDeployed(workspace, config));
      const killed = await project.cli(['deploy'], killedAfter(at + 1));
      const hindered = await project.cli(['deploy']);
      // The first try to take the lock finds no folder; the last effect is the lock's end.
      const locked = effects.slice(0, at + 1).filter((effect) => effect.endsWith('deploy.lock')).length === 2 && at < effects.length - 1;
      await project.json(['deploy', '--force-lock']);
      seen.push({ effect: effects[at], killed: killed.code, hindered: hindered.code, why: /is deploying[\s\S]*--force-lock/.test(hindered.stderr), world: await deployed(), left: (await project.json(['plan'])).steps });
      wanted.push({ effect: effects[at], killed: null, hindered: locked ? 4 : 0, why: locked, world: undisturbed, left: [] });
    }
    expect(seen).toEqual(wanted);
  }, 900_000);
});

describe('a deployment from nothing', () => {
  it('killed after anything that it made in AWS goes on where it was', async () => {
    const whole = createProject('nothing', { partitions: 1, cluster_name: 'sg-nothing' });
    const things = (result: any): string[] => result.destroyed.map((thing: any) => thing.thing).sort();
    const log = join(mkdtempSync(join(tmpdir(), 'effects-')), 'log');
    await whole.json(['destroy', '--yes', '--force']);
    await whole.json(['deploy'], { env: { NODE_OPTIONS: `--import ${killer}`, KILL_LOG: log } });
    const made = readFileSync(log, 'utf8').split('\n').map((effect, at) => ({ effect, at: at + 1 })).filter(({ effect }) => effect.startsWith('AWS '));
    expect(made.map(({ effect }) => effect)).toEqual(expect.arrayContaining(['AWS POST clusters', 'AWS CreateKey', 'AWS CreateSecret', 'AWS POST scram-secrets']));
    const blocked = await whole.cli(['destroy', '--yes', '--force', '--var', 'prevent_destroy=topics']);
    expect([blocked.code, blocked.stderr]).toEqual([2, expect.stringContaining('nothing was destroyed')]);
    expect((await whole.json(['plan'])).steps).toEqual([]);
    const undisturbed = things(await whole.json(['destroy', '--yes', '--force']));
    const [seen, wanted]: [unknown[], unknown[]] = [[], []];
    for (const { effect, at } of made) {
      const killed = await whole.cli(['deploy'], killedAfter(at));
      await whole.json(['deploy', '--force-lock']);
      const { steps } = await whole.json(['plan']);
      seen.push({ effect, killed: killed.code, steps, things: things(await whole.json(['destroy', '--yes', '--force'])) });
      wanted.push({ effect, killed: null, steps: [], things: undisturbed });
    }
    expect(seen).toEqual(wanted);
  }, 900_000);
});

describe('a run', () => {
  const runs = async (): Promise<number> => (await listRuns(workspace, (await deployedJob(workspace, config)).job_id)).length;

  beforeAll(async () => {
    await project.json(['deploy', '--force-lock']);
  });

  it.each([
    ['that succeeds', [], 0, 'SUCCESS'],
    ['that fails', ['--param', 'late_policy=hold'], 4, 'FAILED'],
  ])('%s, killed before, at and after its submission, is one run with its true end', async (_what, parameters, code, state) => {
    const before = await runs();
    // After run-now was answered, and before anything was noted of it.
    expect((await project.cli(['run', ...parameters], killedAfter(1))).code).toBe(null);
    // While it was followed.
    await project.cli(['run', ...parameters], { onStderr: (text, kill) => { if (/run \d{5}/.test(text)) kill('SIGKILL'); } });
    const report = await project.json(['run', ...parameters], { code });
    expect(report).toMatchObject({ reattached: true, outcome: { state } });
    expect(await runs()).toBe(before + 1);
    // Its end was seen: the next is another run.
    const next = await project.json(['run', ...parameters], { code });
    expect(next.reattached).toBe(false);
    expect(next.runId).not.toBe(report.runId);
    expect(await runs()).toBe(before + 2);
  });

  it('that failed is repaired in place; a token that means it is never a success', async () => {
    const failed = await project.json(['run', '--param', 'late_policy=hold', '--token', 'nightly'], { code: 4 });
    const again = await project.json(['run', '--param', 'late_policy=hold', '--token', 'nightly'], { code: 4 });
    expect(again.runId).toBe(failed.runId);
    const before = await runs();
    // The same parameters: it fails again, in the same run, as a further attempt.
    const repaired = await project.json(['run', '--retry'], { code: 4 });
    expect([repaired.runId, repaired.outcome.state]).toEqual([failed.runId, 'FAILED']);
    expect(await runs()).toBe(before);
    const run = await workspace.request<any>({ method: 'GET', path: '/api/2.2/jobs/runs/get', query: { run_id: failed.runId, include_history: true } });
    expect(run.repair_history.map((repair: any) => repair.type)).toEqual(['ORIGINAL', 'REPAIR']);
    expect(run.job_parameters.find((parameter: any) => parameter.name === 'late_policy').value).toBe('hold');
  });

  it('is looked at, read and cancelled from outside', async () => {
    const started = await project.json(['run', '--detach']);
    expect(started).toMatchObject({ asked: 'detach', runId: expect.any(Number) });
    expect(await project.json(['run', 'status', String(started.runId)])).toMatchObject({ asked: 'status', runId: started.runId });
    const logs = await project.cli(['run', 'logs', String(started.runId), '--follow']);
    expect(logs.code).toBe(0);
    expect((await project.json(['run', 'status', String(started.runId)])).outcome.state).toBe('SUCCESS');
    const failing = await project.json(['run', '--detach', '--param', 'late_policy=hold']);
    expect((await project.cli(['run', 'logs', String(failing.runId), '--follow'])).stdout).toMatch(/== ingest\n[\s\S]*ValueError: asked to fail/);
    const third = await project.json(['run', '--detach']);
    expect(await project.json(['run', 'cancel', String(third.runId)])).toMatchObject({ asked: 'cancel' });
  });

  it('is followed through faults; refused access ends it at once', async () => {
    const admin = (method: 'POST' | 'DELETE', body?: object) => workspace.request({ method, path: '/__admin/faults', body });
    const pattern = '/api/2.2/jobs/runs/get';
    await admin('POST', { rules: [{ pattern, status: 503, times: 3 }, { pattern, drop: true, times: 3 }, { pattern, status: 429, times: 2 }] });
    try {
      expect(await project.json(['run'])).toMatchObject({ outcome: { ok: true } });
      await admin('DELETE');
      await admin('POST', { pattern, status: 403, times: 1 });
      const refused = await project.cli(['run']);
      expect([refused.code, refused.stderr]).toEqual([3, expect.stringMatching(/403[\s\S]*hint: /)]);
    } finally {
      await admin('DELETE');
    }
    expect(await project.json(['run'])).toMatchObject({ reattached: true, outcome: { ok: true } });
  });
});
