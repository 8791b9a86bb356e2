import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { loadConfig } from '../../src/config/load.ts';
import { connect, type Workspace } from '../../src/databricks/client.ts';
import { deployedJob } from '../../src/databricks/deploy.ts';
import { findDeployed, removeDeployed } from '../../src/databricks/destroy.ts';
import { createJob, exportFile, getJob, putSecret } from '../../src/databricks/rest.ts';
import { DEFINITIONS } from '../../src/databricks/shapes.ts';
import { openSql } from '../../src/databricks/sql.ts';
import type { Config } from '../../src/config/config.ts';
import { elasticsearch } from './elasticsearch.ts';
import { ERROR, EVENT, step } from '../documents.ts';
import { createProject, type Project } from './project.ts';

// Partitions never shrink: a platform that was used before has other topics.
const now = Date.now();
const NOTEBOOK = '# Databricks notebook source\nprint("a")\n';
let project: Project;
let workspace: Workspace;
let config: Config;

const notebook = (name: string): string => join(project.folder, 'notebooks', `${name}.py`);
const brief = (result: any): string[] => result.steps.map((step: any) => `${step.action} ${step.thing}: ${step.risk}`);

function small(name: string, variables: Record<string, string | number> = {}): Project {
  const made = createProject(name, { partitions: 1, topics: `traffic_${name}_${now}`, ...variables });
  // One job: what a plan says of it would be said three times.
  for (const file of ['backup', 'windows_rebuild']) rmSync(join(made.folder, 'jobs', `${file}.job.yml`));
  for (const each of ['ingest', 'windows']) writeFileSync(join(made.folder, 'notebooks', `${each}.py`), NOTEBOOK);
  rmSync(join(made.folder, 'notebooks', 'pipeline'), { recursive: true });
  return made;
}

beforeAll(async () => {
  project = small('plan');
  config = loadConfig({ cwd: project.folder, target: 'local', vars: [], needsEnvironment: true });
  workspace = await connect(config.databricks);
  await project.json(['provision']);
  await removeDeployed(workspace, await findDeployed(workspace, config));
});
afterAll(async () => removeDeployed(workspace, await findDeployed(workspace, config)));

describe('the plan', () => {
  it('shows everything first, and nothing once it is done; exit codes 7 and 0 say so', async () => {
    const first = await project.json(['plan', '--detailed-exitcode'], { code: 7 });
    expect([...new Set(first.steps.map((step: any) => step.thing))]).toEqual(['secret scope', 'secrets', 'folder', 'notebook', 'file', 'job'].filter((thing) => first.steps.some((step: any) => step.thing === thing)));
    expect((await project.json(['deploy'])).changed).toBe(true);
    expect(await project.json(['plan', '--detailed-exitcode'])).toMatchObject({ changed: false, steps: [], risk: 'safe' });
  });

  it('names each difference with its risk: drift in the workspace, partitions, retention', async () => {
    await putSecret(workspace, config.pipeline.secret_scope, 'password', 'by hand');
    const drifted = await project.json(['plan', '--var', 'partitions=2', '--var', 'retention_hours=1']);
    expect(brief(drifted)).toEqual(['change topic: irreversible', 'change topic: loses data', 'change secrets: safe']);
    expect(drifted.steps[0].changes).toEqual([{ field: 'partitions', found: 1, wanted: 2 }]);
    expect(drifted.steps[2].why).toMatch(/written by someone else since: password/);
    expect(brief(await project.json(['deploy', '--var', 'partitions=2']))).toEqual(['change topic: irreversible', 'change secrets: safe']);
    const refused = await project.cli(['plan']);
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringMatching(/cannot take partitions away[\s\S]*--var partitions=2/)]);
  });

  it('that was saved is done exactly, or not at all', async () => {
    const file = join(project.folder, 'saved.plan');
    const args = ['--var', 'partitions=2', '--var', 'max_workers=9'];
    await project.json(['plan', '--out', file, ...args]);
    const otherBundle = await project.cli(['deploy', '--plan', file, '--var', 'partitions=2']);
    expect([otherBundle.code, otherBundle.stderr]).toEqual([6, expect.stringMatching(/the bundle has changed[\s\S]*nothing was done/)]);
    expect(brief(await project.json(['deploy', '--plan', file, ...args]))).toEqual(['change job: safe']);
    const again = await project.cli(['deploy', '--plan', file, ...args]);
    expect([again.code, again.stderr]).toEqual([6, expect.stringContaining('the world has moved')]);
  });
});

