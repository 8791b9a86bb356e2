import { createHash } from 'node:crypto';

/** A sealed shard as a leaf: its place, its extent and the hash of its payloads. */
export type Leaf = { shard: bigint; first: bigint; last: bigint; records: bigint; sha256: string };

export type MerkleTree = {
  add(leaf: Leaf): void;
  leaves(): number;
  /** Hex; null while there is no leaf. */
  root(): string | null;
};

/**
 * A Merkle tree as RFC 6962 has it (leaves behind 0x00, inner nodes behind 0x01, the left part a power of two), fed in the order of the
 * shards. It keeps one node a level, so a million shards cost no more than twenty hashes.
 */
export function createMerkleTree(): MerkleTree {
  const levels: { height: number; hash: Buffer }[] = [];
  let count = 0;
  return {
    add({ shard, first, last, records, sha256 }) {
      let node = { height: 0, hash: hash(0, Buffer.from(`${shard} ${first} ${last} ${records} ${sha256}`)) };
      for (let left = levels.at(-1); left?.height === node.height; left = levels.at(-1)) {
        levels.pop();
        node = { height: node.height + 1, hash: hash(1, left.hash, node.hash) };
      }
      levels.push(node);
      count += 1;
    },
    leaves: () => count,
    root: () => (levels.length === 0 ? null : levels.map((level) => level.hash).reduceRight((right, left) => hash(1, left, right)).toString('hex')),
  };
}

function hash(prefix: number, ...parts: Buffer[]): Buffer {
  const digest = createHash('sha256').update(Buffer.of(prefix));
  for (const part of parts) digest.update(part);
  return digest.digest();
}
