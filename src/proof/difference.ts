/** Where a proof found that two copies of the same thing are not the same: the first at its stage. */
export type Difference = {
  stage: 'records' | 'shards' | 'backup' | 'windows' | 'documents';
  /** One sentence that names the offset, the window or the document, and the field. */
  message: string;
  topic: string;
  partition?: number;
  offset?: bigint;
  shard?: bigint;
  key?: string;
  windowStart?: string;
  document?: string;
  field?: string;
  expected?: unknown;
  found?: unknown;
};

/** Keeps the first difference of a stage and counts the others. */
export type Differences = { first: Difference | null; count: number };

/** Adds one; only the first is kept. */
export function note(differences: Differences, difference: Difference): void {
  differences.first ??= difference;
  differences.count += 1;
}
