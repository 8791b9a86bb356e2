import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { repository } from '../config/bundle.ts';
import { createProject, type Project } from './project.ts';

// The controller as the job's third task, as targets dev and prod have it: its one file in the workspace, Node from PyPI.
let project: Project;

const edit = (name: string, change: (text: string) => string): void => {
  const file = join(project.folder, name);
  const before = readFileSync(file, 'utf8');
  expect(change(before)).not.toBe(before);
  writeFileSync(file, change(before));
};

beforeAll(async () => {
  if (!existsSync(join(repository, 'dist/streamgauge.mjs'))) execFileSync(process.execPath, ['scripts/build.ts'], { cwd: repository });
  project = createProject('workflow', { partitions: 1 });
  mkdirSync(join(project.folder, 'dist'));
  copyFileSync(join(repository, 'dist/streamgauge.mjs'), join(project.folder, 'dist/streamgauge.mjs'));
  edit('jobs/traffic_counter.job.yml', (text) => text.replace('\n  dev:\n', '\n  local:\n').replaceAll('max_retries: 2', 'max_retries: 0'));
  edit('databricks.yml', (text) => text.replace('  local:\n    mode: production\n', '  local:\n    mode: production\n    sync:\n      paths:\n        - dist/streamgauge.mjs\n        - databricks.yml\n'));
  await project.json(['provision']);
  await project.json(['produce', '--records', '2000', '--from', '2026-01-05T00:00:00Z', '--to', '2026-01-05T06:00:00Z', '--seed', '3']);
});

describe('the controller inside the workflow', () => {
  it('carries the windows to Elasticsearch; what it left to do is nothing', async () => {
    const deployed = await project.json(['deploy']);
    expect(deployed.steps.map((step: any) => step.name)).toEqual(expect.arrayContaining([expect.stringMatching(/\/dist\/streamgauge\.mjs$/), expect.stringMatching(/\/databricks\.yml$/)]));
    expect((await project.json(['plan'])).steps).toEqual([]);
    const run = await project.json(['run']);
    expect(run.tasks).toMatchObject([{ task: 'ingest', state: 'SUCCESS' }, { task: 'windows', state: 'SUCCESS' }, { task: 'export', state: 'SUCCESS' }]);
    const status = await project.json(['status']);
    expect(status.windows).toBeGreaterThan(20);
    expect(status.documents).toBe(status.windows);
    expect(await project.json(['export'])).toMatchObject({ written: 0 });
    const logs = await project.cli(['run', 'logs', String(run.runId)]);
    expect(logs.stdout).toMatch(/== export\n[\s\S]*"written": \d\d+/);
    expect(logs.stdout).not.toMatch(/dapi|Bearer/);
  });
});
