import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import { apply } from '../../src/databricks/apply.ts';
import { connect, type Workspace } from '../../src/databricks/client.ts';
import { deployedJob, plan, wantedDeployment, type WorkspaceStep } from '../../src/databricks/deploy.ts';
import { findDeployed, removeDeployed } from '../../src/databricks/destroy.ts';
import { observe } from '../../src/databricks/observe.ts';
import { deleteSecret, exportFile, getJob, importFile, listJobs, listSecrets, putSecret, resetJob } from '../../src/databricks/rest.ts';
import { followRun, idempotencyToken, startRun, stopRun, type RunEvent } from '../../src/databricks/runs.ts';
import { Secret } from '../../src/errors.ts';
import { createProject, type Project } from '../acceptance/project.ts';

const INGEST = `# Databricks notebook source
dbutils.widgets.text("late_policy", "amend")
mode = dbutils.widgets.get("late_policy")

# COMMAND ----------

import time
if mode == "raise":
    print("about to raise")
    raise ValueError("the password is " + dbutils.secrets.get("scope_workspaceroom", "password"))
while mode == "wait":
    time.sleep(0.1)
`;
const WINDOWS = '# Databricks notebook source\nprint(spark.range(10).count())\n';

let project: Project;
let workspace: Workspace;
let config: Config;
const secrets = { bootstrap_servers: new Secret('127.0.0.1:9096'), username: new Secret('someone'), password: new Secret('correct horse battery') };

const load = (vars: string[] = []): Config => loadConfig({ cwd: project.folder, target: 'local', vars, needsEnvironment: true });
async function deploy(given: { config?: Config; secrets?: typeof secrets } = {}): Promise<WorkspaceStep[]> {
  const wanted = await wantedDeployment(workspace, given.config ?? config, given.secrets ?? secrets);
  const found = await observe(workspace, wanted);
  const steps = plan(wanted, found);
  await apply(workspace, wanted, found, steps, () => undefined);
  return steps;
}
const done = (steps: WorkspaceStep[]): string[] => steps.map((step) => `${step.do}${'file' in step ? ` ${step.file}` : ''}`);

