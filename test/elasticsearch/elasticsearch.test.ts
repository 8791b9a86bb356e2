import { isDeepStrictEqual } from 'node:util';
import nock from 'nock';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bulkIndex } from '../../src/elasticsearch/bulk.ts';
import { openElasticsearch, type Elasticsearch } from '../../src/elasticsearch/connect.ts';
import { moveCursor, readCursor } from '../../src/elasticsearch/cursor.ts';
import { allGenerations, findGeneration, pointTo, provideGeneration } from '../../src/elasticsearch/generations.ts';
import { bulkDocument, type BulkDocument, type WindowRow } from '../../src/elasticsearch/document.ts';
import { allDocuments, documentCount, freshestDocument } from '../../src/elasticsearch/read.ts';
import { ensureTemplate, indexTemplate } from '../../src/elasticsearch/template.ts';
import { Failure, Secret } from '../../src/errors.ts';

const url = 'https://search.example:9200';
const index = 'traffic_windows';
const headers = { 'x-elastic-product': 'Elasticsearch', 'content-type': 'application/vnd.elasticsearch+json;compatible-with=8' };
const row: WindowRow = {
  topic: 'traffic_counter',
  key: '桥/"7"',
  window_start: '2012-10-02T09:00:00.000000Z',
  window_end: '2012-10-02T09:10:00Z',
  count: 2n,
  sum: '18446744073709551614',
  mean: 9_223_372_036_854_776_000,
  median: '9223372036854775807.0',
  stddev_samp: null,
  min: 9_223_372_036_854_775_807n,
  max: 9_223_372_036_854_775_807n,
  revision: 3n,
  closed_by: 'watermark',
  first_offsets: { 0: 9_007_199_254_740_993n, 3: 5n },
  last_offsets: { 0: 9_007_199_254_740_994n, 3: 5n },
  sequence: 9_007_199_254_740_995n,
};
const source = '{"topic":"traffic_counter","key":"桥/\\"7\\"","window_start":"2012-10-02T09:00:00Z","window_end":"2012-10-02T09:10:00Z","count":2,"sum":18446744073709551614,"mean":9223372036854776000,"median":9223372036854775807.0,"stddev_samp":null,"min":9223372036854775807,"max":9223372036854775807,"revision":3,"closed_by":"watermark","first_offsets":{"0":9007199254740993,"3":5},"last_offsets":{"0":9007199254740994,"3":5},"sequence":9007199254740995}';

let elasticsearch: Elasticsearch;
const open = (signal?: AbortSignal): Promise<Elasticsearch> =>
  openElasticsearch({ target: 'dev', elasticsearch: { url, auth: { username: 'writer', password: new Secret('hunter2') } } }, signal);

beforeEach(async () => {
  nock.disableNetConnect();
  elasticsearch = await open();
});
afterEach(() => {
  const left = nock.pendingMocks();
  nock.cleanAll();
  nock.enableNetConnect();
  if (left.length > 0) throw new Error(`never asked for: ${left.join(', ')}`);
});

const failureOf = async (promise: Promise<unknown>): Promise<Failure> => promise.then(() => expect.fail('it went well'), (error: unknown) => error as Failure);