describe('a table', () => {
  it('of an earlier release is given its column, and a NOT NULL that was dropped; one with another type is refused; a layout of its own, and a NOT NULL that rows stand against, are only named', async () => {
    const { catalog, schema } = config.pipeline;
    const sql = await openSql(config);
    const done = (statement: string): Promise<unknown> => Array.fromAsync(sql.rows(statement));
    const { gaps, ...before } = DEFINITIONS.shards.columns;
    const make = (columns: Record<string, string>, layout = ''): Promise<unknown> => done(`CREATE OR REPLACE TABLE ${catalog}.${schema}.shards (${Object.entries(columns).map(([name, type]) => `${name} ${type}`).join(', ')}) USING DELTA ${layout}`);
    const vars = ['--var', 'partitions=2'];
    try {
      await done(`CREATE SCHEMA IF NOT EXISTS ${catalog}.${schema}`);
      await make({ ...before, records: 'bigint' }, 'CLUSTER BY (topic)');
      await done(`ALTER TABLE ${catalog}.${schema}.shards ALTER COLUMN sha256 DROP NOT NULL`);
      const row = (shard: number, records: string, sha256: string): Promise<unknown> => done(`INSERT INTO ${catalog}.${schema}.shards (topic, partition, shard, first_offset, last_offset, records, sealed, sha256) VALUES ('t', 0, ${shard}, 0, 99, ${records}, true, ${sha256})`);
      await row(0, 'NULL', "'x'");
      const deployed = await project.json(['deploy', ...vars]);
      expect(brief(deployed)).toEqual(['change table: safe', 'change table: safe', 'change job: safe']);
      expect(deployed.steps.slice(0, 2).map((step: any) => step.changes)).toEqual([[{ field: 'column gaps', wanted: gaps }], [{ field: 'column sha256', found: 'string', wanted: 'string not null' }]]);
      await expect(row(1, '100', 'NULL')).rejects.toMatchObject({ code: expect.stringMatching(/^DELTA_VIOLATE/) });
      const drift = [{ field: 'clustered by', found: 'topic' }, { field: 'column records', found: 'bigint', wanted: 'bigint not null', wins: expect.stringContaining('while 1 of its rows hold null') }];
      expect(await project.json(['plan', ...vars])).toMatchObject({ steps: [], drift: drift.map((one) => ({ thing: 'table', name: 'shards', ...one })) });
      await make({ ...DEFINITIONS.shards.columns, records: 'int not null' });
      const refused = await project.cli(['plan', ...vars]);
      expect([refused.code, refused.stderr]).toEqual([2, expect.stringMatching(/column records of table shards is int.*bigint[\s\S]*hint: /)]);
    } finally {
      await done(`DROP SCHEMA IF EXISTS ${catalog}.${schema} CASCADE`);
      await sql.close();
    }
  });
});

describe('history', () => {
  it('goes back to an earlier deployment, and forward again', async () => {
    const vars = ['--var', 'partitions=2'];
    await project.json(['deploy', ...vars]);
    const before = (await project.json(['history'])).deployments[0].number;
    writeFileSync(notebook('windows'), NOTEBOOK.replace('"a"', '"b"'));
    await project.json(['deploy', ...vars, '--var', 'max_workers=7']);
    const back = await project.json(['rollback', String(before), ...vars, '--yes']);
    expect(brief(back)).toEqual(['change notebook: safe', 'change job: safe']);
    const place = (await project.json(['history'])).folder;
    expect((await exportFile(workspace, `${place}/files/notebooks/windows`))?.toString()).toContain('"a"');
    expect((await project.json(['history'])).deployments[0]).toMatchObject({ rollbackTo: before, by: expect.stringContaining('@') });
    // The bundle still says b: the next deployment wins again, and says so before.
    expect(brief(await project.json(['deploy', ...vars]))).toEqual(['change notebook: safe']);
    const unknown = await project.cli(['rollback', '99', ...vars]);
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining('streamgauge history')]);
  });
});

