import type { Config } from '../config/config.ts';
import type { Workspace } from './client.ts';
import { runNotebook, type NotebookRun } from './notebook.ts';

/** What checking every object of the backup found (notebooks/pipeline/restore.py). */
export type Verified = {
  uri: string;
  objects: number;
  records: number;
  /** Objects without a line in the manifest: left by a run that did not end, adopted by the next. */
  unlisted: number;
  /** Sealed shards that no run has copied yet. */
  not_backed_up: number;
  problem_count: number;
  /** The first hundred. */
  problems: { topic: string; partition: number; shard: number; problem: string }[];
  partitions: { topic: string; partition: number; shards: number; root: string; ledger_root: string | null }[];
};

/** Reads every object of the backup, in Spark, against the manifest, and the manifest against the ledger of shards. */
export function verifyBackup(workspace: Workspace, config: Config, options: Pick<NotebookRun, 'deadlineMs' | 'signal' | 'onUpdate'>): Promise<Verified> {
  return runNotebook<Verified>(workspace, config, { ...options, job: 'backup', task: 'backup', parameters: { action: 'verify', backup_uri: config.pipeline.backup_uri } });
}
