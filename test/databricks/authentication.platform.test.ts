import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { describe, expect, inject, it } from 'vitest';
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
  return { host, token, credentials, file };
};

describe('the workspace lets in', () => {
  it.each<[string, () => Record<string, string>]>([
    ['a personal access token', () => ({ DATABRICKS_HOST: given().host, DATABRICKS_TOKEN: given().token })],
    ['a service principal (OAuth M2M)', () => ({ ...none, DATABRICKS_HOST: given().host, DATABRICKS_CLIENT_ID: given().credentials.databricksClientId ?? '', DATABRICKS_CLIENT_SECRET: given().credentials.databricksClientSecret ?? '' })],
    ['the default profile', () => ({ ...none, DATABRICKS_CONFIG_FILE: given().file('DEFAULT', [`host = ${given().host}`, `token = ${given().token}`]) })],
    ['a named profile', () => ({ ...none, DATABRICKS_CONFIG_PROFILE: 'work', DATABRICKS_CONFIG_FILE: given().file('work', [`host = ${given().host}`, `token = ${given().token}`]) })],
  ])('%s', async (_way, environment) => {
    const finished = await createProject('authentication', {}, environment()).cli(['history']);
    expect([finished.code, finished.stderr]).toEqual([0, expect.not.stringContaining('error')]);
    expect(finished.stdout).toContain('Nothing was deployed');
  });

  it.each<[string, () => Record<string, string>]>([
    ['no wrong secret of a service principal', () => ({ ...none, DATABRICKS_HOST: given().host, DATABRICKS_CLIENT_ID: given().credentials.databricksClientId ?? '', DATABRICKS_CLIENT_SECRET: 'wrong' })],
    ['no wrong token of a profile', () => ({ ...none, DATABRICKS_CONFIG_FILE: given().file('DEFAULT', [`host = ${given().host}`, 'token = wrong']) })],
    ['nobody without credentials', () => ({ ...none, DATABRICKS_HOST: given().host, DATABRICKS_CONFIG_FILE: given().file('DEFAULT', []) })],
  ])('%s', async (_way, environment) => {
    const finished = await createProject('authentication', {}, environment()).cli(['history']);
    expect([finished.code, finished.stderr]).toEqual([3, expect.stringMatching(/hint: .+/)]);
  });
});
