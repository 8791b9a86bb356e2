import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { readBytes } from '../../src/input/bytes.ts';
import { readCsv } from '../../src/input/csv.ts';
import { readNdjson } from '../../src/input/ndjson.ts';
import { paced } from '../../src/input/pace.ts';
import type { InputRow } from '../../src/input/row.ts';

const fields = { timestamp: 'timestamp', value: '流量', key: 'key' };
const judged = { fields, arrivedAtMillis: Date.UTC(2024, 0, 1), maxFutureMinutes: 1440 };
const folder = mkdtempSync(join(tmpdir(), 'streamgauge-input-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function* cut(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(groups: AsyncIterable<InputRow[]>): Promise<unknown[]> {
  const rows = (await Array.fromAsync(groups)).flat();
  return rows.map((row) => ('error' in row ? [row.line, row.error] : [row.line, row.key, String(row.value)]));
}

describe('readNdjson', () => {
  const good = '{"timestamp":1700000000,"流量":1,"key":"桥"}';

  it('sends good lines as they stand and names the others by line', async () => {
    const text = `\uFEFF${good}\r\n\n${good} \n{"timestamp":1700000000}\n{"timestamp":17\n[]\n{"timestamp":1700000000,"流量":2}`;
    const expected = [[1, '桥', good], [3, '桥', `${good} `], [4, 'missing_value'], [5, 'not_json'], [6, 'not_an_object'], [7, null, '{"timestamp":1700000000,"流量":2}']];
    for (const size of [1, 2, 7, 1000]) expect(await all(readNdjson(cut(Buffer.from(text), size), judged))).toEqual(expected);
  });

  it('finds the same lines however the bytes arrive', async () => {
    const line = fc.oneof(fc.constant(good), fc.constant(''), fc.string({ unit: 'grapheme' }).map((s) => s.replaceAll(/[\r\n\uFEFF]/g, '')));
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 20 }), fc.integer({ min: 1, max: 50 }), async (lines, size) => {
        const rows = (await all(readNdjson(cut(Buffer.from(lines.join('\n')), size), judged))) as [number][];
        expect(rows.map(([number]) => number)).toEqual(lines.flatMap((text, i) => (text === '' ? [] : [i + 1])));
      }),
    );
  });

  it('skips a line of 17 MB and reads on', async () => {
    const text = Buffer.concat([Buffer.alloc(17_000_000, 'x'), Buffer.from(`\n${good}\n`)]);
    expect(await all(readNdjson(cut(text, 262_144), judged))).toEqual([[1, 'line_too_long'], [2, '桥', good]]);
  });
});

describe('readCsv', () => {
  const options = { ...judged, columns: { timestamp: 'date_time', value: 'volume', key: 'site' }, timeZone: 'UTC', name: 'counts.csv' };

  it('turns rows into events, and names bad rows by the line they start on', async () => {
    const csv = [
      '\uFEFFsite, volume ,note,date_time',
      '"A ""7""",0012,"two',
      'lines",2012-10-02 09:00:00',
      ',+5,,1700000000.5',
      'B,1.5,,2012-10-02 09:00:00',
      'B,,,2012-10-02 09:00:00',
      'B,7,,',
      'B,7,,02.10.2012',
      'B',
      '',
      'C,-9223372036854775809,,2012-10-02 09:00:00',
      'C,-3,,2012-10-02T09:00:00+02:00',
    ].join('\r\n');
    for (const size of [1, 13, 4096]) {
      expect(await all(readCsv(cut(Buffer.from(csv), size), options))).toEqual([
        [2, 'A "7"', String.raw`{"timestamp":"2012-10-02T09:00:00Z","流量":12,"key":"A \"7\""}`],
        [4, null, '{"timestamp":"1700000000.5","流量":5}'],
        [5, 'value_not_integer'],
        [6, 'missing_value'],
        [7, 'missing_timestamp'],
        [8, 'timestamp_unreadable'],
        [9, 'missing_timestamp'],
        [11, 'value_out_of_range'],
        [12, 'C', '{"timestamp":"2012-10-02T09:00:00+02:00","流量":-3,"key":"C"}'],
      ]);
    }
  });

  it('names the columns there are when one is missing', async () => {
    await expect(all(readCsv(cut(Buffer.from('a,b\n1,2\n'), 100), options))).rejects.toMatchObject({
      code: 'COLUMN_NOT_FOUND',
      exitCode: 2,
      message: 'counts.csv has no column "date_time"; its columns are a, b',
    });
    await expect(all(readCsv(cut(Buffer.from(''), 100), options))).rejects.toMatchObject({ code: 'INPUT_EMPTY' });
  });
});

describe('readBytes', () => {
  const read = async (path: string): Promise<string> => Buffer.concat(await Array.fromAsync(readBytes(path))).toString();

  it('reads a file as it is, or unpacked where it is gzip, whatever its name', async () => {
    const text = 'line\n'.repeat(200_000);
    writeFileSync(join(folder, 'plain'), text);
    writeFileSync(join(folder, 'packed'), gzipSync(text));
    writeFileSync(join(folder, 'empty'), '');
    expect(await read(join(folder, 'plain'))).toBe(text);
    expect(await read(join(folder, 'packed'))).toBe(text);
    expect(await read(join(folder, 'empty'))).toBe('');
  });

  it('says what is wrong with a file', async () => {
    writeFileSync(join(folder, 'cut.gz'), gzipSync('line\n'.repeat(200_000)).subarray(0, 500));
    await expect(read(join(folder, 'cut.gz'))).rejects.toMatchObject({ code: 'INPUT_UNREADABLE', exitCode: 2, message: expect.stringContaining('damaged or cut short') });
    await expect(read(join(folder, 'none'))).rejects.toMatchObject({ code: 'INPUT_UNREADABLE', message: expect.stringContaining('no such file') });
    await expect(read(folder)).rejects.toMatchObject({ message: expect.stringContaining('it is a folder') });
  });
});

describe('paced', () => {
  it('lets so many through a second, each once and in order, and gives what it holds before it fails', async () => {
    const failing = async function* (): AsyncGenerator<number[]> {
      yield Array.from({ length: 120 }, (_, i) => i);
      yield* [[120], []];
      throw new Error('no more');
    };
    const seen: number[] = [];
    const startedAt = performance.now();
    const reading = (async () => {
      for await (const slice of paced(failing(), 1000, new AbortController().signal)) seen.push(...slice);
    })();
    await expect(reading).rejects.toThrow('no more');
    expect(seen).toEqual(Array.from({ length: 121 }, (_, i) => i));
    expect(performance.now() - startedAt).toBeGreaterThan(100);
  });

  it('stops waiting when it is interrupted', async () => {
    const abort = new AbortController();
    const slices = paced([[1, 2]], 0.001, abort.signal);
    expect(await slices.next()).toEqual({ done: false, value: [1] });
    const second = slices.next();
    abort.abort();
    await expect(second).rejects.toMatchObject({ name: 'AbortError' });
  });
});
