import { rename, writeFile } from 'node:fs/promises';
import type { Block, Command, Context } from '../command.ts';
import { verifyBackup, type Verified } from '../databricks/backup.ts';
import { connect } from '../databricks/client.ts';
import { currentVersions, extents, type Extent, type Period, type Proof } from '../databricks/proof.ts';
import { openSql, type Sql } from '../databricks/sql.ts';
import { tableNames } from '../databricks/tables.ts';
import { openElasticsearch } from '../elasticsearch/connect.ts';
import { EXIT, Failure } from '../errors.ts';
import { topicOffsets, type PartitionOffsets } from '../kafka/offsets.ts';
import { openReader, type Reader } from '../kafka/read.ts';
import { clientAccess } from '../msk/access.ts';
import { proveBackup } from '../proof/backup.ts';
import { certify, type Certificate, type Found } from '../proof/certificate.ts';
import type { Differences } from '../proof/difference.ts';
import { proveDocuments } from '../proof/documents.ts';
import { windowMinutes } from '../proof/length.ts';
import { inOrder, pairsOf, since } from '../proof/pairs.ts';
import { openDigests, openShardRows, provePartition, readEarly, type Early, type PartitionProof, type Side } from '../proof/records.ts';
import { periodOf } from '../proof/period.ts';
import { proveWindows } from '../proof/windows.ts';

type Options = { from?: string; to?: string; out?: string };

const BACKUP_DEADLINE_MS = 14_400_000;

/** `streamgauge prove`: broker = raw = windows = documents, record by record; the certificate says so, or names what differs. */
export const prove: Command<Options, Certificate> = {
  name: 'prove',
  summary: 'Prove that nothing was lost: broker = raw = windows = documents, record by record; exit code 6 names what differs.',
  examples: [
    ['streamgauge prove -t prod --out certificate.json', 'everything, and a certificate of it'],
    ['streamgauge prove --from 2026-01-05 --to 2026-01-06', 'the windows of a day, and the offsets of their records'],
  ],
  options: {
    from: { type: 'string', requiresArg: true, describe: 'Start of the first window: ISO 8601 or epoch seconds' },
    to: { type: 'string', requiresArg: true, describe: 'End of the last window, exclusive' },
    out: { type: 'string', requiresArg: true, describe: 'Write the certificate (JSON) to this file' },
  },
  async run(context, options) {
    const certificate = await proveAll(context, (minutes) => periodOf(minutes, options, 'prove'));
    if (options.out !== undefined) await writeCertificate(options.out, certificate);
    return certificate;
  },
  render,
  exitCode: ({ proved }) => (proved ? EXIT.ok : EXIT.checkFailed),
};

async function proveAll(context: Context, periodIn: (minutes: number) => Period): Promise<Certificate> {
  const { config, progress, signal } = context;
  // What is no time is refused before anything is asked.
  const wanted = periodIn(config.pipeline.window_minutes);
  const startedAt = performance.now();
  const found: Found = { records: none(), shards: none(), backup: none(), windows: none(), documents: none() };
  progress.stage('connect');
  const opened: { sql?: Sql; reader?: Reader; early?: Early } = {};
  const over = new AbortController();
  const verifying = isWhole(wanted) ? verified(context, over.signal) : undefined;
  const elasticsearch = await openElasticsearch(config, signal);
  try {
    const { pipeline } = config;
    const tables = tableNames(pipeline);
    const rules = { fields: { timestamp: pipeline.timestamp_field, value: pipeline.value_field, key: pipeline.key_field }, maxFutureMinutes: pipeline.max_future_minutes };
    const connecting = [
      clientAccess(config, 'pipeline').then(async (access) => {
        opened.reader = await openReader(access, signal);
        if (isWhole(wanted)) opened.early = readEarly(opened.reader, pipeline.shard_size, rules, topicOffsets(access, pipeline.topics).then(inOrder));
        return access;
      }),
      openSql(config, signal).then(async (sql) => {
        opened.sql = sql;
        const length = { target: config.target, configured: pipeline.window_minutes };
        const [versions, minutes] = await Promise.all([currentVersions(sql, tables), windowMinutes(sql, tables, length, progress.warn)]);
        return { versions, minutes };
      }),
    ] as const;
    // Both, before anything is closed: what opens late would stay open.
    await Promise.allSettled(connecting);
    const [access, { versions, minutes }] = await Promise.all(connecting);
    const period = periodIn(minutes);
    const { sql, reader, early } = opened as Required<Pick<typeof opened, 'sql' | 'reader'>> & typeof opened;
    const proof: Proof = { sql, tables, versions, shardSize: pipeline.shard_size, windowMinutes: minutes, topics: pipeline.topics };
    // After the tables' versions: what they hold, the broker had by then.
    const offsets = topicOffsets(access, pipeline.topics);
    const side: Side = { proof, reader, rules };
    progress.stage('broker = raw = windows = documents');
    // Side by side: the controller reads the brokers while Spark computes the windows.
    const [partitions, windows, documents, objects] = await Promise.all([
      proveRecords(context, side, { period, offsets, early, found }),
      proveWindows(proof, period, found.windows),
      proveDocuments(proof, period, { elasticsearch, index: pipeline.index }, found.documents),
      verifying,
    ]);
    const backup = objects === undefined ? null : proveBackup(objects, found.backup);
    const seconds = (performance.now() - startedAt) / 1000;
    const times = { from: isoOf(period.from), to: isoOf(period.to) };
    return certify({ madeAt: new Date().toISOString(), target: config.target, period: times, tables: versions, partitions, backup, windows, documents, seconds, found, isWhole: isWhole(period) });
  } finally {
    over.abort();
    await opened.early?.digests.close();
    await opened.reader?.close();
    await opened.sql?.close();
    await elasticsearch.close();
  }
}

