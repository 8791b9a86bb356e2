import type { Elasticsearch } from './connect.ts';

/** A document of the index with every digit of its `_source`: decimals as text, integers as bigint. */
export type StoredWindow = {
  id: string;
  topic: string;
  key: string;
  windowStart: string;
  windowEnd: string;
  count: bigint;
  sum: bigint;
  mean: string;
  median: string;
  stddevSamp: string | null;
  min: bigint;
  max: bigint;
  revision: bigint;
  sequence: bigint;
};

/** JSON text as values: integers are bigint, other numbers the text they were written as; nothing is rounded. */
export function parseExact(text: string): unknown {
  const keep = (_key: string, value: unknown, context?: { source?: string }): unknown => {
    if (typeof value !== 'number') return value;
    const source = context?.source ?? String(value);
    return /^-?\d+$/.test(source) ? BigInt(source) : source;
  };
  return (JSON.parse as (text: string, reviver: typeof keep) => unknown)(text, keep);
}

/** Documents in the index, undefined where there is no index; `refresh` waits until everything written is counted. */
export async function documentCount(elasticsearch: Elasticsearch, index: string, refresh = true): Promise<bigint | undefined> {
  if (refresh) await elasticsearch.request(`refreshing ${index}`, { method: 'POST', path: `/${encodeURIComponent(index)}/_refresh`, accept: [404] });
  const { status, text } = await elasticsearch.request(`counting ${index}`, { method: 'GET', path: `/${encodeURIComponent(index)}/_count`, accept: [404] });
  return status === 404 ? undefined : (parseExact(text) as { count: bigint }).count;
}

/** The document of the latest window; undefined where there is none. */
export async function freshestDocument(elasticsearch: Elasticsearch, index: string): Promise<StoredWindow | undefined> {
  const body = { size: 1, sort: [{ window_end: 'desc' }] };
  const { status, text } = await elasticsearch.request(`reading ${index}`, { method: 'POST', path: `/${encodeURIComponent(index)}/_search`, body, accept: [404] });
  return status === 404 ? undefined : hitsOf(text)[0];
}

/** Every document of the index as of now, in pages; each is given once. */
export async function* allDocuments(elasticsearch: Elasticsearch, index: string, pageSize = 5000): AsyncGenerator<StoredWindow[], void, undefined> {
  const path = `/${encodeURIComponent(index)}/_search`;
  await elasticsearch.request(`refreshing ${index}`, { method: 'POST', path: `/${encodeURIComponent(index)}/_refresh` });
  let page = await elasticsearch.request(`reading ${index}`, { method: 'POST', path, query: { scroll: '2m' }, body: { size: pageSize, sort: ['_doc'] } });
  try {
    for (let found = hitsOf(page.text); found.length > 0; found = hitsOf(page.text)) {
      yield found;
      page = await elasticsearch.request(`reading ${index}`, { method: 'POST', path: '/_search/scroll', body: { scroll: '2m', scroll_id: scrollId(page.text) } });
    }
  } finally {
    await elasticsearch.request('closing the scroll', { method: 'DELETE', path: '/_search/scroll', body: { scroll_id: scrollId(page.text) }, accept: [404] });
  }
}

/** A document as it is kept: its source to the last digit, as text (empty where it is not known) and as values (slow: for what differs); its external version. */
export type KeptDocument = { id: string; version: bigint; seqNo: bigint; sequence: bigint; text: string; readonly source: Record<string, unknown> };

