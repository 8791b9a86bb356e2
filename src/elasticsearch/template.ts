import { isDeepStrictEqual } from 'node:util';
import type { Elasticsearch } from './connect.ts';

/**
 * One document a window. `sum` may exceed 64 bits, which `long` refuses: it is indexed as a double, and `_source` keeps every
 * digit, as it does of `median`. The offsets are kept and not indexed: a field for each partition would let the mapping grow.
 */
const MAPPINGS = {
  dynamic: 'strict',
  _meta: { made_by: 'streamgauge' },
  properties: {
    topic: { type: 'keyword' },
    // Lucene takes terms of 32,766 bytes: a longer key is kept, and not searched.
    key: { type: 'keyword', ignore_above: 8191 },
    window_start: { type: 'date' },
    window_end: { type: 'date' },
    count: { type: 'long' },
    sum: { type: 'double' },
    mean: { type: 'double' },
    median: { type: 'double' },
    stddev_samp: { type: 'double' },
    min: { type: 'long' },
    max: { type: 'long' },
    revision: { type: 'long' },
    closed_by: { type: 'keyword' },
    first_offsets: { type: 'object', enabled: false },
    last_offsets: { type: 'object', enabled: false },
    sequence: { type: 'long' },
  },
} as const;

type Template = { index_patterns: string[]; priority: number; template: { mappings: unknown }; _meta: unknown };

/** The template of the windows' index: it applies to the generations of this one name (see generations.ts), and to an index of the name itself. */
export function indexTemplate(index: string): Template {
  return { index_patterns: [index, `${index}-0*`], priority: 500, template: { mappings: MAPPINGS }, _meta: { made_by: 'streamgauge' } };
}

/** Makes the index template what it must be, and says what that took; an index that exists already keeps its mapping. */
export async function ensureTemplate(elasticsearch: Elasticsearch, index: string): Promise<'created' | 'updated' | 'unchanged'> {
  const current = await findTemplate(elasticsearch, index);
  if (current !== undefined && isDeepStrictEqual(current, indexTemplate(index))) return 'unchanged';
  await putTemplate(elasticsearch, index);
  return current === undefined ? 'created' : 'updated';
}

/** The index template's own fields as they stand there, without what Elasticsearch adds; undefined where there is none. */
export async function findTemplate(elasticsearch: Elasticsearch, index: string): Promise<Record<string, unknown> | undefined> {
  const found = await elasticsearch.request(`looking up the index template ${index}`, { method: 'GET', path: pathOf(index), accept: [404] });
  const current = found.status === 404 ? undefined : templateIn(found.text);
  return current && Object.fromEntries(Object.keys(indexTemplate(index)).flatMap((name) => (name in current ? [[name, current[name]]] : [])));
}

/** Writes the template, over any that is there. */
export async function putTemplate(elasticsearch: Elasticsearch, index: string): Promise<void> {
  await elasticsearch.request(`writing the index template ${index}`, { method: 'PUT', path: pathOf(index), body: indexTemplate(index) });
}

/** Marks an index that was there before as ours, so that `destroy` counts it; false where there is none. */
export async function adoptIndex(elasticsearch: Elasticsearch, index: string): Promise<boolean> {
  const { status } = await elasticsearch.request(`marking the index ${index}`, { method: 'PUT', path: `/${encodeURIComponent(index)}/_mapping`, body: { _meta: MAPPINGS._meta }, accept: [404] });
  return status !== 404;
}

function pathOf(index: string): string {
  return `/_index_template/${encodeURIComponent(index)}`;
}

/** Removes the template; false where there was none. */
export async function deleteTemplate(elasticsearch: Elasticsearch, index: string): Promise<boolean> {
  const { status } = await elasticsearch.request(`deleting the index template ${index}`, { method: 'DELETE', path: pathOf(index), accept: [404] });
  return status !== 404;
}

function templateIn(text: string): Record<string, unknown> | undefined {
  const { index_templates: found = [] } = JSON.parse(text) as { index_templates?: { index_template: Record<string, unknown> }[] };
  return found[0]?.index_template;
}