describe('a run that goes on', () => {
  it('is restarted where its code changed, with its parameters; otherwise it is left alone', async () => {
    const vars = ['--var', 'partitions=2'];
    writeFileSync(notebook('ingest'), '# Databricks notebook source\nimport time\ndbutils.widgets.text("late_policy", "amend")\nwhile dbutils.widgets.get("late_policy") == "hold":\n    time.sleep(0.1)\n');
    await project.json(['deploy', ...vars]);
    const { runId } = await project.json(['run', '--detach', '--param', 'late_policy=hold', ...vars]);
    expect(await project.json(['deploy', ...vars])).toMatchObject({ changed: false, restarted: [] });
    writeFileSync(notebook('windows'), NOTEBOOK.replace('"a"', '"c"'));
    const deployed = await project.json(['deploy', ...vars]);
    expect(brief(deployed)).toEqual(['change notebook: safe', 'restart run: restarts stream']);
    expect((await project.json(['run', 'status', String(runId)], { code: 130 })).outcome.state).toBe('CANCELED');
    const [next] = deployed.restarted;
    const run = await workspace.request<any>({ method: 'GET', path: '/api/2.2/jobs/runs/get', query: { run_id: next } });
    expect(run.job_parameters.find((parameter: any) => parameter.name === 'late_policy').value).toBe('hold');
    await project.json(['run', 'cancel', String(next)]);
  });
});