/** Every document of windows that start in the period (epoch milliseconds, `to` exclusive), in the order of `sequence`, in pages; nothing where there is no index. */
export async function* documentsBySequence(elasticsearch: Elasticsearch, index: string, { from, to }: { from?: number; to?: number }, pageSize = 5000): AsyncGenerator<KeptDocument[], void, undefined> {
  const path = `/${encodeURIComponent(index)}`;
  const { status } = await elasticsearch.request(`refreshing ${index}`, { method: 'POST', path: `${path}/_refresh`, accept: [404] });
  if (status === 404) return;
  const query = { range: { window_start: { ...(from === undefined ? {} : { gte: from }), ...(to === undefined ? {} : { lt: to }), format: 'epoch_millis' } } };
  const body = { size: pageSize, query, sort: [{ sequence: 'asc' }], version: true, seq_no_primary_term: true };
  let page = await elasticsearch.request(`reading ${index}`, { method: 'POST', path: `${path}/_search`, query: { scroll: '5m' }, body });
  try {
    for (let found = keptIn(page.text); found.length > 0; found = keptIn(page.text)) {
      yield found;
      page = await elasticsearch.request(`reading ${index}`, { method: 'POST', path: '/_search/scroll', body: { scroll: '5m', scroll_id: scrollId(page.text) } });
    }
  } finally {
    await elasticsearch.request('closing the scroll', { method: 'DELETE', path: '/_search/scroll', body: { scroll_id: scrollId(page.text) }, accept: [404] });
  }
}

/** One document by its id; undefined where it is not there. */
export async function documentById(elasticsearch: Elasticsearch, index: string, id: string): Promise<KeptDocument | undefined> {
  const { status, text } = await elasticsearch.request(`reading ${id}`, { method: 'GET', path: `/${encodeURIComponent(index)}/_doc/${encodeURIComponent(id)}`, accept: [404] });
  if (status === 404) return undefined;
  return keptDocument(JSON.parse(text) as KeptHit, '', () => (parseExact(text) as KeptHit)._source);
}

type KeptHit = { _id: string; _version: number; _seq_no: number; _source: Record<string, unknown> };

/**
 * The hits of a page that was sorted. Every digit counts, and exact parsing takes ten times as long as JSON.parse: the text of each
 * source is cut out instead, between its name, which nothing but a field's name can be in JSON, and the sort values behind it.
 */
function keptIn(page: string): KeptDocument[] {
  const { hits } = (JSON.parse(page) as { hits: { hits: KeptHit[] } }).hits;
  const parts = page.split('"_source":').slice(1).map((part) => part.slice(0, part.lastIndexOf(',"sort":[')));
  if (parts.length === hits.length) return hits.map((hit, at) => keptDocument(hit, parts[at] as string, () => parseExact(parts[at] as string) as Record<string, unknown>));
  const exact = (parseExact(page) as { hits: { hits: KeptHit[] } }).hits.hits;
  return hits.map((hit, at) => keptDocument(hit, '', () => exact[at]?._source ?? {}));
}

function keptDocument(hit: KeptHit, text: string, parse: () => Record<string, unknown>): KeptDocument {
  const { sequence } = hit._source;
  return {
    id: hit._id,
    version: BigInt(hit._version),
    seqNo: BigInt(hit._seq_no),
    sequence: Number.isSafeInteger(sequence) ? BigInt(sequence as number) : -1n,
    text,
    get source() {
      return parse();
    },
  };
}

type Hit = { _id: string; _source: Record<string, string | bigint | null> };

function hitsOf(text: string): StoredWindow[] {
  const { hits } = parseExact(text) as { hits: { hits: Hit[] } };
  return hits.hits.map(({ _id, _source: source }) => ({
    id: _id,
    topic: String(source.topic),
    key: String(source.key),
    windowStart: String(source.window_start),
    windowEnd: String(source.window_end),
    count: source.count as bigint,
    sum: source.sum as bigint,
    mean: String(source.mean),
    median: String(source.median),
    stddevSamp: source.stddev_samp === null || source.stddev_samp === undefined ? null : String(source.stddev_samp),
    min: source.min as bigint,
    max: source.max as bigint,
    revision: source.revision as bigint,
    sequence: source.sequence as bigint,
  }));
}

function scrollId(text: string): string {
  return (JSON.parse(text) as { _scroll_id: string })._scroll_id;
}
