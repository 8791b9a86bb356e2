import { describe, expect, it } from 'vitest';
import { csvText, jsonText } from '../../src/commands/query.ts';
import type { Cell } from '../../src/databricks/sql.ts';

async function* of(...batches: Cell[][][]): AsyncGenerator<Cell[][], void, void> {
  yield* batches;
}
const columns = ['a', 'b "c"'].map((name) => ({ name, type: 'STRING' }));
const text = async (chunks: AsyncIterable<string>): Promise<string> => (await Array.fromAsync(chunks)).join('');

describe('CSV', () => {
  it('is RFC 4180: CRLF, quotes only where needed, null apart from an empty text', async () => {
    const rows: Cell[][] = [
      ['plain', 'with "quotes"'],
      ['a,b', 'two\r\nlines'],
      [null, ''],
      [' kept ', '流量'],
      [9223372036854775807n, '1.10'],
      [Number.NaN, [1, null, { x: 2n ** 60n }]],
      [true, -0.1],
    ];
    expect(await text(csvText({ columns, batches: of(rows) }))).toBe(
      'a,"b ""c"""\r\nplain,"with ""quotes"""\r\n"a,b","two\r\nlines"\r\n,""\r\n" kept ",流量\r\n9223372036854775807,1.10\r\nNaN,"[1,null,{""x"":1152921504606846976}]"\r\ntrue,-0.1\r\n',
    );
  });

  it('of no rows is the header; of no result, nothing', async () => {
    expect(await text(csvText({ columns, batches: of([]) }))).toBe('a,"b ""c"""\r\n');
    expect(await text(csvText({ columns: [], batches: of() }))).toBe('');
  });
});

describe('JSON', () => {
  it('is one document over all batches, with every digit', async () => {
    const batches = of([[9223372036854775807n, '12345678901234567890.5']], [], Array.from({ length: 2500 }, (_, at): Cell[] => [at, null]), [[Number.POSITIVE_INFINITY, { t: [true] }]]);
    const written = await text(jsonText({ columns, batches }));
    const { rows } = JSON.parse(written) as { rows: unknown[][] };
    expect(rows).toHaveLength(2502);
    expect(written).toContain('[9223372036854775807,"12345678901234567890.5"]');
    expect(rows.slice(1, 2501).map(([at]) => at)).toEqual(Array.from({ length: 2500 }, (_, at) => at));
    expect(rows.at(-1)).toEqual(['Infinity', { t: [true] }]);
  });

  it('of no rows is a document, too', async () => {
    expect(JSON.parse(await text(jsonText({ columns, batches: of() })))).toEqual({ columns, rows: [] });
  });
});
