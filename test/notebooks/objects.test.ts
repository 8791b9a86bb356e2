import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { repository } from '../config/bundle.ts';

const record = (offset: number, payload: string | null, more: Record<string, unknown> = {}): string => {
  const body = JSON.stringify({ offset, timestamp: 1_767_600_000_000 + offset, key: null, headers: null, payload, ...more });
  return `${body.slice(0, -1)},"sha256":"${createHash('sha256').update(body).digest('hex').slice(0, 16)}"}`;
};
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const LINES = [record(7, base64('a')), record(8, null), record(10, base64('bc'), { key: base64('k'), headers: [{ key: '二', value: null }] })];
const WHOLE = `${LINES.join('\n')}\n`;

/** What the notebooks' reader says of an object, in plain Python. */
function examined(content: Buffer): { records: number; first_offset: number; last_offset: number; sha256: string; content_sha256: string; absent: number[]; problem: string | null } {
  const program = `import sys, json, base64; sys.path.insert(0, "notebooks/pipeline"); import objects; print(json.dumps(objects._examined("s3a://b/shards/topic=t.1/partition=3/shard=12/part-0.gz", base64.b64decode(sys.stdin.read()))))`;
  return JSON.parse(execFileSync('python3', ['-c', program], { cwd: repository, input: content.toString('base64'), encoding: 'utf8' }));
}

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

describe('an object of the backup', () => {
  it('says what it holds: place, offsets, the digest of its payloads and of itself', () => {
    expect(examined(gzipSync(WHOLE))).toMatchObject({ topic: 't.1', partition: 3, shard: 12, records: 3, first_offset: 7, last_offset: 10, sha256: sha256('abc'), content_sha256: sha256(WHOLE), problem: null });
  });

  const altered = (change: (lines: string[]) => string[]): Buffer => gzipSync(`${change([...LINES]).join('\n')}\n`);
  const flipped = Buffer.from(gzipSync(WHOLE));
  flipped[flipped.length - 6] = (flipped[flipped.length - 6] as number) ^ 1;
  it.each<[string, Buffer, RegExp, number]>([
    ['an altered payload', altered((lines) => lines.with(1, (lines[1] as string).replace('"payload":null', '"payload":""'))), /after offset 7, which says that its offset is 8, .*digest differs/, 1],
    ['an altered offset', altered((lines) => lines.with(2, (lines[2] as string).replace('"offset":10', '"offset":11'))), /after offset 8, which says that its offset is 11/, 2],
    ['an altered digest', altered((lines) => lines.with(0, (lines[0] as string).replace(/"sha256":"./, '"sha256":"g'))), /the first record is no record/, 0],
    ['records in another order', altered((lines) => lines.toReversed()), /after offset 10 has the offset 8/, 1],
    ['a record twice', altered((lines) => [lines[0] as string, ...lines]), /after offset 7 has the offset 7/, 1],
    ['something that is no record', altered((lines) => lines.with(1, '{}')), /the record after offset 7 is no record/, 1],
    ['an object cut off', gzipSync(WHOLE).subarray(0, -12), /cut off|cannot be unpacked/, 2],
    ['an object with a flipped bit in its checksum', flipped, /cannot be unpacked/, 3],
    ['an object that is no gzip', Buffer.from(WHOLE), /cannot be unpacked after no record/, 0],
    ['an empty object', Buffer.alloc(0), /cut off after no record/, 0],
    ['something behind its end', Buffer.concat([gzipSync(WHOLE), Buffer.from('x')]), /more behind/, 3],
  ])('%s is named', (_what, content, problem, good) => {
    const found = examined(content);
    expect(found.problem).toMatch(problem);
    expect(found.records).toBeLessThanOrEqual(good);
  });

  it('a record that is missing changes the digest, and its offset is listed', () => {
    const found = examined(altered((lines) => lines.toSpliced(1, 1)));
    expect(found).toMatchObject({ problem: null, absent: [8, 9] });
    expect(found.content_sha256).not.toBe(sha256(WHOLE));
  });
});
