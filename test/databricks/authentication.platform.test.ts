import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { sign } from 'hono/jwt';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Secret } from '../../src/errors.ts';
import { federationKey } from '../../src/local/facades/auth.ts';
import { createProject } from '../acceptance/project.ts';

// Each way of the SDK's unified authentication that the local workspace knows, as a user gives it: nothing else is in reach.
const none = { DATABRICKS_HOST: '', DATABRICKS_TOKEN: '' };
const given = () => {
  const { DATABRICKS_HOST: host = '', DATABRICKS_TOKEN: token = '' } = inject('environment');
  const credentials = JSON.parse(readFileSync(join(inject('platform').stateDir, 'credentials.json'), 'utf8')) as Record<string, string>;
  const file = (profile: string, lines: string[]): string => {
    const path = join(mkdtempSync(join(tmpdir(), 'databrickscfg-')), 'databrickscfg');
    writeFileSync(path, `[${profile}]\n${lines.join('\n')}\n`, { mode: 0o600 });
    return path;
  };
  const text = (content: string): string => {
    const path = join(mkdtempSync(join(tmpdir(), 'identity-')), 'token');
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  };
  return { host, token, credentials, file, text };
};
const workload = (type: string): Record<string, string> => ({ ...none, DATABRICKS_HOST: given().host, DATABRICKS_AUTH_TYPE: type, DATABRICKS_CLIENT_ID: given().credentials.databricksClientId ?? '' });

/** What the machine proves of itself: for the workspace's token endpoint, as its policy wants it. */
let identity = '';
let github: Server;

beforeAll(async () => {
  const { host, token } = given();
  const audience = `${host}/oidc/v1/token`;
  identity = await sign({ sub: 'repo:a/b:environment:prod', aud: audience, exp: Math.floor(Date.now() / 1000) + 3600 }, federationKey(new Secret(token)), 'HS256');
  github = createServer((request, response) => {
    const asked = new URL(request.url ?? '', 'http://x').searchParams.get('audience');
    response.end(JSON.stringify(request.headers.authorization === 'Bearer run' && asked === audience ? { value: identity } : {}));
  });
  await once(github.listen(0, '127.0.0.1'), 'listening');
});
afterAll(() => void github.close());

describe('the workspace lets in', () => {
  it.each<[string, () => Record<string, string>]>([
    ['a personal access token', () => ({ DATABRICKS_HOST: given().host, DATABRICKS_TOKEN: given().token })],
    ['a service principal (OAuth M2M)', () => ({ ...none, DATABRICKS_HOST: given().host, DATABRICKS_CLIENT_ID: given().credentials.databricksClientId ?? '', DATABRICKS_CLIENT_SECRET: given().credentials.databricksClientSecret ?? '' })],
    ['a workload by a token in its environment', () => ({ ...workload('env-oidc'), DATABRICKS_OIDC_TOKEN: identity })],
    ['a workload by a token in a file', () => ({ ...workload('file-oidc'), DATABRICKS_OIDC_TOKEN_FILEPATH: given().text(`${identity}\n`) })],
    ['a job of GitHub Actions', () => ({ ...workload('github-oidc'), ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${(github.address() as AddressInfo).port}/id?x=1`, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'run' })],
    ['the default profile', () => ({ ...none, DATABRICKS_CONFIG_FILE: given().file('DEFAULT', [`host = ${given().host}`, `token = ${given().token}`]) })],
    ['a named profile', () => ({ ...none, DATABRICKS_CONFIG_PROFILE: 'work', DATABRICKS_CONFIG_FILE: given().file('work', [`host = ${given().host}`, `token = ${given().token}`]) })],
  ])('%s', async (_way, environment) => {
    const finished = await createProject('authentication', {}, environment()).cli(['history']);
    expect([finished.code, finished.stderr]).toEqual([0, expect.not.stringContaining('error')]);
    expect(finished.stdout).toContain('Nothing was deployed');
  });

  it.each<[string, () => Record<string, string>]>([
    ['no wrong secret of a service principal', () => ({ ...none, DATABRICKS_HOST: given().host, DATABRICKS_CLIENT_ID: given().credentials.databricksClientId ?? '', DATABRICKS_CLIENT_SECRET: 'wrong' })],
    ['no workload with a token for somebody else', () => ({ ...workload('env-oidc'), DATABRICKS_OIDC_TOKEN: `${identity}x` })],
    ['no wrong token of a profile', () => ({ ...none, DATABRICKS_CONFIG_FILE: given().file('DEFAULT', [`host = ${given().host}`, 'token = wrong']) })],
    ['nobody without credentials', () => ({ ...none, DATABRICKS_HOST: given().host, DATABRICKS_CONFIG_FILE: given().file('DEFAULT', []) })],
  ])('%s', async (_way, environment) => {
    const finished = await createProject('authentication', {}, environment()).cli(['history']);
    expect([finished.code, finished.stderr]).toEqual([3, expect.stringMatching(/hint: .+/)]);
  });
});
