import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe, expect, inject, it } from 'vitest';

const environment = inject('environment');
const { stateDir } = inject('platform');
const ca = readFileSync(environment.NODE_EXTRA_CA_CERTS ?? '');
const { ELASTICSEARCH_USERNAME: user = '', ELASTICSEARCH_PASSWORD: password = '' } = environment;

function status(base: string, method: string, path: string, options: { auth?: string; authorization?: string; body?: unknown } = {}): Promise<number> {
  const headers = { 'content-type': 'application/json', ...(options.authorization ? { authorization: options.authorization } : {}) };
  return new Promise((resolve, reject) => {
    const asked = request(`${environment[base]}${path}`, { method, ca, agent: false, auth: options.auth, headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.on('error', reject);
    asked.end(options.body === undefined ? undefined : JSON.stringify(options.body));
  });
}

describe('Elasticsearch lets the controller do what it does, and nothing else', () => {
  const template = { index_patterns: ['traffic_windows_access'], priority: 1, template: { settings: { number_of_replicas: 0 } } };
  it.each([
    ['GET', '/_cluster/health', undefined, 200],
    ['PUT', '/_index_template/traffic_windows_access', template, 200],
    ['PUT', '/traffic_windows_access/_doc/a?refresh=true', { sum: 1 }, 201],
    ['POST', '/traffic_windows_access/_refresh', undefined, 200],
    ['GET', '/traffic_windows_access/_doc/a', undefined, 200],
    ['POST', '/traffic_windows_access/_search', { size: 0 }, 200],
    ['GET', '/traffic_windows_access/_mapping', undefined, 200],
    ['POST', '/_aliases', { actions: [{ add: { index: 'traffic_windows_access', alias: 'traffic_windows_access_too' } }] }, 200],
    ['POST', '/_aliases', { actions: [{ add: { index: 'traffic_windows_access', alias: 'another' } }] }, 403],
    ['DELETE', '/traffic_windows_access', undefined, 200],
    ['DELETE', '/_index_template/traffic_windows_access', undefined, 200],
    ['PUT', '/another/_doc/a', { sum: 1 }, 403],
    ['POST', '/another/_search', { size: 0 }, 403],
    ['POST', '/_all/_search', { size: 0 }, 200],
    ['GET', '/_security/user', undefined, 403],
    ['PUT', '/_cluster/settings', { persistent: { 'cluster.max_shards_per_node': 2000 } }, 403],
  ])('%s %s', async (method, path, body, expected) => {
    expect(await status('ELASTICSEARCH_URL', method, path, { auth: `${user}:${password}`, body })).toBe(expected);
  });

  it.each([
    ['no credentials', undefined],
    ['a wrong password', `${user}:wrong`],
    ['an unknown user', `nobody:${password}`],
    ['the built-in user with an empty password', 'elastic:'],
  ])('refuses %s', async (_, auth) => {
    expect(await status('ELASTICSEARCH_URL', 'GET', '/_cluster/health', { auth })).toBe(401);
  });

  it('has an administrator, whose password stands in the state folder alone', async () => {
    const stored = JSON.parse(readFileSync(join(stateDir, 'credentials.json'), 'utf8')) as Record<string, string>;
    expect(await status('ELASTICSEARCH_URL', 'GET', '/_security/user', { auth: `admin:${stored.elasticsearchAdminPassword}` })).toBe(200);
    expect(Object.values(environment)).not.toContain(stored.elasticsearchAdminPassword);
  });
});

describe('the façades in the face of 10,000 open connections', () => {
  it.each([
    ['DATABRICKS_HOST', '/api/2.0/preview/scim/v2/Me', `Bearer ${environment.DATABRICKS_TOKEN}`, 200],
    ['AWS_ENDPOINT_URL_KAFKA', '/api/v2/clusters', undefined, 403],
  ])('%s answers while they are open, and afterwards', async (base, path, authorization, expected) => {
    const port = Number(new URL(environment[base] ?? '').port);
    const sockets: Socket[] = [];
    // In steps: the kernel's queue of connections that wait to be accepted is short.
    for (let step = 0; step < 100; step += 1) {
      const opened = Array.from({ length: 100 }, () => connect(port, '127.0.0.1'));
      await Promise.all(opened.map((socket) => new Promise<void>((resolve) => socket.on('error', () => resolve()).once('connect', resolve))));
      sockets.push(...opened);
    }
    expect(sockets).toHaveLength(10_000);
    expect(await status(base, 'GET', path, { authorization })).toBe(expected);
    for (const socket of sockets) socket.destroy();
    expect(await status(base, 'GET', path, { authorization })).toBe(expected);
  });
});
