import type { Elasticsearch } from './connect.ts';
import { findGeneration, provideGeneration, type Generation } from './generations.ts';
import { parseExact } from './read.ts';

/** How far the windows' table has been carried into this very index. */
export type Cursor = {
  /** The name that is searched, and the index behind it that the cursor is about: one that was deleted and made anew starts from 0. */
  name: string;
  index: string;
  indexUuid: string;
  /** 0 where nothing has been. */
  sequence: bigint;
  /** What the stored document must still be for a move to count; undefined where there is none yet. */
  stored: { seqNo: bigint; primaryTerm: bigint; indexUuid: string } | undefined;
};

const MAPPINGS = { dynamic: 'strict', properties: { sequence: { type: 'long' }, index_uuid: { type: 'keyword' }, moved_at: { type: 'date' } } };

/**
 * Reads the cursor of the index that the name stands for (or of `generation`), which is kept beside the documents in `<name>-cursor`; makes
 * both indices where they are missing.
 */
export async function readCursor(elasticsearch: Elasticsearch, name: string, generation?: Generation): Promise<Cursor> {
  const cursorIndex = `${name}-cursor`;
  if (await isMissing(elasticsearch, cursorIndex)) await createIndex(elasticsearch, cursorIndex);
  return cursorOf(elasticsearch, name, generation ?? (await provideGeneration(elasticsearch, name)));
}

/** Up to which sequence the windows have been carried into this index; 0 where none has. Makes nothing. */
export async function exportedUpTo(elasticsearch: Elasticsearch, name: string): Promise<bigint> {
  const generation = await findGeneration(elasticsearch, name);
  if (generation === undefined || (await isMissing(elasticsearch, `${name}-cursor`))) return 0n;
  return (await cursorOf(elasticsearch, name, generation)).sequence;
}

/**
 * Moves the cursor to `sequence`, never backwards, and returns it as it then stands. Whoever else moves it meanwhile is not
 * overwritten: what they reached holds, or ours is put on top of it where it is further.
 */
export async function moveCursor(elasticsearch: Elasticsearch, cursor: Cursor, sequence: bigint): Promise<Cursor> {
  let current = cursor;
  // Each round that loses is another exporter's that won.
  while (current.indexUuid === cursor.indexUuid && (sequence > current.sequence || current.stored === undefined)) {
    const isWritten = await write(elasticsearch, current, sequence);
    current = await readAgain(elasticsearch, cursor);
    if (isWritten) return current;
  }
  return current;
}

async function readAgain(elasticsearch: Elasticsearch, { name, index }: Cursor): Promise<Cursor> {
  return cursorOf(elasticsearch, name, (await findGeneration(elasticsearch, index)) ?? { index, uuid: '' });
}

async function cursorOf(elasticsearch: Elasticsearch, name: string, { index, uuid: indexUuid }: Generation): Promise<Cursor> {
  const { status, text } = await elasticsearch.request('reading the cursor', { method: 'GET', path: pathOf(name, index), accept: [404] });
  if (status === 404) return { name, index, indexUuid, sequence: 0n, stored: undefined };
  const found = parseExact(text) as { _seq_no: bigint; _primary_term: bigint; _source: { sequence: bigint; index_uuid: string } };
  const stored = { seqNo: found._seq_no, primaryTerm: found._primary_term, indexUuid: found._source.index_uuid };
  return { name, index, indexUuid, sequence: stored.indexUuid === indexUuid ? found._source.sequence : 0n, stored };
}

async function write(elasticsearch: Elasticsearch, { name, index, stored, indexUuid }: Cursor, sequence: bigint): Promise<boolean> {
  const condition: Record<string, string> = stored === undefined ? { op_type: 'create' } : { if_seq_no: String(stored.seqNo), if_primary_term: String(stored.primaryTerm) };
  const body = { sequence: (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(sequence)), index_uuid: indexUuid, moved_at: new Date().toISOString() };
  const { status } = await elasticsearch.request('moving the cursor', { method: 'PUT', path: pathOf(name, index), query: condition, body, accept: [409] });
  return status !== 409;
}

/** Each generation has its own; the document of an index of the name itself is called as an earlier release called it. */
function pathOf(name: string, index: string): string {
  return `/${encodeURIComponent(`${name}-cursor`)}/_doc/${index === name ? 'windows' : encodeURIComponent(index)}`;
}

async function isMissing(elasticsearch: Elasticsearch, name: string): Promise<boolean> {
  const { status } = await elasticsearch.request(`looking up the index ${name}`, { method: 'HEAD', path: `/${encodeURIComponent(name)}`, accept: [404] });
  return status === 404;
}

async function createIndex(elasticsearch: Elasticsearch, name: string): Promise<void> {
  // 400: another exporter was faster.
  await elasticsearch.request(`creating the index ${name}`, { method: 'PUT', path: `/${encodeURIComponent(name)}`, body: { mappings: MAPPINGS }, accept: [400] });
}
