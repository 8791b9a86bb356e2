import { Failure } from '../errors.ts';
import type { Elasticsearch } from './connect.ts';
import { ensureTemplate } from './template.ts';

/**
 * The index behind a name. The name is an alias over one generation (`<name>-000001`), so that another can take its place in one action; an
 * earlier release made the index under the name itself.
 */
export type Generation = { index: string; uuid: string };

/** What the name stands for now; undefined where there is nothing of that name. */
export async function findGeneration(elasticsearch: Elasticsearch, name: string): Promise<Generation | undefined> {
  const found = await settingsOf(elasticsearch, name);
  if (found.length > 1) {
    throw new Failure({ code: 'INDEX_AMBIGUOUS', kind: 'remote', message: `the alias ${name} stands for ${found.map(({ index }) => index).join(' and ')}: windows go to one index`, hint: `Take all but one from it with POST _aliases, or choose another name with --var index=NAME.` });
  }
  return found[0];
}

/** The index behind the name, which is made, with the template's mapping, where there is none. */
export async function provideGeneration(elasticsearch: Elasticsearch, name: string): Promise<Generation> {
  const found = await findGeneration(elasticsearch, name);
  if (found !== undefined) return found;
  await ensureTemplate(elasticsearch, name);
  const first = numbered(name, 1);
  // 400: another exporter was faster, or the alias was taken away from an index that stayed.
  await elasticsearch.request(`creating the index ${first}`, { method: 'PUT', path: pathOf(first), body: { aliases: { [name]: {} } }, accept: [400] });
  const made = await findGeneration(elasticsearch, name);
  if (made !== undefined) return made;
  throw new Failure({ code: 'INDEX_WITHOUT_ALIAS', kind: 'remote', message: `the index ${first} is there, and the alias ${name} is not`, hint: `Delete ${first}, or give it the alias ${name} with POST _aliases; then export again.` });
}

/** Makes the generation after this one, empty and behind no name; one that an interrupted rebuild left is deleted first. */
export async function makeNextGeneration(elasticsearch: Elasticsearch, name: string, current: Generation): Promise<Generation> {
  const next = numbered(name, numberOf(name, current.index) + 1);
  await deleteIndex(elasticsearch, next);
  await ensureTemplate(elasticsearch, name);
  await elasticsearch.request(`creating the index ${next}`, { method: 'PUT', path: pathOf(next), body: {} });
  return (await findGeneration(elasticsearch, next)) as Generation;
}

/** Lets the name stand for `index` from now on: one action, before and after which every search finds one of the two. Again changes nothing. */
export async function pointTo(elasticsearch: Elasticsearch, name: string, index: string): Promise<void> {
  const current = await findGeneration(elasticsearch, name);
  if (current?.index === index) return;
  // What was written a moment ago is found by no search yet.
  await elasticsearch.request(`refreshing ${index}`, { method: 'POST', path: `${pathOf(index)}/_refresh` });
  // An index that has the name itself must go for the alias to have it.
  const leave = current === undefined ? [] : current.index === name ? [{ remove_index: { index: name } }] : [{ remove: { index: current.index, alias: name } }];
  await elasticsearch.request(`letting ${name} stand for ${index}`, { method: 'POST', path: '/_aliases', body: { actions: [...leave, { add: { index, alias: name } }] } });
}

/** Every generation of the name, and an index of the name itself. */
export async function allGenerations(elasticsearch: Elasticsearch, name: string): Promise<Generation[]> {
  const found = [...(await settingsOf(elasticsearch, name)), ...(await settingsOf(elasticsearch, `${name}-0*`))];
  return found.filter(({ index }, at) => (index === name || numberOf(name, index) > 0) && found.findIndex((other) => other.index === index) === at);
}

/** Deletes every generation but the one that the name stands for. */
export async function deleteOldGenerations(elasticsearch: Elasticsearch, name: string): Promise<void> {
  const current = await findGeneration(elasticsearch, name);
  for (const { index } of await allGenerations(elasticsearch, name)) if (index !== current?.index) await deleteIndex(elasticsearch, index);
}

/** Deletes an index (not an alias); false where there is none. */
export async function deleteIndex(elasticsearch: Elasticsearch, index: string): Promise<boolean> {
  const { status } = await elasticsearch.request(`deleting the index ${index}`, { method: 'DELETE', path: pathOf(index), accept: [404] });
  return status !== 404;
}

async function settingsOf(elasticsearch: Elasticsearch, expression: string): Promise<Generation[]> {
  const { status, text } = await elasticsearch.request(`looking up the index ${expression}`, { method: 'GET', path: `${pathOf(expression)}/_settings/index.uuid`, accept: [404] });
  if (status === 404) return [];
  const found = JSON.parse(text) as Record<string, { settings: { index: { uuid: string } } }>;
  return Object.entries(found).map(([index, { settings }]) => ({ index, uuid: settings.index.uuid }));
}

/** 0 for an index of the name itself, and for one that is no generation of it. */
function numberOf(name: string, index: string): number {
  const digits = index.startsWith(`${name}-`) ? index.slice(name.length + 1) : '';
  return /^\d{6}$/.test(digits) ? Number(digits) : 0;
}

function numbered(name: string, number: number): string {
  return `${name}-${String(number).padStart(6, '0')}`;
}

function pathOf(index: string): string {
  return `/${encodeURIComponent(index)}`;
}