beforeAll(async () => {
  project = createProject('workspaceroom');
  rmSync(join(project.folder, 'notebooks'), { recursive: true });
  mkdirSync(join(project.folder, 'notebooks', 'pipeline'), { recursive: true });
  // One job of two tasks is enough here.
  for (const file of ['backup', 'windows_rebuild']) rmSync(join(project.folder, 'jobs', `${file}.job.yml`));
  const job = join(project.folder, 'jobs', 'traffic_counter.job.yml');
  writeFileSync(job, readFileSync(job, 'utf8').replace(/ *# Beside the windows[^]*?timeout_seconds: 3600\n/, ''));
  writeFileSync(join(project.folder, 'notebooks', 'ingest.py'), INGEST);
  writeFileSync(join(project.folder, 'notebooks', 'windows.py'), WINDOWS);
  writeFileSync(join(project.folder, 'notebooks', 'pipeline', 'shared.py'), 'x = 1\n');
  config = load();
  workspace = await connect(config.databricks);
});
afterAll(async () => removeDeployed(workspace, await findDeployed(workspace, config)));

describe('deploy', () => {
  it('makes everything the first time, and nothing the second', async () => {
    expect(done(await deploy())).toEqual([
      'create secret scope',
      'put secrets',
      ...Array.from({ length: 4 }, () => 'make folder'),
      'upload notebooks/ingest.py',
      'upload notebooks/pipeline/shared.py',
      'upload notebooks/windows.py',
      'create job',
    ]);
    expect(await deploy()).toEqual([]);
    const job = await deployedJob(workspace, config);
    expect(job.settings).toMatchObject({ deployment: { kind: 'BUNDLE' }, edit_mode: 'UI_LOCKED', tags: { streamgauge: 'sg-workspaceroom/local' } });
  });

  it('uploads only the notebook that changed, and says why one is written again', async () => {
    writeFileSync(join(project.folder, 'notebooks', 'windows.py'), `${WINDOWS}# more\n`);
    expect(done(await deploy())).toEqual(['upload notebooks/windows.py']);
    const job = await deployedJob(workspace, config);
    const path = (job.settings.tasks as { notebook_task: { notebook_path: string } }[])[0]?.notebook_task.notebook_path ?? '';
    await importFile(workspace, `${path}.py`, Buffer.from('# Databricks notebook source\nprint("edited in the workspace")\n'));
    expect(await deploy()).toMatchObject([{ do: 'upload', file: 'notebooks/ingest.py', reason: 'edited in the workspace' }]);
    expect((await exportFile(workspace, path))?.toString()).toContain('late_policy');
    expect(await deploy()).toEqual([]);
  });

  it('takes away what left the bundle', async () => {
    rmSync(join(project.folder, 'notebooks', 'pipeline', 'shared.py'));
    expect(await deploy()).toMatchObject([{ do: 'delete', reason: 'no longer in the bundle' }]);
    expect(await deploy()).toEqual([]);
  });

  it('changes the job in place, field by field, also under another name, never making a second', async () => {
    const before = await deployedJob(workspace, config);
    const changed = load(['window_minutes=5']);
    expect(await deploy({ config: changed })).toMatchObject([{ do: 'update job', job_id: before.job_id, changes: [{ field: 'parameters[window_minutes].default', wanted: '5', found: '10' }] }]);
    await resetJob(workspace, before.job_id, { ...(await getJob(workspace, before.job_id))?.settings, name: 'renamed by hand' });
    expect(await deploy({ config: changed })).toMatchObject([{ do: 'update job', job_id: before.job_id, changes: [{ field: 'name', found: 'renamed by hand' }] }]);
    expect(await deploy()).toMatchObject([{ do: 'update job', job_id: before.job_id }]);
    const mine = (await listJobs(workspace)).filter((job) => job.settings.tags?.streamgauge === 'sg-workspaceroom/local');
    expect(mine.map((job) => job.job_id)).toEqual([before.job_id]);
  });

  it('that did not take is an error: the workspace is read again', async () => {
    const deaf: Workspace = { ...workspace, request: async <T>(call: Parameters<Workspace['request']>[0]) => (call.path.endsWith('/jobs/reset') ? ({} as T) : workspace.request<T>(call)) };
    const wanted = await wantedDeployment(deaf, load(['window_minutes=60']), secrets);
    const found = await observe(deaf, wanted);
    await expect(apply(deaf, wanted, found, plan(wanted, found), () => undefined)).rejects.toMatchObject({ code: 'APPLY_DID_NOT_TAKE', exitCode: 4, message: expect.stringContaining('update job') });
    expect(await deploy()).toEqual([]);
  });

  it('writes credentials when they changed here or there, and keeps none in what it says', async () => {
    const other = { ...secrets, password: new Secret('another') };
    const steps = await deploy({ secrets: other });
    expect(steps).toMatchObject([{ do: 'put secrets', reason: 'changed' }]);
    expect(JSON.stringify(steps)).not.toMatch(/another|correct horse/);
    expect(await deploy({ secrets: other })).toEqual([]);
    await deleteSecret(workspace, config.pipeline.secret_scope, 'username');
    expect(await deploy({ secrets: other })).toMatchObject([{ do: 'put secrets', reason: 'missing: username' }]);
    await deploy();
    expect((await listSecrets(workspace, config.pipeline.secret_scope))?.filter((secret) => secret.key.startsWith('streamgauge-fingerprint'))).toHaveLength(1);
  });
});

describe('runs', () => {
  const run = async (mode: string, token = `${mode} ${performance.now()}`): Promise<number> => startRun(workspace, (await deployedJob(workspace, config)).job_id, { late_policy: mode }, idempotencyToken(token));
  const follow = (id: number, onEvent?: (event: RunEvent) => void) => followRun(workspace, id, { deadlineMs: 120_000, firstPauseMs: 100, maxPauseMs: 500, onEvent });

  it('end well, and a token starts one run only', async () => {
    const first = await run('amend', 'once');
    const report = await follow(first);
    expect(report).toMatchObject({ outcome: { state: 'SUCCESS', exitCode: 0 }, tasks: [{ task: 'ingest', state: 'SUCCESS' }, { task: 'windows', state: 'SUCCESS' }] });
    expect(await run('amend', 'once')).toBe(first);
  });

  it('fail with the notebook\'s own error, and no secret in it', async () => {
    const { tasks, outcome } = await follow(await run('raise'));
    expect(outcome).toMatchObject({ state: 'FAILED', exitCode: 4 });
    expect(tasks).toMatchObject([{ task: 'ingest', state: 'FAILED', attempt: 2 }, { task: 'windows', state: 'UPSTREAM_FAILED' }]);
    expect(tasks[0]?.error?.message).toBe('ValueError: the password is [REDACTED]');
    expect(tasks[0]?.error?.trace).toContain('ValueError');
    expect(JSON.stringify(tasks)).not.toContain('correct horse');
  });

  it('wait behind the one that is active, which can be cancelled', async () => {
    const [active, waiting] = [await run('wait'), await run('amend')];
    const behind: number[] = [];
    const queued = Promise.withResolvers<void>();
    const followed = follow(waiting, (event) => {
      if (event.kind !== 'queued') return;
      behind.push(...event.behind.map((other) => other.runId));
      queued.resolve();
    });
    await queued.promise;
    expect(behind).toEqual([active]);
    expect((await stopRun(workspace, active)).outcome).toMatchObject({ state: 'CANCELED', exitCode: 130 });
    expect((await followed).outcome.ok).toBe(true);
  });

  it('are skipped where the job has no queue, naming the active one', async () => {
    const job = await deployedJob(workspace, config);
    await resetJob(workspace, job.job_id, { ...job.settings, queue: { enabled: false } });
    const active = await run('wait');
    try {
      expect(await follow(await run('amend'))).toMatchObject({ outcome: { state: expect.stringMatching(/SKIPPED|MAXIMUM_CONCURRENT_RUNS_REACHED/), exitCode: 4 }, activeRuns: [{ runId: active }] });
    } finally {
      await stopRun(workspace, active);
      await deploy();
    }
  });
});

describe('destroy', () => {
  it('finds what deploy made and removes it; a scope that was there before keeps what is not ours', async () => {
    expect((await findDeployed(workspace, config)).map(({ what }) => what)).toEqual(['job', 'folder', 'secret scope']);
    await removeDeployed(workspace, await findDeployed(workspace, config));
    expect(await findDeployed(workspace, config)).toEqual([]);
    const scope = config.pipeline.secret_scope;
    await workspace.request({ method: 'POST', path: '/api/2.0/secrets/scopes/create', body: { scope } });
    await putSecret(workspace, scope, 'theirs', 'x');
    await deploy();
    await removeDeployed(workspace, await findDeployed(workspace, config));
    expect((await listSecrets(workspace, scope))?.map((secret) => secret.key)).toEqual(['theirs']);
    await workspace.request({ method: 'POST', path: '/api/2.0/secrets/scopes/delete', body: { scope } });
  });
});
