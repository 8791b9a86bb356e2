import nock from 'nock';
import { describe, expect, it } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { findCheckpoints } from '../../src/databricks/checkpoints.ts';
import { HOST, onlyPreparedAnswers, testWorkspace, withToken } from './fixtures.ts';

onlyPreparedAnswers();

const found = (checkpoint_root: string, mayBe = false): Promise<string[]> =>
  withToken(async () => findCheckpoints(await testWorkspace(), { pipeline: { checkpoint_root } as Config['pipeline'] }, mayBe));
const folder = '/api/2.0/fs/directories/Volumes/main/s/check%20points';

describe('checkpoints of a deployment', () => {
  it('are the folders of its streams in a Volume, and what a killed rebuild or drill left; nothing else that stands there', async () => {
    nock(HOST).get(folder).reply(200, { contents: [{ name: 'windows' }, { name: 'mine' }, { name: 'rebuild_1' }], next_page_token: 'more' });
    nock(HOST).get(folder).query({ page_token: 'more' }).reply(200, { contents: [{ name: 'drill_2' }, { name: 'raw' }, { name: 'raw_too' }] });
    expect(await found('/Volumes/main/s/check points/')).toEqual(['drill_2', 'raw', 'rebuild_1', 'windows']);
    nock(HOST).get(folder).reply(404, { error_code: 'NOT_FOUND', message: 'no such directory' });
    expect(await found('dbfs:/Volumes/main/s/check points', true)).toEqual([]);
  });

  it('are taken to be there where nobody can look, while something else of the deployment is', async () => {
    for (const root of ['s3a://bucket/checkpoints', 'abfss://c@a.dfs.core.windows.net/x', 'file:/tmp/x']) expect([await found(root, true), await found(root)]).toEqual([['raw', 'shards', 'windows'], []]);
  });

  it.each(['', '/', 'dbfs:/', 'file:///'])('are never looked for in %j itself', async (root) => {
    expect(await found(root, true)).toEqual([]);
  });
});
