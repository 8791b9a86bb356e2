import type { Elasticsearch } from './connect.ts';
import { parseExact } from './read.ts';
import { ensureTemplate } from './template.ts';

/** How far the windows' table has been carried into this very index. */
export type Cursor = {
  /** 0 where nothing has been. */
  sequence: bigint;
  /** What the stored document must still be for a move to count; undefined where there is none yet. */
  stored: { seqNo: bigint; primaryTerm: bigint; indexUuid: string } | undefined;
  /** The index the cursor is about: one that was deleted and made anew starts from 0. */
  indexUuid: string;
};

const DOCUMENT = '_doc/windows';
const MAPPINGS = { dynamic: 'strict', properties: { sequence: { type: 'long' }, index_uuid: { type: 'keyword' }, moved_at: { type: 'date' } } };

/** Reads the cursor, which is kept beside the documents in `<index>-cursor`; makes both indices where they are missing. */
export async function readCursor(elasticsearch: Elasticsearch, index: string): Promise<Cursor> {
  const cursorIndex = `${index}-cursor`;
  if (await isMissing(elasticsearch, cursorIndex)) await createIndex(elasticsearch, cursorIndex, { mappings: MAPPINGS });
  if (await isMissing(elasticsearch, index)) {
    // The template brings the mapping.
    await ensureTemplate(elasticsearch, index);
    await createIndex(elasticsearch, index, {});
  }
  const indexUuid = await uuidOf(elasticsearch, index);
  const { status, text } = await elasticsearch.request('reading the cursor', { method: 'GET', path: `/${encodeURIComponent(cursorIndex)}/${DOCUMENT}`, accept: [404] });
  if (status === 404) return { sequence: 0n, stored: undefined, indexUuid };
  const found = parseExact(text) as { _seq_no: bigint; _primary_term: bigint; _source: { sequence: bigint; index_uuid: string } };
  const stored = { seqNo: found._seq_no, primaryTerm: found._primary_term, indexUuid: found._source.index_uuid };
  return { sequence: stored.indexUuid === indexUuid ? found._source.sequence : 0n, stored, indexUuid };
}

/** Up to which sequence the windows have been carried into this index; 0 where none has. Makes nothing. */
export async function exportedUpTo(elasticsearch: Elasticsearch, index: string): Promise<bigint> {
  if (await isMissing(elasticsearch, index)) return 0n;
  if (await isMissing(elasticsearch, `${index}-cursor`)) return 0n;
  return (await readCursor(elasticsearch, index)).sequence;
}

/**
 * Moves the cursor to `sequence`, never backwards, and returns it as it then stands. Whoever else moves it meanwhile is not
 * overwritten: what they reached holds, or ours is put on top of it where it is further.
 */
export async function moveCursor(elasticsearch: Elasticsearch, index: string, cursor: Cursor, sequence: bigint): Promise<Cursor> {
  let current = cursor;
  // Each round that loses is another exporter's that won.
  while (current.indexUuid === cursor.indexUuid && (sequence > current.sequence || current.stored === undefined)) {
    if (await write(elasticsearch, index, current, sequence)) return await readCursor(elasticsearch, index);
    current = await readCursor(elasticsearch, index);
  }
  return current;
}

async function write(elasticsearch: Elasticsearch, index: string, { stored, indexUuid }: Cursor, sequence: bigint): Promise<boolean> {
  const condition: Record<string, string> = stored === undefined ? { op_type: 'create' } : { if_seq_no: String(stored.seqNo), if_primary_term: String(stored.primaryTerm) };
  const body = { sequence: (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(sequence)), index_uuid: indexUuid, moved_at: new Date().toISOString() };
  const { status } = await elasticsearch.request('moving the cursor', {
    method: 'PUT',
    path: `/${encodeURIComponent(`${index}-cursor`)}/${DOCUMENT}`,
    query: condition,
    body,
    accept: [409],
  });
  return status !== 409;
}

async function isMissing(elasticsearch: Elasticsearch, name: string): Promise<boolean> {
  const { status } = await elasticsearch.request(`looking up the index ${name}`, { method: 'HEAD', path: `/${encodeURIComponent(name)}`, accept: [404] });
  return status === 404;
}

async function createIndex(elasticsearch: Elasticsearch, name: string, body: Record<string, unknown>): Promise<void> {
  // 400: another exporter was faster.
  await elasticsearch.request(`creating the index ${name}`, { method: 'PUT', path: `/${encodeURIComponent(name)}`, body, accept: [400] });
}

async function uuidOf(elasticsearch: Elasticsearch, index: string): Promise<string> {
  const { text } = await elasticsearch.request(`looking up the index ${index}`, { method: 'GET', path: `/${encodeURIComponent(index)}/_settings/index.uuid` });
  const [found] = Object.values(JSON.parse(text) as Record<string, { settings: { index: { uuid: string } } }>);
  return found?.settings.index.uuid ?? '';
}
