import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFINITIONS, planTables, shapeOf, tableDrift, type TableShape } from '../../src/databricks/shapes.ts';
import { repository } from '../config/bundle.ts';

const python = readFileSync(join(repository, 'notebooks/pipeline/tables.py'), 'utf8');
const row = (col_name: string, data_type = '', comment: string | null = '') => ({ col_name, data_type, comment });
const made = (table: keyof typeof DEFINITIONS, change: Partial<TableShape> = {}): TableShape => ({
  columns: Object.fromEntries(Object.entries(DEFINITIONS[table].columns).map(([name, type]) => [name, type.replace(' not null', '')])), clusteredBy: DEFINITIONS[table].clusteredBy, partitionedBy: [], windowMinutes: undefined, ...change,
});
const without = (table: keyof typeof DEFINITIONS, column: string): TableShape => made(table, { columns: Object.fromEntries(Object.entries(made(table).columns).filter(([name]) => name !== column)) });

describe('the tables', () => {
  it.each(Object.entries(DEFINITIONS))('%s is what the notebooks make', (table, { columns, clusteredBy }) => {
    const text = new RegExp(`^_${table.toUpperCase()} = """\\n([^]*?)"""`, 'm').exec(python)?.[1] ?? '';
    const declared = text.trim().split('\n').map((line) => /^\s*(\w+) (.*?),?$/.exec(line.replace(/ COMMENT '[^']*'/, ''))?.slice(1) as [string, string]);
    expect(Object.fromEntries(declared.map(([name, type]) => [name, type.toLowerCase().replaceAll(/([:,]) /g, '$1')]))).toEqual(columns);
    const made = new RegExp(`CREATE TABLE IF NOT EXISTS \\{tables\\.${table}\\}[^\\n]*USING DELTA(?: CLUSTER BY \\(([^)]*)\\))?`).exec(python);
    expect([made !== null, made?.[1]?.split(', ') ?? []]).toEqual([true, clusteredBy]);
  });

  it('are understood as Delta and as Databricks describe them', () => {
    const columns = [row('Topic', 'string', null), row('sum', 'decimal(38,0)', 'exact'), row('', '', '')];
    const clusters = { columns: { topic: 'string', sum: 'decimal(38,0)' }, clusteredBy: ['topic', 'window_start'], partitionedBy: [], windowMinutes: 10 };
    const properties = '[clusteringColumns=[["topic"],["window_start"]],delta.feature.clustering=supported,delta.minReaderVersion=1,streamgauge.window_minutes=10]';
    expect(shapeOf([...columns, row('# Detailed Table Information'), row('Name', 'c.s.windows'), row('Provider', 'delta'), row('Table Properties', properties)])).toEqual(clusters);
    const databricks = [row('# Clustering Information'), row('# col_name', 'data_type', 'comment'), row('topic', 'string'), row('window_start', 'timestamp'), row(''), row('# Delta Statistics Columns'), row('Column Names', 'topic'), row(''), row('# Detailed Table Information'), row('Catalog', 'main'), row('Table Properties', '[delta.enableDeletionVectors=true,streamgauge.window_minutes=10]')];
    expect(shapeOf([...columns, ...databricks])).toEqual(clusters);
    const partitioned = shapeOf([...columns, row('# Partition Information'), row('# col_name', 'data_type', 'comment'), row('topic', 'string'), row(''), row('# Detailed Table Information'), row('Name', 'x')]);
    expect(partitioned).toMatchObject({ clusteredBy: undefined, partitionedBy: ['topic'], windowMinutes: undefined });
  });
});

describe('what a plan says of them', () => {
  it('nothing of tables as they are made, of none, and of what a catalog does not say', () => {
    const all = Object.fromEntries((Object.keys(DEFINITIONS) as (keyof typeof DEFINITIONS)[]).map((table) => [table, made(table)]));
    expect([planTables(all), tableDrift(all), planTables({}), tableDrift({})]).toEqual([[], [], [], []]);
    expect(tableDrift({ raw: made('raw', { clusteredBy: undefined }) })).toEqual([]);
  });

  it('a column that a later release added is added', () => {
    expect(planTables({ shards: without('shards', 'gaps'), raw: without('raw', 'headers') })).toEqual([
      { do: 'add columns', table: 'raw', columns: [{ name: 'headers', type: 'array<struct<key:string,value:binary>>' }] },
      { do: 'add columns', table: 'shards', columns: [{ name: 'gaps', type: 'array<struct<first_offset:bigint,last_offset:bigint>>' }] },
    ]);
  });

  it.each<[string, TableShape, string, RegExp]>([
    ['another type', made('windows', { columns: { ...made('windows').columns, sum: 'bigint' } }), 'COLUMN_TYPE_CHANGED', /column sum of table windows is bigint.*writes decimal\(38,0\)/],
    ['a column that every row must have', without('windows', 'sequence'), 'COLUMN_MISSING', /no column sequence.*every row must have/],
  ])('%s is refused, with the reason', (_what, windows, code, message) => {
    expect(() => planTables({ windows })).toThrow(expect.objectContaining({ code, exitCode: 2, message: expect.stringMatching(message), hint: expect.stringContaining('--var schema=') }));
  });

  it('columns of others and the layout of files differ, and stay', () => {
    const raw = made('raw', { columns: { ...made('raw').columns, mine: 'int' }, clusteredBy: ['key'], partitionedBy: ['shard'] });
    expect(tableDrift({ raw })).toEqual([
      { table: 'raw', field: 'column mine', found: 'int', wanted: null },
      { table: 'raw', field: 'clustered by', found: 'key', wanted: 'topic, event_time' },
      { table: 'raw', field: 'partitioned by', found: 'shard', wanted: null },
    ]);
    expect(planTables({ raw })).toEqual([]);
  });
});
