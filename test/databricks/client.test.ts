import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import nock from 'nock';
import { describe, expect, it } from 'vitest';
import { connect, retryAfterMs } from '../../src/databricks/client.ts';
import { createJob, deleteObject, exportFile, getJob, getStatus, importFile, listJobs, listFolder, listSecrets, me, runNow } from '../../src/databricks/rest.ts';
import { Failure } from '../../src/errors.ts';
import { HOST, ME, configOf, onlyPreparedAnswers, testWorkspace, withToken } from './fixtures.ts';

onlyPreparedAnswers();

const api = () => nock(HOST, { reqheaders: { authorization: 'Bearer dapi-token' } });
const failing = async (promise: Promise<unknown>): Promise<Failure> => {
  const error = await promise.then(() => undefined, (reason: unknown) => reason);
  expect(error).toBeInstanceOf(Failure);
  return error as Failure;
};

describe('calls', () => {
  it('sends the token that unified authentication found, and reads the identity', async () => {
    api().get('/api/2.0/preview/scim/v2/Me').reply(200, ME);
    expect(await withToken(async () => me(await testWorkspace()))).toEqual(ME);
  });

  it('follows pages of jobs to their end', async () => {
    api().get('/api/2.2/jobs/list').query({ limit: 100, name: 'j' }).reply(200, { jobs: [{ job_id: 1, settings: {} }], has_more: true, next_page_token: 'more' });
    api().get('/api/2.2/jobs/list').query({ limit: 100, name: 'j', page_token: 'more' }).reply(200, { jobs: [{ job_id: 2, settings: {} }] });
    expect((await withToken(async () => listJobs(await testWorkspace(), 'j'))).map((job) => job.job_id)).toEqual([1, 2]);
  });

  it('puts the tasks of a job with many pages together', async () => {
    api().get('/api/2.2/jobs/get').query({ job_id: 7 }).reply(200, { job_id: 7, settings: { name: 'big', tasks: [{ task_key: 'a' }] }, next_page_token: 'p2' });
    api().get('/api/2.2/jobs/get').query({ job_id: 7, page_token: 'p2' }).reply(200, { job_id: 7, settings: { tasks: [{ task_key: 'b' }] } });
    const job = await withToken(async () => getJob(await testWorkspace(), 7));
    expect(job?.settings).toEqual({ name: 'big', tasks: [{ task_key: 'a' }, { task_key: 'b' }] });
  });

  it('imports bytes as base64 and exports raw bytes', async () => {
    const bytes = Buffer.from('# Databricks notebook source\nprint("ü")\n');
    api().post('/api/2.0/workspace/import', { path: '/Workspace/Users/a/x.py', content: bytes.toString('base64'), format: 'AUTO', overwrite: true }).reply(200, {});
    api().get('/api/2.0/workspace/export').query({ path: '/Workspace/Users/a/x', direct_download: 'true' }).reply(200, bytes);
    await withToken(async () => {
      const workspace = await testWorkspace();
      await importFile(workspace, '/Workspace/Users/a/x.py', bytes);
      expect(await exportFile(workspace, '/Workspace/Users/a/x')).toEqual(bytes);
    });
  });

  it('lists what stands in a folder; an empty one may answer nothing at all', async () => {
    const objects = [{ path: '/W/z', object_type: 'FILE' }, { path: '/W/a', object_type: 'DIRECTORY' }];
    api().get('/api/2.0/workspace/list').query({ path: '/W' }).reply(200, { objects });
    api().get('/api/2.0/workspace/list').query({ path: '/W/a' }).reply(200, {});
    await withToken(async () => {
      const workspace = await testWorkspace();
      expect([await listFolder(workspace, '/W'), await listFolder(workspace, '/W/a')]).toEqual([objects, []]);
    });
  });

  it('takes what is not there for nothing, where that is what was asked', async () => {
    const gone = { error_code: 'RESOURCE_DOES_NOT_EXIST', message: "Path (/W) doesn't exist." };
    api().get('/api/2.0/workspace/get-status').query(true).reply(404, gone);
    api().get('/api/2.0/workspace/list').query(true).reply(404, gone);
    api().get('/api/2.0/secrets/list').query(true).reply(404, { error_code: 'RESOURCE_DOES_NOT_EXIST', message: 'Scope x does not exist!' });
    api().post('/api/2.0/workspace/delete').reply(404, gone);
    await withToken(async () => {
      const workspace = await testWorkspace();
      expect(await getStatus(workspace, '/W')).toBeUndefined();
      expect(await listFolder(workspace, '/W')).toBeUndefined();
      expect(await listSecrets(workspace, 'x')).toBeUndefined();
      await deleteObject(workspace, '/W');
    });
  });
});

