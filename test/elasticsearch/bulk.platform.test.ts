import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { bulkIndex } from '../../src/elasticsearch/bulk.ts';
import { openElasticsearch, type Elasticsearch } from '../../src/elasticsearch/connect.ts';
import { moveCursor, readCursor } from '../../src/elasticsearch/cursor.ts';
import { allGenerations, deleteIndex, deleteOldGenerations, findGeneration, makeNextGeneration, pointTo } from '../../src/elasticsearch/generations.ts';
import { bulkDocument, type BulkDocument, type WindowRow } from '../../src/elasticsearch/document.ts';
import { allDocuments, documentCount, freshestDocument } from '../../src/elasticsearch/read.ts';
import { deleteTemplate, ensureTemplate } from '../../src/elasticsearch/template.ts';
import { Secret } from '../../src/errors.ts';
import { createProject } from '../acceptance/project.ts';

let elasticsearch: Elasticsearch;
let url: string;

beforeAll(async () => {
  const config = loadConfig({ cwd: createProject('bulk').folder, target: 'local', vars: [], needsEnvironment: true });
  elasticsearch = await openElasticsearch(config);
  ({ url } = elasticsearch);
});
afterAll(async () => await elasticsearch.close());

const base: WindowRow = {
  topic: 'traffic_counter', key: '', window_start: '2026-01-05T00:00:00Z', window_end: '2026-01-05T00:10:00Z', count: 2n, sum: '3', mean: 1.5, median: '1.5', stddev_samp: 0.7071067811865476,
  min: 1n, max: 2n, revision: 1n, closed_by: 'watermark', first_offsets: { 0: 0n }, last_offsets: { 0: 1n }, sequence: 1n,
};
const window = (n: number, changes: Partial<WindowRow> = {}): BulkDocument => {
  const at = (minutes: number): string => new Date(Date.UTC(2026, 0, 5) + minutes * 60_000).toISOString().replace('.000', '');
  return bulkDocument({ ...base, window_start: at(n * 10), window_end: at(n * 10 + 10), sequence: BigInt(n), ...changes });
};
async function* groups(...all: BulkDocument[][]): AsyncGenerator<BulkDocument[]> {
  yield* all;
}
const range = (from: number, to: number, changes?: Partial<WindowRow>): BulkDocument[] => Array.from({ length: to - from + 1 }, (_, i) => window(from + i, changes));

/** An index of its own for a test, gone before and afterwards. */
async function withIndex(name: string, use: (index: string) => Promise<void>): Promise<void> {
  const index = `traffic_windows_bulk_${name}`;
  const clear = async (): Promise<void> => {
    for (const generation of await allGenerations(elasticsearch, index)) await deleteIndex(elasticsearch, generation.index);
    await deleteIndex(elasticsearch, `${index}-cursor`);
    await deleteTemplate(elasticsearch, index);
  };
  await clear();
  await use(index);
  await clear();
}

