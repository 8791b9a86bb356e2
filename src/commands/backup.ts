import { randomBytes } from 'node:crypto';
import type { Block, Command, Context } from '../command.ts';
import { verifyBackup, type Verified } from '../databricks/backup.ts';
import { connect, type Workspace } from '../databricks/client.ts';
import { runNotebook } from '../databricks/notebook.ts';
import { restoredRecords, restoredTopics } from '../databricks/restored.ts';
import { openSql } from '../databricks/sql.ts';
import { EXIT, Failure } from '../errors.ts';
import { applyAclStep, removeTopicRights, wantedRights } from '../kafka/acls.ts';
import { withAdmin, type KafkaAccess } from '../kafka/connect.ts';
import { topicOffsets } from '../kafka/offsets.ts';
import { outgoingRecords, provideRestoreTopics } from '../kafka/restored.ts';
import { sendRecords } from '../kafka/send.ts';
import { deleteTopics } from '../kafka/topics.ts';
import { clientAccess } from '../msk/access.ts';
import { usernameOf } from '../msk/logins.ts';

type Options = { action?: string; timeout?: number };
type Backup = { skipped: boolean; uri?: string; written?: number; adopted?: number; records?: number; /** What disagrees with what was sealed or backed up before; nothing was overwritten. */ conflict?: string };
type Compared = {
  records: number;
  different_records: number;
  first_different_record: string | null;
  /** `held`, of all of them: windows with late records that were held back, compared without those. */
  windows: { equal: number; different: number; younger: number; pending: number; held: number };
  differences: { topic: string; key: string; window_start: string; fields: string }[];
  unprotected_records: number;
  rpo_seconds: number;
};
type Drilled = { ok: boolean; refused: string | null; compared: Compared | null; rtoSeconds: number; stages: { name: string; seconds: number }[] };
type Result = { did: 'backup'; backup: Backup } | { did: 'verify'; verified: Verified } | { did: 'drill'; drilled: Drilled };

/** `streamgauge backup`: sealed shards to the second copy; is it whole; does it give the windows that are published. */
export const backup: Command<Options, Result> = {
  name: 'backup',
  positionals: '[action]',
  actions: ['run', 'verify', 'drill'],
  ranges: { timeout: { above: 0 } },
  summary: 'Copy sealed shards to backup_uri; `backup verify` checks every object; `backup drill` restores and compares.',
  examples: [
    ['streamgauge backup -t prod', 'what the job does after each ingest, now'],
    ['streamgauge backup verify', 'every object against its hash; exit code 6 names what is wrong'],
    ['streamgauge backup drill', 'restore into a scratch topic, compute its windows, compare with the published ones; RPO and RTO'],
  ],
  options: { timeout: { type: 'number', requiresArg: true, describe: 'Seconds to wait for each run of a job', default: 14_400 } },
  async run(context, { action = 'run', timeout = 14_400 }) {
    const { config, signal } = context;
    if (config.pipeline.backup_uri === '') {
      if (action === 'run') return { did: 'backup', backup: { skipped: true } };
      throw new Failure({ code: 'NO_BACKUP', kind: 'usage', message: `target ${config.target} has no backup: the variable backup_uri is empty`, hint: 'Set backup_uri in databricks.yml, then `streamgauge deploy` and `streamgauge backup`.' });
    }
    const workspace = await connect(config.databricks, { signal });
    const options = { deadlineMs: timeout * 1000, signal, onUpdate: (text: string) => context.progress.update(text) };
    const job: RunJob = (name, task, parameters) => runNotebook(workspace, config, { ...options, job: name, task, parameters });
    if (action === 'drill') return { did: 'drill', drilled: await drill(context, workspace, job) };
    context.progress.stage(action === 'run' ? 'backup' : action);
    if (action === 'verify') return { did: 'verify', verified: await verifyBackup(workspace, config, options) };
    const backup = await job<Backup>('backup', 'backup', { backup_uri: config.pipeline.backup_uri, report_conflict: 'true' });
    if (backup.conflict !== undefined) throw new Failure({ code: 'BACKUP_CONFLICT', kind: 'checkFailed', message: backup.conflict, hint: `See every object that is not what it was: streamgauge backup verify -t ${config.target}` });
    return { did: 'backup', backup };
  },
  render: (result) => (result.did === 'backup' ? renderBackup(result.backup) : result.did === 'verify' ? renderVerified(result.verified) : renderDrilled(result.drilled)),
  exitCode: (result) => ((result.did === 'verify' && result.verified.problem_count > 0) || (result.did === 'drill' && !result.drilled.ok) ? EXIT.checkFailed : EXIT.ok),
};

