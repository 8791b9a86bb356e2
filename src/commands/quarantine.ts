import { readFile } from 'node:fs/promises';
import { text as textOfStream } from 'node:stream/consumers';
import type { Block, Command, Context } from '../command.ts';
import { beginReplay, endReplay, ensureReplays, forgetReplay, listQuarantine, quarantined, quarantineReasons, REPLAY_HEADER, replayInRaw, type Position } from '../databricks/quarantine.ts';
import { openSql, type Row, type Sql } from '../databricks/sql.ts';
import { tableNames, type Tables } from '../databricks/tables.ts';
import { Failure, messageOf } from '../errors.ts';
import { sendRecords } from '../kafka/send.ts';
import { clientAccess } from '../msk/access.ts';
import { judge } from '../traffic/event.ts';

type Options = { action: 'list' | 'show' | 'replay'; position?: string; reason?: string; limit?: number; payload?: string; again?: boolean };
type Result =
  | { action: 'list'; reasons: Row[]; records: Row[] }
  | { action: 'show'; record: Row; payloadText: string | null }
  | { action: 'replay'; original: Position; reason: string; replay: { partition: number; offset: bigint }; found: boolean };

/** `streamgauge quarantine`: the bad records, and how one comes back as a good one. */
export const quarantine: Command<Options, Result> = {
  name: 'quarantine',
  positionals: '<action> [position]',
  summary: 'List bad records, show one, or send it again with a corrected payload; the original stays, and is marked.',
  examples: [
    ['streamgauge quarantine list --reason not_json', 'the newest of one kind, and how many there are of each'],
    ['streamgauge quarantine show traffic_counter/3/8812', 'one record as it came: topic/partition/offset'],
    ['streamgauge quarantine replay traffic_counter/3/8812 --payload \'{"timestamp":1700000000,"流量":12}\'', 'through the topic, as any other record'],
    ['streamgauge quarantine replay traffic_counter/3/8812 --payload @corrected.json', 'from a file; @- is stdin'],
  ],
  ranges: { limit: { whole: true, least: 1 } },
  options: {
    action: { choices: ['list', 'show', 'replay'] as const, describe: 'What to do' },
    reason: { type: 'string', requiresArg: true, describe: 'list: only this reason' },
    limit: { type: 'number', requiresArg: true, describe: 'list: so many records', default: 20 },
    payload: { type: 'string', requiresArg: true, describe: 'replay: the corrected record (JSON), or @FILE' },
    again: { type: 'boolean', describe: 'replay: although it was replayed before' },
  },
  async run(context, options) {
    const { config, progress, signal } = context;
    checkUsage(options);
    progress.stage('connect');
    const sql = await openSql(config, signal);
    const tables = tableNames(config.pipeline);
    try {
      await ensureReplays(sql, tables);
      if (options.action === 'list') {
        return { action: 'list', reasons: await quarantineReasons(sql, tables), records: await listQuarantine(sql, tables, { reason: options.reason, limit: options.limit ?? 20 }) };
      }
      const position = positionOf(options.position as string);
      const record = await quarantined(sql, tables, position);
      if (options.action === 'show') return { action: 'show', record, payloadText: record.payload === null ? null : Buffer.from(String(record.payload), 'base64').toString() };
      return await replay(context, { sql, tables, position, record }, options);
    } finally {
      await sql.close();
    }
  },
  render,
};

function checkUsage({ action, position, payload }: Options): void {
  if (action !== 'list' && position === undefined) throw usage(`${action} needs a position`, 'Give topic/partition/offset, as `streamgauge quarantine list` shows it.');
  if (action === 'replay' && payload === undefined) throw usage('replay needs the corrected payload', "Give it as JSON with --payload '{...}', or as a file with --payload @FILE.");
}

function positionOf(text: string): Position {
  const parts = /^([A-Za-z0-9._-]+)\/(\d{1,9})\/(\d{1,18})$/.exec(text);
  if (parts === null) throw usage(`${JSON.stringify(text)} is no position`, 'Give topic/partition/offset, as `streamgauge quarantine list` shows it.');
  return { topic: parts[1] as string, partition: Number(parts[2]), offset: BigInt(parts[3] as string) };
}

type Replaying = { sql: Sql; tables: Tables; position: Position; record: Row };

