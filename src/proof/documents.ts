import { isDeepStrictEqual } from 'node:util';
import { windowsInOrder, type Period, type Proof } from '../databricks/proof.ts';
import { bulkDocument, type WindowRow } from '../elasticsearch/document.ts';
import type { Elasticsearch } from '../elasticsearch/connect.ts';
import { exportedUpTo } from '../elasticsearch/cursor.ts';
import { documentsBySequence, parseExact, type KeptDocument } from '../elasticsearch/read.ts';
import { note, type Differences } from './difference.ts';

export type DocumentsProof = {
  index: string;
  documents: bigint;
  /** The same, value by value, revision and version included. */
  same: bigint;
  /** Windows that changed after the last export. */
  waiting: bigint;
  /** Documents of windows that were changed and exported while the proof was running. */
  newer: bigint;
};

type Target = { elasticsearch: Elasticsearch; index: string };
/** `waiting`: ids of windows whose newest revision has not been exported; an older one of theirs is in the index, rightly. */
type Unmatched = { windows: Map<string, Expected>; documents: Map<string, KeptDocument>; waiting: Set<string> };
type Expected = { id: string; version: bigint; text: string; readonly source: Record<string, unknown>; window: WindowRow };

/** So many of each side are kept to be paired by their id; past it a difference is counted and not explained. */
const KEPT_UNMATCHED = 1000;
const KEPT_WAITING = 200_000;

/** Every exported window against its document, both read once, in the order of `sequence`. */
export async function proveDocuments(proof: Proof, period: Period, { elasticsearch, index }: Target, differences: Differences): Promise<DocumentsProof> {
  const exported = await exportedUpTo(elasticsearch, index);
  const found: DocumentsProof = { index, documents: 0n, same: 0n, waiting: 0n, newer: 0n };
  const unmatched: Unmatched = { windows: new Map(), documents: new Map(), waiting: new Set() };
  const millis = (micros: bigint | undefined): number | undefined => (micros === undefined ? undefined : Number(micros / 1000n));
  const documents = flat(documentsBySequence(elasticsearch, index, { from: millis(period.from), to: millis(period.to) }));
  const windows = expectedDocuments(proof, period);
  let newest = 0n;
  try {
    let [window, document] = await Promise.all([windows.next(), documents.next()]);
    while (!window.done || !document.done) {
      const wanted = window.done ? undefined : window.value;
      const kept = document.done ? undefined : document.value;
      const [sequence, keptSequence] = [wanted?.window.sequence, kept?.sequence];
      if (sequence !== undefined && sequence > newest) newest = sequence;
      const isWindow = wanted !== undefined && (keptSequence === undefined || (sequence as bigint) <= keptSequence);
      const isDocument = kept !== undefined && (sequence === undefined || (keptSequence as bigint) <= sequence);
      if (isDocument) found.documents += 1n;
      if (isWindow && isDocument && isSame(wanted, kept)) found.same += 1n;
      else {
        if (isWindow && (sequence as bigint) > exported && !isDocument) {
          found.waiting += 1n;
          if (wanted.version > 1n && unmatched.waiting.size < KEPT_WAITING) unmatched.waiting.add(wanted.id);
        }
        else if (isWindow) keep(unmatched.windows, wanted.id, wanted, differences, proof.topics[0] as string);
        if (isDocument) keep(unmatched.documents, kept.id, kept, differences, proof.topics[0] as string);
      }
      if (isWindow) window = await windows.next();
      if (isDocument) document = await documents.next();
    }
  } finally {
    await windows.return(undefined);
    await documents.return(undefined);
  }
  explain(unmatched, { newest, exported }, found, differences);
  return found;
}

async function* expectedDocuments(proof: Proof, period: Period): AsyncGenerator<Expected, void, undefined> {
  const { columns, batches } = await windowsInOrder(proof, period);
  const names = columns.map((column) => column.name);
  for await (const batch of batches) for (const cells of batch) yield expectedDocument(Object.fromEntries(names.map((name, at) => [name, cells[at]])) as unknown as WindowRow);
}

/** The document that an export writes for this window. */
export function expectedDocument(window: WindowRow): Expected {
  const { id, lines } = bulkDocument(window);
  const text = lines.slice(lines.indexOf('\n') + 1, -1);
  return {
    id,
    version: window.revision,
    text,
    window,
    get source() {
      return parseExact(text) as Record<string, unknown>;
    },
  };
}

async function* flat(pages: AsyncGenerator<KeptDocument[], void, undefined>): AsyncGenerator<KeptDocument, void, undefined> {
  for await (const page of pages) yield* page;
}

function isSame(wanted: Expected, kept: KeptDocument): boolean {
  return wanted.id === kept.id && wanted.version === kept.version && (wanted.text === kept.text || isDeepStrictEqual(wanted.source, kept.source));
}

function keep<T>(side: Map<string, T>, id: string, value: T, differences: Differences, topic: string): void {
  if (side.size < KEPT_UNMATCHED) side.set(id, value);
  else note(differences, { stage: 'documents', topic, document: id, message: `document ${id} differs` });
}

/** Pairs what found no equal: an altered document names its field, the others are missing or have no window. */
function explain({ windows, documents, waiting }: Unmatched, { newest, exported }: { newest: bigint; exported: bigint }, found: DocumentsProof, differences: Differences): void {
  for (const [id, wanted] of windows) {
    const kept = documents.get(id);
    documents.delete(id);
    const { topic, key, window_start: windowStart, sequence } = wanted.window;
    const base = { stage: 'documents', topic, key, windowStart, document: id } as const;
    if (kept === undefined) {
      note(differences, { ...base, message: `document ${id} (revision ${wanted.version}) is not in the index` });
      continue;
    }
    if (kept.sequence > newest) {
      found.newer += 1n;
      continue;
    }
    const difference = firstField(wanted, kept);
    if (difference !== undefined) note(differences, { ...base, ...difference, message: `document ${id}: ${difference.field} is ${json(difference.found)}, and the window's is ${json(difference.expected)}` });
    else if (sequence <= exported) note(differences, { ...base, message: `document ${id} stands more than once in the index` });
  }
  for (const [id, kept] of documents) {
    if (kept.sequence > newest) found.newer += 1n;
    else if (!waiting.has(id)) note(differences, { stage: 'documents', topic: String(kept.source.topic), document: id, message: `document ${id} (version ${kept.version}) is in the index, and there is no such window` });
  }
}

function firstField({ version, source }: Expected, kept: KeptDocument): { field: string; expected: unknown; found: unknown } | undefined {
  const { source: keptSource } = kept;
  const names = [...new Set([...Object.keys(source), ...Object.keys(keptSource)])];
  const name = names.find((field) => !isDeepStrictEqual(source[field], keptSource[field]));
  if (name !== undefined) return { field: name, expected: source[name], found: keptSource[name] };
  return version === kept.version ? undefined : { field: '_version', expected: version, found: kept.version };
}

function json(value: unknown): string {
  return typeof value === 'bigint' ? String(value) : (JSON.stringify(value, (_key, item: unknown) => (typeof item === 'bigint' ? String(item) : item)) ?? 'absent');
}