describe('errors', () => {
  it.each([
    [401, { error_code: 'UNAUTHENTICATED', message: 'Credential was not sent or was of an unsupported type' }, 'DATABRICKS_UNAUTHENTICATED', 3, /DATABRICKS_TOKEN.*databricks auth login/],
    [403, { error_code: 'PERMISSION_DENIED', message: 'User does not have permission' }, 'DATABRICKS_FORBIDDEN', 3, /DATABRICKS_TOKEN.*databricks auth login/],
    [400, { error_code: 'INVALID_PARAMETER_VALUE', message: 'Run 9 does not exist.' }, 'INVALID_PARAMETER_VALUE', 4, /^undefined$/],
    [501, { error_code: 'NOT_IMPLEMENTED', message: 'no such route' }, 'NOT_IMPLEMENTED', 4, /^undefined$/],
  ])('%s is said at once, with what to do', async (status, body, code, exitCode, hint) => {
    api().get('/api/2.0/preview/scim/v2/Me').reply(status, body);
    const failure = await failing(withToken(async () => me(await testWorkspace())));
    expect(failure).toMatchObject({ code, exitCode });
    expect(failure.message).toContain(body.message);
    expect(failure.message).toContain(HOST);
    expect(`${failure.message}${failure.hint}`).not.toContain('dapi-token');
    expect(String(failure.hint)).toMatch(hint);
  });

  it('waits as long as a 429 asks for, and no longer than a minute', () => {
    expect(retryAfterMs('2')).toBe(2000);
    expect(retryAfterMs('86400')).toBe(60_000);
    expect(retryAfterMs('Thu, 01 Jan 1970 00:00:05 GMT', 1000)).toBe(4000);
    expect(retryAfterMs('soon')).toBeUndefined();
    expect(retryAfterMs(null)).toBeUndefined();
  });

  it('asks again after 429 and 503, also for what must not be done twice: it was not taken', async () => {
    api().post('/api/2.2/jobs/create').reply(429, { error_code: 'REQUEST_LIMIT_EXCEEDED', message: 'slow down' }, { 'retry-after': '0' });
    api().post('/api/2.2/jobs/create').reply(503, 'upstream connect error');
    api().post('/api/2.2/jobs/create').reply(200, { job_id: 11 });
    expect(await withToken(async () => createJob(await testWorkspace(), { name: 'x' }))).toBe(11);
  });

  it('gives up after a bounded number of tries', async () => {
    api().get('/api/2.0/preview/scim/v2/Me').times(4).reply(429, { error_code: 'REQUEST_LIMIT_EXCEEDED', message: 'slow down' });
    expect(await failing(withToken(async () => me(await testWorkspace())))).toMatchObject({ code: 'DATABRICKS_BUSY', exitCode: 4, retriable: true });
  });

  it('asks a GET again after a lost connection, never a create', async () => {
    api().get('/api/2.0/preview/scim/v2/Me').replyWithError(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
    api().get('/api/2.0/preview/scim/v2/Me').reply(200, ME);
    api().post('/api/2.2/jobs/create').replyWithError(Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }));
    await withToken(async () => {
      const workspace = await testWorkspace();
      expect(await me(workspace)).toEqual(ME);
      expect(await failing(createJob(workspace, { name: 'x' }))).toMatchObject({ code: 'DATABRICKS_UNREACHABLE', exitCode: 4 });
    });
  });

  it('a run may be started again after a lost answer: its token makes it the same run', async () => {
    const body = { job_id: 5, idempotency_token: 'tok', job_parameters: { a: 'b' } };
    api().post('/api/2.2/jobs/run-now', body).replyWithError(Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }));
    api().post('/api/2.2/jobs/run-now', body).reply(200, { run_id: 99 });
    expect(await withToken(async () => runNow(await testWorkspace(), 5, { a: 'b' }, 'tok'))).toBe(99);
  });

  it('names the host that cannot be reached, and the certificate that is not trusted', async () => {
    api().get('/api/2.0/preview/scim/v2/Me').times(4).replyWithError(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }));
    api().post('/api/2.2/jobs/create').replyWithError(Object.assign(new Error('tls'), { code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' }));
    await withToken(async () => {
      const workspace = await testWorkspace();
      expect((await failing(me(workspace))).message).toBe(`cannot reach Databricks at ${HOST} (ECONNREFUSED)`);
      expect(await failing(createJob(workspace, {}))).toMatchObject({ code: 'DATABRICKS_TLS', exitCode: 4 });
    });
  });

  it('a login page is not an answer, nor is a redirect followed with the token', async () => {
    api().get('/api/2.0/preview/scim/v2/Me').reply(200, '<html>Sign in</html>');
    api().get('/api/2.2/jobs/list').query(true).reply(302, '', { location: 'https://elsewhere.example/login' });
    await withToken(async () => {
      const workspace = await testWorkspace();
      expect(await failing(me(workspace))).toMatchObject({ code: 'DATABRICKS_NOT_JSON' });
      expect(await failing(listJobs(workspace))).toMatchObject({ code: 'DATABRICKS_HTTP_302' });
    });
  });

  it('says what is missing where no credentials are found', async () => {
    const failure = await failing(withToken(async () => me(await connect({ ...configOf().databricks, host: undefined })), null));
    expect(failure).toMatchObject({ code: 'DATABRICKS_NOT_CONFIGURED', exitCode: 3 });
  });

  it('an interrupt ends a call that is under way', async () => {
    const abort = new AbortController();
    const silent = createServer(() => abort.abort());
    await new Promise<void>((ready) => void silent.listen(0, '127.0.0.1', ready));
    nock.enableNetConnect('127.0.0.1');
    try {
      const host = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`;
      const asked = withToken(async () => me(await connect({ ...configOf().databricks, host }, { signal: abort.signal })));
      await expect(asked).rejects.toMatchObject({ name: 'AbortError' });
    } finally {
      silent.closeAllConnections();
      silent.close();
    }
  });
});

describe('OAuth M2M', () => {
  it('exchanges the client secret for a token and sends that', async () => {
    nock(HOST).get('/oidc/.well-known/oauth-authorization-server').reply(200, { authorization_endpoint: `${HOST}/oidc/v1/authorize`, token_endpoint: `${HOST}/oidc/v1/token` });
    nock(HOST).post('/oidc/v1/token', /grant_type=client_credentials/).reply(200, { access_token: 'oauth-token', token_type: 'Bearer', expires_in: 3600 });
    nock(HOST, { reqheaders: { authorization: 'Bearer oauth-token' } }).get('/api/2.0/preview/scim/v2/Me').reply(200, ME);
    const asked = withToken(async () => {
      Object.assign(process.env, { DATABRICKS_CLIENT_ID: 'id', DATABRICKS_CLIENT_SECRET: 'secret' });
      try {
        return await me(await testWorkspace());
      } finally {
        delete process.env.DATABRICKS_CLIENT_ID;
        delete process.env.DATABRICKS_CLIENT_SECRET;
      }
    }, null);
    expect(await asked).toEqual(ME);
  });

  it('knows a service principal by its id, where no display name is needed; a personal access token beside such an id is somebody', async () => {
    const id = '813073e7-3b08-4c0d-8619-0123456789ab';
    const who = (environment: Record<string, string>, token: string | null): Promise<string> =>
      withToken(async () => {
        Object.assign(process.env, environment);
        try {
          return (await me(await connect({ ...configOf().databricks, knownById: true }))).userName;
        } finally {
          for (const name of Object.keys(environment)) delete process.env[name];
        }
      }, token);
    nock(HOST).get('/oidc/.well-known/oauth-authorization-server').reply(200, { authorization_endpoint: `${HOST}/oidc/v1/authorize`, token_endpoint: `${HOST}/oidc/v1/token` });
    nock(HOST).post('/oidc/v1/token', /grant_type=client_credentials/).reply(200, { access_token: 'oauth-token', token_type: 'Bearer', expires_in: 3600 });
    expect(await who({ DATABRICKS_CLIENT_ID: id, DATABRICKS_CLIENT_SECRET: 'secret' }, null)).toBe(id);
    nock(HOST).get('/api/2.0/preview/scim/v2/Me').reply(200, ME);
    expect(await who({ DATABRICKS_CLIENT_ID: id, DATABRICKS_AUTH_TYPE: 'pat' }, 'dapi-token')).toBe(ME.userName);
  });
});