describe('windows in Elasticsearch', () => {
  it('come back with every digit, whatever their size', async () => {
    await withIndex('digits', async (index) => {
      expect([await ensureTemplate(elasticsearch, index), await ensureTemplate(elasticsearch, index)]).toEqual(['created', 'unchanged']);
      const [min, max] = [-(2n ** 63n), 2n ** 63n - 1n];
      const sum = '-99999999999999999999999999999999999999';
      const report = await bulkIndex(elasticsearch, index, groups([window(1, { key: '桥/"7"', min, max, sum, median: '-9223372036854775807.5', count: 9_007_199_254_740_993n, stddev_samp: null }), window(2, { key: 'k'.repeat(100_000) })]));
      expect(report).toMatchObject({ written: 2, rejectedCount: 0, safeSequence: 2n });
      expect(await documentCount(elasticsearch, index)).toBe(2n);
      const found = (await Array.fromAsync(allDocuments(elasticsearch, index, 1))).flat().toSorted((a, b) => Number(a.sequence - b.sequence));
      expect(found[0]).toMatchObject({ id: 'traffic_counter/桥/"7"/2026-01-05T00:10:00Z', key: '桥/"7"', min, max, sum: BigInt(sum), median: '-9223372036854775807.5', count: 9_007_199_254_740_993n, stddevSamp: null, mean: '1.5' });
      expect(found[1]?.key.length).toBe(100_000);
      expect((await freshestDocument(elasticsearch, index))?.windowEnd).toBe('2026-01-05T00:30:00Z');
    });
  });

  it('stay as they are when they are sent again, and an older revision never wins', async () => {
    await withIndex('revisions', async (index) => {
      await ensureTemplate(elasticsearch, index);
      expect(await bulkIndex(elasticsearch, index, groups(range(1, 3, { revision: 2n })))).toMatchObject({ written: 3, unchanged: 0 });
      expect(await bulkIndex(elasticsearch, index, groups(range(1, 3, { revision: 2n })))).toMatchObject({ written: 0, unchanged: 3 });
      expect(await bulkIndex(elasticsearch, index, groups(range(1, 3, { revision: 1n, sum: '9' })))).toMatchObject({ written: 0, unchanged: 3 });
      expect(await bulkIndex(elasticsearch, index, groups(range(2, 2, { revision: 3n, sum: '9' })))).toMatchObject({ written: 1 });
      const sums = (await Array.fromAsync(allDocuments(elasticsearch, index))).flat().toSorted((a, b) => Number(a.sequence - b.sequence)).map(({ sum, revision }) => [sum, revision]);
      expect(sums).toEqual([[3n, 2n], [9n, 3n], [3n, 2n]]);
    });
  });

  it('arrive when one among them is rejected; that one is named, and is tried again from the cursor', async () => {
    await withIndex('rejected', async (index) => {
      // Somebody else's index, with narrower numbers than the template's.
      await elasticsearch.request('a narrow index', { method: 'PUT', path: `/${index}`, body: { mappings: { properties: { max: { type: 'integer' } } } } });
      const cursor = await readCursor(elasticsearch, index);
      const report = await bulkIndex(elasticsearch, index, groups(range(1, 49), [window(50, { max: 2n ** 40n })], range(51, 100)), { batchDocuments: 20 });
      expect(report).toMatchObject({ written: 99, rejectedCount: 1, safeSequence: 49n });
      expect(report.rejected).toEqual([{ id: 'traffic_counter//2026-01-05T08:20:00Z', sequence: 50n, status: 400, type: 'document_parsing_exception', reason: expect.stringContaining('failed to parse field [max]') }]);
      const moved = await moveCursor(elasticsearch, cursor, report.safeSequence as bigint);
      expect(moved.sequence).toBe(49n);
      const again = await bulkIndex(elasticsearch, index, groups([window(50)], range(51, 100)));
      expect(again).toMatchObject({ written: 1, unchanged: 50, safeSequence: 100n });
      expect((await moveCursor(elasticsearch, moved, again.safeSequence as bigint)).sequence).toBe(100n);
    });
  });

  it('are counted by a cursor that exporters at the same time only ever move forward', async () => {
    await withIndex('race', async (index) => {
      const start = await readCursor(elasticsearch, index);
      const moved = await Promise.all(Array.from({ length: 12 }, (_, i) => moveCursor(elasticsearch, start, BigInt((i * 7) % 12) + 1n)));
      expect((await readCursor(elasticsearch, index)).sequence).toBe(12n);
      for (const [i, cursor] of moved.entries()) expect(cursor.sequence).toBeGreaterThanOrEqual(BigInt((i * 7) % 12) + 1n);
      // A new index under the old name knows nothing of what the cursor said.
      await deleteIndex(elasticsearch, start.index);
      expect((await readCursor(elasticsearch, index)).sequence).toBe(0n);
    });
  });
});

describe('the index behind a name', () => {
  it('is one generation after the other, each with a cursor of its own; every search finds one of them', async () => {
    await withIndex('generations', async (name) => {
      const first = await readCursor(elasticsearch, name);
      expect(first).toMatchObject({ index: `${name}-000001`, sequence: 0n });
      await bulkIndex(elasticsearch, first.index, groups(range(1, 3)));
      await moveCursor(elasticsearch, first, 3n);
      const next = await makeNextGeneration(elasticsearch, name, { index: first.index, uuid: first.indexUuid });
      const cursor = await readCursor(elasticsearch, name, next);
      expect(cursor).toMatchObject({ index: `${name}-000002`, sequence: 0n });
      await bulkIndex(elasticsearch, next.index, groups(range(1, 5)));
      await moveCursor(elasticsearch, cursor, 5n);
      expect([await documentCount(elasticsearch, name), (await readCursor(elasticsearch, name)).sequence]).toEqual([3n, 3n]);
      for (const _ of ['once', 'again']) await pointTo(elasticsearch, name, next.index);
      expect([await documentCount(elasticsearch, name), (await readCursor(elasticsearch, name)).sequence]).toEqual([5n, 5n]);
      await deleteOldGenerations(elasticsearch, name);
      expect(await allGenerations(elasticsearch, name)).toEqual([next]);
    });
  });

  it('takes the place of an index that an earlier release made under the name itself', async () => {
    await withIndex('concrete', async (name) => {
      await ensureTemplate(elasticsearch, name);
      await bulkIndex(elasticsearch, name, groups(range(1, 3)));
      const cursor = await moveCursor(elasticsearch, await readCursor(elasticsearch, name), 3n);
      expect(cursor).toMatchObject({ index: name, sequence: 3n });
      const next = await makeNextGeneration(elasticsearch, name, { index: name, uuid: cursor.indexUuid });
      await pointTo(elasticsearch, name, next.index);
      expect(await findGeneration(elasticsearch, name)).toEqual({ index: `${name}-000001`, uuid: next.uuid });
      expect(await documentCount(elasticsearch, name)).toBe(0n);
    });
  });
});

describe('access', () => {
  it('is refused with a wrong password, and to another index', async () => {
    const stranger = await openElasticsearch({ target: 'local', elasticsearch: { url, auth: { username: 'nobody', password: new Secret('wrong') } } });
    await expect(documentCount(stranger, 'traffic_windows')).rejects.toMatchObject({ code: 'ELASTICSEARCH_AUTHENTICATION_FAILED', exitCode: 3 });
    await stranger.close();
    await expect(documentCount(elasticsearch, 'somebody_elses', false)).rejects.toMatchObject({ code: 'ELASTICSEARCH_ACCESS_DENIED', exitCode: 3 });
  });
});
