import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sign } from 'hono/jwt';
import { Secret } from '../../../../src/errors.ts';
import { federationKey } from '../../../../src/local/facades/auth.ts';
import { openWorkspace, token } from './fixture.ts';

const basic = (id: string, secret: string) => `Basic ${Buffer.from(`${encodeURIComponent(id)}:${encodeURIComponent(secret)}`).toString('base64')}`;

describe('who may come in', () => {
  it('answers discovery to everybody', async () => {
    const { app } = await openWorkspace();
    expect(await (await app.request('/.well-known/databricks-config')).json()).toMatchObject({ oidc_endpoint: 'https://localhost:8443/oidc', workspace_id: '1000000000000000' });
    expect(await (await app.request('/oidc/.well-known/oauth-authorization-server')).json()).toMatchObject({ token_endpoint: 'https://localhost:8443/oidc/v1/token' });
  });

  it.each([[undefined, 401, 'UNAUTHENTICATED'], ['Basic x', 401, 'UNAUTHENTICATED'], ['Bearer no', 403, 'PERMISSION_DENIED'], ['Bearer a.b', 403, 'PERMISSION_DENIED'], [`Bearer ${token}x`, 403, 'PERMISSION_DENIED']])(
    'refuses %s with %s', async (authorization, status, error_code) => {
      const { app } = await openWorkspace();
      for (const path of ['/api/2.0/preview/scim/v2/Me', '/api/9/unknown', '/telemetry-ext']) {
        const response = await app.request(path, { headers: authorization ? { authorization } : {} });
        expect([response.status, (await response.json() as any).error_code]).toEqual([status, error_code]);
      }
    },
  );

  it('gives a service principal a token, by Basic or by form, and only with its secret', async () => {
    const { app, fetch } = await openWorkspace();
    const ask = (form: Record<string, string>, headers: Record<string, string> = {}) =>
      app.request('/oidc/v1/token', { method: 'POST', body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'all-apis', ...form }), headers });
    for (const response of [await ask({}, { authorization: basic('robot', 's:cret%') }), await ask({ client_id: 'robot', client_secret: 's:cret%' })]) {
      const answer = (await response.json()) as any;
      expect(answer).toMatchObject({ token_type: 'Bearer', expires_in: 3600 });
      const asked = await fetch('GET', '/api/2.0/preview/scim/v2/Me', { headers: { authorization: `Bearer ${answer.access_token}` } });
      expect([asked.status, await asked.json()]).toEqual([200, expect.objectContaining({ userName: 'robot' })]);
      const [claims, signature] = answer.access_token.split('.');
      const forged = Buffer.from(JSON.stringify({ sub: 'x', exp: Date.now() + 1e9 })).toString('base64url');
      for (const bad of [`${forged}.${signature}`, `${claims}.${signature}x`]) expect((await fetch('GET', '/api/2.2/jobs/list', { headers: { authorization: `Bearer ${bad}` } })).status).toBe(403);
    }
    for (const bad of [await ask({}), await ask({ client_id: 'robot', client_secret: 'no' }), await ask({ client_id: 'x', client_secret: 's:cret%' })]) expect(bad.status).toBe(401);
    expect((await ask({ client_id: 'robot', client_secret: 's:cret%', grant_type: 'password' })).status).toBe(400);
  });

  it('exchanges an identity token that its policy knows, and no other', async () => {
    const { app, fetch } = await openWorkspace();
    const claims = { sub: 'repo:a/b:ref:refs/heads/main', aud: 'https://localhost:8443/oidc/v1/token', exp: Math.floor(Date.now() / 1000) + 60 };
    const key = federationKey(new Secret(token));
    const ask = async (subject_token: string, form: Record<string, string> = {}) =>
      app.request('/oidc/v1/token', { method: 'POST', body: new URLSearchParams({ grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token_type: 'urn:ietf:params:oauth:token-type:jwt', client_id: 'robot', scope: 'all-apis', subject_token, ...form }) });
    const right = await sign(claims, key, 'HS256');
    const { access_token: access } = (await (await ask(right)).json()) as any;
    expect((await fetch('GET', '/api/2.0/preview/scim/v2/Me', { headers: { authorization: `Bearer ${access}` } })).status).toBe(200);
    // An identity token is no access token.
    expect((await fetch('GET', '/api/2.0/preview/scim/v2/Me', { headers: { authorization: `Bearer ${right}` } })).status).toBe(403);
    for (const wrong of [await sign(claims, 'other', 'HS256'), await sign({ ...claims, aud: 'x' }, key, 'HS256'), await sign({ ...claims, exp: 1 }, key, 'HS256'), await sign({ sub: 'x', aud: claims.aud }, key, 'HS256'), '', 'a.b.c']) expect((await ask(wrong)).status).toBe(400);
    for (const form of [{ client_id: 'x' }, { subject_token_type: 'x' }] as Record<string, string>[]) expect((await ask(right, form)).status).toBe(400);
  });
});

