import { Readable } from 'node:stream';
import type { Info, Parser } from 'csv-parse';
import { Failure } from '../errors.ts';
import { judge, type EventFields, type JudgeOptions } from '../traffic/event.ts';
import { toUtc } from '../traffic/local-time.ts';
import type { InputRow } from './row.ts';

export type CsvOptions = JudgeOptions & {
  columns: { timestamp: string; value: string; key: string | undefined };
  /** IANA name: where date times without a zone were written down. */
  timeZone: string;
  /** How errors name the input. */
  name: string;
};

type Row = { record: string[]; info: Info };
type Places = { timestamp: number; value: number; key: number | undefined };

/** Records of a CSV with a header, as JSON of the event format; groups as they are parsed. A column that is not there is a Failure. */
export async function* readCsv(chunks: AsyncIterable<Buffer>, options: CsvOptions): AsyncGenerator<InputRow[], void, undefined> {
  const { parse } = await import('csv-parse');
  const rows: InputRow[] = [];
  const parser = parse({
    bom: true,
    info: true,
    relax_column_count: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    max_record_size: 1_048_576,
    on_skip: (error) => void rows.push({ line: Number(error?.lines ?? 0), error: 'not_csv' }),
  });
  const source = Readable.from(chunks, { objectMode: false });
  source.on('error', (error) => parser.destroy(error));
  source.pipe(parser);
  let places: Places | undefined;
  let doubled = 0;
  for await (const group of groupsOf(parser)) {
    for (const { record, info } of group) {
      // The parser says where a record ends, and counts both characters of a CRLF inside quotes.
      doubled += occurrences(record, '\r\n');
      const line = info.lines - doubled - occurrences(record, '\n');
      if (places === undefined) places = findColumns(record, options);
      else rows.push(readRow(record, line, places, options));
    }
    if (rows.length > 0) yield rows.splice(0).toSorted((a, b) => a.line - b.line);
  }
  if (places === undefined) throw new Failure({ code: 'INPUT_EMPTY', kind: 'usage', message: `${options.name} holds no CSV header`, hint: 'Give a CSV whose first line names the columns.' });
  if (rows.length > 0) yield rows;
}

/** All rows that are ready, each time some are: one wait for many rows. */
async function* groupsOf(parser: Parser): AsyncGenerator<Row[], void, undefined> {
  while (!parser.closed && !parser.readableEnded) {
    const group: Row[] = [];
    for (let row = parser.read() as Row | null; row !== null; row = parser.read() as Row | null) group.push(row);
    if (group.length > 0) yield group;
    else if (!parser.closed && !parser.readableEnded) await readable(parser);
  }
  if (parser.errored) throw parser.errored;
}

async function readable(parser: Parser): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const events = ['readable', 'end', 'close', 'error'];
  for (const event of events) parser.on(event, resolve);
  await promise;
  for (const event of events) parser.off(event, resolve);
}

function findColumns(header: string[], { columns, name }: CsvOptions): Places {
  const place = (column: string): number => {
    const found = header.findIndex((title) => title.trim() === column);
    if (found >= 0) return found;
    throw new Failure({
      code: 'COLUMN_NOT_FOUND',
      kind: 'usage',
      message: `${name} has no column ${JSON.stringify(column)}; its columns are ${header.map((title) => title.trim()).join(', ')}`,
      hint: 'Name the columns with --timestamp-column, --value-column and --key-column.',
    });
  };
  return { timestamp: place(columns.timestamp), value: place(columns.value), key: columns.key === undefined ? undefined : place(columns.key) };
}

function readRow(cells: string[], line: number, places: Places, options: CsvOptions): InputRow {
  const timestamp = cells[places.timestamp]?.trim() ?? '';
  const value = cells[places.value]?.trim() ?? '';
  const key = places.key === undefined ? '' : (cells[places.key] ?? '');
  const json = eventJson(options.fields, timestamp === '' ? '' : toUtc(timestamp, options.timeZone), value, key);
  const verdict = judge(json, options);
  return 'error' in verdict ? { line, error: verdict.error } : { line, key: key === '' ? null : key, value: json };
}

function eventJson(fields: EventFields, timestamp: string, value: string, key: string): string {
  const members: [string, string][] = [];
  if (timestamp !== '') members.push([fields.timestamp, JSON.stringify(timestamp)]);
  if (value !== '') members.push([fields.value, integerLiteral(value)]);
  if (key !== '') members.push([fields.key, JSON.stringify(key)]);
  return `{${members.map(([name, literal]) => `${JSON.stringify(name)}:${literal}`).join(',')}}`;
}

/** The JSON literal of an integer, without the sign and zeros that only a spreadsheet writes; other texts stay texts, for the judge to refuse. */
function integerLiteral(text: string): string {
  const match = /^(?:\+|(-))?0*(\d+)$/.exec(text);
  return match === null ? JSON.stringify(text) : `${match[1] ?? ''}${match[2]}`;
}

function occurrences(cells: string[], text: string): number {
  return cells.reduce((sum, cell) => (cell.includes(text) ? sum + cell.split(text).length - 1 : sum), 0);
}
