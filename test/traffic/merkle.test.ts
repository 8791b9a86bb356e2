import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { merkleRoot, treeHash, type SealedShard } from '../../src/traffic/merkle.ts';
import { repository } from '../config/bundle.ts';

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

  it('over nothing is the digest of nothing', () => {
    expect(merkleRoot([])).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  });

  it('changes with any shard and with their order', () => {
    const shard = (n: number): SealedShard => ({ shard: n, first_offset: n * 100, last_offset: n * 100 + 99, records: 100, sha256: 'ab'.repeat(32) });
    const shards = [0, 1, 2, 3, 4].map(shard);
    const roots = [shards, shards.slice(1), shards.toReversed(), shards.with(2, { ...shard(2), sha256: 'ac'.repeat(32) }), shards.with(2, { ...shard(2), records: 99 })].map(merkleRoot);
    expect(new Set(roots).size).toBe(roots.length);
  });

  it('is the same in the notebooks, for every number of leaves up to 70', () => {
    const program = 'import sys; sys.path.insert(0, "notebooks/pipeline"); import merkle; print("\\n".join(merkle.root(merkle.shard_leaf(i, i*100, i*100+99, 100, "ab") for i in range(n)) for n in range(71)))';
    const printed = execFileSync('python3', ['-c', program], { cwd: join(repository), encoding: 'utf8' }).trim().split('\n');
    const all = Array.from({ length: 70 }, (_, n) => ({ shard: n, first_offset: n * 100, last_offset: n * 100 + 99, records: 100, sha256: 'ab' }));
    expect(printed).toEqual(Array.from({ length: 71 }, (_, count) => merkleRoot(all.slice(0, count))));
  });
});