describe('account', () => {
  it('says who I am, and which workspace this is', async () => {
    const { fetch } = await openWorkspace();
    const response = await fetch('GET', '/api/2.0/preview/scim/v2/Me', { headers: { 'X-Databricks-Workspace-Id': '1000000000000000' } });
    expect(response.headers.get('X-Databricks-Org-Id')).toBe('1000000000000000');
    expect(await response.json()).toMatchObject({ userName: 'me@example.com', active: true });
  });

  it('has one warehouse', async () => {
    const { get } = await openWorkspace();
    const { warehouses } = await get('/api/2.0/sql/warehouses');
    expect(warehouses).toMatchObject([{ id: 'w1', state: 'RUNNING', odbc_params: { hostname: 'localhost', port: 8443, protocol: 'https', path: '/sql/1.0/warehouses/w1' } }]);
    expect(await get('/api/2.0/sql/warehouses/w1')).toEqual(warehouses[0]);
    expect(await get('/api/2.0/sql/warehouses/w2')).toMatchObject({ status: 404 });
  });

  it('keeps and echoes permissions', async () => {
    const { call, get, post, stateDir } = await openWorkspace();
    const { job_id } = await post('/api/2.2/jobs/create', { name: 'x', access_control_list: [{ user_name: 'a@b.c', permission_level: 'IS_OWNER' }] });
    expect((await get(`/api/2.0/permissions/jobs/${job_id}`)).access_control_list).toEqual([{ user_name: 'a@b.c', all_permissions: [{ permission_level: 'IS_OWNER', inherited: false }] }]);
    const both = [{ user_name: 'a@b.c', permission_level: 'IS_OWNER' }, { group_name: 'users', permission_level: 'CAN_VIEW' }];
    await call('PUT', `/api/2.0/permissions/jobs/${job_id}`, { access_control_list: both });
    const expected = [
      { user_name: 'a@b.c', all_permissions: [{ permission_level: 'IS_OWNER', inherited: false }] },
      { group_name: 'users', all_permissions: [{ permission_level: 'CAN_VIEW', inherited: false }] },
    ];
    expect(await (await openWorkspace(stateDir)).get(`/api/2.0/permissions/jobs/${job_id}`)).toEqual({ object_id: `/jobs/${job_id}`, object_type: 'job', access_control_list: expected });
    expect((await call('PUT', `/api/2.0/permissions/jobs/${job_id}`, { access_control_list: [] })).access_control_list).toEqual([]);
    expect(await call('PUT', '/api/2.0/permissions/jobs/..%2F..%2Fx', { access_control_list: [] })).toMatchObject({ status: 400 });
    expect(await call('PUT', '/api/2.0/permissions/jobs/1', { access_control_list: [null] })).toMatchObject({ status: 400 });
    await post('/api/2.2/jobs/delete', { job_id });
    expect((await get(`/api/2.0/permissions/jobs/${job_id}`)).access_control_list).toMatchObject([{ user_name: 'me@example.com' }]);
  });

  it('is quiet to what drivers ask in passing, and names what it does not have', async () => {
    const { get, post, call } = await openWorkspace();
    expect(await get('/api/2.0/connector-service/feature-flags/NODEJS/2.1.0')).toEqual({ flags: [] });
    expect(await post('/telemetry-ext', { protoLogs: ['a', 'b'] })).toMatchObject({ errors: [], numProtoSuccess: 2 });
    expect(await call('PUT', '/api/2.0/repos/5')).toEqual({ status: 501, error_code: 'NOT_IMPLEMENTED', message: 'PUT /api/2.0/repos/5 is not part of the local platform' });
    expect(await get('/api/2.2/jobs/runs/export?run_id=1')).toMatchObject({ status: 501 });
  });
});