describe('connecting', () => {
  it('names the variables where the environment has no Elasticsearch', async () => {
    const failure = await failureOf(openElasticsearch({ target: 'dev', elasticsearch: undefined }));
    expect(failure).toMatchObject({ code: 'ELASTICSEARCH_NOT_CONFIGURED', exitCode: 2, hint: expect.stringContaining('ELASTICSEARCH_URL') });
  });

  it.each<[string, number, string, Partial<Failure>]>([
    [
      'a wrong password',
      401,
      '{"error":{"root_cause":[{"type":"security_exception","reason":"unable to authenticate user [writer] for REST request [/traffic_windows/_count]","header":{"WWW-Authenticate":["Basic realm=\\"security\\", charset=\\"UTF-8\\"","ApiKey"]}}],"type":"security_exception","reason":"unable to authenticate user [writer] for REST request [/traffic_windows/_count]"},"status":401}',
      { code: 'ELASTICSEARCH_AUTHENTICATION_FAILED', exitCode: 3 },
    ],
    [
      'an index that is not ours',
      403,
      '{"error":{"root_cause":[{"type":"security_exception","reason":"action [indices:data/read/search] is unauthorized for user [writer] with effective roles [streamgauge_writer] on indices [traffic_windows], this action is granted by the index privileges [read,all]"}],"type":"security_exception","reason":"action [indices:data/read/search] is unauthorized for user [writer] with effective roles [streamgauge_writer] on indices [traffic_windows], this action is granted by the index privileges [read,all]"},"status":403}',
      { code: 'ELASTICSEARCH_ACCESS_DENIED', exitCode: 3, message: expect.stringContaining('is unauthorized for user [writer]') as unknown as string },
    ],
    ['a proxy without a server', 502, '<html>Bad Gateway</html>', { code: 'ELASTICSEARCH_REFUSED', exitCode: 4, retriable: true }],
    ['an error with a sentence only', 400, '{"error":"no handler found for uri [/x] and method [GET]"}', { code: 'ELASTICSEARCH_REFUSED', exitCode: 4, retriable: false }],
  ])('%s', async (_name, status, body, expected) => {
    nock(url).get(`/${index}/_count`).reply(status, body, headers);
    const failure = await failureOf(documentCount(elasticsearch, index, false));
    expect(failure).toMatchObject(expected);
    expect(JSON.stringify(failure) + String(failure.cause) + failure.message).not.toContain('hunter2');
  });

  it('says that a server is down, and that what answers is not Elasticsearch', async () => {
    nock(url).get(`/${index}/_count`).replyWithError(Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:9200'), { code: 'ECONNREFUSED' }));
    expect(await failureOf(documentCount(elasticsearch, index, false))).toMatchObject({ code: 'ELASTICSEARCH_UNAVAILABLE', exitCode: 4, retriable: true });
    nock(url).get(`/${index}/_count`).reply(200, '{"count":1}', { 'content-type': 'application/json' });
    expect(await failureOf(documentCount(elasticsearch, index, false))).toMatchObject({ code: 'ELASTICSEARCH_NOT_CONFIGURED', exitCode: 2 });
  });
});

describe('the index template', () => {
  const path = `/_index_template/${index}`;
  const stored = { index_templates: [{ name: index, index_template: { ...indexTemplate(index), composed_of: [] } }] };

  it.each<[string, number, unknown, boolean]>([
    ['created', 404, { error: { type: 'resource_not_found_exception', reason: 'index template matching [traffic_windows] not found' }, status: 404 }, true],
    ['unchanged', 200, stored, false],
    ['updated', 200, { index_templates: [{ name: index, index_template: { ...stored.index_templates[0]?.index_template, priority: 1 } }] }, true],
  ])('is %s', async (outcome, status, found, isWritten) => {
    nock(url).get(path).reply(status, found as object, headers);
    if (isWritten) nock(url).put(path, (body: unknown) => isDeepStrictEqual(body, indexTemplate(index))).reply(200, { acknowledged: true }, headers);
    expect(await ensureTemplate(elasticsearch, index)).toBe(outcome);
  });
});

describe('documents', () => {
  it('keep every digit, and are found by topic, key and window', () => {
    const document = bulkDocument(row);
    const [action, body] = document.lines.split('\n');
    expect(document).toMatchObject({ id: 'traffic_counter/桥/"7"/2012-10-02T09:00:00Z', sequence: 9_007_199_254_740_995n });
    expect(JSON.parse(action ?? '')).toEqual({ index: { _id: document.id, version: 3, version_type: 'external' } });
    expect(body).toBe(source);
    expect(document.lines.endsWith('}\n')).toBe(true);
  });

  it('have an id that Elasticsearch takes, however long the key', () => {
    const { id } = bulkDocument({ ...row, topic: 't'.repeat(249), key: '桥'.repeat(300_000) });
    expect(id).toMatch(/^t+\/sha256:[0-9a-f]{64}\/2012-10-02T09:00:00Z$/);
    for (const length of [76, 77, 200]) {
      const longest = bulkDocument({ ...row, topic: 't'.repeat(249), key: '桥'.repeat(length), window_start: '2012-10-02T09:00:00.123456Z' });
      expect(Buffer.byteLength(longest.id)).toBeLessThanOrEqual(512);
    }
  });

  it('are read back exactly, page by page', async () => {
    const page = (hits: string): string => `{"_scroll_id":"abc==","took":1,"hits":{"total":{"value":1,"relation":"eq"},"hits":[${hits}]}}`;
    nock(url).post(`/${index}/_refresh`).reply(200, { _shards: {} }, headers);
    nock(url).post(`/${index}/_search`).query({ scroll: '2m' }).reply(200, page(`{"_index":"${index}","_id":"x","_version":3,"_source":${source}}`), headers);
    nock(url).post('/_search/scroll').reply(200, page(''), headers);
    nock(url).delete('/_search/scroll').reply(200, { succeeded: true }, headers);
    const pages = await Array.fromAsync(allDocuments(elasticsearch, index));
    expect(pages).toEqual([[expect.objectContaining({ id: 'x', sum: 18_446_744_073_709_551_614n, median: '9223372036854775807.0', max: 9_223_372_036_854_775_807n, stddevSamp: null })]]);
  });

  it('are none where there is no index', async () => {
    const missing = { error: { type: 'index_not_found_exception', reason: 'no such index [traffic_windows]' }, status: 404 };
    nock(url).get(`/${index}/_count`).reply(404, missing, headers).post(`/${index}/_search`).reply(404, missing, headers);
    expect(await documentCount(elasticsearch, index, false)).toBeUndefined();
    expect(await freshestDocument(elasticsearch, index)).toBeUndefined();
  });
});

describe('bulkIndex', () => {
  const path = `/${index}/_bulk`;
  const documents = (...sequences: number[]): BulkDocument[] => sequences.map((n) => ({ id: `d${n}`, sequence: BigInt(n), lines: `{"index":{"_id":"d${n}"}}\n{"n":${n}}\n` }));
  const conflict = { index: { status: 409, error: { type: 'version_conflict_engine_exception', reason: '[d1]: version conflict, current version [3] is higher or equal to the one provided [3]' } } };
  const busy = { index: { status: 429, error: { type: 'es_rejected_execution_exception', reason: 'rejected execution of coordinating operation [coordinating_and_primary_bytes=0]' } } };
  const refused = { index: { status: 400, error: { type: 'document_parsing_exception', reason: "[1:70] failed to parse field [count] of type [long] in document with id 'd2'" } } };
  const written = { index: { status: 201 } };
  async function* groups(...all: BulkDocument[][]): AsyncGenerator<BulkDocument[]> {
    yield* all;
  }
  const answer = (ids: string[], errors: boolean, items: object[], status = 200): void => {
    nock(url)
      .post(path, (body: string) => [...String(body).matchAll(/"_id":"(\w+)"/g)].map((match) => match[1]).join() === ids.join())
      .query(true)
      .reply(status, { errors, items }, headers);
  };
  const quick = { firstPauseMs: 1, inFlight: 1 };

  it('counts what is written and what is already there, and knows how far it came', async () => {
    answer(['d1', 'd2'], true, [conflict, written]);
    answer(['d3'], false, [written]);
    const report = await bulkIndex(elasticsearch, index, groups(documents(1, 2), documents(3)), { ...quick, batchDocuments: 2 });
    expect(report).toMatchObject({ written: 2, unchanged: 1, rejectedCount: 0, safeSequence: 3n });
    expect(report.error).toBeUndefined();
  });

  it('carries the others when one is rejected, names it, and stays below it', async () => {
    answer(['d1', 'd2', 'd3'], true, [written, refused, written]);
    answer(['d4'], false, [written]);
    const report = await bulkIndex(elasticsearch, index, groups(documents(1, 2, 3, 4)), { ...quick, batchDocuments: 3 });
    expect(report).toMatchObject({ written: 3, rejectedCount: 1, safeSequence: 1n });
    expect(report.rejected).toEqual([{ id: 'd2', sequence: 2n, status: 400, type: 'document_parsing_exception', reason: expect.stringContaining('failed to parse field [count]') }]);
  });

  it('repeats only the items that Elasticsearch was too busy for, and whole requests that it refused or lost', async () => {
    answer(['d1', 'd2', 'd3'], true, [busy, written, busy]);
    answer(['d1', 'd3'], false, [], 429);
    nock(url).post(path).query(true).replyWithError(Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' }));
    answer(['d1', 'd3'], true, [written, busy]);
    answer(['d3'], false, [written]);
    const report = await bulkIndex(elasticsearch, index, groups(documents(1, 2, 3)), quick);
    expect(report).toMatchObject({ written: 3, rejectedCount: 0, safeSequence: 3n });
    expect(report.error).toBeUndefined();
  });

  it('gives up after a bounded number of tries; what was acknowledged before counts', async () => {
    answer(['d1'], false, [written]);
    for (let n = 0; n < 3; n += 1) answer(['d2'], true, [busy]);
    const report = await bulkIndex(elasticsearch, index, groups(documents(1, 2, 3)), { ...quick, times: 3, batchDocuments: 1 });
    expect(report).toMatchObject({ written: 1, safeSequence: 0n, error: { code: 'ELASTICSEARCH_BUSY', exitCode: 4 } });
  });

  it('never counts a sequence as safe while one of its documents may be on its way', async () => {
    answer(['d1', 'd1'], false, [written, written]);
    answer(['d1'], false, [], 400);
    const report = await bulkIndex(elasticsearch, index, groups(documents(1, 1), documents(1)), { ...quick, batchDocuments: 2 });
    expect(report).toMatchObject({ written: 2, safeSequence: 0n, error: { code: 'ELASTICSEARCH_REFUSED' } });
  });

  it('keeps what was acknowledged when reading fails', async () => {
    async function* failing(): AsyncGenerator<BulkDocument[]> {
      yield documents(1, 2);
      throw new Error('the warehouse went away');
    }
    answer(['d1', 'd2'], false, [written, written]);
    const report = await bulkIndex(elasticsearch, index, failing(), { ...quick, batchDocuments: 2 });
    expect(report).toMatchObject({ written: 2, safeSequence: 1n, error: { message: 'the warehouse went away' } });
  });
});

describe('the index behind a name', () => {
  const stands = (behind: string, name = index): nock.Scope => nock(url).get(`/${name}/_settings/index.uuid`).reply(200, { [behind]: { settings: { index: { uuid: 'uuid-1' } } } }, headers);
  const missing = { error: { type: 'index_not_found_exception', reason: 'no such index [traffic_windows]' }, status: 404 };

  it.each<[string, string, object[]]>([
    ['an alias', `${index}-000007`, [{ remove: { index: `${index}-000007`, alias: index } }, { add: { index: `${index}-000008`, alias: index } }]],
    ['an index of an earlier release', index, [{ remove_index: { index } }, { add: { index: `${index}-000008`, alias: index } }]],
  ])('moves in one action: %s', async (_name, behind, actions) => {
    stands(behind);
    nock(url).post(`/${index}-000008/_refresh`).reply(200, {}, headers);
    nock(url).post('/_aliases', (body: unknown) => isDeepStrictEqual(body, { actions })).reply(200, { acknowledged: true }, headers);
    await pointTo(elasticsearch, index, `${index}-000008`);
    expect(nock.pendingMocks()).toEqual([]);
    // Again there is nothing to do.
    stands(`${index}-000008`);
    await pointTo(elasticsearch, index, `${index}-000008`);
  });

  it('is made with its alias at once, whoever else makes it', async () => {
    nock(url).get(`/${index}/_settings/index.uuid`).reply(404, missing, headers);
    nock(url).get(`/_index_template/${index}`).reply(200, { index_templates: [{ name: index, index_template: indexTemplate(index) }] }, headers);
    nock(url).put(`/${index}-000001`, { aliases: { [index]: {} } }).reply(400, { error: { type: 'resource_already_exists_exception', reason: 'exists' }, status: 400 }, headers);
    stands(`${index}-000001`);
    expect(await provideGeneration(elasticsearch, index)).toEqual({ index: `${index}-000001`, uuid: 'uuid-1' });
  });

  it('is never one of two', async () => {
    const both = Object.fromEntries([1, 2].map((n) => [`${index}-00000${n}`, { settings: { index: { uuid: `uuid-${n}` } } }]));
    nock(url).get(`/${index}/_settings/index.uuid`).reply(200, both, headers);
    expect(await failureOf(findGeneration(elasticsearch, index))).toMatchObject({ code: 'INDEX_AMBIGUOUS', message: expect.stringContaining('000001 and') });
  });

  it('counts only its own: an index that is called alike is somebody else\'s', async () => {
    nock(url).get(`/${index}/_settings/index.uuid`).reply(404, missing, headers);
    const found = Object.fromEntries(['000002', '0-of-mine', '0000021'].map((end) => [`${index}-${end}`, { settings: { index: { uuid: end } } }]));
    nock(url).get(`/${index}-0*/_settings/index.uuid`).reply(200, found, headers);
    expect(await allGenerations(elasticsearch, index)).toEqual([{ index: `${index}-000002`, uuid: '000002' }]);
  });
});

describe('the cursor', () => {
  const cursorPath = `/${index}-cursor`;
  const found = (sequence: string, seqNo: number, uuid = 'uuid-1'): string => `{"_index":"${index}-cursor","_id":"windows","_version":1,"_seq_no":${seqNo},"_primary_term":1,"found":true,"_source":{"sequence":${sequence},"index_uuid":"${uuid}","moved_at":"2026-05-01T00:00:00.000Z"}}`;
  const stands = (body: string, status = 200): void => {
    nock(url).get(`/${index}/_settings/index.uuid`).reply(200, { [index]: { settings: { index: { uuid: 'uuid-1' } } } }, headers);
    nock(url).get(`${cursorPath}/_doc/windows`).reply(status, body, headers);
  };
  const conflict = '{"error":{"type":"version_conflict_engine_exception","reason":"[windows]: version conflict, required seqNo [4], primary term [1]. current document has seqNo [5] and primary term [1]"},"status":409}';

  it('starts at 0, and again at 0 for an index that was made anew', async () => {
    nock(url).head(cursorPath).times(2).reply(200, '', headers);
    stands('{"found":false}', 404);
    expect(await readCursor(elasticsearch, index)).toEqual({ name: index, index, sequence: 0n, stored: undefined, indexUuid: 'uuid-1' });
    stands(found('9007199254740993', 4, 'uuid-0'));
    expect(await readCursor(elasticsearch, index)).toMatchObject({ sequence: 0n, stored: { seqNo: 4n } });
  });

  it('moves by comparing, with every digit', async () => {
    const cursor = { name: index, index, sequence: 7n, stored: { seqNo: 4n, primaryTerm: 1n, indexUuid: 'uuid-1' }, indexUuid: 'uuid-1' };
    nock(url).put(`${cursorPath}/_doc/windows`, /"sequence":9007199254740993,/).query({ if_seq_no: '4', if_primary_term: '1' }).reply(200, {}, headers);
    stands(found('9007199254740993', 5));
    expect(await moveCursor(elasticsearch, cursor, 9_007_199_254_740_993n)).toMatchObject({ sequence: 9_007_199_254_740_993n });
  });

  it('leaves alone what another exporter moved further, and never goes back', async () => {
    const cursor = { name: index, index, sequence: 7n, stored: { seqNo: 4n, primaryTerm: 1n, indexUuid: 'uuid-1' }, indexUuid: 'uuid-1' };
    nock(url).put(`${cursorPath}/_doc/windows`).query({ if_seq_no: '4', if_primary_term: '1' }).reply(409, conflict, headers);
    stands(found('20', 5));
    expect(await moveCursor(elasticsearch, cursor, 10n)).toMatchObject({ sequence: 20n });
    expect(await moveCursor(elasticsearch, cursor, 7n)).toEqual(cursor);
    expect(await moveCursor(elasticsearch, cursor, 3n)).toEqual(cursor);
  });

  it('goes on top of what another exporter moved less far', async () => {
    const cursor = { name: index, index, sequence: 0n, stored: undefined, indexUuid: 'uuid-1' };
    nock(url).put(`${cursorPath}/_doc/windows`).query({ op_type: 'create' }).reply(409, conflict, headers);
    stands(found('5', 0));
    nock(url).put(`${cursorPath}/_doc/windows`).query({ if_seq_no: '0', if_primary_term: '1' }).reply(200, {}, headers);
    stands(found('10', 1));
    expect(await moveCursor(elasticsearch, cursor, 10n)).toMatchObject({ sequence: 10n });
  });
});
