import { randomBytes } from 'node:crypto';
import type { Command, Context } from '../command.ts';
import { connect, type Workspace } from '../databricks/client.ts';
import { runNotebook } from '../databricks/notebook.ts';
import { restoredRecords, restoredTopics } from '../databricks/restored.ts';
import { openSql, type Sql } from '../databricks/sql.ts';
import { Failure } from '../errors.ts';
import { withAdmin, type KafkaAccess } from '../kafka/connect.ts';
import { topicOffsets } from '../kafka/offsets.ts';
import { outgoingRecords, provideRestoreTopics } from '../kafka/restored.ts';
import { sendRecords } from '../kafka/send.ts';
import { clientAccess } from '../msk/access.ts';

type Options = { to?: string; topic?: string; from?: string; until?: string; timeout?: number };
type Restored = { uri: string; table: string; shards: number; inserted: number; there_before: number; refused?: string };
type Result = {
  backup: string;
  to: { topic: string } | { table: string };
  topic: string;
  shards: number;
  /** Records that the topic or table has now and had not before. */
  records: number;
  /** Of a table: rows that were there before, and stayed. */
  thereBefore: number;
  seconds: number;
};

const NAME = /^(topic|table):(.+)$/;

/** `streamgauge restore`: records from the backup into a topic or a table, as they were. */
export const restore: Command<Options, Result> = {
  name: 'restore',
  summary: 'Bring records back from the backup, into a topic or a table: payload, key, headers and timestamps as they were.',
  examples: [
    ['streamgauge restore --to table:raw_restored', 'everything, into a new table with the columns of raw'],
    ['streamgauge restore --to table:raw', 'what raw has lost; what it has stays as it is'],
    ['streamgauge restore --to topic:traffic_again --from 2026-01-05T00:00:00Z --until 2026-01-06T00:00:00Z', 'one day, by the records\' timestamps'],
    ['streamgauge restore --to table:part --from 0:1200,3:80 --until 5000', 'by offsets: the same for every partition, or by partition'],
  ],
  ranges: { timeout: { above: 0 } },
  options: {
    to: { type: 'string', requiresArg: true, demandOption: true, describe: 'topic:NAME (made where it is not there; else it must be empty) or table:NAME' },
    topic: { type: 'string', requiresArg: true, describe: 'Whose records: one of the configured topics; the first where it is left out' },
    from: { type: 'string', requiresArg: true, describe: 'First offset (1200; 0:1200,3:80 by partition) or time (ISO 8601 with a zone) of the records' },
    until: { type: 'string', requiresArg: true, describe: 'End of the range, exclusive, in the same forms' },
    timeout: { type: 'number', requiresArg: true, describe: 'Seconds to wait for Spark', default: 14_400 },
  },
  async run(context, options) {
    const { config, progress, signal } = context;
    const { kind, name } = destination(options.to);
    const topic = options.topic ?? (config.pipeline.topics[0] as string);
    if (!config.pipeline.topics.includes(topic)) throw usage(`the topic ${JSON.stringify(topic)} is not among the configured ones: ${config.pipeline.topics.join(', ')}`);
    if (kind === 'table' && !/^[A-Za-z_][A-Za-z0-9_]{0,254}$/.test(name)) throw usage(`${JSON.stringify(name)} is not a plain SQL identifier`, 'Name a table of the pipeline\'s schema: letters, digits and "_".');
    const startedAt = performance.now();
    progress.stage('restore');
    const workspace = await connect(config.databricks, { signal });
    const table = kind === 'table' ? name : `restored_${randomBytes(6).toString('hex')}`;
    const restored = await intoTable(context, workspace, { table, topic, options });
    const facts = { backup: restored.uri, topic, shards: restored.shards, thereBefore: restored.there_before };
    const seconds = (): number => (performance.now() - startedAt) / 1000;
    if (kind === 'table') return { ...facts, to: { table: restored.table }, records: restored.inserted, seconds: seconds() };
    const records = await intoTopic(context, restored.table, name);
    return { ...facts, to: { topic: name }, records, seconds: seconds() };
  },
  render({ backup, to, topic, shards, records, thereBefore, seconds }) {
    const where = 'topic' in to ? `topic ${to.topic}` : `table ${to.table}`;
    return [{ kind: 'facts', facts: [['restored', `${records} records of ${topic}`], ['from', `${backup}, ${shards} shards`], ['to', where], ...(thereBefore > 0 ? [['there before', thereBefore] as [string, number]] : []), ['seconds', seconds.toFixed(1)]] }];
  },
};

