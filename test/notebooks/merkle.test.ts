import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createMerkleTree, type Leaf } from '../../src/traffic/merkle.ts';
import { repository } from '../config/bundle.ts';

const sha256 = (...parts: Uint8Array[]): Buffer => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();

/** RFC 6962, section 2.1, word for word: split at the largest power of two below the number of leaves. */
function treeHash(leaves: readonly Uint8Array[]): Buffer {
  const [only] = leaves;
  if (only === undefined) return sha256();
  if (leaves.length === 1) return sha256(Buffer.of(0), only);
  let split = 1;
  while (split * 2 < leaves.length) split *= 2;
  return sha256(Buffer.of(1), treeHash(leaves.slice(0, split)), treeHash(leaves.slice(split)));
}

const shard = (n: number): Leaf => ({ shard: BigInt(n), first: BigInt(n * 100), last: BigInt(n * 100 + 99), records: 100n, sha256: 'ab'.repeat(32) });
const text = (leaf: Leaf): Buffer => Buffer.from(`${leaf.shard} ${leaf.first} ${leaf.last} ${leaf.records} ${leaf.sha256}`);

function merkleRoot(leaves: readonly Leaf[]): string | null {
  const tree = createMerkleTree();
  for (const leaf of leaves) tree.add(leaf);
  return tree.root();
}

const hex = (text: string): Buffer => Buffer.from(text, 'hex');
// The inputs and roots of Certificate Transparency's own reference test (merkle_tree_test.cc).
const INPUTS = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657', '606162636465666768696a6b6c6d6e6f'].map(hex);
const ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

describe('the tree hash', () => {
  it.each(ROOTS.map((root, at) => [at + 1, root] as const))('over %i leaves is that of the reference', (count, root) => {
    expect(treeHash(INPUTS.slice(0, count)).toString('hex')).toBe(root);
  });
});

describe('the root over shards', () => {
  const all = Array.from({ length: 70 }, (_, n) => shard(n));

  it('is the tree hash of their leaves', () => {
    for (let count = 1; count <= all.length; count += 1) expect(merkleRoot(all.slice(0, count))).toBe(treeHash(all.slice(0, count).map(text)).toString('hex'));
    expect(merkleRoot([])).toBeNull();
  });

  it('changes with any shard and with their order', () => {
    const shards = all.slice(0, 5);
    const changed = (more: Partial<Leaf>): Leaf[] => shards.with(2, { ...shard(2), ...more });
    const roots = [shards, shards.slice(1), shards.toReversed(), changed({ sha256: 'ac'.repeat(32) }), changed({ records: 99n }), changed({ last: 298n })].map(merkleRoot);
    expect(new Set(roots).size).toBe(roots.length);
  });

  it('is the same in the notebooks', () => {
    const program = 'import sys; sys.path.insert(0, "notebooks/pipeline"); import merkle; print("\\n".join(merkle.root(merkle.shard_leaf(i, i*100, i*100+99, 100, "ab"*32) for i in range(n)) for n in range(1, 71)))';
    const printed = execFileSync('python3', ['-c', program], { cwd: repository, encoding: 'utf8' }).trim().split('\n');
    expect(printed).toEqual(all.map((_, at) => merkleRoot(all.slice(0, at + 1))));
  });
});
