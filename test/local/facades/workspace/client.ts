import { readFileSync } from 'node:fs';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { inject } from 'vitest';
import { poll } from '../../../../src/poll.ts';

/** The running platform's workspace over HTTPS, as any HTTP client sees it. */
export function workspaceClient() {
  const environment = inject('environment');
  const { DATABRICKS_HOST: host = '', DATABRICKS_TOKEN: token = '', NODE_EXTRA_CA_CERTS: caFile = '' } = environment;
  setDefaultCACertificates([...getCACertificates('default'), readFileSync(caFile, 'utf8')]);

  const send = (method: string, path: string, body?: RequestInit['body'], headers: Record<string, string> = {}) =>
    fetch(`${host}${path}`, { method, headers: { authorization: `Bearer ${token}`, ...headers }, ...(body != null && { body }) });

  /** The JSON answer; one that is no success comes with its `status`. */
  async function api(method: string, path: string, body?: unknown): Promise<any> {
    const response = await send(method, path, body === undefined ? undefined : JSON.stringify(body));
    const text = await response.text();
    const answer = text.startsWith('{') ? (JSON.parse(text) as object) : { text };
    return response.ok ? answer : { status: response.status, ...answer };
  }

  async function upload(path: string, content: string): Promise<void> {
    await api('POST', '/api/2.0/workspace/mkdirs', { path: path.slice(0, path.lastIndexOf('/')) });
    const response = await send('POST', `/api/2.0/workspace-files/import-file/${encodeURIComponent(path.slice(1))}?overwrite=true`, content);
    if (!response.ok) throw new Error(await response.text());
  }

  const submit = async (tasks: object[], more: object = {}): Promise<number> => (await api('POST', '/api/2.2/jobs/runs/submit', { run_name: 'test', tasks, ...more })).run_id;
  const run = (id: number) => api('GET', `/api/2.2/jobs/runs/get?run_id=${id}`);
  const output = (id: number) => api('GET', `/api/2.2/jobs/runs/get-output?run_id=${id}`);

  /** Polls a run until `seen` returns something. */
  const until = <T>(id: number, what: string, seen: (run: any) => T | undefined | Promise<T | undefined>): Promise<T> =>
    poll({ what, deadlineMs: 240_000, intervalMs: 100, maxIntervalMs: 500 }, async () => seen(await run(id)));
  const ended = (id: number): Promise<any> => until(id, `run ${id}`, (found) => (found.status.state === 'TERMINATED' ? found : undefined));

  /** Runs one notebook from its source, and gives the run with its task's output. */
  async function notebook(path: string, source: string, parameters: Record<string, string> = {}) {
    await upload(`${path}.py`, `# Databricks notebook source\n${source}`);
    const finished = await ended(await submit([{ task_key: 'a', notebook_task: { notebook_path: path, base_parameters: parameters } }]));
    return { run: finished, output: await output(finished.tasks[0].run_id) };
  }

  return { environment, host, send, api, upload, submit, run, output, until, ended, notebook };
}
