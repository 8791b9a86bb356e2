import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { workspaceClient } from '../local/facades/workspace/client.ts';

// The request sequence of `databricks bundle validate/deploy/run/destroy` with the direct engine, as the CLI's maintainers
// recorded it: what the CLI keys on (status codes, error sentences, bytes read back) is what is checked here.
describe('databricks bundle, replayed', () => {
  const name = `[dev me] replay ${Date.now()}`;
  let ws: ReturnType<typeof workspaceClient>;
  let [root, me] = ['', ''];
  const sent: string[] = [];

  const cli = async (method: string, path: string, body?: RequestInit['body']) => {
    sent.push(`${method} ${path.split('?')[0]}`);
    const headers = { 'user-agent': 'cli/0.270.0 databricks-sdk-go/0.90.0 go/1.25 os/linux cmd/bundle_deploy engine/direct auth/pat', 'X-Databricks-Workspace-Id': '1000000000000000' };
    const response = await ws.send(method, path, body, headers);
    const text = await response.text();
    return { status: response.status, text, json: text.startsWith('{') ? JSON.parse(text) : undefined };
  };
  const post = (path: string, body: object) => cli('POST', path, JSON.stringify(body));
  const stat = (path: string) => cli('GET', `/api/2.0/workspace/get-status?path=${encodeURIComponent(path)}&return_export_info=true`);
  const mkdirs = (path: string) => post('/api/2.0/workspace/mkdirs', { path });
  const remove = (path: string, recursive: boolean) => post('/api/2.0/workspace/delete', { path, recursive });
  const read = (path: string) => cli('GET', `/api/2.0/workspace/export?path=${encodeURIComponent(path)}&direct_download=true`);
  const importFile = (path: string, content: string, overwrite: boolean) =>
    cli('POST', `/api/2.0/workspace-files/import-file/${encodeURIComponent(path.replace(/^\//, ''))}?overwrite=${overwrite}`, content);

  /** What each command starts with: discovery without a token, then who am I. */
  async function begin() {
    const discovery = await fetch(`${ws.host}/.well-known/databricks-config`);
    expect(await discovery.json()).toMatchObject({ workspace_id: '1000000000000000' });
    me = (await cli('GET', '/api/2.0/preview/scim/v2/Me')).json.userName;
    root = `/Workspace/Users/${me}/.bundle/replay/dev`;
  }

  /** The deploy lock as the CLI takes it: create exclusively, make the folder if it is missing, read back and compare. */
  async function lock(): Promise<{ taken: boolean; holder?: string }> {
    const mine = { ID: randomUUID(), AcquisitionTime: new Date().toISOString(), IsForced: false, User: me };
    const file = `${root}/state/deploy.lock`;
    let created = await importFile(file, JSON.stringify(mine), false);
    if (created.status === 404) {
      await mkdirs(`${root}/state`);
      created = await importFile(file, JSON.stringify(mine), false);
    }
    expect([200, 409]).toContain(created.status);
    expect((await stat(file)).json).toMatchObject({ object_type: 'FILE', path: file });
    const found = JSON.parse((await read(file)).text);
    return { taken: found.ID === mine.ID, holder: found.User };
  }

  const settings = () => ({
    name, max_concurrent_runs: 1, queue: { enabled: true }, format: 'MULTI_TASK', edit_mode: 'UI_LOCKED', tags: { dev: 'me' },
    deployment: { kind: 'BUNDLE', metadata_file_path: `${root}/state/metadata.json` },
    schedule: { quartz_cron_expression: '0 0/10 * * * ?', timezone_id: 'UTC', pause_status: 'PAUSED' },
    job_clusters: [{ job_cluster_key: 'elastic', new_cluster: { spark_version: '17.3.x-scala2.13', node_type_id: 'm7gd.large', autoscale: { min_workers: 1, max_workers: 4 } } }],
    parameters: [{ name: 'who', default: 'bundle' }],
    tasks: [
      { task_key: 'second', depends_on: [{ task_key: 'first' }], job_cluster_key: 'elastic', notebook_task: { notebook_path: `${root}/files/notebooks/second` }, max_retries: 2, min_retry_interval_millis: 15_000 },
      { task_key: 'first', job_cluster_key: 'elastic', notebook_task: { notebook_path: `${root}/files/notebooks/first` } },
    ],
  });

  beforeAll(async () => {
    ws = workspaceClient();
    await begin();
    await remove(root, true);
  });

  it('validate: the files folder is looked for, made, and found', async () => {
    expect(await stat(`${root}/files`)).toMatchObject({ status: 404, json: { error_code: 'RESOURCE_DOES_NOT_EXIST' } });
    expect((await mkdirs(`${root}/files`)).status).toBe(200);
    expect((await stat(`${root}/files`)).json).toMatchObject({ object_type: 'DIRECTORY' });
  });

  it('plan before the first deployment: no state of either engine', async () => {
    await begin();
    for (const file of ['resources.json', 'terraform.tfstate', 'deployment.json']) expect((await stat(`${root}/state/${file}`)).status).toBe(404);
  });

  let jobId = 0;
  it('deploy: lock, files at once, job, state, unlock', async () => {
    await begin();
    expect(await lock()).toMatchObject({ taken: true });
    expect(await lock()).toMatchObject({ taken: false, holder: me });
    expect([200, 404]).toContain((await remove(`${root}/artifacts/.internal`, true)).status);
    expect((await stat(`${root}/files`)).status).toBe(200);
    const files: Record<string, string> = {
      'notebooks/first.py': '# Databricks notebook source\nprint("first", dbutils.widgets.get("who"))\ndbutils.notebook.exit("1")\n',
      'notebooks/second.py': '# Databricks notebook source\nimport shared\nprint("second", shared.X)\n',
      'notebooks/shared.py': 'X = "shared"\n',
      'databricks.yml': 'bundle:\n  name: replay\n',
      'read me 100%.md': '# ü\n',
    };
    const upload = async ([file, content]: [string, string]) => {
      const path = `${root}/files/${file}`;
      const first = await importFile(path, content, true);
      if (first.status !== 404) return first.status;
      await mkdirs(path.slice(0, path.lastIndexOf('/')));
      return (await importFile(path, content, true)).status;
    };
    expect(await Promise.all(Object.entries(files).map(upload))).toEqual([200, 200, 200, 200, 200]);
    expect((await importFile(`${root}/state/deployment.json`, '{"version":1,"seq":1}', true)).status).toBe(200);
    const created = await post('/api/2.2/jobs/create', settings());
    jobId = created.json.job_id;
    expect(Number.isSafeInteger(jobId)).toBe(true);
    const state = JSON.stringify({ state_version: 1, cli_version: '0.270.0', lineage: randomUUID(), serial: 1, state: { 'resources.jobs.replay': { __id__: String(jobId) } } }, null, 1);
    expect((await importFile(`${root}/state/resources.json`, state, true)).status).toBe(200);
    expect((await importFile(`${root}/state/metadata.json`, '{"version":1}', true)).status).toBe(200);
    expect((await read(`${root}/state/resources.json`)).text).toBe(state);
    expect((await read(`${root}/state/deploy.lock`)).status).toBe(200);
    expect((await remove(`${root}/state/deploy.lock`, false)).status).toBe(200);
  });

  it('a second plan: the job is as it was sent, nothing to change', async () => {
    await begin();
    const state = JSON.parse((await read(`${root}/state/resources.json`)).text);
    expect(state.state['resources.jobs.replay'].__id__).toBe(String(jobId));
    const job = (await cli('GET', `/api/2.2/jobs/get?job_id=${jobId}`)).json;
    expect(job.settings).toEqual(settings());
    expect(job).toMatchObject({ creator_user_name: me, run_as_user_name: me });
  });

  it('deploy with a change: reset keeps the id', async () => {
    expect((await post('/api/2.2/jobs/reset', { job_id: jobId, new_settings: { ...settings(), max_concurrent_runs: 2 } })).status).toBe(200);
    expect((await cli('GET', `/api/2.2/jobs/get?job_id=${jobId}`)).json.settings.max_concurrent_runs).toBe(2);
  });

  it('run: started, polled, each task with its output', async () => {
    const { run_id } = (await post('/api/2.2/jobs/run-now', { job_id: jobId, job_parameters: { who: 'cli' } })).json;
    const run = await ws.ended(run_id);
    expect(run).toMatchObject({ state: { life_cycle_state: 'TERMINATED', result_state: 'SUCCESS' }, run_name: name, run_page_url: expect.stringContaining(`/run/${run_id}`) });
    const outputs = await Promise.all(run.tasks.map(async (task: any) => [task.task_key, (await cli('GET', `/api/2.2/jobs/runs/get-output?run_id=${task.run_id}`)).json]));
    expect(Object.fromEntries(outputs)).toMatchObject({ first: { notebook_output: { result: '1' }, logs: 'first cli\n' }, second: { logs: 'second shared\n' } });
  });

  it('destroy: job and root are gone, and the lock with it', async () => {
    await begin();
    expect((await stat(root)).status).toBe(200);
    expect(await lock()).toMatchObject({ taken: true });
    expect((await cli('GET', `/api/2.2/jobs/get?job_id=${jobId}`)).status).toBe(200);
    expect((await post('/api/2.2/jobs/delete', { job_id: jobId })).status).toBe(200);
    expect(await cli('GET', `/api/2.2/jobs/get?job_id=${jobId}`)).toMatchObject({ status: 404, json: { error_code: 'RESOURCE_DOES_NOT_EXIST', message: `Job ${jobId} does not exist.` } });
    expect((await remove(root, true)).status).toBe(200);
    expect((await stat(`${root}/state/deploy.lock`)).status).toBe(404);
    expect(sent.length).toBeGreaterThan(40);
  });
});