type RunJob = <T>(job: string, task: string, parameters: Record<string, string>) => Promise<T>;

/** What a drill makes, all of it named after it, so that nothing else can be meant when it is taken away. */
type Scratch = { suffix: string; schema: string; checkpoints: string; table: string; topics: string[] };

async function drill(context: Context, workspace: Workspace, job: RunJob): Promise<Drilled> {
  const { config, progress } = context;
  const { pipeline } = config;
  const suffix = `_drill_${randomBytes(4).toString('hex')}`;
  const schema = `${pipeline.schema}${suffix}`;
  const checkpoints = `${pipeline.checkpoint_root.replace(/\/$/, '')}/${suffix.slice(1)}`;
  const scratch: Scratch = { suffix, schema, checkpoints, table: `\`${pipeline.catalog}\`.\`${schema}\`.\`restored\``, topics: pipeline.topics.map((topic) => `${topic}${suffix}`) };
  const access = await clientAccess(config, 'admin');
  const stages: Drilled['stages'] = [];
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    progress.stage(`drill: ${name}`);
    const startedAt = performance.now();
    try {
      return await work();
    } finally {
      stages.push({ name, seconds: Math.round((performance.now() - startedAt) / 100) / 10 });
    }
  };
  try {
    const restored = await timed('restore', () => job<{ refused?: string }>('backup', 'backup', { action: 'restore', backup_uri: pipeline.backup_uri, topics: pipeline.topics.join(','), restore_schema: schema, restore_table: 'restored' }));
    if (restored.refused !== undefined) return { ok: false, refused: restored.refused, compared: null, rtoSeconds: total(stages), stages };
    await timed('topic', () => fillTopics(context, access, scratch));
    const compared = await timed('windows', () => job<Compared>('backup_drill', 'compare', { topics: scratch.topics.join(','), schema, checkpoint_root: checkpoints, drill_suffix: suffix, production_schema: pipeline.schema }));
    return { ok: compared.windows.different === 0 && compared.different_records === 0, refused: null, compared, rtoSeconds: total(stages), stages };
  } finally {
    await timed('clean up', () => cleanUp(context, workspace, access, scratch));
  }
}

function total(stages: Drilled['stages']): number {
  return Math.round(stages.reduce((sum, { seconds }) => sum + seconds, 0) * 10) / 10;
}

/** Scratch topics with the restored records, each in its partition; the pipeline's user may read them. */
async function fillTopics({ config, progress, signal }: Context, access: KafkaAccess, { table, suffix }: Scratch): Promise<void> {
  const { pipeline } = config;
  const sql = await openSql(config, signal);
  try {
    const restored = await Array.fromAsync(sql.rows(restoredTopics(table)));
    const wanted = pipeline.topics.map((topic) => {
      const partitions = Number(restored.find((row) => row.topic === topic)?.partitions ?? 1);
      return { name: `${topic}${suffix}`, partitions, replicationFactor: pipeline.replication_factor, minInsyncReplicas: pipeline.min_insync_replicas };
    });
    await withAdmin(access, 'providing scratch topics', async (admin) => {
      await provideRestoreTopics(admin, wanted, (topics) => topicOffsets(access, topics));
      if (pipeline.kafka_auth !== 'scram') return;
      const users = { admin: usernameOf(pipeline.cluster_name, 'admin'), pipeline: usernameOf(pipeline.cluster_name, 'pipeline') };
      const names = wanted.map(({ name }) => name);
      const rights = wantedRights({ ...pipeline, topics: names }, users).filter(({ resource, name }) => resource === 'topic' && names.includes(name));
      await applyAclStep(admin, { do: 'allow', rights });
    });
    const { columns, batches } = await sql.execute(restoredRecords(table));
    const report = await sendRecords(access, outgoingRecords(batches, columns, (topic) => `${topic}${suffix}`), { signal, onProgress: (records) => progress.update(`${records} records acknowledged`) });
    if (report.error !== undefined) throw report.error;
    signal.throwIfAborted();
  } finally {
    await sql.close();
  }
}

