import type { Elasticsearch } from './connect.ts';
import { allGenerations, deleteIndex } from './generations.ts';
import { deleteTemplate } from './template.ts';

/** What streamgauge made in Elasticsearch, and is still there. */
export type Indexed = { template: string | undefined; indices: string[] };

/** Finds template, generations and cursor of the windows' index; what does not carry streamgauge's mark is somebody else's. */
export async function findIndexed(elasticsearch: Elasticsearch, index: string): Promise<Indexed> {
  const template = await answer(elasticsearch, `looking up the index template ${index}`, `/_index_template/${encodeURIComponent(index)}`);
  const { index_templates: templates = [] } = template as { index_templates?: { index_template: { _meta?: unknown } }[] };
  const indices: string[] = [];
  // The cursor is named after the index, and nothing else writes it.
  for (const name of [...(await allGenerations(elasticsearch, index)).map((generation) => generation.index), `${index}-cursor`]) {
    const found = await answer(elasticsearch, `looking up the index ${name}`, `/${encodeURIComponent(name)}/_mapping`);
    const [mapping] = Object.values(found as Record<string, { mappings?: { _meta?: unknown } }>);
    if (mapping !== undefined && (name === `${index}-cursor` || isOurs(mapping.mappings?._meta))) indices.push(name);
  }
  return { template: templates.some((found) => isOurs(found.index_template._meta)) ? index : undefined, indices };
}

/** Deletes what was found. */
export async function removeIndexed(elasticsearch: Elasticsearch, index: string, found: Indexed): Promise<void> {
  for (const name of found.indices) await deleteIndex(elasticsearch, name);
  if (found.template !== undefined) await deleteTemplate(elasticsearch, index);
}

async function answer(elasticsearch: Elasticsearch, doing: string, path: string): Promise<object> {
  const { status, text } = await elasticsearch.request(doing, { method: 'GET', path, accept: [404] });
  return status === 404 ? {} : (JSON.parse(text) as object);
}

function isOurs(meta: unknown): boolean {
  return typeof meta === 'object' && meta !== null && 'made_by' in meta && meta.made_by === 'streamgauge';
}
