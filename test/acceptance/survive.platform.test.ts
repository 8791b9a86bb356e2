import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Context } from '../../src/command.ts';
import type { Workspace } from '../../src/databricks/client.ts';
import { deployedJob } from '../../src/databricks/deploy.ts';
import { findDeployed, removeDeployed } from '../../src/databricks/destroy.ts';
import { createJob, createScope, deleteJob, deleteScope, exportFile, getJob, getRun, listFolder, listRuns, listSecrets, type WorkspaceObject } from '../../src/databricks/rest.ts';
import { destroyWorld } from '../../src/deployment/destroy.ts';
import { observeWorld, openSystems, type Systems } from '../../src/deployment/observe.ts';
import { planDeployment } from '../../src/deployment/plan.ts';
import { poll } from '../../src/poll.ts';
import { outcomeOf } from '../../src/databricks/outcome.ts';
import { deployWorld } from '../../src/deployment/deploy.ts';
import { deleteTemplate } from '../../src/elasticsearch/template.ts';
import { deleteConfiguration, findConfiguration } from '../../src/msk/configuration.ts';
import { strayKey } from '../../src/msk/keys.ts';
import { deleteCluster, findCluster, untagCluster } from '../../src/msk/cluster.ts';
import { elasticsearch } from './elasticsearch.ts';
import { effectsOf, killedAfter, seen, survivesKills } from './kills.ts';
import { createProject, type Project } from './project.ts';

// The controller is killed as nothing can be caught, just after each effect that it has, and started again: what comes out is
// what an undisturbed one makes. The effects are those that it is seen to have (killer.mjs), each step of its plan among them.
const NOTEBOOK = `# Databricks notebook source
dbutils.widgets.text("late_policy", "amend")
if dbutils.widgets.get("late_policy") == "hold":
    raise ValueError("asked to fail")
`;
const job = (name: string, task: string): string => `resources:
  jobs:
    ${name}:
      name: ${name} survive [\${bundle.name}]
      tags: {streamgauge: "\${bundle.name}/\${bundle.target}", streamgauge_code: "\${var.traffic_counter_code}"}
      schedule: {quartz_cron_expression: "0 0 0 1 1 ?", timezone_id: UTC, pause_status: PAUSED}
      parameters: [{name: late_policy, default: "\${var.late_policy}"}]
      tasks: [{task_key: ${task}, notebook_task: {notebook_path: ../notebooks/${task}.py}}]
`;

/** Some sixty processes one after another: on a busy machine that takes its time. */
const SLOW_MS = 900_000;

type Lane = { project: Project; config: Config; context: Context; systems: Systems };

/** A small bundle of its own: each effect is of another kind, and each deployment takes a second. */
async function lane(name: string, variables: Record<string, string | number> = {}, task = 'ingest'): Promise<Lane> {
  // No table is made here: a deployment need not ask Spark for any.
  const project = createProject(name, { partitions: 1, ...variables }, { DATABRICKS_HTTP_PATH: '' });
  for (const folder of ['notebooks', 'jobs']) {
    rmSync(join(project.folder, folder), { recursive: true });
    mkdirSync(join(project.folder, folder));
  }
  writeFileSync(join(project.folder, `notebooks/${task}.py`), NOTEBOOK);
  writeFileSync(join(project.folder, 'jobs/traffic_counter.job.yml'), job('traffic_counter', task));
  const config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true, environment: { ...process.env } });
  const ignore = (): void => undefined;
  const context: Context = { config, progress: { stage: ignore, update: ignore, note: ignore, warn: ignore }, signal: new AbortController().signal };
  return { project, config, context, systems: await openSystems(context) };
}

