import { Failure } from '../errors.ts';
import { retry } from '../poll.ts';
import type { Elasticsearch } from './connect.ts';
import type { BulkDocument } from './document.ts';

export type RejectedDocument = { id: string; sequence: bigint; status: number; type: string; reason: string };

export type BulkReport = {
  /** Acknowledged as created or replaced. */
  written: number;
  /** Already there in this revision, or in a newer one. */
  unchanged: number;
  rejectedCount: number;
  /** The first rejected ones, at most KEPT_REJECTED. */
  rejected: RejectedDocument[];
  bytes: number;
  /** Every document up to this sequence is in the index; undefined before the first such. */
  safeSequence: bigint | undefined;
  /** Why it ended early; the rest of the report holds all the same. */
  error?: unknown;
};

export type BulkOptions = {
  signal?: AbortSignal;
  /** Called after each answer, with the report so far. */
  onProgress?(report: BulkReport): void;
  batchBytes?: number;
  batchDocuments?: number;
  /** Requests at a time. */
  inFlight?: number;
  /** Tries of one request that Elasticsearch is too busy for, or does not answer. */
  times?: number;
  firstPauseMs?: number;
};

type Batch = { documents: BulkDocument[]; bytes: number; isDone: boolean };
type Item = { status: number; error?: { type?: string; reason?: string } };

type Bulk = {
  elasticsearch: Elasticsearch;
  path: string;
  options: BulkOptions;
  report: BulkReport;
  /** In the order in which they were read: the safe sequence moves past a batch only when all before it are done. */
  waiting: Batch[];
  lowestRejected: bigint | undefined;
  running: Set<Promise<void>>;
};

const KEPT_REJECTED = 100;
const QUERY = { filter_path: 'errors,items.*.status,items.*.error.type,items.*.error.reason' };

/** Sends documents, which come in the order of their sequence; a rejected one stops no other. Failures stand in the report. */
export async function bulkIndex(elasticsearch: Elasticsearch, index: string, groups: AsyncIterable<Iterable<BulkDocument>>, options: BulkOptions = {}): Promise<BulkReport> {
  const bulk: Bulk = {
    elasticsearch,
    path: `/${encodeURIComponent(index)}/_bulk`,
    options,
    report: { written: 0, unchanged: 0, rejectedCount: 0, rejected: [], bytes: 0, safeSequence: undefined },
    waiting: [],
    lowestRejected: undefined,
    running: new Set(),
  };
  try {
    await readAll(bulk, groups);
  } catch (error) {
    bulk.report.error ??= error;
  }
  await Promise.all(bulk.running);
  return bulk.report;
}

async function readAll(bulk: Bulk, groups: AsyncIterable<Iterable<BulkDocument>>): Promise<void> {
  const { batchBytes = 2_097_152, batchDocuments = 5000 } = bulk.options;
  let batch: Batch = { documents: [], bytes: 0, isDone: false };
  let last: bigint | undefined;
  for await (const group of groups) {
    for (const document of group) {
      batch.documents.push(document);
      batch.bytes += document.lines.length;
      last = document.sequence;
      if (batch.bytes < batchBytes && batch.documents.length < batchDocuments) continue;
      await start(bulk, batch);
      batch = { documents: [], bytes: 0, isDone: false };
    }
  }
  if (batch.documents.length > 0) await start(bulk, batch);
  await Promise.all(bulk.running);
  // Only now is it known that no further document has the last sequence.
  if (last !== undefined && bulk.report.error === undefined) moveSafe(bulk, last);
}

async function start(bulk: Bulk, batch: Batch): Promise<void> {
  while (bulk.running.size >= (bulk.options.inFlight ?? 2)) await Promise.race(bulk.running);
  bulk.options.signal?.throwIfAborted();
  if (bulk.report.error !== undefined) throw bulk.report.error;
  bulk.waiting.push(batch);
  const request = send(bulk, batch)
    .then(() => settle(bulk, batch))
    .catch((error: unknown) => void (bulk.report.error ??= error))
    .finally(() => bulk.running.delete(request));
  bulk.running.add(request);
}

/** Sends a batch until each of its documents is written, known or rejected. */
async function send(bulk: Bulk, batch: Batch): Promise<void> {
  const { elasticsearch, path, options } = bulk;
  let pending = batch.documents;
  await retry({ times: options.times ?? 8, firstPauseMs: options.firstPauseMs ?? 250, signal: options.signal }, async () => {
    const body = pending.map((document) => document.lines).join('');
    const { text } = await elasticsearch.request(`writing ${pending.length} documents`, { method: 'POST', path, query: QUERY, body });
    pending = take(bulk, pending, text);
    if (pending.length === 0) return;
    throw new Failure({ code: 'ELASTICSEARCH_BUSY', kind: 'remote', retriable: true, message: `Elasticsearch was too busy for ${pending.length} documents`, hint: 'Run the export again: it goes on where it stopped.' });
  });
}

/** Counts what became of each document, and returns those that Elasticsearch was too busy for. */
function take(bulk: Bulk, documents: BulkDocument[], text: string): BulkDocument[] {
  const { report } = bulk;
  const { errors, items } = JSON.parse(text) as { errors: boolean; items: Record<string, Item>[] };
  if (!errors) {
    report.written += documents.length;
    return [];
  }
  if (items.length !== documents.length) throw new Failure({ code: 'ELASTICSEARCH_REFUSED', kind: 'remote', message: `Elasticsearch answered for ${items.length} of ${documents.length} documents` });
  return documents.filter((document, at) => {
    const { status, error } = Object.values(items[at] ?? {})[0] as Item;
    if (status < 300) report.written += 1;
    else if (status === 409) report.unchanged += 1;
    else if (status === 429 || status === 503) return true;
    else reject(bulk, { id: document.id, sequence: document.sequence, status, type: error?.type ?? 'unknown', reason: error?.reason ?? 'no reason given' });
    return false;
  });
}

function reject(bulk: Bulk, rejected: RejectedDocument): void {
  bulk.report.rejectedCount += 1;
  if (bulk.report.rejected.length < KEPT_REJECTED) bulk.report.rejected.push(rejected);
  if (bulk.lowestRejected === undefined || rejected.sequence < bulk.lowestRejected) bulk.lowestRejected = rejected.sequence;
}

function settle(bulk: Bulk, batch: Batch): void {
  batch.isDone = true;
  bulk.report.bytes += batch.bytes;
  while (bulk.waiting[0]?.isDone) {
    const last = bulk.waiting.shift()?.documents.at(-1);
    // Its neighbours of the same sequence may be in the next batch.
    if (last !== undefined) moveSafe(bulk, last.sequence - 1n);
  }
  bulk.options.onProgress?.(bulk.report);
}

function moveSafe({ report, lowestRejected }: Bulk, sequence: bigint): void {
  const safe = lowestRejected !== undefined && lowestRejected <= sequence ? lowestRejected - 1n : sequence;
  if (report.safeSequence === undefined || safe > report.safeSequence) report.safeSequence = safe;
}
