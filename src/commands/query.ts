import type { Block, Command } from '../command.ts';
import { openSql, type Cell, type Column } from '../databricks/sql.ts';

type Options = { sql: string; csv?: boolean; json?: boolean; limit?: number };
type Rows = { columns: readonly Column[]; batches: AsyncGenerator<Cell[][], void, void> };
/** For a person the first rows; for `--csv` and `--json` rows that are still on their way: read once, to the end. */
type Result = { shown: 'table'; columns: readonly Column[]; rows: Cell[][]; more: boolean } | ({ shown: 'csv' | 'json' } & Rows);

/** `streamgauge query`: arbitrary SQL at the warehouse; every row, every digit, in order. */
export const query: Command<Options, Result> = {
  name: 'query',
  positionals: '<sql>',
  summary: 'Run SQL at the warehouse: a table, or with --json or --csv every row, exact to the last digit.',
  examples: [
    ['streamgauge query "SELECT * FROM windows ORDER BY window_start DESC LIMIT 10"', 'the newest windows'],
    ['streamgauge query --csv "SELECT * FROM windows" > windows.csv', 'all of them, as RFC 4180'],
    ['streamgauge query --json "SELECT error, count(*) AS n FROM raw GROUP BY error"', 'for a script: {"columns": [...], "rows": [...]}'],
  ],
  ranges: { limit: { whole: true, least: 1 } },
  options: {
    csv: { type: 'boolean', describe: 'Print RFC 4180 with a header line; null is an empty field, an empty text is ""', conflicts: 'json' },
    limit: { type: 'number', requiresArg: true, describe: 'Rows shown as a table; --csv and --json print all', default: 1000 },
  },
  async run({ config, progress, signal }, { sql: statement, csv = false, json: asJson = false, limit = 1000 }) {
    progress.stage('query');
    const sql = await openSql(config, signal);
    try {
      const { columns, batches } = await sql.execute(statement);
      const closing = thenClose(batches, () => sql.close());
      if (csv || asJson) return { shown: csv ? 'csv' : 'json', columns, batches: closing };
      return { shown: 'table', columns, ...(await first(closing, limit)) };
    } catch (error) {
      await sql.close();
      throw error;
    }
  },
  render: (result) => (result.shown === 'table' ? [tableOf(result)] : csvText(result)),
  json: (result) => jsonText(result.shown === 'table' ? { ...result, batches: once(result.rows) } : result),
};

async function* thenClose(batches: Rows['batches'], close: () => Promise<void>): Rows['batches'] {
  try {
    yield* batches;
  } finally {
    await close();
  }
}

/** RFC 4180: CRLF, quotes where needed. An empty text is quoted, so that it is not a null. */
export async function* csvText({ columns, batches }: Rows): AsyncGenerator<string> {
  if (columns.length === 0) return void (await exhausted(batches));
  yield `${columns.map((column) => csvField(column.name)).join(',')}\r\n`;
  for await (const rows of batches) if (rows.length > 0) yield `${rows.map((row) => row.map(csvCell).join(',')).join('\r\n')}\r\n`;
}

function csvCell(cell: Cell): string {
  return cell === null ? '' : csvField(textOf(cell));
}

function csvField(text: string): string {
  return text === '' || /[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text;
}

/** One JSON document, written row by row; integers of 64 bits and digits of decimals as they are, NaN and infinities as text. */
export async function* jsonText({ columns, batches }: Rows): AsyncGenerator<string> {
  yield `{"columns":${JSON.stringify(columns)},"rows":[`;
  let separator = '\n';
  for await (const rows of batches) {
    for (let from = 0; from < rows.length; from += 1000) {
      yield rows.slice(from, from + 1000).map((row) => `${separatorOnce()}${json(row)}`).join('');
    }
  }
  yield '\n]}\n';

  function separatorOnce(): string {
    const now = separator;
    separator = ',\n';
    return now;
  }
}

function json(value: Cell): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(item.toString());
    return typeof item === 'number' && !Number.isFinite(item) ? String(item) : item;
  });
}

/** At most `limit` rows, and whether there are more: said, never silently cut. */
async function first(batches: Rows['batches'], limit: number): Promise<{ rows: Cell[][]; more: boolean }> {
  const rows: Cell[][] = [];
  for await (const batch of batches) {
    for (const row of batch.slice(0, limit + 1 - rows.length)) rows.push(row);
    if (rows.length > limit) break;
  }
  return { rows: rows.slice(0, limit), more: rows.length > limit };
}

async function* once(rows: Cell[][]): Rows['batches'] {
  yield rows;
}

function tableOf({ columns, rows, more }: Extract<Result, { shown: 'table' }>): Block {
  if (columns.length === 0) return { kind: 'text', text: 'Done.' };
  const shown = rows.map((row) => row.map((cell) => (cell === null || typeof cell === 'bigint' ? cell : textOf(cell))));
  const count = more ? `the first ${rows.length} rows; for all of them: --csv or --json` : `${rows.length} row${rows.length === 1 ? '' : 's'}`;
  return { kind: 'table', columns: columns.map((column) => column.name), rows: shown, more: count };
}

function textOf(cell: Exclude<Cell, null>): string {
  return typeof cell === 'object' ? json(cell) : String(cell);
}

async function exhausted(batches: Rows['batches']): Promise<void> {
  for await (const _ of batches);
}