async function replay({ config, progress }: Context, { sql, tables, position, record }: Replaying, { payload = '', again = false }: Options): Promise<Result> {
  const { pipeline } = config;
  const name = `${position.topic}/${position.partition}/${position.offset}`;
  const value = await payloadOf(payload);
  const fields = { timestamp: pipeline.timestamp_field, value: pipeline.value_field, key: pipeline.key_field };
  const verdict = judge(value, { fields, arrivedAtMillis: Date.now(), maxFutureMinutes: pipeline.max_future_minutes });
  if ('error' in verdict) throw new Failure({ code: 'STILL_BAD', kind: 'usage', message: `the corrected payload of ${name} would be a bad record, too: ${verdict.error}`, hint: 'Correct it further; nothing was sent.' });
  const done = { action: 'replay', original: position, reason: String(record.error) } as const;
  if (!again && record.replay_started !== null) {
    // Sent and not noted (an interrupt in between) is found by the header, once it is in raw.
    const known = record.replay_offset === null ? await replayInRaw(sql, tables, position) : undefined;
    if (known === undefined) throw alreadyReplayed(name, record);
    await endReplay(sql, tables, position, known);
    return { ...done, replay: known, found: true };
  }
  const access = await clientAccess(config, 'pipeline');
  await beginReplay(sql, tables, position);
  progress.stage(`replay ${name}`);
  const key = record.record_key === null ? null : Buffer.from(String(record.record_key), 'base64');
  const report = await sendRecords(access, [{ topic: position.topic, key, value, headers: { [REPLAY_HEADER]: name } }]).catch(async (error: unknown) => {
    // Thrown before anything was sent.
    await forgetReplay(sql, tables, position);
    throw error;
  });
  const [sent] = report.partitions;
  // What was sent and not acknowledged may be there all the same: the note of its beginning stays.
  if (report.error !== undefined || sent === undefined) throw notAcknowledged(name, report.error);
  const replayed = { partition: sent.partition, offset: sent.firstOffset };
  await endReplay(sql, tables, position, replayed);
  return { ...done, replay: replayed, found: false };
}

function notAcknowledged(name: string, cause: unknown): Failure {
  const hint = 'Let the job run, then replay again: if it arrived, it is found by its header.';
  return new Failure({ code: 'REPLAY_NOT_ACKNOWLEDGED', kind: 'remote', message: `the corrected record of ${name} was not acknowledged: ${messageOf(cause)}`, hint, cause });
}

async function payloadOf(given: string): Promise<string> {
  if (!given.startsWith('@')) return given;
  const file = given.slice(1);
  if (file === '-') return (await textOfStream(process.stdin)).trim();
  return (await readFile(file, 'utf8').catch((error: unknown) => Promise.reject(usage(`${file} cannot be read`, 'Give a file that exists with --payload @FILE.', error)))).trim();
}

function alreadyReplayed(name: string, { replay_partition: partition, replay_offset: offset }: Row): Failure {
  const where = offset === null ? 'a replay of it was begun and may have reached the broker' : `it was replayed as ${name.split('/')[0]}/${String(partition)}/${String(offset)}`;
  return new Failure({ code: 'ALREADY_REPLAYED', kind: 'usage', message: `${name}: ${where}`, hint: offset === null ? 'Let the job run, then replay again: it is found by its header. Or send it whatever happened with --again.' : 'Send it once more with --again.' });
}

function usage(message: string, hint: string, cause?: unknown): Failure {
  return new Failure({ code: 'USAGE', kind: 'usage', message, hint, cause });
}

function render(result: Result): Block[] {
  if (result.action === 'replay') {
    const { original, replay: sent, reason, found } = result;
    return [{ kind: 'text', text: `${original.topic}/${original.partition}/${original.offset} (${reason}) ${found ? 'had been' : 'was'} sent again as ${original.topic}/${sent.partition}/${sent.offset}; the next run takes it in. The original stays, marked.` }];
  }
  if (result.action === 'show') {
    const { record, payloadText } = result;
    return [
      { kind: 'facts', title: `${String(record.topic)}/${String(record.partition)}/${String(record.offset)}`, facts: [['reason', cell(record.error)], ['arrived', cell(record.broker_timestamp)], ['replayed as', replayOf(record)]] },
      { kind: 'text', text: payloadText ?? '(no payload)' },
    ];
  }
  const { reasons, records } = result;
  if (reasons.length === 0) return [{ kind: 'text', text: 'No bad records.' }];
  return [
    { kind: 'table', columns: ['reason', 'records', 'replayed'], rows: reasons.map((row) => [cell(row.reason), cell(row.records), cell(row.replayed)]) },
    { kind: 'table', title: 'The newest', columns: ['position', 'reason', 'arrived', 'replayed as', 'payload'], rows: records.map((row) => [`${String(row.topic)}/${String(row.partition)}/${String(row.offset)}`, cell(row.reason), cell(row.broker_timestamp), replayOf(row), cell(row.payload)?.toString().slice(0, 60) ?? null]) },
  ];
}

function replayOf({ topic, replay_partition: partition, replay_offset: offset, replay_started: started }: Row): string | null {
  if (offset !== null && offset !== undefined) return `${String(topic)}/${String(partition)}/${String(offset)}`;
  return started === null || started === undefined ? null : 'begun';
}

function cell(value: Row[string] | undefined): string | number | bigint | null {
  return value === undefined || value === null ? null : typeof value === 'bigint' || typeof value === 'number' ? value : String(value);
}