describe('adopting and protecting', () => {
  it('a job that was there is taken in and changed in place', async () => {
    const other = small('import');
    const own = loadConfig({ cwd: other.folder, target: 'local', vars: [], needsEnvironment: true });
    await removeDeployed(workspace, await findDeployed(workspace, own));
    await other.json(['provision']);
    const id = await createJob(workspace, { name: 'traffic_counter import [local]', tags: { team: 'x' }, max_concurrent_runs: 1 });
    const refused = await other.cli(['plan']);
    expect([refused.code, refused.stderr]).toEqual([4, expect.stringContaining(`streamgauge import job ${id}`)]);
    await other.json(['import', 'job', String(id)]);
    await other.json(['deploy']);
    expect((await deployedJob(workspace, own)).job_id).toBe(id);
    expect((await other.json(['plan'])).steps).toEqual([]);
    expect(await other.json(['import', 'topic', `traffic_import_${now}`])).toMatchObject({ thing: 'topic' });
    expect(await other.json(['import', 'scope'])).toMatchObject({ thing: 'secret scope' });
    const noIndex = await other.cli(['import', 'index']);
    expect([noIndex.code, noIndex.stderr]).toEqual([4, expect.stringContaining('streamgauge export')]);
    // Index and template of somebody else, with a document in it.
    const index = own.pipeline.index;
    await elasticsearch('PUT', `/_index_template/${index}`, JSON.stringify({ index_patterns: [index], priority: 9 }));
    await elasticsearch('PUT', `/${index}/_doc/mine?refresh=true`, '{"n":1}');
    const uuid = async (): Promise<unknown> => JSON.parse(await elasticsearch('GET', `/${index}/_settings`))[index].settings.index.uuid;
    const before = await uuid();
    const counted = async (): Promise<string[]> => (await other.json(['plan', '--destroy'])).steps.filter(({ thing }: any) => thing.startsWith('index')).map(({ thing, name }: any) => `${thing} ${name}`);
    expect(await counted()).toEqual([]);
    expect(await other.json(['import', 'index'])).toMatchObject({ thing: 'index', name: index });
    expect(brief(await other.json(['deploy']))).toEqual(['change index template: safe']);
    expect(await other.json(['plan'])).toMatchObject({ steps: [] });
    expect(await counted()).toEqual([`index ${index}`, `index template ${index}`]);
    expect([await uuid(), JSON.parse(await elasticsearch('GET', `/${index}/_doc/mine`))._source]).toEqual([before, { n: 1 }]);
    await elasticsearch('DELETE', `/${index}`);
    await removeDeployed(workspace, await findDeployed(workspace, own));
    expect(await getJob(workspace, id)).toBeUndefined();
  });

  it('what is protected blocks destroy as a whole', async () => {
    await project.json(['deploy', '--var', 'partitions=2']);
    const file = join(project.folder, 'jobs/traffic_counter.job.yml');
    const whole = readFileSync(file, 'utf8');
    writeFileSync(file, whole.replace('      max_concurrent_runs: 1\n', '      max_concurrent_runs: 1\n      lifecycle:\n        prevent_destroy: true\n'));
    // Only shown: this project's cluster is every scenario's. That it blocks in earnest, survive.platform.test.ts sees on a cluster of its own.
    const blocked = await project.cli(['destroy', '--dry-run', '--var', 'partitions=2', '--var', 'prevent_destroy=topics']);
    expect([blocked.code, blocked.stderr]).toEqual([2, expect.stringMatching(/nothing was destroyed.*job traffic_counter \(lifecycle/)]);
    expect(blocked.stderr).toMatch(/topics traffic_plan_\d+ \(variable/);
    expect((await deployedJob(workspace, config)).job_id).toBeGreaterThan(0);
    expect((await project.json(['plan', '--var', 'partitions=2'])).steps).toEqual([]);
    writeFileSync(file, whole);
  });
});

describe('for scripts', () => {
  it('events are one JSON object a line, the last one an end; errors are a document', async () => {
    const done = await project.cli(['plan', '--events', '--json', '--var', 'partitions=2', '--var', 'max_workers=8']);
    const events = done.stderr.trimEnd().split('\n').map((line) => EVENT.parse(JSON.parse(line)));
    expect(events.at(-1)).toMatchObject({ kind: 'end', verb: 'plan', exit_code: 0 });
    expect(z.array(step).parse(JSON.parse(done.stdout).steps)).toHaveLength(1);
    const failed = await project.cli(['plan', '--events', '--json', '--var', 'partitions=1']);
    expect(EVENT.parse(JSON.parse(failed.stderr.trimEnd().split('\n').at(-1) ?? ''))).toMatchObject({ kind: 'end', exit_code: 2, error: { code: 'PARTITIONS_CANNOT_SHRINK' } });
    expect(ERROR.parse(JSON.parse(failed.stdout)).error).toMatchObject({ code: 'PARTITIONS_CANNOT_SHRINK', exit_code: 2 });
  });
});

describe('whatever the configuration', () => {
  it('after a deployment the plan is empty; A, B, A leaves nothing for A', async () => {
    const configurations = fc.record({ retention: fc.integer({ min: 1, max: 9 }), window: fc.constantFrom(5, 10, 60), workers: fc.integer({ min: 1, max: 9 }), code: fc.constantFrom('x', 'y') });
    const arrange = (given: { retention: number; window: number; workers: number; code: string }): string[] => {
      writeFileSync(notebook('windows'), NOTEBOOK.replace('"a"', `"${given.code}"`));
      return ['--var', 'partitions=2', '--var', `retention_hours=${given.retention}`, '--var', `window_minutes=${given.window}`, '--var', `max_workers=${given.workers}`];
    };
    await fc.assert(
      fc.asyncProperty(configurations, configurations, async (a, b) => {
        for (const given of [a, b, a]) {
          const vars = arrange(given);
          await project.json(['deploy', ...vars]);
          expect((await project.json(['plan', ...vars])).steps).toEqual([]);
        }
      }),
      { numRuns: 2 },
    );
  });
});