/** Spark reads the backup's objects while the other stages are at work; undefined where there is no backup. Ends with the proof, whatever ends that. */
function verified({ config, signal }: Context, over: AbortSignal): Promise<Verified> | undefined {
  if (config.pipeline.backup_uri === '') return undefined;
  const either = AbortSignal.any([signal, over]);
  const verifying = connect(config.databricks, { signal: either }).then((workspace) => verifyBackup(workspace, config, { deadlineMs: BACKUP_DEADLINE_MS, signal: either }));
  // Whoever waits for it gets the error.
  verifying.catch(() => undefined);
  return verifying;
}

type Records = { period: Period; offsets: Promise<PartitionOffsets[]>; early: Early | undefined; found: Found };

async function proveRecords({ progress }: Context, side: Side, { period, offsets: asked, early, found }: Records): Promise<PartitionProof[]> {
  const opened: { close(): Promise<void> }[] = [];
  const opening = <T extends { close(): Promise<void> }>(source: T): T => {
    opened.push(source);
    return source;
  };
  try {
    // Of everything, no extent has to be known first.
    const everything = isWhole(period) ? opening(openShardRows(side.proof)) : undefined;
    const [known, now, before] = await Promise.all([extents(side.proof, period), asked, early?.offsets ?? []]);
    const pairs = pairsOf(known, since(before, now), isWhole(period));
    const sources = { shards: everything ?? opening(openShardRows(side.proof, pairs.map(({ extent }) => extent))), digests: opening(openDigests(side, pairs, early)) };
    const partitions: PartitionProof[] = [];
    for (const { broker, extent } of pairs) {
      progress.update(`${broker.topic}/${broker.partition}`);
      const proved = await provePartition(side, { extent, broker }, sources, found);
      partitions.push(isWhole(period) ? { ...proved, waiting: await countWaiting(side.reader, extent, broker) } : proved);
    }
    return partitions;
  } finally {
    await Promise.all(opened.map((source) => source.close()));
  }
}

/** Records that came after the last run: counted by reading, as the others are. */
async function countWaiting(reader: Reader, { topic, partition, next }: Extent, { start, end }: PartitionOffsets): Promise<bigint> {
  let count = 0n;
  for await (const records of reader.read({ topic, partition, from: next > start ? next : start, to: end })) count += BigInt(records.length);
  return count;
}

function none(): Differences {
  return { first: null, count: 0 };
}

function isWhole({ from, to }: Period): boolean {
  return from === undefined && to === undefined;
}

function isoOf(micros: bigint | undefined): string | null {
  return micros === undefined ? null : new Date(Number(micros / 1000n)).toISOString();
}

/** As a whole or not at all. */
async function writeCertificate(file: string, certificate: Certificate): Promise<void> {
  const text = JSON.stringify(certificate, (_key, value: unknown) => (typeof value === 'bigint' ? (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(String(value)) : value), 2);
  try {
    await writeFile(`${file}.part`, `${text}\n`);
    await rename(`${file}.part`, file);
  } catch (error) {
    throw new Failure({ code: 'FILE_NOT_WRITTEN', kind: 'usage', message: `the certificate cannot be written to ${file}`, hint: 'Give a file in a folder that exists with --out.', cause: error });
  }
}

function render({ proved, partitions, backup, windows, documents, equations, differences, tables, sha256, seconds }: Certificate): Block[] {
  const rows = partitions.map((p) => [p.topic, p.partition, p.brokerRecords, p.fromShardsOnly, p.raw, p.good, p.quarantined, p.waiting, p.shards.sealed, p.shards.merkleRoot?.slice(0, 16) ?? null]);
  const blocks: Block[] = [{ kind: 'table', columns: ['topic', 'partition', 'at broker', 'shards only', 'in raw', 'good', 'bad', 'waiting', 'sealed shards', 'Merkle root'], rows }];
  const facts: [string, string | bigint][] = [
    ['windows', `${windows.windows} published (${windows.revised} revised), ${windows.waitingWindows} not closed yet`],
    ['records', `${windows.counted} counted, ${windows.held} held late, ${windows.waiting} waiting for their window`],
    ['documents', `${documents.documents} in ${documents.index}, ${documents.same} the same as their window; ${documents.waiting} windows wait for export`],
    ...(backup === null ? [] : [['backup', `${backup.objects} objects with ${backup.records} records in ${backup.uri}, ${backup.waiting} sealed shards not there yet`] as [string, string]]),
    ['versions', Object.entries(tables).map(([table, version]) => `${table} ${version}`).join(', ')],
  ];
  blocks.push({ kind: 'facts', facts });
  for (const { stage, message, more } of differences) blocks.push({ kind: 'text', text: `! ${stage}: ${message}${more > 0 ? `, and ${more} more` : ''}` });
  for (const { says, left, right } of equations.filter(({ holds }) => !holds)) blocks.push({ kind: 'text', text: `! ${says}: ${left} and ${right}` });
  const dropped = partitions.reduce((sum, p) => sum + p.fromShardsOnly, 0n);
  if (dropped > 0n) blocks.push({ kind: 'text', text: `${dropped} records are no longer at the broker (retention); they are proved from the sealed shards.` });
  blocks.push({ kind: 'text', text: `${proved ? 'Proved: nothing is lost, nothing is twice.' : 'Not proved.'} Certificate ${sha256.slice(0, 16)}, after ${seconds.toFixed(1)} s.` });
  return blocks;
}
