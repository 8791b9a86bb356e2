import { loadConfig } from '../src/config/load.ts';
import { bulkIndex } from '../src/elasticsearch/bulk.ts';
import { openElasticsearch, type Elasticsearch } from '../src/elasticsearch/connect.ts';
import { bulkDocument, type WindowRow } from '../src/elasticsearch/document.ts';
import { documentCount } from '../src/elasticsearch/read.ts';
import { deleteIndex } from '../src/elasticsearch/generations.ts';
import { deleteTemplate, ensureTemplate } from '../src/elasticsearch/template.ts';
import { median, perSecond, type Measured, type Setting } from './setting.ts';

const DOCUMENTS = 100_000;
const ROUNDS = 3;
const INDEX = 'traffic_windows_bench';

/**
 * `export`'s way of writing (rows made into documents, each item's answer read) against the same bodies prepared beforehand
 * and posted to `_bulk` with two requests at a time and only their status looked at; a new index each time, in turns.
 */
export async function run({ root, log }: Setting): Promise<Measured[]> {
  const elasticsearch = await openElasticsearch(loadConfig({ cwd: root, target: 'local', vars: [], needsEnvironment: true }));
  const rates: Record<'ours' | 'raw', number[]> = { ours: [], raw: [] };
  try {
    const bodies = [...prepared()];
    // The first round warms Elasticsearch up.
    for (let round = 0; round <= ROUNDS; round += 1) {
      const raw = await onNewIndex(elasticsearch, () => postRaw(elasticsearch, bodies));
      const ours = await onNewIndex(elasticsearch, () => postOurs(elasticsearch));
      if (round === 0) continue;
      rates.raw.push(raw);
      rates.ours.push(ours);
      log(`export, round ${round} of ${ROUNDS}: ${perSecond(ours, 'documents')}; raw ${perSecond(raw, 'documents')}`);
    }
  } finally {
    await clear(elasticsearch);
    await elasticsearch.close();
  }
  const [ours, raw] = [median(rates.ours), median(rates.raw)] as [number, number];
  return [
    { what: 'export: bulk', value: perSecond(ours, 'documents') },
    { what: 'raw _bulk, bodies prepared beforehand', value: perSecond(raw, 'documents'), ratio: ours / raw },
  ];
}

async function clear(elasticsearch: Elasticsearch): Promise<void> {
  await deleteIndex(elasticsearch, INDEX);
  await deleteTemplate(elasticsearch, INDEX);
}

/** Documents per second; a run that lost some counts as none. */
async function onNewIndex(elasticsearch: Elasticsearch, write: () => Promise<void>): Promise<number> {
  await clear(elasticsearch);
  await ensureTemplate(elasticsearch, INDEX);
  const startedAt = performance.now();
  await write();
  const seconds = (performance.now() - startedAt) / 1000;
  const found = await documentCount(elasticsearch, INDEX);
  if (found !== BigInt(DOCUMENTS)) throw new Error(`${String(found)} of ${DOCUMENTS} documents are in the index`);
  return DOCUMENTS / seconds;
}

async function postOurs(elasticsearch: Elasticsearch): Promise<void> {
  const report = await bulkIndex(elasticsearch, INDEX, groups());
  if (report.error !== undefined) throw report.error;
}

async function postRaw(elasticsearch: Elasticsearch, bodies: readonly string[]): Promise<void> {
  const left = bodies.values();
  const worker = async (): Promise<void> => {
    for (const body of left) await elasticsearch.request('raw', { method: 'POST', path: `/${INDEX}/_bulk`, query: { filter_path: 'errors' }, body });
  };
  await Promise.all([worker(), worker()]);
}

function* prepared(): Generator<string> {
  for (let from = 0; from < DOCUMENTS; from += 5000) yield rows(from, 5000).map((row) => bulkDocument(row).lines).join('');
}

async function* groups(): AsyncGenerator<ReturnType<typeof bulkDocument>[]> {
  for (let from = 0; from < DOCUMENTS; from += 5000) yield rows(from, 5000).map((row) => bulkDocument(row));
}

function rows(from: number, count: number): WindowRow[] {
  const at = (window: number): string => new Date(1_700_000_400_000 + window * 600_000).toISOString().replace('.000', '');
  return Array.from({ length: count }, (_, i) => {
    const n = from + i;
    return {
      topic: 'traffic_counter', key: `site-${n % 7}`, window_start: at(n), window_end: at(n + 1), count: 6n, sum: `${n * 6}`, mean: n + 1 / 3, median: `${n}.5`, stddev_samp: n / 7,
      min: BigInt(n), max: BigInt(n + 9), revision: 1n, closed_by: 'watermark', first_offsets: { 0: BigInt(n), 1: BigInt(n) }, last_offsets: { 0: BigInt(n + 3), 1: BigInt(n + 3) }, sequence: BigInt(n + 1),
    };
  });
}
