import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { workspaceClient } from '../local/facades/workspace/client.ts';
import { witness, witnessPython } from './python.ts';

// databricks-sdk for Python, unmodified, against the running platform.
describe('databricks-sdk (Python)', () => {
  const home = '/Users/streamgauge@localhost/witness';
  const ask = (name: string, input: object = {}, environment: Record<string, string> = inject('environment')) => witness('databricks_sdk', name, environment, input);

  beforeAll(async () => {
    await witnessPython();
    const { upload } = workspaceClient();
    const header = '# Databricks notebook source\n';
    await upload(`${home}/good.py`, `${header}print("hello", dbutils.widgets.get("who"))\ndbutils.notebook.exit(str(spark.range(7).count()))`);
    await upload(`${home}/bad.py`, `${header}if dbutils.widgets.get("fixed") != "true":\n    raise ValueError("not yet")`);
    await upload(`${home}/endless.py`, `${header}import time\nwhile True:\n    time.sleep(0.1)`);
  });

  it('says who it is', async () => {
    expect(await ask('who')).toEqual({ user: 'streamgauge@localhost', workspace_id: 1_000_000_000_000_000, auth: 'pat' });
  });

  it('brings files in all three ways, and out again', async () => {
    const folder = `${home}/files`;
    expect(await ask('files', { folder })).toEqual({
      listed: [['FILE', '/binary.bin', null], ['FILE', '/raw file.txt', null], ['NOTEBOOK', '/nb2.py', 'PYTHON'], ['NOTEBOOK', '/query', 'SQL']],
      same: true, notebook: '# Databricks notebook source\nprint(1)', exported: '-- Databricks notebook source\nSELECT 1', size: 3,
      again: ['ResourceAlreadyExists', 'RESOURCE_ALREADY_EXISTS', `Path (${folder}/binary.bin) already exists.`],
      not_empty: ['BadRequest', 'DIRECTORY_NOT_EMPTY', `Folder (${folder}) is not empty`],
      gone: ['ResourceDoesNotExist', 'RESOURCE_DOES_NOT_EXIST', `Path (${folder}) doesn't exist.`],
    });
  });

  it('reads and writes volumes', async () => {
    const folder = '/Volumes/main/witness/v';
    expect(await ask('volumes', { folder })).toEqual({
      same: true, size: 11_000, listed: [[`${folder}/a b.bin`, false, 11_000]], dbfs: [`${folder}/a b.bin`], gone: 'NotFound',
    });
  });

  it('keeps secrets', async () => {
    expect(await ask('secrets', { scope: 'witness' })).toMatchObject({
      twice: ['ResourceAlreadyExists', 'RESOURCE_ALREADY_EXISTS', expect.any(String)], value: 'pä$$ word', raw: [0, 255], keys: ['bytes', 'password'], scopes: true,
      unknown: ['ResourceDoesNotExist', 'RESOURCE_DOES_NOT_EXIST', expect.any(String)], gone: ['ResourceDoesNotExist', 'RESOURCE_DOES_NOT_EXIST', expect.any(String)],
    });
  });

  it('defines jobs', async () => {
    expect(await ask('job_definitions', { path: `${home}/good` })).toEqual({
      paged: true, by_name: true, updated: { name: expect.stringMatching(/^witness .* 0$/), timeout_seconds: 77, format: 'MULTI_TASK' }, reset: { name: 'reset', format: 'MULTI_TASK' },
      granted: [['users', 'CAN_VIEW']], object_type: 'job', gone: ['ResourceDoesNotExist', true],
    });
  });

  it('runs them, reads their output, repairs and cancels them', async () => {
    const result = await ask('job_runs', { good: `${home}/good`, bad: `${home}/bad`, endless: `${home}/endless` });
    expect(result).toMatchObject({
      failed: null, result: 'FAILED', status: 'RUN_EXECUTION_ERROR', exit: '7', logs: 'hello wörld\n', error: 'ValueError: not yet',
      repaired: 'SUCCESS', history: ['ORIGINAL', 'REPAIR'], cancelled: 'CANCELED', unknown: ['ResourceDoesNotExist', 'INVALID_PARAMETER_VALUE'],
    });
    expect(result.trace).toContain(`File "${home}/bad (cell 1)", line 3`);
  });

  it('finds the warehouse', async () => {
    expect(await ask('warehouses')).toEqual({ state: true, path: inject('environment').DATABRICKS_HTTP_PATH, unknown: 'ResourceDoesNotExist' });
  });

  it('gets its own error classes', async () => {
    expect(await ask('refusals', { host: inject('environment').DATABRICKS_HOST })).toEqual({
      wrong_token: 'PermissionDenied', missing: 'ResourceDoesNotExist', traversal: ['InvalidParameterValue', 'INVALID_PARAMETER_VALUE'],
      not_here: ['NOT_IMPLEMENTED', 'GET /api/2.1/clusters/list-node-types is not part of the local platform'],
    });
  });

  it('comes in as a service principal', async () => {
    const credentials = JSON.parse(readFileSync(join(inject('platform').stateDir, 'credentials.json'), 'utf8')) as Record<string, string>;
    const { DATABRICKS_TOKEN: _, ...environment } = inject('environment');
    const input = { host: environment.DATABRICKS_HOST, client_id: credentials.databricksClientId, client_secret: credentials.databricksClientSecret };
    expect(await ask('service_principal', input, environment)).toEqual({ auth: 'oauth-m2m', user: credentials.databricksClientId, jobs: true, wrong: expect.stringContaining('invalid_client') });
  });
});
