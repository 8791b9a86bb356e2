import { rawRows, type Extent } from '../databricks/proof.ts';
import { isReplayed } from '../databricks/quarantine.ts';
import type { Row } from '../databricks/sql.ts';
import type { BrokerRecord } from '../kafka/read.ts';
import { lineOf } from '../traffic/digest.ts';
import { repeatsName } from '../traffic/repeated.ts';
import type { Difference } from './difference.ts';
import type { Side } from './records.ts';

const FIELDS = ['offset', 'broker_timestamp', 'error', 'event_time', 'value', 'key', 'record_key', 'headers'] as const;
/** What depends on how the payload is read. */
const JUDGED = new Set(['error', 'event_time', 'value', 'key']);

/** The rows of a few offsets, record by record: the first that is not what the broker holds; null where there is none. `raw` may have more, which the broker has dropped; `ambiguous` are records that name a field twice, `replayed` bad ones that a later rule would accept, had not their replays taken their place. */
export async function firstDifference({ proof, reader, rules }: Side, slice: Extent): Promise<{ difference: Difference | null; ambiguous: bigint; replayed: bigint }> {
  let [ambiguous, replayed] = [0n, 0n];
  const { topic, partition } = slice;
  const rows = await Array.fromAsync(rawRows(proof, slice));
  const records = (await Array.fromAsync(reader.read({ topic, partition, from: slice.first, to: slice.next }))).flat();
  const byOffset = Map.groupBy(rows, (row) => row.offset as bigint);
  const place = (offset: bigint): string => `${topic}/${partition} offset ${offset}`;
  const base = { stage: 'records', topic, partition } as const;
  for (const record of records) {
    const { offset } = record;
    const [row, again] = byOffset.get(offset) ?? [];
    if (row === undefined) return { ambiguous, replayed, difference: { ...base, offset, message: `${place(offset)} is at the broker and not in raw` } };
    if (again !== undefined) return { ambiguous, replayed, difference: { ...base, offset, message: `${place(offset)} stands more than once in raw` } };
    const field = differingField(record, row, lineOf(record, rules).line);
    if (field === null) continue;
    if (JUDGED.has(field.name) && record.value !== null && repeatsName(record.value.toString())) {
      ambiguous += 1n;
      continue;
    }
    if (field.name === 'error' && field.expected === '' && (await isReplayed(proof.sql, proof.tables, { topic, partition, offset }))) {
      replayed += 1n;
      continue;
    }
    const message = `${place(offset)}: ${field.name} is ${shown(field.found)} in raw, ${shown(field.expected)} by the broker's record`;
    return { ambiguous, replayed, difference: { ...base, offset, field: field.name, expected: field.expected, found: field.found, message } };
  }
  const twice = [...byOffset].find(([, found]) => found.length > 1);
  if (twice !== undefined) return { ambiguous, replayed, difference: { ...base, offset: twice[0], message: `${place(twice[0])} stands more than once in raw` } };
  return { ambiguous, replayed, difference: null };
}

type Field = { name: string; expected: unknown; found: unknown };

function differingField(record: BrokerRecord, row: Row, line: string): Field | null {
  const payload = record.value?.toString('base64') ?? null;
  if (payload !== row.payload) return { name: 'payload', expected: text(record.value), found: text(row.payload === null ? null : Buffer.from(String(row.payload), 'base64')) };
  if (line === row.line) return null;
  const [expected, found] = [line.trimEnd().split('|'), String(row.line).trimEnd().split('|')];
  // A key with the separator in it moves what stands behind it; the first that differs is named all the same.
  const at = expected.findIndex((part, index) => part !== found[index]);
  return { name: FIELDS[at] ?? 'headers', expected: expected[at] ?? null, found: found[at] ?? null };
}

function text(bytes: Buffer | null): string | null {
  return bytes === null ? null : bytes.toString().slice(0, 200);
}

function shown(value: unknown): string {
  return value === null || value === '' ? 'nothing' : String(value);
}
