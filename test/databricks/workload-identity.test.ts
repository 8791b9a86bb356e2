import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import nock from 'nock';
import { describe, expect, it } from 'vitest';
import { connect } from '../../src/databricks/client.ts';
import { me } from '../../src/databricks/rest.ts';
import { workloadTokens } from '../../src/databricks/workload-identity.ts';
import { workloadIdentity } from '../../src/config/environment.ts';
import { HOST, ME, configOf, onlyPreparedAnswers, withToken } from './fixtures.ts';

const ENDPOINT = `${HOST}/oidc/v1/token`;
const GITHUB = 'https://token.actions.example';
const exchange = { client_id: 'sp-1', scope: 'all-apis', grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token_type: 'urn:ietf:params:oauth:token-type:jwt' };
const discovered = (): nock.Scope => nock(HOST).get('/oidc/.well-known/oauth-authorization-server').reply(200, { authorization_endpoint: `${HOST}/oidc/v1/authorize`, token_endpoint: ENDPOINT });
const file = join(mkdtempSync(join(tmpdir(), 'identity-')), 'token');
writeFileSync(file, 'jwt-of-file\n');

/** One call of an invocation that has nothing but this environment. */
const call = (environment: Record<string, string>, knownById = false): Promise<string> =>
  withToken(async () => {
    Object.assign(process.env, environment);
    try {
      return (await me(await connect({ ...configOf().databricks, workloadIdentity: workloadIdentity(environment), knownById }, { firstPauseMs: 1, attempts: 3 }))).userName;
    } finally {
      for (const name of Object.keys(environment)) delete process.env[name];
    }
  }, null);

