import type { Verified } from '../databricks/backup.ts';
import { note, type Differences } from './difference.ts';

/** The second copy, object by object. */
export type BackupProof = {
  uri: string;
  objects: bigint;
  records: bigint;
  /** Sealed shards that no run has copied yet. */
  waiting: bigint;
  partitions: { topic: string; partition: number; shards: bigint; merkleRoot: string }[];
};

/** Every object that is missing or not what was written becomes a difference that names its shard. */
export function proveBackup({ uri, objects, records, not_backed_up, problem_count, problems, partitions }: Verified, differences: Differences): BackupProof {
  for (const { topic, partition, shard, problem } of problems) note(differences, { stage: 'backup', topic, partition, shard: BigInt(shard), message: `backup of shard ${shard} of ${topic}/${partition}: ${problem}` });
  // The verification lists no more than the first.
  differences.count += problem_count - problems.length;
  return {
    uri,
    objects: BigInt(objects),
    records: BigInt(records),
    waiting: BigInt(not_backed_up),
    partitions: partitions.map(({ topic, partition, shards, root }) => ({ topic, partition, shards: BigInt(shards), merkleRoot: root })),
  };
}
