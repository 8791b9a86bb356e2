import type { Block, Command, Context } from '../command.ts';
import { connect } from '../databricks/client.ts';
import { deployedJob } from '../databricks/deploy.ts';
import { outcomeOf, secondsBetween } from '../databricks/outcome.ts';
import { listRuns } from '../databricks/rest.ts';
import { openSql, type Row } from '../databricks/sql.ts';
import { rawPositions, tableNames, windowCounts } from '../databricks/tables.ts';
import { openElasticsearch } from '../elasticsearch/connect.ts';
import { documentCount, freshestDocument } from '../elasticsearch/read.ts';
import { EXIT, Failure } from '../errors.ts';
import { topicOffsets, type PartitionOffsets } from '../kafka/offsets.ts';
import { clientAccess } from '../msk/access.ts';

type Partition = { topic: string; partition: number; start: bigint; end: bigint; raw: bigint; records: bigint; bad: bigint; lag: bigint };
type Job = { name: string; id: number; lastRun: { id: number; state: string; startedAt: string | null; seconds: number } | null };
type Windows = { windows: bigint; revisedWindows: bigint; newestWindowEnd: string | null };
type Documents = { documents: bigint; newestDocumentEnd: string | null; freshnessSeconds: number | null };
type Problem = { system: string; code: string; message: string; hint: string | undefined; exitCode: number };
/** Null stands for what could not be learned; `problems` says why. */
type Result = { partitions: Partition[] | null; lag: bigint | null; job: Job | null; index: string; problems: Problem[] } & Nullable<Windows & Documents>;
type Nullable<T> = { [K in keyof T]: T[K] | null };

/** `streamgauge status`: how far each stage is behind the one before it; a system that does not answer does not hide the others. */
export const status: Command<Record<string, never>, Result> = {
  name: 'status',
  summary: 'Show the true lag of each partition (topic against `raw`), the last run, windows, documents and how fresh they are.',
  examples: [
    ['streamgauge status -t prod', 'where everything stands'],
    ['streamgauge status --json', 'for a monitor: lag and freshness as numbers'],
  ],
  options: {},
  async run(context) {
    const { config, progress, signal } = context;
    progress.stage('status');
    const problems: Problem[] = [];
    const from = async <T>(system: string, ask: () => Promise<T>): Promise<T | null> => ask().catch((error: unknown) => noted(problems, system, error, signal));
    const [topics, job, tables, documents] = await Promise.all([
      from('kafka', async () => topicOffsets(await clientAccess(config, 'pipeline'), config.pipeline.topics)),
      from('job', () => lastRun(context)),
      from('tables', () => tablesNow(context)),
      from('elasticsearch', () => documentsNow(context)),
    ]);
    const missing = topics === null ? [] : config.pipeline.topics.filter((topic) => !topics.some((found) => found.topic === topic));
    for (const topic of missing) problems.push({ system: 'kafka', code: 'TOPIC_NOT_FOUND', message: `there is no topic ${topic}`, hint: `Create it: \`streamgauge provision -t ${config.target}\`.`, exitCode: EXIT.remote });
    const partitions = topics === null ? null : lagOf(topics, tables?.raw ?? null);
    problems.push(...recreated(partitions ?? []));
    const lag = partitions === null || tables === null ? null : partitions.reduce((sum, partition) => sum + partition.lag, 0n);
    const windows = tables?.windows ?? { windows: null, revisedWindows: null, newestWindowEnd: null };
    return { partitions, lag, job, index: config.pipeline.index, ...windows, ...(documents ?? { documents: null, newestDocumentEnd: null, freshnessSeconds: null }), problems };
  },
  render,
  exitCode: ({ problems }) => problems[0]?.exitCode ?? EXIT.ok,
};

function noted(problems: Problem[], system: string, error: unknown, signal: AbortSignal): null {
  if (signal.aborted || !(error instanceof Failure)) throw error;
  problems.push({ system, code: error.code, message: error.message.split('\n')[0] ?? '', hint: error.hint, exitCode: error.exitCode });
  return null;
}

async function lastRun({ config, signal }: Context): Promise<Job> {
  const workspace = await connect(config.databricks, { signal });
  const job = await deployedJob(workspace, config);
  const [run] = await listRuns(workspace, job.job_id, { limit: 1 });
  const last = run === undefined ? null : {
    id: run.run_id,
    state: outcomeOf(run.state)?.state ?? run.state.life_cycle_state ?? 'UNKNOWN',
    startedAt: run.start_time ? new Date(run.start_time).toISOString() : null,
    seconds: secondsBetween(run.start_time, run.end_time, Date.now()),
  };
  return { name: job.settings.name ?? '', id: job.job_id, lastRun: last };
}

