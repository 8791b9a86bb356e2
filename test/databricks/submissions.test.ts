import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { grown } from '../../src/databricks/logs.ts';
import { lastStarted, ledgerFile, repairOf, settled, started, submissionOf } from '../../src/databricks/submissions.ts';

const newFile = () => ledgerFile({ root: mkdtempSync(join(tmpdir(), 'runs-')), target: 'dev' });
/** What a killed process leaves: the same ledger, with an owner that lives no longer. */
const kill = (file: string) => writeFileSync(file, readFileSync(file, 'utf8').replaceAll(/"owner": "[^"]*"/g, '"owner": "999999999:1"'));

describe('a submission', () => {
  it('that was not seen to its end is the same one again, with the same token', async () => {
    const file = newFile();
    const first = await submissionOf(file, '5', { a: '1', b: '2' });
    expect(first).toMatchObject({ again: false, token: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    kill(file);
    expect(await submissionOf(file, '5', { b: '2', a: '1' })).toMatchObject({ again: true, token: first.token });
    await started(file, '5', first.token, 77);
    kill(file);
    expect(await submissionOf(file, '5', { a: '1', b: '2' })).toMatchObject({ again: true, token: first.token, runId: 77 });
  });

  it('of a repair is one repair, too, until its end was seen', async () => {
    const file = newFile();
    expect(await repairOf(file, 77, undefined)).toBe(true);
    // Killed before it was asked for, and after.
    expect(await repairOf(file, 77, undefined)).toBe(true);
    expect(await repairOf(file, 77, 5)).toBe(false);
    expect(await repairOf(file, 78, 5)).toBe(true);
    await settled(file, 77);
    expect(await repairOf(file, 77, 5)).toBe(true);
    expect(await repairOf(file, 77, 6)).toBe(false);
  });

  it('that was seen to its end is followed by another', async () => {
    const file = newFile();
    const { token } = await submissionOf(file, '5', {});
    await started(file, '5', token, 77);
    await settled(file, 77);
    const next = await submissionOf(file, '5', {});
    expect(next).toMatchObject({ again: false });
    expect(next.token).not.toBe(token);
    expect(await lastStarted(file, '5')).toBe(77);
  });

  it('of other parameters, another job, another folder, a living process or another day is another', async () => {
    const file = newFile();
    const tokens = new Set([(await submissionOf(file, '5', {})).token]);
    // This very process asks again: it was interrupted, and follows.
    expect((await submissionOf(file, '5', {})).again).toBe(true);
    writeFileSync(file, readFileSync(file, 'utf8').replaceAll(/"owner": "[^"]*"/g, `"owner": "${ownerOf(process.ppid)}"`));
    tokens.add((await submissionOf(file, '5', {})).token);
    kill(file);
    tokens.add((await submissionOf(file, '5', { a: '1' })).token);
    tokens.add((await submissionOf(file, '6', {})).token);
    tokens.add((await submissionOf(newFile(), '5', {})).token);
    tokens.add((await submissionOf(file, '5', {}, Date.now() + 25 * 3600_000)).token);
    expect(tokens.size).toBe(6);
  });

  it('is never guessed where the record cannot be read', async () => {
    const file = newFile();
    await submissionOf(file, '5', {});
    writeFileSync(file, '{"version":1');
    await expect(submissionOf(file, '5', {})).rejects.toMatchObject({ code: 'RUNS_UNREADABLE', exitCode: 2 });
  });
});

function ownerOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return `${pid}:${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
}

describe('a log that is followed', () => {
  it.each([
    ['', 'a\n', 'a\n'],
    ['a\n', 'a\nb\n', 'b\n'],
    ['a\nb\n', 'a\nb\n', ''],
    ['a\nb\nc\n', 'b\nc\nd\n', 'd\n'],
    ['a\n', 'x\ny\n', 'x\ny\n'],
  ])('%j, then %j: %j', (before, now, news) => expect(grown(before, now)).toBe(news));
});
