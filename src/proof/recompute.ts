import { lateRows, shardPayloads, type WindowName } from '../databricks/lineage.ts';
import { isReplayed } from '../databricks/quarantine.ts';
import type { Proof } from '../databricks/proof.ts';
import type { WindowRow } from '../elasticsearch/document.ts';
import type { KeptDocument } from '../elasticsearch/read.ts';
import type { Rules } from '../traffic/digest.ts';
import { judge } from '../traffic/event.ts';
import { statistics, windowStart, type WindowStatistics } from '../traffic/window.ts';

/** One statistic as the controller, Spark and Elasticsearch have it. */
export type Comparison = { field: string; typescript: string | null; spark: string | null; elasticsearch: string | null; same: boolean };

/** What a window must be: judged and added up here, from the payloads of its shards; null where they hold no record of it. */
export async function recompute(proof: Proof, window: WindowName, shards: readonly { partition: number; shard: bigint }[], { fields, maxFutureMinutes }: Rules, published: WindowRow): Promise<WindowStatistics | null> {
  const held = new Set((await lateRows(proof, window)).filter(({ revision }) => revision === null).map(({ partition, offset }) => `${String(partition)}/${String(offset)}`));
  const values: bigint[] = [];
  for await (const row of shardPayloads(proof, window.topic, shards)) {
    const payload = row.payload === null ? null : Buffer.from(String(row.payload), 'base64');
    const verdict = judge(payload, { fields, arrivedAtMillis: Number(row.arrived), maxFutureMinutes });
    if ('error' in verdict || verdict.key !== window.key || windowStart(verdict.eventTimeMicros, proof.windowMinutes) !== window.start) continue;
    const position = { topic: window.topic, partition: Number(row.partition), offset: row.offset as bigint };
    if (row.error !== null && (await isReplayed(proof.sql, proof.tables, position))) continue;
    // What came after the window was published counts from its next revision on.
    const last = published.last_offsets[String(row.partition)];
    const isCovered = last !== undefined && (row.offset as bigint) <= BigInt(String(last));
    if (isCovered && !held.has(`${String(row.partition)}/${String(row.offset)}`)) values.push(verdict.value);
  }
  return values.length === 0 ? null : statistics(values);
}

const NAMES: [field: string, of: (computed: WindowStatistics) => bigint | number | string | null][] = [
  ['count', (computed) => computed.count],
  ['sum', (computed) => computed.sum],
  ['mean', (computed) => computed.mean],
  ['median', (computed) => computed.median],
  ['stddev_samp', (computed) => computed.stddevSamp],
  ['min', (computed) => computed.min],
  ['max', (computed) => computed.max],
];

/** Field by field; means and deviations are the same within 1e-9 of their size, everything else to the digit. */
export function compareStatistics(computed: WindowStatistics | null, published: WindowRow, document: KeptDocument | undefined): Comparison[] {
  return NAMES.map(([field, of]) => {
    const ours = computed === null ? null : of(computed);
    const [spark, elasticsearch] = [(published as unknown as Record<string, unknown>)[field], document?.source[field]];
    const isSame = same(field, ours, spark) && (document === undefined || same(field, ours, elasticsearch));
    return { field, typescript: text(ours), spark: text(spark), elasticsearch: text(elasticsearch), same: isSame };
  });
}

function same(field: string, ours: unknown, theirs: unknown): boolean {
  if (ours === null || theirs === null || theirs === undefined) return ours === (theirs ?? null);
  if (field !== 'mean' && field !== 'stddev_samp') return String(ours) === String(theirs);
  const [a, b] = [Number(ours), Number(theirs)];
  return Math.abs(a - b) <= 1e-9 * Math.max(Math.abs(a), 1e-9);
}

function text(value: unknown): string | null {
  return value === null || value === undefined ? null : String(value);
}
