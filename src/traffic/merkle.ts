import { createHash } from 'node:crypto';

/** A sealed shard as its row in `shards` has it; numbers as text or bigint, whatever their size. */
export type SealedShard = { shard: bigint | number | string; first_offset: bigint | number | string; last_offset: bigint | number | string; records: bigint | number | string; sha256: string };

/** The root over a partition's sealed shards in their order, hex: the tree hash of RFC 6962 with SHA-256, as notebooks/pipeline/merkle.py has it. */
export function merkleRoot(shards: readonly SealedShard[]): string {
  const leaves = shards.map((s) => Buffer.from(`${s.shard} ${s.first_offset} ${s.last_offset} ${s.records} ${s.sha256}`));
  return treeHash(leaves).toString('hex');
}

/** RFC 6962, section 2.1, word for word: split at the largest power of two below the number of leaves. */
export function treeHash(leaves: readonly Uint8Array[]): Buffer {
  const [only] = leaves;
  if (only === undefined) return sha256();
  if (leaves.length === 1) return sha256(Buffer.of(0), only);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha256(Buffer.of(1), treeHash(leaves.slice(0, split)), treeHash(leaves.slice(split)));
}

function sha256(...parts: Uint8Array[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
}
