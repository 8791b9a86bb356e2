import type { Block, Command, Context } from '../command.ts';
import type { Config } from '../config/config.ts';
import { Failure, messageOf } from '../errors.ts';
import { readBytes } from '../input/bytes.ts';
import { readCsv } from '../input/csv.ts';
import { readNdjson } from '../input/ndjson.ts';
import { paced } from '../input/pace.ts';
import type { InputRow, SkippedRow } from '../input/row.ts';
import { sendRecords, type OutgoingRecord, type RecordSource, type SendReport } from '../kafka/send.ts';
import { parseTimestamp, type EventFields, type JudgeOptions } from '../traffic/event.ts';
import { generateTraffic, type TrafficOptions } from '../traffic/generator.ts';
import { isTimeZone } from '../traffic/local-time.ts';

type Options = {
  topic?: string;
  records?: number;
  rate?: number;
  from?: string;
  to?: string;
  seed?: number;
  badRatio?: number;
  keys?: string;
  file?: string;
  timestampColumn?: string;
  valueColumn?: string;
  keyColumn?: string;
  timeZone?: string;
  strict?: boolean;
};

type Partition = { partition: number; records: number; firstOffset: bigint; lastOffset: bigint };
type Result = {
  topic: string;
  /** Acknowledged by the brokers, bad ones of the generator included. */
  records: number;
  bytes: number;
  /** Of a file: records that could not be read, by reason, and the first of them. */
  skipped: { count: number; reasons: Record<string, number>; first: SkippedRow[] };
  /** Of the generator: records that were made bad on purpose, by the reason that the pipeline must find. */
  bad: Record<string, number>;
  partitions: Partition[];
  seconds: number;
  interrupted: boolean;
};

/** What is counted while the records go by. */
type Tally = Pick<Result, 'skipped' | 'bad'>;

const SHOWN_SKIPPED = 10;
const NOTHING: SendReport = { records: 0, bytes: 0, partitions: [], interrupted: false };
const DAY_MILLIS = 86_400_000;

/** `streamgauge produce`: events into a Kafka topic, acknowledged by every replica that must have them, none twice. */
export const produce: Command<Options, Result> = {
  name: 'produce',
  summary: 'Send events to the topic: generated traffic, a file or stdin; acks=all, idempotent.',
  examples: [
    ['streamgauge produce --records 200000 --bad-ratio 0.001', 'generated traffic of the last two days'],
    ['streamgauge produce --records 1000000 --rate 5000 --keys 8', '5,000 records/s of eight sites'],
    ['streamgauge produce --file counts.csv.gz --timestamp-column date_time --value-column traffic_volume', 'a CSV, packed or not'],
    ['zcat events.ndjson.gz | streamgauge produce --file - --strict', 'stdin; stop at the first record that cannot be read'],
  ],
  ranges: { records: { whole: true, least: 1 }, rate: { above: 0 }, seed: { whole: true }, badRatio: { least: 0, most: 1 } },
  options: {
    topic: { type: 'string', requiresArg: true, describe: 'One of the configured topics; the first where it is left out' },
    records: { type: 'number', requiresArg: true, describe: 'How many to generate (10000 where it is left out)' },
    rate: { type: 'number', requiresArg: true, describe: 'Records per second; as fast as the brokers take them where it is left out' },
    from: { type: 'string', requiresArg: true, describe: 'First event time: ISO 8601 or epoch seconds (two days before --to)' },
    to: { type: 'string', requiresArg: true, describe: 'End of the event times, exclusive (now)' },
    seed: { type: 'number', requiresArg: true, describe: 'The same seed, --from and --to give the same records (1)' },
    badRatio: { type: 'number', requiresArg: true, describe: 'Share of bad records among the generated, 0 to 1 (0)' },
    keys: { type: 'string', requiresArg: true, describe: 'Sites to generate: how many, or their names, comma-separated' },
    file: { type: 'string', requiresArg: true, describe: 'NDJSON or CSV to send, gzip or not; - is stdin' },
    timestampColumn: { type: 'string', requiresArg: true, describe: 'CSV column with the event time' },
    valueColumn: { type: 'string', requiresArg: true, describe: 'CSV column with the counted value' },
    keyColumn: { type: 'string', requiresArg: true, describe: 'CSV column with the site' },
    timeZone: { type: 'string', requiresArg: true, describe: 'Zone of CSV date times that name none (UTC)' },
    strict: { type: 'boolean', describe: 'Stop at the first record that cannot be read' },
  },
  async run(context, options) {
    const { config, progress } = context;
    checkTogether(options);
    const topic = topicOf(config, options.topic);
    const tally: Tally = { skipped: { count: 0, reasons: {}, first: [] }, bad: {} };
    const source = sourceOf(context, topic, options, tally);
    progress.stage('connect');
    const { clientAccess } = await import('../msk/access.ts');
    const access = await clientAccess(config, 'pipeline');
    progress.stage(`produce to ${topic}`);
    const startedAt = performance.now();
    const report = await sendRecords(access, source, sendOptions(context, startedAt)).catch((error: unknown) => ({ ...NOTHING, error }));
    if (report.error !== undefined) throw stopped(report, config.target);
    const { records, bytes, interrupted } = report;
    const seconds = (performance.now() - startedAt) / 1000;
    return { topic, records, bytes, ...tally, seconds, interrupted, partitions: report.partitions.map(({ partition, records, firstOffset, lastOffset }) => ({ partition, records, firstOffset, lastOffset })) };
  },
  render,
  exitCode: ({ interrupted }) => (interrupted ? 130 : 0),
};