describe('workload identity', () => {
  onlyPreparedAnswers();

  it.each<[string, Record<string, string>, string, () => void]>([
    ['GitHub', { DATABRICKS_AUTH_TYPE: 'github-oidc', ACTIONS_ID_TOKEN_REQUEST_URL: `${GITHUB}/id?api-version=2`, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'run-token' }, 'jwt-of-github', () => void nock(GITHUB, { reqheaders: { authorization: 'Bearer run-token' } }).get('/id').query({ 'api-version': '2', audience: ENDPOINT }).reply(200, { value: 'jwt-of-github' })],
    ['GitHub, for an audience of its own', { DATABRICKS_AUTH_TYPE: 'github-oidc', DATABRICKS_TOKEN_AUDIENCE: 'mine', ACTIONS_ID_TOKEN_REQUEST_URL: `${GITHUB}/id`, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 't' }, 'jwt-of-github', () => void nock(GITHUB).get('/id').query({ audience: 'mine' }).reply(200, { value: 'jwt-of-github' })],
    ['a variable', { DATABRICKS_AUTH_TYPE: 'env-oidc', DATABRICKS_OIDC_TOKEN: 'jwt' }, 'jwt', () => undefined],
    ['a variable of another name', { DATABRICKS_AUTH_TYPE: 'env-oidc', DATABRICKS_OIDC_TOKEN_ENV: 'MY_TOKEN', MY_TOKEN: 'jwt-2' }, 'jwt-2', () => undefined],
    ['a file', { DATABRICKS_AUTH_TYPE: 'file-oidc', DATABRICKS_OIDC_TOKEN_FILEPATH: file }, 'jwt-of-file', () => undefined],
  ])('of %s is exchanged for an access token, which the calls carry', async (_source, environment, subject, prepare) => {
    discovered();
    prepare();
    nock(HOST).post('/oidc/v1/token', { ...exchange, subject_token: subject }).reply(200, { access_token: 'access', token_type: 'Bearer', expires_in: 3600 });
    nock(HOST, { reqheaders: { authorization: 'Bearer access' } }).get('/api/2.0/preview/scim/v2/Me').reply(200, ME);
    expect(await call({ DATABRICKS_CLIENT_ID: 'sp-1', ...environment })).toBe(ME.userName);
  });

  it('is the service principal that is named, whom nobody has to be asked for: unless its display name is needed, or the name is no application id', async () => {
    const id = '813073e7-3b08-4c0d-8619-0123456789ab';
    const environment = { DATABRICKS_AUTH_TYPE: 'env-oidc', DATABRICKS_OIDC_TOKEN: 'jwt', DATABRICKS_CLIENT_ID: id };
    const granted = (): void => void (discovered(), nock(HOST).post('/oidc/v1/token').reply(200, { access_token: 'access', expires_in: 3600 }));
    granted();
    expect(await call(environment, true)).toBe(id);
    for (const [client, knownById] of [[id, false], ['sp-1', true]] as const) {
      granted();
      nock(HOST).get('/api/2.0/preview/scim/v2/Me').reply(200, ME);
      expect(await call({ ...environment, DATABRICKS_CLIENT_ID: client }, knownById)).toBe(ME.userName);
    }
  });

  it('names no service principal where the federation policy is the account’s', async () => {
    discovered();
    const { client_id: _, ...rest } = exchange;
    nock(HOST).post('/oidc/v1/token', { ...rest, subject_token: 'jwt' }).reply(200, { access_token: 'access', expires_in: 3600 });
    nock(HOST).get('/api/2.0/preview/scim/v2/Me').reply(200, ME);
    expect(await call({ DATABRICKS_AUTH_TYPE: 'env-oidc', DATABRICKS_OIDC_TOKEN: 'jwt' })).toBe(ME.userName);
  });

  it('is exchanged again before the access token ends, with the token that the machine has then', async () => {
    let nowMs = 0;
    const tokens = workloadTokens({ host: HOST, clientId: 'sp-1', source: 'file-oidc', given: workloadIdentity({ DATABRICKS_OIDC_TOKEN_FILEPATH: file }) }, () => nowMs);
    const granted = (access_token: string): void => void (discovered(), nock(HOST).post('/oidc/v1/token').reply(200, { access_token, expires_in: 600 }));
    granted('first');
    expect([await tokens(), await tokens()]).toEqual(['first', 'first']);
    nowMs = 559_000;
    expect(await tokens()).toBe('first');
    nowMs = 561_000;
    granted('second');
    expect(await tokens()).toBe('second');
  });

  it('that is refused says what to compare, and shows no token', async () => {
    discovered();
    nock(HOST).post('/oidc/v1/token').reply(400, { error: 'invalid_request', error_description: 'no policy fits' });
    const refused = call({ DATABRICKS_AUTH_TYPE: 'env-oidc', DATABRICKS_OIDC_TOKEN: 'jwt-secret', DATABRICKS_CLIENT_ID: 'sp-1' });
    await expect(refused).rejects.toMatchObject({ code: 'WORKLOAD_IDENTITY_REFUSED', exitCode: 3, message: expect.stringMatching(/400 invalid_request: no policy fits/), hint: expect.stringContaining(ENDPOINT) });
    const error = await refused.then(() => undefined, (thrown: Error) => `${thrown.stack} ${JSON.stringify(thrown)}`);
    expect(error).not.toContain('jwt-secret');
  });

  it('a busy endpoint is asked again; one at another host never', async () => {
    discovered().get('/oidc/.well-known/oauth-authorization-server').reply(200, { token_endpoint: ENDPOINT });
    nock(HOST).post('/oidc/v1/token').reply(503).post('/oidc/v1/token').reply(200, { access_token: 'access' });
    nock(HOST).get('/api/2.0/preview/scim/v2/Me').reply(200, ME);
    await call({ DATABRICKS_AUTH_TYPE: 'env-oidc', DATABRICKS_OIDC_TOKEN: 'jwt' });
    nock(HOST).get('/oidc/.well-known/oauth-authorization-server').reply(200, { token_endpoint: 'https://elsewhere.example/token' });
    await expect(call({ DATABRICKS_AUTH_TYPE: 'env-oidc', DATABRICKS_OIDC_TOKEN: 'jwt' })).rejects.toMatchObject({ code: 'DATABRICKS_NO_OIDC' });
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['github-oidc', {}, /id-token: write/],
    ['env-oidc', {}, /DATABRICKS_OIDC_TOKEN_ENV/],
    ['file-oidc', {}, /DATABRICKS_OIDC_TOKEN_FILEPATH/],
    ['file-oidc', { DATABRICKS_OIDC_TOKEN_FILEPATH: '/nonexistent/token' }, /DATABRICKS_OIDC_TOKEN_FILEPATH/],
  ])('%s without a token says where it is looked for', async (type, environment, hint) => {
    discovered();
    await expect(call({ DATABRICKS_AUTH_TYPE: type, ...environment })).rejects.toMatchObject({ code: 'IDENTITY_TOKEN_MISSING', exitCode: 3, hint: expect.stringMatching(hint) });
  });
});