/** Everything that the deployment made, without ids, times and salts; and what a next plan would do. */
async function worldOf({ context, systems }: Lane): Promise<unknown> {
  const { wanted, found } = await observeWorld(context, systems);
  const { workspace, cluster, configuration, logins, topics, rights, template } = found;
  const tree = await treeOf(systems.workspace, wanted.workspace.place.root);
  const contents = await Promise.all(tree.filter(({ object_type: type, path }) => type !== 'DIRECTORY' && !path.includes('/state/')).map(async ({ path }) => [path, (await exportFile(systems.workspace, path))?.toString()]));
  return {
    cluster: cluster && [cluster.ours, Object.values(cluster.tags), cluster.brokers], properties: configuration.attached,
    logins: Object.values(logins.secrets).map((secret) => secret && [secret.name, secret.ours, secret.associated]), key: logins.key?.ours, strayKey: (await strayKey(systems.aws, wanted.pipeline.cluster_name)) !== undefined,
    topics, rights: rights.map((right) => JSON.stringify(right)).sort(), template,
    paths: tree.map(({ path, object_type: type }) => [path, type]).sort(), contents: contents.sort(),
    jobs: Object.entries(workspace.jobs).map(([key, { settings }]) => [key, settings]), stale: workspace.staleJobs.length,
    secrets: workspace.secrets?.map(({ key }) => key.replace(/-[0-9a-f-]{97}$/, '')).sort(), history: workspace.state.history?.length,
    left: planDeployment(wanted, found),
  };
}

async function treeOf(workspace: Workspace, path: string): Promise<WorkspaceObject[]> {
  const objects = (await listFolder(workspace, path)) ?? [];
  const below = await Promise.all(objects.filter((object) => object.object_type === 'DIRECTORY').map((folder) => treeOf(workspace, folder.path)));
  return [...objects, ...below.flat()];
}

async function emptyWorkspace({ config, systems }: Lane): Promise<void> {
  await removeDeployed(systems.workspace, await findDeployed(systems.workspace, config));
  if (systems.elasticsearch !== undefined) await deleteTemplate(systems.elasticsearch, config.pipeline.index);
}

/** Whoever made it: an earlier try may have left it as somebody else's. */
async function withoutCluster({ systems: { aws }, config: { pipeline: { cluster_name: name } } }: Lane): Promise<void> {
  const left = await findCluster(aws, name);
  if (left !== undefined) await deleteCluster(aws, left, { onState: () => undefined });
  const configuration = await findConfiguration(aws, name);
  if (configuration !== undefined) await deleteConfiguration(aws, configuration.arn);
}

/** The bundle as it stands in its folder now, without a process of its own: what comes before a kill needs none. */
async function deployed({ project, context }: Lane): Promise<void> {
  const config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true, environment: { ...process.env } });
  await deployWorld({ ...context, config }, { yes: true, dryRun: false, forceLock: true });
}

const DEPLOY = { verb: ['deploy'], again: ['deploy', '--force-lock'] };

// The cluster that the scenarios share: two that make it at once would be in each other's way.
beforeAll(async () => {
  // For the AWS SDK in this process. Variables of one bundle must not reach another's: each is loaded with an environment of its own.
  Object.assign(process.env, inject('environment'));
  await createProject('survive-all', { partitions: 1 }).json(['provision']);
});

