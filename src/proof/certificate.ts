import { createHash } from 'node:crypto';
import type { Versions } from '../databricks/proof.ts';
import type { BackupProof } from './backup.ts';
import type { Difference, Differences } from './difference.ts';
import type { DocumentsProof } from './documents.ts';
import type { PartitionProof } from './records.ts';
import type { WindowsProof } from './windows.ts';

export type Equation = { says: string; left: bigint; right: bigint; holds: boolean };

/** What `prove` found, for people, scripts and archives: counts, hashes, table versions and offsets. */
export type Certificate = {
  proved: boolean;
  madeAt: string;
  target: string;
  /** Windows and records of this period of event time; null = from the beginning, to the end. */
  period: { from: string | null; to: string | null };
  tables: Versions;
  partitions: PartitionProof[];
  /** Null where there is no backup, and for a part: the objects are checked all together. */
  backup: BackupProof | null;
  windows: WindowsProof;
  documents: DocumentsProof;
  /** The sums that must be equal. */
  equations: Equation[];
  /** The first difference at each stage, and how many there are at it. */
  differences: (Difference & { more: number })[];
  seconds: number;
  /** SHA-256 of this document without `madeAt`, `seconds` and this field: two proofs of the same state are the same. */
  sha256: string;
};

/** By stage, in the order of the way. */
export type Found = Record<Difference['stage'], Differences>;

type Parts = Omit<Certificate, 'proved' | 'equations' | 'differences' | 'sha256'> & { found: Found; isWhole: boolean };

/** Puts a proof together: it holds where every stage has no difference and every equation is one. */
export function certify({ found, isWhole, ...parts }: Parts): Certificate {
  const equations = equationsOf(parts.partitions, parts.windows, parts.documents, isWhole);
  const differences = Object.values(found).flatMap(({ first, count }) => (first === null ? [] : [{ ...first, more: count - 1 }]));
  const body = { proved: differences.length === 0 && equations.every(({ holds }) => holds), ...parts, equations, differences };
  const { madeAt: _at, seconds: _seconds, ...lasting } = body;
  const text = JSON.stringify(lasting, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
  return { ...body, sha256: createHash('sha256').update(text).digest('hex') };
}

function equationsOf(partitions: readonly PartitionProof[], windows: WindowsProof, documents: DocumentsProof, isWhole: boolean): Equation[] {
  const sum = (of: (partition: PartitionProof) => bigint): bigint => partitions.reduce((total, partition) => total + of(partition), 0n);
  const [raw, good] = [sum((p) => p.raw), sum((p) => p.good)];
  const equation = (says: string, left: bigint, right: bigint): Equation => ({ says, left, right, holds: left === right });
  return [
    equation('records read from the broker + those it no longer has = distinct offsets in raw', sum((p) => p.brokerRecords + p.fromShardsOnly), sum((p) => p.distinct)),
    equation('rows of raw = distinct offsets in raw', raw, sum((p) => p.distinct)),
    equation('rows of raw = good + quarantined', raw, good + sum((p) => p.quarantined)),
    // The offsets of a period hold records of other times, too.
    ...(isWhole ? [equation('good = counted in windows + held late + waiting for their window', good, windows.counted + windows.held + windows.waiting)] : []),
    equation('counts of the published windows = records counted again from raw', windows.publishedRecords, windows.counted),
    equation('sums of the published windows = sums of those records', BigInt(windows.publishedTotal), BigInt(windows.total)),
    equation('published windows = documents as they must be + windows waiting for export', windows.windows, documents.same + documents.newer + documents.waiting),
  ];
}