describe('secrets', () => {
  it('keeps values, gives them back in base64, and forgets what is deleted', async () => {
    const { post, stateDir } = await openWorkspace();
    const base = '/api/2.0/secrets';
    expect(await post(`${base}/scopes/create`, { scope: 'kafka', initial_manage_principal: 'users' })).toEqual({});
    expect(await post(`${base}/scopes/create`, { scope: 'kafka' })).toMatchObject({ status: 400, error_code: 'RESOURCE_ALREADY_EXISTS' });
    await post(`${base}/put`, { scope: 'kafka', key: 'password', string_value: 'schlüssel' });
    await post(`${base}/put`, { scope: 'kafka', key: 'bytes', bytes_value: 'AP8=' });
    const again = await openWorkspace(stateDir);
    expect(await again.get(`${base}/get?scope=kafka&key=password`)).toEqual({ key: 'password', value: Buffer.from('schlüssel').toString('base64') });
    expect(await again.get(`${base}/get?scope=kafka&key=bytes`)).toEqual({ key: 'bytes', value: 'AP8=' });
    expect((await again.get(`${base}/list?scope=kafka`)).secrets).toMatchObject([{ key: 'password', last_updated_timestamp: expect.any(Number) }, { key: 'bytes' }]);
    expect(await again.get(`${base}/scopes/list`)).toEqual({ scopes: [{ name: 'kafka', backend_type: 'DATABRICKS' }] });
    expect(statSync(join(stateDir, 'secrets', 'kafka.json')).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(stateDir, 'secrets', 'kafka.json'), 'utf8')).not.toContain('schlüssel');
    await again.post(`${base}/delete`, { scope: 'kafka', key: 'bytes' });
    expect(await again.get(`${base}/get?scope=kafka&key=bytes`)).toMatchObject({ status: 404, error_code: 'RESOURCE_DOES_NOT_EXIST' });
    await again.post(`${base}/scopes/delete`, { scope: 'kafka' });
    expect(await again.get(`${base}/list?scope=kafka`)).toMatchObject({ status: 404, message: 'Scope kafka does not exist!' });
  });

  it.each([
    ['scopes/create', { scope: '../x' }], ['scopes/create', { scope: '' }], ['scopes/create', { scope: '__proto__' }], ['put', { scope: 's', key: 'a b', string_value: 'x' }],
    ['put', { scope: 's', key: 'k' }], ['put', { scope: 's', key: 'k', string_value: 'x', bytes_value: 'eA==' }], ['put', { scope: 's', key: 'k', string_value: 'x'.repeat(128 * 1024 + 1) }],
  ])('refuses %s %j', async (route, body) => {
    const { post } = await openWorkspace();
    await post('/api/2.0/secrets/scopes/create', { scope: 's' });
    expect(await post(`/api/2.0/secrets/${route}`, body)).toMatchObject({ status: 400, error_code: 'INVALID_PARAMETER_VALUE' });
  });
});