describe.concurrent('killed after any effect and started again, the same comes out:', () => {
  it('a deployment to a workspace and an index', async () => {
    const own = await lane('survive');
    await own.project.json(['provision']);
    await survivesKills(own.project, { ...DEPLOY, which: /^(Databricks|Elasticsearch)/, reset: () => emptyWorkspace(own), world: () => worldOf(own) });
    // While the lock of a killed deployment stands, nobody deploys by mistake.
    await emptyWorkspace(own);
    await own.project.cli(['deploy'], killedAfter(4));
    const hindered = await own.project.cli(['deploy']);
    expect([hindered.code, hindered.stderr]).toEqual([4, expect.stringMatching(/is deploying[\s\S]*--force-lock/)]);
    await emptyWorkspace(own);
    await own.systems.close();
  }, SLOW_MS);

  it('a deployment that changes what is there', async () => {
    const own = await lane('survive-change');
    const { folder } = own.project;
    const [second, gone] = [join(folder, 'jobs/second.job.yml'), join(folder, 'notebooks/gone.py')];
    const vars = ['--var', 'retention_hours=9', '--var', 'late_policy=hold'];
    const before = async (): Promise<void> => {
      writeFileSync(second, job('second', 'ingest'));
      writeFileSync(gone, NOTEBOOK);
      writeFileSync(join(folder, 'notebooks/ingest.py'), NOTEBOOK);
      await deployed(own);
      await own.systems.elasticsearch?.request('spoiling the template', { method: 'PUT', path: `/_index_template/${own.config.pipeline.index}`, body: { index_patterns: [own.config.pipeline.index], priority: 7 } });
      for (const file of [second, gone]) rmSync(file);
      writeFileSync(join(folder, 'notebooks/ingest.py'), `${NOTEBOOK}# changed\n`);
    };
    const changed = loadConfig({ cwd: folder, target: 'local', vars: ['retention_hours=9', 'late_policy=hold'], needsEnvironment: true, environment: { ...process.env } });
    const world = async (): Promise<unknown> => ({ ...((await worldOf({ ...own, context: { ...own.context, config: changed } })) as object), history: undefined });
    await emptyWorkspace(own);
    const effects = await survivesKills(own.project, { verb: ['deploy', ...vars], again: ['deploy', '--force-lock', ...vars], reset: before, world });
    expect(effects).toEqual(expect.arrayContaining(['Kafka IncrementalAlterConfigs', expect.stringMatching(/jobs\/reset/), expect.stringMatching(/jobs\/delete/), expect.stringMatching(/workspace\/delete/)]));
    await emptyWorkspace(own);
    await own.systems.close();
  }, SLOW_MS);

  it('going back to an earlier deployment', async () => {
    const own = await lane('survive-back');
    const notebook = join(own.project.folder, 'notebooks/ingest.py');
    await own.project.json(['provision']);
    await emptyWorkspace(own);
    await deployed(own);
    writeFileSync(notebook, `${NOTEBOOK}# changed\n`);
    writeFileSync(join(own.project.folder, 'jobs/second.job.yml'), job('second', 'ingest'));
    // What is not the workspace's stays as the bundle says.
    const vars = ['--var', 'retention_hours=9'];
    const world = async (): Promise<unknown> => ({ ...((await worldOf(own)) as object), history: undefined, left: undefined });
    const effects = await survivesKills(own.project, { verb: ['rollback', '1', '--yes', ...vars], again: ['rollback', '1', '--yes', '--force-lock', ...vars], reset: () => deployed(own), world });
    expect(effects).toEqual(expect.arrayContaining(['Kafka IncrementalAlterConfigs', expect.stringMatching(/workspace\/import$/), expect.stringMatching(/jobs\/delete/)]));
    await emptyWorkspace(own);
    await own.systems.close();
  }, SLOW_MS);

  it('what is taken in', async () => {
    const own = await lane('survive-import');
    const { workspace } = own.systems;
    const { index, secret_scope: scope } = own.config.pipeline;
    type Taken = { args(): Promise<string[]>; effect: RegExp; look(): Promise<unknown>; away(): Promise<unknown> };
    let id = 0;
    const all: Taken[] = [
      { args: async () => ['job', String((id = await createJob(workspace, { name: 'somebody’s', tags: { team: 'x' } })))], effect: /jobs\/update$/, look: async () => (await getJob(workspace, id))?.settings, away: () => deleteJob(workspace, id) },
      { args: async () => createScope(workspace, scope).then(() => ['scope']), effect: /secrets\/put$/, look: async () => (await listSecrets(workspace, scope))?.map(({ key }) => key), away: () => deleteScope(workspace, scope) },
      { args: async () => elasticsearch('PUT', `/${index}`).then(() => ['index']), effect: /PUT .*\/_mapping$/, look: async () => JSON.parse(await elasticsearch('GET', `/${index}/_mapping`)), away: () => elasticsearch('DELETE', `/${index}`) },
    ];
    for (const { args, effect, look, away } of all) {
      const { effects } = await seen(own.project, ['import', ...(await args())]);
      expect(effects).toEqual([expect.stringMatching(effect)]);
      const undisturbed = await look();
      await away();
      const again = ['import', ...(await args())];
      expect((await own.project.cli(again, killedAfter(1))).code).toBe(null);
      await own.project.json(again);
      expect(await look()).toEqual(undisturbed);
      await away();
    }
    await own.systems.close();
  }, SLOW_MS);

  it('a deployment from nothing, and its end', async () => {
    // With a task `export`, whose secrets are known before the brokers' are.
    const own = await lane('survive-nothing', { cluster_name: 'sg-survive' }, 'export');
    const { aws } = own.systems;
    const all = { yes: true, dryRun: false, data: false, force: true, forceLock: true };
    await withoutCluster(own);
    await destroyWorld(own.context, all);
    // A cluster takes its time: it is made once, by deployments that are killed after each of the two effects that make it.
    for (const effect of [/POST .*configurations$/, /POST .*clusters$/]) expect((await own.project.cli(['deploy', '--force-lock'], killedAfter(effect))).code).toBe(null);
    const { effects } = await effectsOf(own.project, ['deploy', '--force-lock']);
    expect(effects.filter((effect) => /clusters$|configurations$/.test(effect))).toEqual([]);
    const cluster = await findCluster(aws, 'sg-survive');
    if (cluster === undefined) throw new Error('there is no cluster sg-survive');
    expect([cluster.ours, cluster.configuration?.revision]).toEqual([true, 1]);
    const blocked = await own.project.cli(['destroy', '--yes', '--force', '--var', 'prevent_destroy=topics']);
    expect([blocked.code, blocked.stderr]).toEqual([2, expect.stringContaining('nothing was destroyed')]);
    // Somebody else's from now on: everything but the cluster goes and comes.
    await untagCluster(aws, cluster, ['created-by']);
    expect((await own.project.cli(['import', 'topic'], killedAfter(1))).code).toBe(null);
    expect(await own.project.json(['import', 'topic'])).toMatchObject({ thing: 'topic', was: '1 partitions, 1 copies' });
    const reset = (): Promise<unknown> => destroyWorld(own.context, all);
    await survivesKills(own.project, { ...DEPLOY, which: /^(AWS|Kafka)/, reset, world: () => worldOf(own) });
    const ended = await survivesKills(own.project, { verb: ['destroy', '--yes', '--force'], again: ['destroy', '--yes', '--force', '--force-lock'], reset: () => deployed(own), world: () => worldOf(own) });
    expect(ended).toEqual(expect.arrayContaining(['Kafka DeleteTopics', 'Kafka DeleteAcls', 'AWS DeleteSecret']));
    await withoutCluster(own);
    await own.systems.close();
  }, SLOW_MS);
});

