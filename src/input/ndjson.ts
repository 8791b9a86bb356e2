import { judge, type JudgeOptions } from '../traffic/event.ts';
import type { InputRow } from './row.ts';

/** No topic takes records of this size; what is longer is skipped without being kept in memory. */
const LONGEST_LINE_BYTES = 16_777_216;

type Carry = { parts: Buffer[]; bytes: number };

/** Records of newline-delimited JSON, a group for each chunk: good lines as they stand (a view, no copy), bad ones with their reason. Empty lines count as lines only. */
export async function* readNdjson(chunks: AsyncIterable<Buffer>, options: JudgeOptions): AsyncGenerator<InputRow[], void, undefined> {
  let line = 0;
  let carry: Carry = { parts: [], bytes: 0 };
  const take = (rows: InputRow[], bytes: Buffer): void => {
    line += 1;
    const isTooLong = carry.bytes + bytes.length > LONGEST_LINE_BYTES;
    const row = isTooLong ? { line, error: 'line_too_long' } : readLine(joined(carry, bytes), line, options);
    carry = { parts: [], bytes: 0 };
    if (row !== undefined) rows.push(row);
  };
  for await (const chunk of chunks) {
    const rows: InputRow[] = [];
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      take(rows, chunk.subarray(start, end));
      start = end + 1;
    }
    keep(carry, chunk.subarray(start));
    if (rows.length > 0) yield rows;
  }
  const rows: InputRow[] = [];
  if (carry.bytes > 0) take(rows, Buffer.alloc(0));
  if (rows.length > 0) yield rows;
}

function keep(carry: Carry, rest: Buffer): void {
  carry.bytes += rest.length;
  if (carry.bytes > LONGEST_LINE_BYTES) carry.parts = [];
  else if (rest.length > 0) carry.parts.push(rest);
}

function joined(carry: Carry, bytes: Buffer): Buffer {
  return carry.parts.length === 0 ? bytes : Buffer.concat([...carry.parts, bytes]);
}

function readLine(bytes: Buffer, line: number, options: JudgeOptions): InputRow | undefined {
  const hasMark = line === 1 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  const value = bytes.subarray(hasMark ? 3 : 0, bytes.at(-1) === 13 ? -1 : undefined);
  if (value.length === 0) return undefined;
  const verdict = judge(value, options);
  return 'error' in verdict ? { line, error: verdict.error } : { line, key: verdict.key === '' ? null : verdict.key, value };
}