function checkTogether(options: Options): void {
  const of = (names: (keyof Options)[]): string => names.filter((name) => options[name] !== undefined).map((name) => `--${name.replaceAll(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`).join(', ');
  const generatorOnly = of(['records', 'from', 'to', 'seed', 'badRatio', 'keys']);
  const fileOnly = of(['timestampColumn', 'valueColumn', 'keyColumn', 'timeZone', 'strict']);
  if (options.file !== undefined && generatorOnly !== '') throw usage(`${generatorOnly} shape generated records and do not go with --file`);
  if (options.file === undefined && fileOnly !== '') throw usage(`${fileOnly} need --file`);
  const isHalf = (options.timestampColumn === undefined) !== (options.valueColumn === undefined);
  if (isHalf || (options.timestampColumn === undefined && of(['keyColumn', 'timeZone']) !== '')) throw usage('a CSV needs --timestamp-column and --value-column');
}

function topicOf({ pipeline }: Config, asked: string | undefined): string {
  const topic = asked ?? (pipeline.topics[0] as string);
  if (pipeline.topics.includes(topic)) return topic;
  throw usage(`the topic ${JSON.stringify(topic)} is not among the configured ones: ${pipeline.topics.join(', ')}`, `Add it to the variable topics: --var topics=${[...pipeline.topics, topic].join(',')}`);
}

function sourceOf({ config, progress, signal }: Context, topic: string, options: Options, tally: Tally): RecordSource {
  const { pipeline } = config;
  const rate = options.rate;
  const fields = { timestamp: pipeline.timestamp_field, value: pipeline.value_field, key: pipeline.key_field };
  if (options.file === undefined) {
    const records = generated(topic, generatorOptions(options, fields), tally);
    return rate === undefined ? records : paced([records], rate, signal);
  }
  const judged = { fields, arrivedAtMillis: Date.now(), maxFutureMinutes: pipeline.max_future_minutes };
  const rows = rowsOf(options, judged, signal);
  const name = options.file === '-' ? 'stdin' : options.file;
  const skip = (row: SkippedRow): void => {
    if (options.strict) throw new Failure({ code: 'BAD_RECORD', kind: 'usage', message: `${name}:${row.line}: ${row.error}`, hint: 'Correct the line, or leave --strict out to skip such records.' });
    if (tally.skipped.count < SHOWN_SKIPPED) progress.warn(`${name}:${row.line}: ${row.error}, skipped`);
    count(tally, row);
  };
  const records = readable(rows, topic, skip);
  return rate === undefined ? records : paced(records, rate, signal);
}

function rowsOf(options: Options, judged: JudgeOptions, signal: AbortSignal): AsyncIterable<InputRow[]> {
  const { file = '-', timestampColumn, valueColumn, keyColumn, timeZone = 'UTC' } = options;
  if (!isTimeZone(timeZone)) throw usage(`there is no time zone ${JSON.stringify(timeZone)}`, 'Give an IANA name such as Europe/Berlin with --time-zone.');
  if (timestampColumn !== undefined && valueColumn !== undefined) {
    const columns = { timestamp: timestampColumn, value: valueColumn, key: keyColumn };
    return readCsv(readBytes(file, signal), { ...judged, columns, timeZone, name: file === '-' ? 'stdin' : file });
  }
  if (/\.csv(\.gz)?$/i.test(file)) throw usage(`${file} looks like CSV, and its columns are not named`, 'Name them with --timestamp-column and --value-column.');
  return readNdjson(readBytes(file, signal), judged);
}

function generatorOptions(options: Options, fields: EventFields): TrafficOptions {
  const { records = 10_000, seed = 1, badRatio = 0 } = options;
  const toMillis = options.to === undefined ? Date.now() : instant('--to', options.to);
  const fromMillis = options.from === undefined ? toMillis - 2 * DAY_MILLIS : instant('--from', options.from);
  if (fromMillis >= toMillis) throw usage('--from must lie before --to');
  return { records, fromMillis, toMillis, seed, badRatio, keys: siteNames(options.keys), fields };
}

