import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setDefaultCACertificates } from 'node:tls';
import { describe, expect, it, inject } from 'vitest';
import { createProject, type Project } from './project.ts';

async function elasticsearch(method: string, path: string, body?: unknown): Promise<any> {
  const { ELASTICSEARCH_URL = '', NODE_EXTRA_CA_CERTS = '' } = inject('environment');
  setDefaultCACertificates([readFileSync(NODE_EXTRA_CA_CERTS, 'utf8')]);
  const { elasticsearchAdminPassword } = JSON.parse(readFileSync(join(inject('platform').stateDir, 'credentials.json'), 'utf8')) as Record<string, string>;
  const answer = await fetch(`${ELASTICSEARCH_URL}${path}`, {
    method,
    headers: { 'content-type': 'application/json', authorization: `Basic ${Buffer.from(`admin:${elasticsearchAdminPassword}`).toString('base64')}` },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

function edit(project: Project, file: string, change: (text: string) => string): void {
  const path = join(project.folder, file);
  writeFileSync(path, change(readFileSync(path, 'utf8')));
}

describe('a notebook that raises', () => {
  it('ends the run as failed, with the Python error, its trace and an exit code; the next run takes it all in', async () => {
    const project = createProject('raises', { partitions: 1 });
    await project.json(['provision']);
    await project.json(['produce', '--records', '100', '--from', '2026-01-05T00:00:00Z', '--to', '2026-01-05T01:00:00Z']);
    edit(project, 'jobs/traffic_counter.job.yml', (text) => text.replaceAll('max_retries: 2', 'max_retries: 0'));
    const whole = readFileSync(join(project.folder, 'notebooks/windows.py'), 'utf8');
    edit(project, 'notebooks/windows.py', (text) => `${text}\n# COMMAND ----------\n\nraise ValueError("the gauge is dry")\n`.replace('dbutils.notebook.exit', 'print'));
    await project.json(['deploy']);
    const failed = await project.cli(['run']);
    expect(failed.code).toBe(4);
    expect(`${failed.stdout}${failed.stderr}`).toMatch(/ValueError: the gauge is dry/);
    expect(failed.stdout).toMatch(/Traceback[\s\S]*raise ValueError/);
    writeFileSync(join(project.folder, 'notebooks/windows.py'), whole);
    expect((await project.json(['deploy'])).changed).toBe(true);
    await project.json(['run']);
    expect((await project.json(['query', 'SELECT sum(count) FROM windows'])).rows).toEqual([[100]]);
  }, 400_000);
});

describe('Elasticsearch rejects one document of many', () => {
  it('the others arrive, that one is named, the exit code says so, and the next export tries it again', async () => {
    const project = createProject('reject', { partitions: 1 });
    await project.json(['provision']);
    // A window of 200 records does not fit a byte, six of 10 do.
    await elasticsearch('PUT', '/traffic_windows_reject', { mappings: { properties: { count: { type: 'byte' } } } });
    const lines = [0, 1, 2, 3, 4, 5, 6].flatMap((window) =>
      Array.from({ length: window === 3 ? 200 : 10 }, (_, second) => JSON.stringify({ timestamp: Date.UTC(2026, 0, 5) / 1000 + window * 600 + second, 流量: second })),
    );
    await project.json(['produce', '--file', '-'], { input: lines.join('\n') });
    await project.json(['deploy']);
    await project.json(['run']);
    const rejected = await project.json(['export'], { code: 6 });
    expect(rejected).toMatchObject({ read: 7, written: 6, rejectedCount: 1 });
    expect(rejected.rejected[0]).toMatchObject({ id: 'traffic_reject//2026-01-05T00:30:00Z', reason: expect.stringMatching(/count/) });
    expect((await project.json(['status'])).documents).toBe(6);
    const again = await project.json(['export'], { code: 6 });
    expect(again).toMatchObject({ rejectedCount: 1, written: 0 });
    await elasticsearch('PUT', '/traffic_windows_reject/_mapping', { properties: { count: { type: 'byte', ignore_malformed: true } } });
    expect(await project.json(['export'])).toMatchObject({ written: 1, rejectedCount: 0 });
    expect(await project.json(['export'])).toMatchObject({ written: 0, read: 0 });
    expect((await project.json(['status'])).documents).toBe(7);
  }, 400_000);
});

describe('destroy', () => {
  it('shows what it would remove and does nothing without being told to; then removes just that', async () => {
    // A cluster of its own: with a cluster that provision made, all its topics go.
    const project = createProject('destroy', { partitions: 1, cluster_name: 'to-destroy' });
    await project.json(['provision']);
    await project.json(['deploy']);
    const asked = await project.cli(['destroy']);
    expect(asked.code).toBe(2);
    expect(asked.stderr).toMatch(/--yes/);
    expect((await project.json(['provision'])).changed).toBe(false);
    const destroyed = await project.json(['destroy', '--yes']);
    expect(JSON.stringify(destroyed)).toContain('traffic_windows_destroy');
    // All of it would be made again.
    const again = await project.json(['plan']);
    expect(again.steps).toContainEqual(expect.objectContaining({ action: 'create', thing: 'cluster' }));
  }, 400_000);
});
