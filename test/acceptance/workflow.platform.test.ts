import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { elasticsearch } from './elasticsearch.ts';
import { killedAfter } from './kills.ts';
import { createProject, type Project } from './project.ts';

// The bundle as it is: the controller as the job's third task, its one file in the workspace, Node from PyPI.
const killer = new URL('killer.mjs', import.meta.url).pathname;
/** Spark is cold, Node comes from PyPI, and the machine may be busy. */
const SLOW_MS = 900_000;
let project: Project;
let checkpoints: string;

beforeAll(async () => {
  // A cluster of its own, because it is taken away again in earnest.
  project = createProject('workflow', { partitions: 1, cluster_name: 'sg-workflow' }, {}, { exports: true });
  checkpoints = `${(inject('environment') as Record<string, string>).BUNDLE_VAR_checkpoint_root?.replace('file:', '')}/workflow`;
  await project.json(['provision']);
  await project.json(['produce', '--records', '2000', '--from', '2026-01-05T00:00:00Z', '--to', '2026-01-05T06:00:00Z', '--seed', '3']);
});

describe('the controller inside the workflow', () => {
  it('carries the windows to Elasticsearch; what it left to do is nothing', async () => {
    const deployed = await project.json(['deploy']);
    expect(deployed.steps.map((step: any) => step.name)).toContainEqual(expect.stringMatching(/\/notebooks\/streamgauge\.mjs$/));
    expect((await project.json(['plan'])).steps).toEqual([]);
    const run = await project.json(['run']);
    expect(Object.fromEntries(run.tasks.map(({ task, state }: any) => [task, state]))).toEqual({ ingest: 'SUCCESS', windows: 'SUCCESS', export: 'SUCCESS', backup: 'SUCCESS' });
    const status = await project.json(['status']);
    expect(status.windows).toBeGreaterThan(20);
    expect(status.documents).toBe(status.windows);
    expect(await project.json(['export'])).toMatchObject({ written: 0 });
    const logs = await project.cli(['run', 'logs', String(run.runId)]);
    expect(logs.stdout).toMatch(/== export\n[\s\S]*"written": \d\d+/);
    expect(logs.stdout).not.toMatch(/dapi|Bearer/);
  }, SLOW_MS);

  it('killed after any effect of an export and started again, leaves the index of one that was not killed', async () => {
    const index = 'traffic_windows_workflow';
    const documents = async (): Promise<unknown> => {
      const { hits } = await JSON.parse(await elasticsearch('GET', `/${index}/_search?size=1000&version=true`)) as any;
      return hits.hits.map(({ _id, _version, _source }: any) => [_id, _version, _source]).sort();
    };
    const undisturbed = await documents();
    const emptied = async (): Promise<void> => {
      for (const name of [index, `${index}-cursor`]) await elasticsearch('DELETE', `/${name}?ignore_unavailable=true`);
    };
    const log = join(mkdtempSync(join(tmpdir(), 'effects-')), 'log');
    await emptied();
    await project.json(['export'], { env: { NODE_OPTIONS: `--import ${killer}`, KILL_LOG: log } });
    const effects = readFileSync(log, 'utf8').trimEnd().split('\n');
    expect(effects).toEqual(expect.arrayContaining([expect.stringMatching(/_bulk/), expect.stringMatching(/-cursor/)]));
    const [seen, wanted]: [unknown[], unknown[]] = [[], []];
    for (const [at, effect] of effects.entries()) {
      await emptied();
      const killed = await project.cli(['export'], { env: { NODE_OPTIONS: `--import ${killer}`, KILL_AFTER: String(at + 1) } });
      await project.json(['export']);
      await elasticsearch('POST', `/${index}/_refresh`);
      seen.push({ effect, killed: killed.code, documents: await documents() });
      wanted.push({ effect, killed: null, documents: undisturbed });
    }
    expect(seen).toEqual(wanted);
  }, SLOW_MS);

  it('and all of it goes by a saved plan, tables too, unless these are protected', async () => {
    const file = join(project.folder, 'end.plan');
    const saved = await project.json(['plan', '--destroy', '--data', '--force', '--out', file]);
    const tables = saved.steps.filter(({ thing }: any) => thing === 'table').map(({ name, risk }: any) => [name.replace(/.*\.|`/g, ''), risk]);
    expect(tables).toEqual(expect.arrayContaining([['raw', 'loses data'], ['windows', 'loses data']]));
    expect(saved.steps).toContainEqual(expect.objectContaining({ thing: 'checkpoints', risk: 'loses data' }));
    const blocked = await project.cli(['destroy', '--data', '--yes', '--var', 'prevent_destroy=tables']);
    expect([blocked.code, blocked.stderr]).toEqual([2, expect.stringMatching(/nothing was destroyed.*table .*raw.* \(variable prevent_destroy\)/)]);
    expect((await project.json(['status'])).windows).toBeGreaterThan(20);
    const misused = await project.cli(['deploy', '--plan', file]);
    expect([misused.code, misused.stderr]).toEqual([2, expect.stringContaining('streamgauge destroy --plan')]);
    expect(readdirSync(checkpoints).sort()).toEqual(['raw', 'shards', 'windows']);
    expect((await project.json(['destroy', '--plan', file])).steps).toEqual(saved.steps);
    expect(readdirSync(checkpoints)).toEqual([]);
    expect(await project.json(['plan', '--destroy', '--data', '--force'])).toMatchObject({ changed: false, steps: [], tables: [] });
  }, SLOW_MS);

  it('a deployment after that begins anew, with new data; its own end, killed between tables and checkpoints, is taken up again', async () => {
    await project.json(['provision']);
    await project.json(['produce', '--records', '500', '--from', '2026-02-05T00:00:00Z', '--to', '2026-02-05T03:00:00Z', '--seed', '4']);
    await project.json(['deploy']);
    expect((await project.json(['run'])).outcome.state).toBe('SUCCESS');
    const status = await project.json(['status']);
    expect([status.windows > 10, status.windows < 20, status.documents === status.windows]).toEqual([true, true, true]);
    const killed = await project.cli(['destroy', '--data', '--force', '--yes'], killedAfter(/workspace\/mkdirs/));
    expect(killed.code).toBe(null);
    const again = await project.json(['destroy', '--data', '--force', '--yes', '--force-lock']);
    const things = again.steps.map(({ thing }: any) => thing);
    expect([things.includes('table'), things.includes('checkpoints')]).toEqual([false, true]);
    expect(existsSync(join(checkpoints, 'raw'))).toBe(false);
    expect(await project.json(['plan', '--destroy', '--data', '--force'])).toMatchObject({ steps: [] });
  }, SLOW_MS);
});