/** Also after an interrupt, which has ended the workspace's own calls; says what it could not take away, and hides no other error. */
async function cleanUp({ config, progress }: Context, workspace: Workspace, access: KafkaAccess, { schema, checkpoints, topics }: Scratch): Promise<void> {
  const signal = AbortSignal.timeout(300_000);
  const removals: [what: string, work: () => Promise<unknown>][] = [
    [`the topics ${topics.join(', ')}`, () => withAdmin(access, 'deleting scratch topics', async (admin) => {
      await deleteTopics(admin, topics);
      if (config.pipeline.kafka_auth === 'scram') await removeTopicRights(admin, topics);
    })],
    [`the schema ${schema} and ${checkpoints}`, () => runNotebook(workspace.withSignal(signal), config, { job: 'backup', task: 'backup', parameters: { action: 'cleanup', restore_schema: schema, drill_checkpoints: checkpoints }, deadlineMs: 300_000, signal })],
  ];
  for (const [what, work] of removals) {
    await work().catch((error: unknown) => progress.warn(`${what} could not be taken away: ${error instanceof Error ? error.message : String(error)}`));
  }
}

function renderBackup({ skipped, uri, written, adopted, records }: Backup): Block[] {
  if (skipped) return [{ kind: 'text', text: 'Nothing was backed up: the variable backup_uri is empty.' }];
  if (written === 0 && adopted === 0) return [{ kind: 'text', text: `Nothing to do: ${uri} holds every sealed shard.` }];
  return [{ kind: 'facts', facts: [['backup', uri ?? ''], ['shards written', written ?? 0], ['found there, with what they should hold', adopted ?? 0], ['records', records ?? 0]] }];
}

function renderVerified({ uri, objects, records, unlisted, not_backed_up, problem_count, problems, partitions }: Verified): Block[] {
  const facts: [string, string | number][] = [['backup', uri], ['objects', objects], ['records', records], ['sealed, not yet there', not_backed_up]];
  if (unlisted > 0) facts.push(['not in the manifest', `${unlisted}, left by a run that did not end; the next backup adopts them`]);
  const roots: Block = { kind: 'table', columns: ['topic', 'partition', 'shards', 'Merkle root', 'ledger'], rows: partitions.map((p) => [p.topic, p.partition, p.shards, p.root, p.ledger_root === null ? 'no ledger' : p.root === p.ledger_root ? 'the same' : p.ledger_root]) };
  if (problem_count === 0) return [{ kind: 'text', text: 'The backup is whole.' }, { kind: 'facts', facts }, roots];
  const more = problem_count > problems.length ? `${problem_count - problems.length} more` : undefined;
  return [{ kind: 'facts', facts }, { kind: 'table', title: `${problem_count} shards are not as they were written`, columns: ['topic', 'partition', 'shard', 'problem'], rows: problems.map((p) => [p.topic, p.partition, p.shard, p.problem]), more }, roots];
}

function renderDrilled({ ok, refused, compared, rtoSeconds, stages }: Drilled): Block[] {
  const times: [string, string] = ['seconds', stages.map(({ name, seconds }) => `${name} ${seconds}`).join(', ')];
  if (compared === null) return [{ kind: 'text', text: `The backup cannot be restored: ${refused}` }, { kind: 'facts', facts: [times] }];
  const { windows, differences } = compared;
  const facts: [string, string | number][] = [
    ['records restored', `${compared.records}, ${compared.different_records} different${compared.first_different_record === null ? '' : ` (${compared.first_different_record})`}`],
    ['windows equal', windows.equal],
    ['windows different', windows.different],
    ...(windows.held > 0 ? [['without late records held back', windows.held] as [string, number]] : []),
    ['not compared', `${windows.younger} younger than the backup, ${windows.pending} not yet published`],
    ['RPO', `${compared.rpo_seconds} s: ${compared.unprotected_records} records stand in raw alone`],
    ['RTO', `${rtoSeconds} s from the start to windows that are served again`],
    times,
  ];
  const table: Block[] = differences.length === 0 ? [] : [{ kind: 'table', columns: ['topic', 'key', 'window', 'difference'], rows: differences.map((d) => [d.topic, d.key, d.window_start, d.fields]) }];
  return [{ kind: 'text', text: ok ? 'The backup gives what is published.' : 'The backup does not give what is published.' }, { kind: 'facts', facts }, ...table];
}