describe('a run', () => {
  let project: Project;
  let workspace: Workspace;
  let config: Config;
  const runs = async (): Promise<number> => (await listRuns(workspace, (await deployedJob(workspace, config)).job_id)).length;

  beforeAll(async () => {
    const own = await lane('survive-run');
    ({ project, config } = own);
    ({ workspace } = own.systems);
    await project.json(['provision']);
    await project.json(['deploy', '--force-lock']);
  });
  afterAll(async () => removeDeployed(workspace, await findDeployed(workspace, config)));

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
    // Killed when the repair was just asked for, and called again when that has ended, too: one repair, not two.
    expect((await project.cli(['run', '--retry'], killedAfter(1))).code).toBe(null);
    await poll({ what: 'the repair', deadlineMs: 60_000, intervalMs: 200 }, async () => outcomeOf((await getRun(workspace, failed.runId)).state));
    // The same parameters: it fails again, in the same run, as a further attempt.
    const repaired = await project.json(['run', '--retry'], { code: 4 });
    expect([repaired.runId, repaired.outcome.state, repaired.reattached]).toEqual([failed.runId, 'FAILED', true]);
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
    // By rules for this one run: other tests ask the same workspace for theirs.
    const started = async (token: string, ...spoiled: object[]): Promise<number> => {
      const { runId } = await project.json(['run', '--token', token, '--detach']);
      const pattern = `/api/2.2/jobs/runs/get?run_id=${runId}*`;
      await workspace.request({ method: 'POST', path: '/__admin/faults', body: { rules: spoiled.map((rule) => ({ pattern, ...rule })) } });
      return runId;
    };
    const spoiled = await started('spoiled', { status: 503, times: 3 }, { drop: true, times: 3 }, { status: 429, times: 2 });
    expect(await project.json(['run', '--token', 'spoiled'])).toMatchObject({ runId: spoiled, outcome: { ok: true } });
    expect(await workspace.request({ method: 'GET', path: '/__admin/faults' })).toEqual({ rules: [] });
    const closed = await started('closed', { status: 403, times: 1 });
    const refused = await project.cli(['run', '--token', 'closed']);
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringMatching(/403[\s\S]*hint: /)]);
    expect(await project.json(['run', '--token', 'closed'])).toMatchObject({ runId: closed, outcome: { ok: true } });
  });
});
