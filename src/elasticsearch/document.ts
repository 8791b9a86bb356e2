import { createHash } from 'node:crypto';

/** One window as an export reads it: exact values, times as ISO 8601 in UTC. */
export type WindowRow = {
  topic: string;
  key: string;
  window_start: string;
  window_end: string;
  count: bigint;
  /** Decimal digits. */
  sum: string;
  mean: number;
  /** Decimal digits. */
  median: string;
  stddev_samp: number | null;
  min: bigint;
  max: bigint;
  revision: bigint;
  closed_by: string;
  /** By partition. */
  first_offsets: Readonly<Record<string, unknown>>;
  last_offsets: Readonly<Record<string, unknown>>;
  sequence: bigint;
};

/** A document ready to send: `lines` are the two of a `_bulk` body, each ended by a newline. */
export type BulkDocument = { id: string; sequence: bigint; lines: string };

/** 512 less a topic of 249, a time with its fraction and two slashes. */
const LONGEST_KEY_BYTES = 230;

/** The document of a window: `_id = topic/key/window_start`, external version = revision, every digit as it was. */
export function bulkDocument(row: WindowRow): BulkDocument {
  const start = isoSeconds(row.window_start);
  const id = `${row.topic}/${idPart(row.key)}/${start}`;
  const lines =
    `{"index":{"_id":${JSON.stringify(id)},"version":${row.revision},"version_type":"external"}}\n` +
    `{"topic":${JSON.stringify(row.topic)},"key":${JSON.stringify(row.key)},"window_start":"${start}","window_end":"${isoSeconds(row.window_end)}"` +
    `,"count":${row.count},"sum":${row.sum},"mean":${double(row.mean)},"median":${row.median},"stddev_samp":${double(row.stddev_samp)}` +
    `,"min":${row.min},"max":${row.max},"revision":${row.revision},"closed_by":${JSON.stringify(row.closed_by)}` +
    `,"first_offsets":${offsets(row.first_offsets)},"last_offsets":${offsets(row.last_offsets)},"sequence":${row.sequence}}\n`;
  return { id, sequence: row.sequence, lines };
}

/** A key as part of an id: one too long for Elasticsearch's 512 bytes, for which it would refuse the whole request, by its hash. */
function idPart(key: string): string {
  return Buffer.byteLength(key) <= LONGEST_KEY_BYTES ? key : `sha256:${createHash('sha256').update(key).digest('hex')}`;
}

/** The id must not depend on how many zeros a driver writes behind the second. */
function isoSeconds(time: string): string {
  return time.replace(/\.0+Z$/, 'Z');
}

function double(value: number | null): string {
  return value !== null && Number.isFinite(value) ? String(value) : 'null';
}

function offsets(byPartition: Readonly<Record<string, unknown>>): string {
  return `{${Object.entries(byPartition).map(([partition, offset]) => `${JSON.stringify(partition)}:${String(offset)}`).join(',')}}`;
}
