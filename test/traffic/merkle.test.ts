import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createMerkleTree, type Leaf } from '../../src/traffic/merkle.ts';

const leaf = (shard: number, sha256 = `hash ${shard}`): Leaf => ({ shard: BigInt(shard), first: BigInt(shard * 100), last: BigInt(shard * 100 + 99), records: 100n, sha256 });

function rootOf(leaves: readonly Leaf[]): string | null {
  const tree = createMerkleTree();
  for (const each of leaves) tree.add(each);
  return tree.root();
}

/** RFC 6962, section 2.1, as it is written there. */
function recursive(leaves: readonly Leaf[]): Buffer {
  const sha = (...parts: (string | Buffer)[]): Buffer => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
  const [only] = leaves;
  if (leaves.length === 1 && only !== undefined) return sha('\u0000', `${only.shard} ${only.first} ${only.last} ${only.records} ${only.sha256}`);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha('\u0001', recursive(leaves.slice(0, split)), recursive(leaves.slice(split)));
}

describe('Merkle tree', () => {
  it('has no root without leaves', () => {
    expect(rootOf([])).toBeNull();
  });

  it('is the tree of RFC 6962, whatever the number of leaves', () => {
    for (let count = 1; count <= 70; count += 1) {
      const leaves = Array.from({ length: count }, (_, shard) => leaf(shard));
      expect(rootOf(leaves)).toBe(recursive(leaves).toString('hex'));
    }
  });

  it('has another root when one leaf is changed, left out, or stands elsewhere', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 40 }), fc.nat(), (count, pick) => {
        const leaves = Array.from({ length: count }, (_, shard) => leaf(shard));
        const at = pick % count;
        const root = rootOf(leaves);
        expect(rootOf(leaves.with(at, leaf(at, 'another hash')))).not.toBe(root);
        expect(rootOf(leaves.toSpliced(at, 1))).not.toBe(root);
        expect(rootOf([...leaves.slice(1), leaves[0] as Leaf])).not.toBe(root);
      }),
    );
  });
});