async function tablesNow({ config, signal }: Context): Promise<{ raw: Row[]; windows: Windows }> {
  const tables = tableNames(config.pipeline);
  const sql = await openSql(config, signal);
  try {
    const raw = await Array.fromAsync(sql.rows(rawPositions(tables)));
    const [counts] = await Array.fromAsync(sql.rows(windowCounts(tables)));
    const windows = { windows: bigintOf(counts?.windows), revisedWindows: bigintOf(counts?.revised), newestWindowEnd: textOf(counts?.newest_end) };
    return { raw, windows };
  } finally {
    await sql.close();
  }
}

async function documentsNow({ config, signal }: Context): Promise<Documents> {
  const { index } = config.pipeline;
  const elasticsearch = await openElasticsearch(config, signal);
  try {
    const documents = (await documentCount(elasticsearch, index)) ?? 0n;
    const newest = documents === 0n ? undefined : await freshestDocument(elasticsearch, index);
    const end = newest?.windowEnd ?? null;
    return { documents, newestDocumentEnd: end, freshnessSeconds: end === null ? null : Math.round((Date.now() - Date.parse(end)) / 1000) };
  } finally {
    await elasticsearch.close();
  }
}

/** Per partition what the broker has and `raw` has not; offsets that the broker dropped before anybody read them do not count. */
export function lagOf(topics: readonly PartitionOffsets[], raw: readonly Row[] | null): Partition[] {
  return topics.map(({ topic, partition, start, end }) => {
    const row = raw?.find((candidate) => candidate.topic === topic && Number(candidate.partition) === partition);
    const next = bigintOf(row?.next_offset);
    const behind = end - (next > start ? next : start);
    return { topic, partition, start, end, raw: next, records: bigintOf(row?.records), bad: bigintOf(row?.bad), lag: behind };
  });
}

function recreated(partitions: readonly Partition[]): Problem[] {
  return partitions
    .filter(({ lag }) => lag < 0n)
    .map(({ topic, partition, raw, end }) => ({
      system: 'kafka',
      code: 'RAW_AHEAD_OF_TOPIC',
      message: `raw holds offsets of ${topic}/${partition} up to ${raw - 1n}, the broker only up to ${end - 1n}: the topic was made anew`,
      hint: 'Give the new topic another name, or start with a new schema and checkpoint_root.',
      exitCode: EXIT.checkFailed,
    }));
}

function bigintOf(cell: Row[string] | undefined): bigint {
  return typeof cell === 'bigint' || typeof cell === 'number' ? BigInt(cell) : 0n;
}

function textOf(cell: Row[string] | undefined): string | null {
  return typeof cell === 'string' ? cell : null;
}

function render({ partitions, lag, job, index, problems, ...now }: Result): Block[] {
  const run = job?.lastRun;
  const revised = now.revisedWindows === null || now.revisedWindows === 0n ? '' : `, ${now.revisedWindows} revised`;
  const facts: [string, string | number | bigint | null][] = [
    ['lag', lag === null ? null : `${lag} record${lag === 1n ? '' : 's'}`],
    ['job', job === null ? null : `${job.name} (${job.id})`],
    ['last run', run === undefined ? null : run === null ? 'none yet' : `${run.id}: ${run.state}, ${run.seconds} s${run.startedAt === null ? '' : `, started ${run.startedAt}`}`],
    ['windows', now.windows === null ? null : `${now.windows}${revised}${now.newestWindowEnd === null ? '' : `, the newest ends ${now.newestWindowEnd}`}`],
    ['documents', now.documents === null ? null : `${now.documents} in ${index}${now.newestDocumentEnd === null ? '' : `, the newest ends ${now.newestDocumentEnd} (${now.freshnessSeconds} s ago)`}`],
  ];
  const rows = (partitions ?? []).map((p) => [p.topic, p.partition, p.end, p.raw, p.records, p.bad, p.lag]);
  const table: Block[] = rows.length === 0 ? [] : [{ kind: 'table', columns: ['topic', 'partition', 'end offset', 'next in raw', 'records', 'bad', 'lag'], rows }];
  const trouble = problems.map(({ system, message, hint }): Block => ({ kind: 'text', text: `! ${system}: ${message}${hint === undefined ? '' : `\n  ${hint}`}` }));
  return [...table, { kind: 'facts', facts }, ...trouble];
}
