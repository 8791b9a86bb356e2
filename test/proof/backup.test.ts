import { expect, it } from 'vitest';
import type { Verified } from '../../src/databricks/backup.ts';
import { proveBackup } from '../../src/proof/backup.ts';
import type { Differences } from '../../src/proof/difference.ts';

it('each object that is not what it must be names its shard; those beyond the list are counted', () => {
  const verified: Verified = {
    uri: 'file:/copy', objects: 7, records: 700, unlisted: 0, not_backed_up: 2, problem_count: 130,
    problems: [{ topic: 't', partition: 1, shard: 3, problem: 'its object is missing' }, { topic: 't', partition: 1, shard: 4, problem: 'its object is missing' }],
    partitions: [{ topic: 't', partition: 1, shards: 7, root: 'ab', ledger_root: 'ab' }],
  };
  const differences: Differences = { first: null, count: 0 };
  expect(proveBackup(verified, differences)).toEqual({ uri: 'file:/copy', objects: 7n, records: 700n, waiting: 2n, partitions: [{ topic: 't', partition: 1, shards: 7n, merkleRoot: 'ab' }] });
  expect(differences).toEqual({ first: { stage: 'backup', topic: 't', partition: 1, shard: 3n, message: 'backup of shard 3 of t/1: its object is missing' }, count: 130 });
});