async function intoTable({ config, progress, signal }: Context, workspace: Workspace, { table, topic, options }: { table: string; topic: string; options: Options }): Promise<Restored> {
  const parameters = { action: 'restore', backup_uri: config.pipeline.backup_uri, topics: topic, restore_table: table, restore_from: options.from ?? '', restore_to: options.until ?? '' };
  const restored = await runNotebook<Restored>(workspace, config, { job: 'backup', task: 'backup', parameters, deadlineMs: (options.timeout ?? 14_400) * 1000, signal, onUpdate: (text) => progress.update(text) });
  if (restored.refused === undefined) return restored;
  throw new Failure({ code: 'BACKUP_NOT_WHOLE', kind: 'checkFailed', message: `nothing was restored: ${restored.refused}`, hint: `See all that is wrong: \`streamgauge backup verify -t ${config.target}\`.` });
}

/** The table in between is dropped whatever happens: what it holds, the backup holds. */
async function intoTopic({ config, progress, signal }: Context, table: string, topic: string): Promise<number> {
  const sql = await openSql(config, signal);
  try {
    const access = await clientAccess(config, 'admin');
    await provideTopic(sql, access, { table, topic, config });
    progress.stage(`send to ${topic}`);
    const { columns, batches } = await sql.execute(restoredRecords(table));
    const report = await sendRecords(access, outgoingRecords(batches, columns, () => topic), { signal, onProgress: (records) => progress.update(`${records} records acknowledged`) });
    if (report.error !== undefined) throw report.error;
    signal.throwIfAborted();
    return report.records;
  } finally {
    await drop(config, table);
    await sql.close();
  }
}

async function provideTopic(sql: Sql, access: KafkaAccess, { table, topic, config }: { table: string; topic: string; config: Context['config'] }): Promise<void> {
  const [found] = await Array.fromAsync(sql.rows(restoredTopics(table)));
  const partitions = Math.max(Number(found?.partitions ?? 1), config.pipeline.partitions);
  const wanted = { name: topic, partitions, replicationFactor: config.pipeline.replication_factor, minInsyncReplicas: config.pipeline.min_insync_replicas };
  await withAdmin(access, `providing the topic ${topic}`, (admin) => provideRestoreTopics(admin, [wanted], (topics) => topicOffsets(access, topics)));
}

/** With a session of its own: that of an interrupted verb answers no more. */
async function drop(config: Context['config'], table: string): Promise<void> {
  const sql = await openSql(config, AbortSignal.timeout(60_000));
  try {
    await Array.fromAsync(sql.rows(`DROP TABLE IF EXISTS ${table}`));
  } finally {
    await sql.close();
  }
}

function destination(to: string | undefined): { kind: string; name: string } {
  const [, kind, name] = NAME.exec(to ?? '') ?? [];
  if (kind === undefined || name === undefined) throw usage(`--to ${JSON.stringify(to ?? '')} is neither topic:NAME nor table:NAME`);
  if (kind === 'topic' && !/^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/.test(name)) throw usage(`${JSON.stringify(name)} is not a Kafka topic name`);
  return { kind, name };
}

function usage(message: string, hint = 'See `streamgauge restore --help`.'): Failure {
  return new Failure({ code: 'USAGE', kind: 'usage', message, hint });
}
