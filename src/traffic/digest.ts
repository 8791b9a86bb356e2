import { createHash, type Hash } from 'node:crypto';
import { judge, type EventFields } from './event.ts';

/** What a record is judged by: the pipeline's fields, and how far ahead a clock may be. */
export type Rules = { fields: EventFields; maxFutureMinutes: number };

/** A record as it came to the broker. */
export type Arrived = { offset: bigint; timestampMillis: number; key: Uint8Array | null; value: Uint8Array | null; headers: readonly (readonly [Uint8Array | null, Uint8Array | null])[] };

/** A slice of a partition: how much it holds, the hash of its payloads, and the hash of everything that `raw` says of each record. */
export type ShardDigest = { shard: bigint; first: bigint; last: bigint; records: number; good: number; payloads: string; rows: string };

/**
 * Everything that a row of `raw` must say of this record, as one line: offset, arrival, reason, event time, value, key, record key, headers.
 * The SQL in src/databricks/proof.ts writes the same line for the row that `raw` has.
 */
export function lineOf(record: Arrived, { fields, maxFutureMinutes }: Rules): { line: string; isGood: boolean } {
  const verdict = judge(record.value, { fields, arrivedAtMillis: record.timestampMillis, maxFutureMinutes });
  const isGood = !('error' in verdict);
  const judged = 'error' in verdict ? `${verdict.error}|||` : `|${verdict.eventTimeMicros}|${verdict.value}|${verdict.key}`;
  const headers = record.headers.length === 0 ? '' : record.headers.map(([key, value]) => `${textOf(key)}=${hex(value)}`).join(',');
  return { line: `${record.offset}|${record.timestampMillis}|${judged}|${hex(record.key)}|${headers}\n`, isGood };
}

function hex(bytes: Uint8Array | null): string {
  return bytes === null ? '' : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex').toUpperCase();
}

function textOf(bytes: Uint8Array | null): string {
  return bytes === null ? '' : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

type Open = ShardDigest & { payloadHash: Hash; lines: string[] };

/** Digests of one partition's records, which come in the order of their offsets: one shard after the other, no more held than one. */
export async function* shardDigests(groups: AsyncIterable<readonly Arrived[]>, shardSize: number, rules: Rules): AsyncGenerator<ShardDigest, void, undefined> {
  const size = BigInt(shardSize);
  let open: Open | undefined;
  for await (const records of groups) {
    for (const record of records) {
      if (open === undefined || record.offset >= (open.shard + 1n) * size) {
        if (open !== undefined) yield sealed(open);
        open = { shard: record.offset / size, first: record.offset, last: record.offset, records: 0, good: 0, payloads: '', rows: '', payloadHash: createHash('sha256'), lines: [] };
      }
      add(open, record, rules);
    }
  }
  if (open !== undefined) yield sealed(open);
}

function add(open: Open, record: Arrived, rules: Rules): void {
  const { line, isGood } = lineOf(record, rules);
  open.last = record.offset;
  open.records += 1;
  if (isGood) open.good += 1;
  open.lines.push(line);
  if (record.value !== null) open.payloadHash.update(record.value);
}

function sealed({ payloadHash, lines, ...digest }: Open): ShardDigest {
  return { ...digest, payloads: payloadHash.digest('hex'), rows: createHash('sha256').update(lines.join('')).digest('hex') };
}
