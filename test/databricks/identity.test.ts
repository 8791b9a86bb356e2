import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import nock from 'nock';
import { describe, expect, it } from 'vitest';
import { connect } from '../../src/databricks/client.ts';
import { BELIEVED_MS, KEPT_MS, confirmWho, identitiesIn } from '../../src/databricks/identity.ts';
import { getStatus, me } from '../../src/databricks/rest.ts';
import { HOST, ME, configOf, onlyPreparedAnswers, withToken } from './fixtures.ts';

const newFile = (): string => join(mkdtempSync(join(tmpdir(), 'identity-')), 'cache', 'identities.json');
const asked = (times = 1): nock.Scope => nock(HOST).get('/api/2.0/preview/scim/v2/Me').times(times).reply(200, ME);
/** One invocation with this token: a connection of its own. */
const who = (identityFile: string, token = 'dapi-token'): Promise<string> => withToken(async () => (await me(await connect({ ...configOf().databricks, identityFile }, { firstPauseMs: 1 }))).userName, token);

describe('who a credential belongs to', () => {
  onlyPreparedAnswers();

  it('is asked once, and kept under a salted hash for the user alone', async () => {
    const file = newFile();
    asked();
    expect([await who(file), await who(file)]).toEqual([ME.userName, ME.userName]);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const kept = readFileSync(file, 'utf8');
    expect(kept).not.toMatch(/dapi-token|cloud\.databricks/);
    // Another token is somebody else; the same in another file has another hash.
    asked(2);
    await who(file, 'dapi-other');
    const other = newFile();
    await who(other);
    const keys = (path: string): string[] => Object.keys(JSON.parse(readFileSync(path, 'utf8')).identities);
    expect([keys(file).length, keys(other).filter((key) => keys(file).includes(key))]).toEqual([2, []]);
  });

  it.each([['not JSON', '{'], ['null', 'null'], ['something else', '{"version":1,"salt":"s","identities":{"x":7}}'], ['a folder', undefined]])('a file that is %s is none', async (_what, text) => {
    const folder = mkdtempSync(join(tmpdir(), 'identity-'));
    const file = text === undefined ? folder : join(folder, 'identities.json');
    if (text !== undefined) writeFileSync(file, text);
    asked(text === undefined ? 2 : 1);
    expect([await who(file), await who(file)]).toEqual([ME.userName, ME.userName]);
  });

  it('is believed for half an hour, told for a month where what it leads to is there, and asked again once anything was refused', async () => {
    const file = newFile();
    let nowMs = 1_000_000;
    const known = async (credential = 'c'): Promise<[string | undefined, boolean]> => {
      const identities = identitiesIn(file, async () => credential, () => nowMs);
      return [(await identities.known())?.userName, identities.doubtful()];
    };
    const principal = '813073e7-3b08-4c0d-8619-0123456789ab';
    await identitiesIn(file, async () => 'c', () => nowMs).remember({ userName: 'a' });
    await identitiesIn(file, async () => 'd', () => nowMs).remember({ userName: principal, displayName: 'p' });
    nowMs += BELIEVED_MS - 1;
    expect([await known(), await known('d')]).toEqual([['a', false], [principal, false]]);
    nowMs += 1;
    expect([await known(), await known('d')]).toEqual([['a', true], [undefined, false]]);
    nowMs += KEPT_MS - BELIEVED_MS;
    expect(await known()).toEqual([undefined, false]);
    const own = newFile();
    asked(2);
    await who(own);
    nock(HOST).get('/api/2.0/workspace/get-status').query(true).reply(403, { error_code: 'PERMISSION_DENIED', message: 'no' });
    await withToken(async () => {
      const workspace = await connect({ ...configOf().databricks, identityFile: own }, { firstPauseMs: 1 });
      await me(workspace);
      await expect(getStatus(workspace, '/W')).rejects.toMatchObject({ exitCode: 3 });
    });
    await who(own);
  });

  it('is asked again where nothing stands to which an old name led; another name then ends it, and is remembered', async () => {
    const file = newFile();
    const old = async (userName: string): Promise<void> => {
      asked();
      await who(file);
      const kept = JSON.parse(readFileSync(file, 'utf8')) as { identities: Record<string, { who: { userName: string }; at: number }> };
      for (const entry of Object.values(kept.identities)) Object.assign(entry, { who: { userName }, at: entry.at - BELIEVED_MS });
      writeFileSync(file, JSON.stringify(kept));
    };
    const looked = () => withToken(async () => {
      const workspace = await connect({ ...configOf().databricks, identityFile: file }, { firstPauseMs: 1 });
      const { userName } = await me(workspace);
      await confirmWho(workspace, '/W');
      await confirmWho(workspace, '/W');
      return userName;
    });
    await old(ME.userName);
    asked();
    expect([await looked(), await looked()]).toEqual([ME.userName, ME.userName]);
    writeFileSync(file, '');
    await old('ada.byron@example.com');
    asked();
    await expect(looked()).rejects.toMatchObject({ code: 'IDENTITY_RENAMED', message: expect.stringMatching(/as ada\.lovelace.*no longer as ada\.byron/) });
    expect(await looked()).toBe(ME.userName);
  });
});