function instant(option: string, text: string): number {
  const micros = parseTimestamp(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text);
  if (micros === undefined || micros < 0n) throw usage(`${option} ${JSON.stringify(text)} is no time`, 'Give ISO 8601 with a zone (2026-05-01T00:00:00Z), a date, or epoch seconds.');
  return Number(micros / 1000n);
}

function siteNames(keys: string | undefined): string[] {
  if (keys === undefined) return [];
  if (/^\d{1,6}$/.test(keys)) return Array.from({ length: Number(keys) }, (_, i) => `site-${i + 1}`);
  return keys.split(',').map((name) => name.trim()).filter((name) => name !== '');
}

function* generated(topic: string, options: TrafficOptions, { bad }: Tally): Generator<OutgoingRecord, void, undefined> {
  for (const record of generateTraffic(options)) {
    if (record.bad !== null) bad[record.bad] = (bad[record.bad] ?? 0) + 1;
    yield { topic, key: record.key, value: record.value };
  }
}

async function* readable(groups: AsyncIterable<InputRow[]>, topic: string, skip: (row: SkippedRow) => void): AsyncGenerator<Iterable<OutgoingRecord>, void, undefined> {
  // The records before a bad one are on their way before `skip` may throw.
  for await (const rows of groups) {
    let good: OutgoingRecord[] = [];
    for (const row of rows) {
      if (!('error' in row)) good.push({ topic, key: row.key, value: row.value });
      else {
        if (good.length > 0) yield good;
        good = [];
        skip(row);
      }
    }
    if (good.length > 0) yield good;
  }
}

function count({ skipped }: Tally, row: SkippedRow): void {
  skipped.count += 1;
  skipped.reasons[row.error] = (skipped.reasons[row.error] ?? 0) + 1;
  if (skipped.first.length < SHOWN_SKIPPED) skipped.first.push(row);
}

function sendOptions({ progress, signal }: Context, startedAt: number): Parameters<typeof sendRecords>[2] {
  return {
    signal,
    onProgress: (records) => progress.update(`${grouped(records)} records acknowledged, ${grouped(rateOf(records, startedAt))}/s`),
    onRetry: (reason) => progress.update(`${messageOf(reason)}; trying again`),
  };
}

function rateOf(records: number, startedAt: number): number {
  return Math.round((records * 1000) / Math.max(performance.now() - startedAt, 1));
}

function grouped(n: number): string {
  return n.toLocaleString('en');
}

/** Why it ended early, and how much was acknowledged before. */
function stopped({ error, records, partitions }: SendReport, target: string): Failure {
  const before = `${records === 1 ? '1 record was' : `${grouped(records)} records were`} acknowledged before${partitions.map((p) => `; ${p.topic}/${p.partition} up to offset ${p.lastOffset}`).join('')}`;
  const facts = error instanceof Failure ? error : undefined;
  return new Failure({
    code: facts?.code ?? 'PRODUCE_FAILED',
    kind: facts?.kind ?? 'unexpected',
    message: `${messageOf(error)}; ${before}`,
    // The room knows the verb that helps, not for which target.
    hint: facts?.hint?.replace(/(streamgauge \w+)$/, `$1 -t ${target}`),
    cause: error,
  });
}

function render({ topic, records, seconds, skipped, bad, partitions, interrupted }: Result): Block[] {
  const reasons = (counts: Record<string, number>): string => Object.entries(counts).map(([reason, n]) => `${n} ${reason}`).join(', ');
  const badCount = Object.values(bad).reduce((sum, n) => sum + n, 0);
  const facts: [string, string | number][] = [
    [interrupted ? 'acknowledged before the interrupt' : 'acknowledged', `${grouped(records)} record${records === 1 ? '' : 's'} in ${seconds.toFixed(1)} s (${grouped(Math.round(records / Math.max(seconds, 0.001)))}/s)`],
  ];
  if (badCount > 0) facts.push(['bad on purpose', `${badCount}: ${reasons(bad)}`]);
  if (skipped.count > 0) facts.push(['skipped', `${skipped.count}: ${reasons(skipped.reasons)}; the first on line ${skipped.first.map((row) => row.line).join(', ')}`]);
  const rows = partitions.map((p) => [p.partition, p.records, p.firstOffset, p.lastOffset]);
  return [
    { kind: 'facts', facts },
    { kind: 'table', title: topic, columns: ['partition', 'records', 'first offset', 'last offset'], rows },
  ];
}

function usage(message: string, hint = 'See `streamgauge produce --help`.'): Failure {
  return new Failure({ code: 'USAGE', kind: 'usage', message, hint });
}
