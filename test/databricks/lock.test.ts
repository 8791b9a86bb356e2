import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { takeDeployLock } from '../../src/databricks/lock.ts';
import { HOST, testWorkspace, withToken } from './fixtures.ts';

const root = '/Workspace/Users/ada/.bundle/s/dev';
const place = { root, files: `${root}/files`, state: `${root}/state` };
const path = `/api/2.0/workspace-files/import-file/${encodeURIComponent(`${place.state}/deploy.lock`.slice(1))}`;
const theirs = { ID: 'other', AcquisitionTime: '2026-01-05T10:00:00.000Z', IsForced: false, User: 'grace' };
const exists = { error_code: 'RESOURCE_ALREADY_EXISTS', message: 'Node already exists.' };
const at = Date.parse('2026-01-05T10:07:30Z');
const take = (force: boolean) => withToken(async () => takeDeployLock(await testWorkspace(), place, { userName: 'ada' }, force, at));
const create = () => nock(HOST).post(path).query({ overwrite: 'false' });
const held = () => nock(HOST).get('/api/2.0/workspace/export').query(true).reply(200, theirs);

beforeEach(() => nock.disableNetConnect());
afterEach(() => {
  nock.cleanAll();
  nock.enableNetConnect();
});

describe('the deploy lock', () => {
  it('is the Databricks CLI\'s own file, and is given back', async () => {
    let body: any;
    const keep = (sent: any): boolean => {
      body = typeof sent === 'object' ? sent : JSON.parse(/^[0-9a-f]+$/.test(sent) ? Buffer.from(sent, 'hex').toString() : sent);
      return true;
    };
    nock(HOST).post(path, keep).query({ overwrite: 'false' }).reply(200, {});
    const lock = await take(false);
    expect(body).toMatchObject({ ID: expect.stringMatching(/^[0-9a-f-]{36}$/), AcquisitionTime: '2026-01-05T10:07:30.000Z', IsForced: false, User: 'ada' });
    // The lock is minutes old by the test's clock: whose it is now is asked before it is deleted.
    nock(HOST).get('/api/2.0/workspace/export').query(true).reply(200, body);
    nock(HOST).post('/api/2.0/workspace/delete', { path: `${place.state}/deploy.lock`, recursive: false }).reply(200, {});
    await withToken(async () => lock.release(await testWorkspace()));
    expect(nock.pendingMocks()).toEqual([]);
  });

  it('makes its folder where that is missing', async () => {
    create().reply(404, { error_code: 'RESOURCE_DOES_NOT_EXIST', message: 'no folder' });
    nock(HOST).post('/api/2.0/workspace/mkdirs', { path: place.state }).reply(200, {});
    create().reply(200, {});
    await take(false);
    expect(nock.pendingMocks()).toEqual([]);
  });

  it('of another is named with owner and age, and left alone', async () => {
    create().reply(409, exists);
    held();
    await expect(take(false)).rejects.toMatchObject({ code: 'DEPLOY_LOCKED', exitCode: 4, message: expect.stringMatching(/^grace is deploying.*for 7 min$/), hint: expect.stringContaining('--force-lock') });
  });

  it('is broken by force only; whoever lost it leaves the new one', async () => {
    create().reply(409, exists);
    held();
    nock(HOST).post(path).query({ overwrite: 'true' }).reply(200, {});
    const lock = await take(true);
    held();
    await withToken(async () => lock.release(await testWorkspace()));
    expect(nock.pendingMocks()).toEqual([]);
  });
});
