import { describe, expect, it } from 'vitest';
import { checkNotSwapping, decideSwap, endSwap, swapOf, swapTables, swapUnderWay, type Swap } from '../../src/databricks/rebuild.ts';
import { Failure } from '../../src/errors.ts';
import { tableNames } from '../../src/databricks/tables.ts';
import { warehouse } from './warehouse.ts';

const tables = tableNames({ catalog: 'c', schema: 's' });
const swap: Swap = { decided: false, minutes: 5, minutesBefore: 10, index: 'traffic_windows-000002', raw: 7, windows: 3, lateRecords: 2, judged: 0 };

describe('a swap', () => {
  const rebuilt = { windows: { 'streamgauge.window_minutes': '10' }, windows_rebuilt: { 'streamgauge.window_minutes': '5', 'streamgauge.raw_version': '7', 'streamgauge.windows_version': '3' } };

  it.each<[string, Record<string, number>, Swap | undefined]>([
    ['holds everything', { raw: 7, windows: 3, late_records: 2 }, swap],
    ['lacks records', { raw: 8, windows: 3, late_records: 2 }, undefined],
    ['lacks windows that the clock has closed', { raw: 7, windows: 4, late_records: 2 }, undefined],
  ])('is possible once what was rebuilt holds all that there is: it %s', async (_name, versions, expected) => {
    expect(await swapOf(warehouse(versions, structuredClone(rebuilt)), tables, swap.index)).toEqual(expected);
  });

  it('is marked first and decided after a look for runs; then exports refuse, and whoever comes knows all of it', async () => {
    const sql = warehouse({ raw: 7, windows: 3 });
    let markedWhenAsked: Swap | undefined;
    const decided = await decideSwap(sql, tables, swap, async () => {
      markedWhenAsked = await swapUnderWay(sql, tables);
      return true;
    });
    expect(markedWhenAsked).toEqual(swap);
    expect([decided, await swapUnderWay(sql, tables)]).toEqual([{ ...swap, decided: true }, { ...swap, decided: true }]);
    await expect(checkNotSwapping(sql, tables, 'prod')).rejects.toMatchObject({ code: 'SWAP_UNDER_WAY', exitCode: 4, hint: expect.stringContaining('windows rebuild -t prod') });
  });

  it.each<[string, Record<string, number>, boolean]>([
    ['a run is under way', { raw: 7, windows: 3 }, false],
    ['somebody published meanwhile', { raw: 7, windows: 4 }, true],
    ['records came meanwhile', { raw: 8, windows: 3 }, true],
  ])('is taken back where %s', async (_name, versions, isQuiet) => {
    const sql = warehouse(versions);
    expect(await decideSwap(sql, tables, swap, async () => isQuiet)).toBeUndefined();
    expect(await swapUnderWay(sql, tables)).toBeUndefined();
    await checkNotSwapping(sql, tables, 'prod');
  });

  it('keeps what was there, by the versions before the mark, before it writes over it; repeated it says the same', async () => {
    const sql = warehouse({});
    await swapTables(sql, tables, swap);
    expect(sql.said.map((statement) => statement.replace(/ USING.* AS SELECT \*/, '').replace(/SELECT .* FROM/, 'FROM').replaceAll('`c`.`s`.', '').replaceAll('`', ''))).toEqual([
      'CREATE OR REPLACE TABLE windows_replaced FROM windows VERSION AS OF 3',
      'CREATE OR REPLACE TABLE late_records_replaced FROM late_records VERSION AS OF 2',
      'DROP TABLE IF EXISTS judged_replaced',
      'INSERT OVERWRITE windows FROM windows_rebuilt',
      'INSERT OVERWRITE late_records FROM late_records_rebuilt',
    ]);
    expect(sql.said[0]).toContain("TBLPROPERTIES ('streamgauge.window_minutes' = '10')");
    const first = [...sql.said];
    await swapTables(sql, tables, swap);
    expect(sql.said.slice(first.length)).toEqual(first);
  });

  it('keeps the verdicts in raw by the version before the mark, and writes the others; a run that appends meanwhile is no reason to stop', async () => {
    let conflicts = 2;
    const sql = warehouse({}, {}, () => {
      if (sql.said.at(-1)?.startsWith('MERGE') && conflicts-- > 0) throw new Failure({ code: 'DELTA_CONCURRENT_APPEND', kind: 'usage', message: 'an ingest came between' });
    });
    await swapTables(sql, tables, { ...swap, judged: 4 });
    const said = sql.said.map((statement) => statement.replaceAll('`c`.`s`.', '').replaceAll('`', ''));
    expect(said.filter((statement) => statement.startsWith('MERGE INTO raw t')).length).toBe(3);
    expect(said.filter((statement) => statement.includes('judged_'))[0]).toMatch(/^CREATE OR REPLACE TABLE judged_replaced .* FROM raw VERSION AS OF 7 SEMI JOIN \(SELECT \* FROM judged_rebuilt WHERE left_alone IS NULL\)/);
    expect(said.at(-1)).toMatch(/^INSERT OVERWRITE late_records/);
    conflicts = 100;
    await expect(swapTables(sql, tables, { ...swap, judged: 4 })).rejects.toMatchObject({ code: 'DELTA_CONCURRENT_APPEND' });
  });

  it('ends with the new length before the mark goes: a job that starts in between still refuses', async () => {
    const properties = { windows: { 'streamgauge.window_minutes': '10', 'streamgauge.rebuild': '{}' } };
    const seen: unknown[] = [];
    await endSwap(warehouse({}, properties, () => seen.push(structuredClone(properties.windows))), tables, swap);
    expect(seen.slice(0, 2)).toEqual([{ 'streamgauge.window_minutes': '5', 'streamgauge.rebuild': '{}' }, { 'streamgauge.window_minutes': '5' }]);
  });
});
