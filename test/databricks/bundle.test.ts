import { describe, expect, it } from 'vitest';
import type { BundleJob } from '../../src/config/config.ts';
import { placeOf, shortName, wantedJobs } from '../../src/databricks/bundle.ts';
import { ME, configOf } from './fixtures.ts';

const job = (settings: Record<string, unknown>, file = 'jobs/traffic_counter.job.yml'): BundleJob => ({ key: 'traffic_counter', file, settings });
const root = '/Workspace/Users/ada.lovelace@example.com/.bundle/streamgauge/dev';

function settingsOf(settings: Record<string, unknown>, overrides: Parameters<typeof configOf>[0] = {}, file?: string): Record<string, unknown> {
  const config = configOf({ jobs: [job(settings, file)], ...overrides });
  return wantedJobs(config, ME, placeOf(config, ME))[0]?.settings ?? {};
}

describe('where a bundle lives', () => {
  it.each([
    ['/Workspace/Users/${workspace.current_user.userName}/.bundle/streamgauge/dev', root],
    ['~/.bundle/streamgauge/dev', root],
    ['/Shared/.bundle/streamgauge/prod/', '/Workspace/Shared/.bundle/streamgauge/prod'],
    ['/Workspace/Shared/.bundle/streamgauge/prod', '/Workspace/Shared/.bundle/streamgauge/prod'],
  ])('%s', (rootPath, expected) => {
    const config = configOf({ databricks: { ...configOf().databricks, rootPath } });
    expect(placeOf(config, ME)).toEqual({ root: expected, files: `${expected}/files`, state: `${expected}/state` });
  });

  it.each(['/', '/Workspace', '/Workspace/Users', '/Workspace/Shared/../..', 'relative', '/Workspace/Users/${workspace.nobody}/x', '/dbfs/x'])('refuses %s: deploy and destroy would reach too far', (rootPath) => {
    const config = configOf({ databricks: { ...configOf().databricks, rootPath } });
    expect(() => placeOf(config, ME)).toThrow(expect.objectContaining({ code: 'ROOT_PATH_INVALID', exitCode: 2 }));
  });
});

describe('job settings, as the Databricks CLI sends them', () => {
  it('production: as written, with the marks of a bundle', () => {
    const written = { name: 'traffic_counter [prod]', max_concurrent_runs: 1, queue: { enabled: true }, schedule: { quartz_cron_expression: '0 0/10 * * * ?', timezone_id: 'UTC', pause_status: 'UNPAUSED' } };
    expect(settingsOf(written, { mode: 'production' })).toEqual({
      ...written,
      deployment: { kind: 'BUNDLE', metadata_file_path: `${root}/state/metadata.json` },
      edit_mode: 'UI_LOCKED',
      format: 'MULTI_TASK',
    });
  });

  it('fills in the defaults of a job that says nothing', () => {
    expect(settingsOf({ schedule: { quartz_cron_expression: '0 0 * * * ?', timezone_id: 'UTC' } }, { mode: undefined })).toMatchObject({
      name: 'Untitled',
      max_concurrent_runs: 1,
      queue: { enabled: true },
      schedule: { pause_status: 'UNPAUSED' },
    });
  });

  it('development: whose it is, and nothing starts by itself', () => {
    expect(settingsOf({ name: 'two', schedule: { quartz_cron_expression: 'x', timezone_id: 'UTC' }, tags: { team: 'road' } })).toMatchObject({
      name: '[dev ada_lovelace] two',
      tags: { dev: 'ada_lovelace', team: 'road' },
      schedule: { pause_status: 'PAUSED' },
      max_concurrent_runs: 4,
    });
    // What the bundle says itself wins over the preset.
    expect(settingsOf({ name: 'two', max_concurrent_runs: 1, continuous: { pause_status: 'UNPAUSED' }, tags: { dev: 'mine' } })).toMatchObject({
      max_concurrent_runs: 1,
      continuous: { pause_status: 'UNPAUSED' },
      tags: { dev: 'mine' },
    });
  });

  it.each([
    ['../notebooks/ingest.py', 'jobs/a.job.yml', `${root}/files/notebooks/ingest`],
    ['./notebooks/ingest.py', 'databricks.yml', `${root}/files/notebooks/ingest`],
    ['../notebooks/report.sql', 'jobs/a.job.yml', `${root}/files/notebooks/report`],
    ['/Workspace/Shared/other', 'jobs/a.job.yml', '/Workspace/Shared/other'],
    ['${workspace.file_path}/notebooks/ingest', 'jobs/a.job.yml', `${root}/files/notebooks/ingest`],
  ])('notebook path %s in %s', (path, file, expected) => {
    const settings = settingsOf({ name: 'x', tasks: [{ task_key: 'a', notebook_task: { notebook_path: path } }] }, {}, file);
    expect(settings.tasks).toEqual([{ task_key: 'a', notebook_task: { notebook_path: expected } }]);
  });

  it('keeps the extension of a Python file, and what comes from git', () => {
    const tasks = [
      { task_key: 'a', spark_python_task: { python_file: '../src/main.py' } },
      { task_key: 'b', notebook_task: { notebook_path: 'notebooks/x', source: 'GIT' } },
    ];
    expect(settingsOf({ name: 'x', tasks }).tasks).toEqual([{ task_key: 'a', spark_python_task: { python_file: `${root}/files/src/main.py` } }, tasks[1]]);
  });

  it('refuses a notebook outside the bundle', () => {
    const tasks = [{ task_key: 'a', notebook_task: { notebook_path: '../../etc/passwd' } }];
    expect(() => settingsOf({ name: 'x', tasks })).toThrow(expect.objectContaining({ code: 'PATH_OUTSIDE_BUNDLE', exitCode: 2 }));
  });
});

describe('short names', () => {
  it.each([
    [{ userName: 'ada.lovelace@example.com' }, 'ada_lovelace'],
    [{ userName: 'Ада--Б@example.com' }, 'ада_б'],
    [{ userName: 'c9b7a1e2-0000-4000-8000-0123456789ab', displayName: 'CI deployer (prod)' }, 'ci_deployer_prod'],
  ])('%j is %s', (me, expected) => expect(shortName(me)).toBe(expected));
});
