import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from '../../../../src/errors.ts';
import { createWorkspace } from '../../../../src/local/facades/workspace/main.ts';

export const home = '/Users/me@example.com';
export const token = 'dapi-test';

type Body = RequestInit['body'];

/** The workspace's handlers without a port; no test of these starts a task. */
export async function openWorkspace(stateDir = mkdtempSync(join(tmpdir(), 'streamgauge-workspace-'))) {
  const logged: string[] = [];
  const { app, stop } = await createWorkspace({
    stateDir, baseUrl: 'https://localhost:8443', token: new Secret(token), userName: 'me@example.com',
    client: { id: 'robot', secret: new Secret('s:cret%') },
    spark: { host: '127.0.0.1', port: 1, token: 'none' }, python: '/nowhere/python', environment: {}, releaseSession: async () => {},
    warehouse: { id: 'w1', httpPath: '/sql/1.0/warehouses/w1' }, log: (line) => logged.push(line),
  });
  const fetch = async (method: string, path: string, init: { body?: Body; headers?: Record<string, string> } = {}) =>
    app.request(`https://localhost:8443${path}`, { method, body: init.body, headers: { authorization: `Bearer ${token}`, ...init.headers } });
  async function call(method: string, path: string, body?: unknown): Promise<any> {
    const response = await fetch(method, path, body === undefined ? {} : { body: JSON.stringify(body) });
    const text = await response.text();
    const answer = text === '' ? {} : JSON.parse(text);
    return response.ok ? answer : { status: response.status, ...answer };
  }
  const importFile = (path: string, body: Body, overwrite = false) =>
    fetch('POST', `/api/2.0/workspace-files/import-file/${encodeURIComponent(path.slice(1))}?overwrite=${overwrite}`, { body });
  const download = async (path: string) => Buffer.from(await (await fetch('GET', `/api/2.0/workspace/export?direct_download=true&path=${encodeURIComponent(path)}`)).arrayBuffer());
  const names = async (path: string) => ((await call('GET', `/api/2.0/workspace/list?path=${encodeURIComponent(path)}`)).objects ?? []).map((o: any) => `${o.object_type} ${o.path}`);
  return { app, stop, stateDir, logged, fetch, importFile, download, names, get: (path: string) => call('GET', path), post: (path: string, body: unknown) => call('POST', path, body), call };
}
